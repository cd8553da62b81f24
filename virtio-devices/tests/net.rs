//! Network devices that keep the rules, by both transports, and single rules that others break.

#![allow(
    clippy::cast_possible_truncation,
    reason = "registers of the model are narrower than what carries them"
)]

#[path = "support/model.rs"]
mod model;

use model::{Bus, Kind, Pages, Shared, Window, device, open_pci, space};
use virtio_devices::pci::{self, Interrupt};
use virtio_devices::{Broken, Error, Net, Transport, mmio, net};

type Driver = Net<Window, Pages>;

const MEMORY: usize = Driver::MEMORY + 4096;

fn by_mmio(device: &Shared) -> Result<Driver, Error> {
    let registers = Window::new(device, Kind::Mmio, mmio::SIZE);
    let transport = mmio::Mmio::open(registers, net::DEVICE).expect("a network device")?;
    Net::start(Transport::Mmio(transport), Pages::new(device))
}

fn by_pci(device: &Shared, interrupt: Interrupt) -> Result<Driver, Error> {
    let transport = open_pci(device, interrupt)?;
    Net::start(Transport::Pci(transport), Pages::new(device))
}

const MESSAGE: Interrupt = Interrupt::Message {
    address: 0xfee0_1000,
    data: 0xff,
};

/// A way to reach a device.
type Way = fn(&Shared) -> Result<Driver, Error>;

/// The device by each way to reach it.
fn each(mut test: impl FnMut(&Shared, Driver)) {
    let ways: [Way; 3] = [
        by_mmio,
        |device| by_pci(device, Interrupt::Pin),
        |device| by_pci(device, MESSAGE),
    ];
    for way in ways {
        let device = device(MEMORY);
        space(&device);
        let driver = way(&device).expect("a device that works");
        test(&device, driver);
    }
}

#[test]
fn a_device_is_set_up() {
    each(|device, driver| {
        let device = device.borrow();
        assert_eq!(device.status, 15);
        assert_eq!(device.accepted, 1 << 32 | 1 << 5 | 1 << 3);
        assert!(
            device
                .queues
                .iter()
                .all(|queue| queue.enabled && queue.size == 128)
        );
        assert_eq!(driver.address(), [2, 0, 0, 1, 2, 3]);
        assert_eq!(driver.mtu(), 1400);
        assert_eq!(device.notified, [0]);
    });
}

#[test]
fn messages_are_set_up_and_pins_are_left_alone() {
    let device = device(MEMORY);
    space(&device);
    let driver = by_pci(&device, MESSAGE).expect("a device");
    assert_eq!(device.borrow().table, [0xfee0_1000, 0, 0xff, 0]);
    // Enabled and not masked; the pin is off, memory and bus master are on.
    assert_eq!(device.borrow().space[0x90 / 4] >> 30, 0b10);
    assert_eq!(device.borrow().space[1] & 0xffff, 1 << 10 | 0b110);
    drop(driver);
    assert_eq!(device.borrow().status, 0, "reset when it is dropped");
}

#[test]
fn devices_are_told_by_their_kind() {
    let device = device(MEMORY);
    let bus = Bus(device.clone());
    for (number, subsystem, found) in [
        (0x1041, 0, 1),
        (0x1042, 1, 0),
        (0x1000, 1, 1),
        (0x1000, 2, 0),
        (0x0fff, 1, 0),
    ] {
        device.borrow_mut().space[0] = number << 16 | 0x1af4;
        device.borrow_mut().space[0x2c / 4] = subsystem << 16 | 0x1af4;
        assert_eq!(pci::devices(&bus, 1).count(), found, "{number:#x}");
    }
    device.borrow_mut().space[0] = 0x1041_1af5;
    assert_eq!(pci::devices(&bus, 1).count(), 0);
}

#[test]
fn frames_go_both_ways() {
    each(|device, mut driver| {
        assert_eq!(driver.receive(<[u8]>::len), None);
        for round in 0..1000_usize {
            let frame = vec![round as u8; round * 7 % 1501 + 14];
            device.borrow_mut().arrive(&frame);
            assert_eq!(driver.receive(<[u8]>::to_vec), Some(frame.clone()));
            assert!(driver.can_transmit());
            driver.transmit(frame.len(), |bytes| bytes.copy_from_slice(&frame));
            assert_eq!(device.borrow_mut().transmitted.pop(), Some(frame));
        }
        assert_eq!(device.borrow().interrupts, 0, "none was asked for");
    });
}

#[test]
fn more_frames_than_buffers_wait_in_the_device_and_keep_their_order() {
    each(|device, mut driver| {
        for number in 0..500_u16 {
            device.borrow_mut().arrive(&number.to_le_bytes());
        }
        for number in 0..500_u16 {
            assert_eq!(
                driver.receive(<[u8]>::to_vec),
                Some(number.to_le_bytes().to_vec())
            );
        }
        assert_eq!(driver.receive(<[u8]>::len), None);
    });
}

#[test]
fn without_a_buffer_nothing_is_transmitted() {
    each(|device, mut driver| {
        device.borrow_mut().lazy = true;
        for _ in 0..128 {
            assert!(driver.can_transmit());
            driver.transmit(60, |bytes| bytes.fill(7));
        }
        assert!(!driver.can_transmit());
        // Lost, and not written anywhere.
        driver.transmit(60, |bytes| bytes.fill(9));
        assert_eq!(driver.prepare_to_wait(true), Ok(true));
        device.borrow_mut().transmit();
        assert!(device.borrow().interrupts > 0);
        driver.waited();
        assert!(driver.can_transmit());
        assert_eq!(driver.prepare_to_wait(true), Ok(false), "there is room");
        assert_eq!(driver.prepare_to_wait(false), Ok(true));
        let device = device.borrow();
        assert_eq!(device.transmitted.len(), 128);
        assert!(device.transmitted.iter().all(|frame| *frame == [7; 60]));
    });
}

#[test]
fn a_wait_is_refused_when_there_is_a_frame_and_ended_by_the_next_one() {
    each(|device, mut driver| {
        device.borrow_mut().arrive(&[1; 60]);
        assert_eq!(driver.prepare_to_wait(false), Ok(false));
        driver.receive(|_| ());
        assert_eq!(driver.prepare_to_wait(false), Ok(true));
        assert_eq!(device.borrow().interrupts, 0);
        device.borrow_mut().arrive(&[2; 60]);
        assert_eq!(device.borrow().interrupts, 1);
        driver.waited();
        device.borrow_mut().arrive(&[3; 60]);
        assert_eq!(device.borrow().interrupts, 1, "not asked for any more");
    });
}

#[test]
fn what_cannot_be_used_is_said() {
    let fails = |change: &dyn Fn(&mut model::Device)| {
        let device = device(MEMORY);
        change(&mut device.borrow_mut());
        by_mmio(&device).err()
    };
    assert_eq!(fails(&|_| ()), None);
    assert_eq!(fails(&|device| device.version = 1), Some(Error::Legacy));
    assert_eq!(fails(&|device| device.offered = 1 << 5), Some(Error::Legacy));
    assert_eq!(fails(&|device| device.offered = 1 << 32), Some(Error::Features));
    assert_eq!(fails(&|device| device.config[0] = 1), Some(Error::Malformed));
    assert_eq!(fails(&|device| device.config[11] = 1), Some(Error::Malformed));
    assert_eq!(fails(&|device| device.queue_most = 0), Some(Error::NoQueue));
    assert_eq!(fails(&|device| device.memory.truncate(8192)), Some(Error::Memory));
    // Not a power of two: the next smaller one.
    assert_eq!(fails(&|device| device.queue_most = 3), None);
}

/// What a device gives back that was not lent, twice, or with more bytes than it has, ends it: with no panic, and for
/// good.
#[test]
fn a_device_that_breaks_the_rules_is_given_up() {
    for (id, len) in [
        (128, 60),
        (0xffff_0000, 60),
        (0, 1527),
        (0, 11),
        (0, u32::MAX),
        (0, 0),
    ] {
        each(|device, mut driver| {
            device.borrow_mut().give_back(0, id, len);
            assert_eq!(driver.receive(<[u8]>::len), None);
            assert!(driver.is_broken(), "{id}, {len}");
            assert_eq!(device.borrow().status, 0, "it was reset");
            // Who went to sleep would do so for ever.
            for room in [false, true] {
                assert_eq!(driver.prepare_to_wait(room), Err(Broken));
            }
            assert_eq!(driver.receive(<[u8]>::len), None);
            assert!(driver.can_transmit());
            assert_eq!(driver.transmit(1514, |bytes| bytes.len()), 1514);
        });
    }
    each(|device, mut driver| {
        device.borrow_mut().give_back(0, 0, 72);
        device.borrow_mut().give_back(0, 0, 72);
        assert_eq!(driver.receive(<[u8]>::len), Some(60));
        // It was lent anew in between, so once more is no lie; a third time is.
        assert_eq!(driver.receive(<[u8]>::len), Some(60));
        device.borrow_mut().give_back(1, 0, 0);
        device.borrow_mut().lazy = true;
        for _ in 0..128 {
            driver.transmit(60, |bytes| bytes.fill(0));
        }
        assert!(!driver.is_broken());
        device.borrow_mut().give_back(1, 4, 0);
        device.borrow_mut().give_back(1, 4, 0);
        assert!(driver.can_transmit());
        assert!(driver.is_broken());
    });
}

#[test]
fn capabilities_that_lead_nowhere_are_malformed() {
    let fails = |at: usize, value: u32| {
        let device = device(MEMORY);
        space(&device);
        device.borrow_mut().space[at / 4] = value;
        by_pci(&device, MESSAGE).err()
    };
    // None, a loop of them, one behind the end.
    assert_eq!(fails(0x04, 0), Some(Error::Malformed));
    assert_eq!(fails(0x40, 9 | 0x40 << 8 | 1 << 24), Some(Error::Malformed));
    assert_eq!(fails(0x40, 9 | 0xfc << 8 | 1 << 24), Some(Error::Malformed));
    // Registers that do not exist, are too few, or end behind all addresses.
    assert_eq!(fails(0x44, 6), Some(Error::Malformed));
    assert_eq!(fails(0x4c, 55), Some(Error::Malformed));
    assert_eq!(fails(0x44, 0), Some(Error::NoAddress));
    // No messages.
    assert_eq!(fails(0x90, 0), Some(Error::NoInterrupt));
    // Notifications of the second queue beside the window.
    assert_eq!(fails(0x7c + 0x10, 0xffff_fff0), Some(Error::Malformed));
}
