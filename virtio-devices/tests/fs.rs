//! File system devices that keep the rules, by both transports, and single rules that others break.

#![allow(
    clippy::cast_possible_truncation,
    reason = "registers of the model are narrower than what carries them"
)]

#[allow(dead_code, reason = "network devices use the rest of it")]
#[path = "support/model.rs"]
mod model;

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::{Kind, Pages, Shared, Window, device, open_pci, space};
use virtio_devices::fs::{self, Failure, Lender};
use virtio_devices::pci::Interrupt;
use virtio_devices::{Error, Fs, Transport, mmio};

type Driver = Fs<Window, Pages>;

/// Where the device finds memory of this process: what lies in stretches of [`STRETCH`] bytes, of which no two that
/// follow one another here do so there.
const LENT: u64 = 1 << 62;
const APART: u64 = 1 << 61;
const STRETCH: u64 = 1 << 10;

/// Lends memory in stretches, or all of it in one piece, and waits so many times.
struct Machine {
    whole: bool,
    missing: bool,
    waits: u32,
    /// What happens while it waits.
    device: Shared,
    during: fn(&mut model::Device),
}

impl Machine {
    fn new(device: &Shared) -> Self {
        Self {
            whole: true,
            missing: false,
            waits: 0,
            device: device.clone(),
            during: |_| (),
        }
    }
}

impl Lender for Machine {
    fn place(&mut self, start: *const u8, len: usize) -> Option<(u64, usize)> {
        assert!(len > 0);
        let start = start.expose_provenance() as u64;
        let rest = (STRETCH - start % STRETCH) as usize;
        let apart = APART * (start / STRETCH % 2);
        match (self.missing, self.whole) {
            (true, _) => None,
            (_, true) => Some((LENT | start, len)),
            // More than was asked about may lie there.
            (_, false) => Some((LENT | apart | start, rest)),
        }
    }

    fn wait(&mut self) -> bool {
        (self.during)(&mut self.device.borrow_mut());
        let more = self.waits > 0;
        self.waits = self.waits.saturating_sub(1);
        more
    }
}

/// What the device finds at an address.
fn found(address: u64, len: u32) -> *mut [u8] {
    assert!(address & LENT != 0, "not lent: {address:#x}");
    let address = (address & !LENT & !APART) as usize;
    std::ptr::slice_from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(address), len as usize)
}

/// The server: a reply is the request's bytes, each plus 1, and as long as there is room. Returns how many descriptors
/// there were.
fn serve(device: &mut model::Device, queue: u16) -> usize {
    let queue = usize::from(queue);
    let mut count = 0;
    while let Some(first) = device.next(queue) {
        assert_eq!(first, 0, "chains begin there");
        let mut request = Vec::new();
        let mut written = 0_usize;
        let mut id = first;
        let mut replies = false;
        loop {
            count += 1;
            let (address, len, flags, next) = device.descriptor(queue, id);
            assert!(len > 0);
            let bytes = found(address, len);
            if flags & 2 == 0 {
                assert!(!replies, "what is read comes first");
                // SAFETY: the test lends it as long as the request lasts.
                request.extend_from_slice(unsafe { &*bytes });
            } else {
                replies = true;
                for at in 0..len as usize {
                    if let Some(byte) = request.get(written) {
                        // SAFETY: as above, for writing; nobody else has it meanwhile.
                        unsafe { bytes.cast::<u8>().add(at).write(byte.wrapping_add(1)) };
                        written += 1;
                    }
                }
            }
            if flags & 1 == 0 {
                break;
            }
            id = next;
        }
        device.give_back(queue, first.into(), written as u32);
    }
    count
}

fn at_once(device: &mut model::Device, queue: u16) {
    serve(device, queue);
}

/// A device that has a name and is told nothing.
fn named() -> Shared {
    let device = device(Driver::MEMORY);
    {
        let mut device = device.borrow_mut();
        device.kind = fs::DEVICE;
        device.told = Some(at_once);
        device.config = vec![0; 40];
        device.config[..5].copy_from_slice(b"share");
        // Behind the name: how many queues there are.
        device.config[36] = 1;
    }
    device
}

fn by_mmio(device: &Shared) -> Result<Driver, Error> {
    let registers = Window::new(device, Kind::Mmio, mmio::SIZE);
    let transport = mmio::Mmio::open(registers, fs::DEVICE).expect("a file system device")?;
    Fs::start(Transport::Mmio(transport), Pages::new(device))
}

fn by_pci(device: &Shared) -> Result<Driver, Error> {
    space(device);
    let transport = open_pci(device, Interrupt::Never)?;
    Fs::start(Transport::Pci(transport), Pages::new(device))
}

/// The device by each way to reach it.
fn each(mut test: impl FnMut(&Shared, Driver)) {
    for way in [by_mmio, by_pci] {
        let device = named();
        let driver = way(&device).expect("a device that works");
        test(&device, driver);
    }
}

#[test]
fn a_device_is_set_up() {
    each(|device, driver| {
        assert_eq!(driver.name(), b"share");
        {
            let device = device.borrow();
            assert_eq!(device.status, 15);
            assert_eq!(device.accepted, 1 << 32);
            assert!(
                device
                    .queues
                    .iter()
                    .all(|queue| queue.enabled && queue.size == 128)
            );
            assert!(device.notified.is_empty());
        }
        drop(driver);
        assert_eq!(device.borrow().status, 0, "reset when it is dropped");
    });
    // By PCI: memory and bus master are on, the pin is off, and nothing is said of messages.
    let device = named();
    let _driver = by_pci(&device).expect("a device");
    assert_eq!(device.borrow().space[1] & 0xffff, 1 << 10 | 0b110);
    assert_eq!(device.borrow().space[0x90 / 4] >> 30, 0);
    // A name may fill all its bytes.
    device.borrow_mut().config[..36].fill(b'n');
    assert_eq!(by_mmio(&device).expect("a device").name(), [b'n'; 36]);
}

#[test]
fn requests_get_their_replies_whatever_they_are_made_of() {
    each(|device, mut driver| {
        let mut machine = Machine::new(device);
        // More than the rings count.
        for round in 0..70_000_usize {
            machine.whole = round % 2 == 0;
            let big = if round % 1000 == 0 { 5000 } else { 0 };
            let (head, body) = (vec![round as u8; 1 + round % 40], vec![3; round % 3 + big]);
            let (mut first, mut second, mut third) = ([0; 7], vec![0; round % 50], vec![0; big]);
            let len = driver
                .request(
                    &[&head, &[], &body],
                    &mut [&mut first, &mut second, &mut [], &mut third],
                    &mut machine,
                )
                .expect("a reply");
            let mut reply: Vec<u8> = first.iter().chain(&second).chain(&third).copied().collect();
            assert_eq!(len, reply.len().min(head.len() + body.len()));
            let rest = reply.split_off(len);
            assert!(rest.iter().all(|byte| *byte == 0));
            let sent = head.iter().chain(&body).map(|byte| byte.wrapping_add(1));
            assert!(sent.take(len).eq(reply.iter().copied()));
        }
        driver.notify(&[b"forget"], &mut machine).expect("it is read");
        let device = device.borrow();
        assert_eq!(device.notified.len(), 70_001);
        assert_eq!(device.notified.last(), Some(&0));
        assert_eq!(device.notified[..70_000], [1; 70_000]);
        assert_eq!(device.interrupts, 0, "none is asked for");
    });
}

/// What lies in one piece is one descriptor, over pages and parts; what the device reads and what it writes are two.
#[test]
fn descriptors_name_pieces() {
    each(|device, mut driver| {
        static COUNTS: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
        COUNTS.lock().unwrap().clear();
        device.borrow_mut().told = Some(|device, queue| {
            let count = serve(device, queue);
            COUNTS.lock().unwrap().push(count);
        });
        let mut machine = Machine::new(device);
        let request = [1; 3000];
        let mut reply = [0; 3000];
        let (one, other) = request.split_at(1000);
        driver
            .request(&[one, other], &mut [&mut reply], &mut machine)
            .expect("a reply");
        let (one, other) = reply.split_at_mut(1000);
        driver
            .request(&[&request], &mut [one, other], &mut machine)
            .expect("a reply");
        driver
            .request(&[&request], &mut [other, one], &mut machine)
            .expect("a reply");
        driver.notify(&[&request], &mut machine).expect("it is read");
        assert_eq!(*COUNTS.lock().unwrap(), [2, 2, 3, 1]);
    });
}

#[test]
fn memory_in_too_many_pieces_or_in_none_is_not_lent() {
    each(|device, mut driver| {
        let mut machine = Machine::new(device);
        let large = vec![0; 130 * STRETCH as usize];
        machine.whole = false;
        let mut reply = [0; 8];
        let mut ask =
            |machine: &mut Machine, request: &[u8]| driver.request(&[request], &mut [&mut reply], machine);
        assert_eq!(ask(&mut machine, &large), Err(Failure::Scattered));
        machine.missing = true;
        assert_eq!(ask(&mut machine, &large), Err(Failure::NoMemory));
        machine.missing = false;
        assert!(device.borrow().notified.is_empty(), "it was told nothing");
        // It is none the worse for that.
        assert_eq!(ask(&mut machine, &large[..100 * STRETCH as usize]), Ok(8));
        assert_eq!(driver.notify(&[&[], &[]], &mut machine), Err(Failure::NoMemory));
        assert_eq!(driver.notify(&[&[1]], &mut machine), Ok(()));
    });
}

#[test]
fn a_reply_is_waited_for() {
    each(|device, mut driver| {
        device.borrow_mut().told = Some(|_, _| ());
        let mut machine = Machine::new(device);
        machine.waits = 10;
        machine.during = |device| {
            device.lazy = !device.lazy;
            if device.lazy {
                serve(device, 1);
            }
        };
        let mut reply = [0; 8];
        assert_eq!(
            driver.request(&[b"12345678"], &mut [&mut reply], &mut machine),
            Ok(8)
        );
        assert_eq!(reply, *b"23456789");
        assert_eq!(machine.waits, 9);
    });
}

/// Whatever happens to a request that the device has: it is stopped before the memory is somebody else's again.
#[test]
fn a_device_that_does_not_answer_is_stopped() {
    each(|device, mut driver| {
        device.borrow_mut().told = Some(|_, _| ());
        let mut machine = Machine::new(device);
        machine.waits = 3;
        let mut reply = [0; 8];
        let mut ask = |machine: &mut Machine| driver.request(&[b"request"], &mut [&mut reply], machine);
        assert_eq!(ask(&mut machine), Err(Failure::Stopped));
        assert_eq!(machine.waits, 0);
        assert_eq!(device.borrow().status, 0, "it was reset");
        machine.waits = 3;
        assert_eq!(ask(&mut machine), Err(Failure::Stopped));
        assert_eq!(machine.waits, 3, "nobody waits for one that was stopped");
        assert_eq!(driver.notify(&[b"forget"], &mut machine), Err(Failure::Stopped));
        assert_eq!(device.borrow().notified, [1]);
    });
    each(|device, mut driver| {
        device.borrow_mut().told = Some(|_, _| ());
        let mut machine = Machine::new(device);
        machine.during = |_| panic!("while it waits");
        let mut reply = [0; 8];
        let result = catch_unwind(AssertUnwindSafe(|| {
            driver.request(&[b"request"], &mut [&mut reply], &mut machine)
        }));
        assert!(result.is_err());
        assert_eq!(device.try_borrow().map(|device| device.status).ok(), Some(0));
    });
}

/// What was not lent is given back, or more than once; a reply longer than its room is one that fills it.
#[test]
fn a_device_that_breaks_the_rules_is_given_up() {
    type Answer = (fn(&mut model::Device, u16), Result<usize, Failure>);
    let answers: [Answer; 5] = [
        (
            |device, queue| device.give_back(queue.into(), 1, 8),
            Err(Failure::Stopped),
        ),
        (
            |device, queue| device.give_back(queue.into(), 128, 8),
            Err(Failure::Stopped),
        ),
        (
            |device, queue| device.give_back(queue.into(), 0x1_0000, 8),
            Err(Failure::Stopped),
        ),
        (
            |device, queue| {
                device.give_back(queue.into(), 0, 8);
                device.give_back(queue.into(), 0, 8);
            },
            Err(Failure::Stopped),
        ),
        (|device, queue| device.give_back(queue.into(), 0, u32::MAX), Ok(5)),
    ];
    for (answer, expected) in answers {
        each(|device, mut driver| {
            device.borrow_mut().told = Some(answer);
            let mut machine = Machine::new(device);
            machine.waits = 3;
            let mut reply = [0; 5];
            assert_eq!(
                driver.request(&[b"request"], &mut [&mut reply], &mut machine),
                expected
            );
            let status = if expected.is_ok() { 15 } else { 0 };
            assert_eq!(device.borrow().status, status);
        });
    }
}

#[test]
fn what_cannot_be_used_is_said() {
    let fails = |change: &dyn Fn(&mut model::Device)| {
        let device = named();
        change(&mut device.borrow_mut());
        by_mmio(&device).err()
    };
    assert_eq!(fails(&|_| ()), None);
    assert_eq!(fails(&|device| device.version = 1), Some(Error::Legacy));
    assert_eq!(fails(&|device| device.offered = 0), Some(Error::Legacy));
    assert_eq!(fails(&|device| device.queue_most = 0), Some(Error::NoQueue));
    assert_eq!(fails(&|device| device.memory.truncate(4096)), Some(Error::Memory));
    // Not a power of two: the next smaller one.
    assert_eq!(fails(&|device| device.queue_most = 3), None);
    // Another kind of device.
    let device = device(Driver::MEMORY);
    let registers = Window::new(&device, Kind::Mmio, mmio::SIZE);
    assert!(mmio::Mmio::open(registers, fs::DEVICE).is_none());
}
