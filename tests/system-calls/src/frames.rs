//! A network device: answers each frame with itself, sent back, until it is told to end.
//!
//! It sleeps without a limit when there is nothing to do: only the device's interrupt wakes it.

use firmware_tables::fdt::Blob;
use virtio_devices::Net;

use crate::syscalls::sys_device_tree;
use crate::{buses, devices, say};

/// The longest frame.
const LONGEST: usize = 1514;
/// A frame's addresses: to whom and from whom.
const ADDRESSES: usize = 12;
/// What the last frame has behind its addresses.
const END: &[u8] = b"end";

/// The machine's device tree.
fn tree() -> Option<Blob<'static>> {
    // SAFETY: takes no pointers.
    let start: *const u8 = core::ptr::with_exposed_provenance(unsafe { sys_device_tree() });
    // SAFETY: the kernel reads it too: it is mapped, has a header, and is as long as that says.
    let bytes = |len| unsafe { core::slice::from_raw_parts(start, len) };
    Blob::new(bytes(Blob::size(bytes(Blob::HEADER))?))
}

/// The machine's network device and the number of its interrupt.
fn device() -> (buses::NetDevice, u32) {
    let tree = tree();
    let arguments = tree
        .and_then(|tree| tree.child("chosen")?.property("bootargs")?.text())
        .and_then(|text| str::from_utf8(text).ok())
        .unwrap_or_default();
    match buses::find_net(tree, arguments) {
        Ok(found) => found,
        Err(reason) => panic!("no network device: {reason:?}"),
    }
}

/// Waits for frames that never come.
pub(crate) fn sleep() {
    /// So long that whoever is awake meanwhile takes minutes of the machine's time, in microseconds.
    const LONG: u64 = 100_000_000;
    let (mut net, interrupt) = device();
    for (input, line) in [(false, "slept"), (true, "slept with an ear on input")] {
        assert_eq!(net.prepare_to_wait(false), Ok(true), "there is a frame");
        assert!(!devices::wait(interrupt, input, LONG), "the device interrupts");
        net.waited();
        say!("{line}");
    }
}

/// Answers frames.
pub(crate) fn answer() {
    let (mut net, interrupt) = device();
    // The first wait is what enables the interrupt.
    devices::wait(interrupt, false, 0);
    let [a, b, c, d, e, f] = net.address();
    say!("address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    say!("mtu {}", net.mtu());
    let (mut frames, mut waits) = (0_u32, 0_u32);
    let mut frame = [0; LONGEST];
    loop {
        let room = net.can_transmit();
        let received = if room {
            net.receive(|bytes| {
                let len = bytes.len().min(LONGEST);
                frame[..len].copy_from_slice(&bytes[..len]);
                len
            })
        } else {
            None
        };
        match received {
            Some(len) => {
                frames += 1;
                let rest = frame.get(ADDRESSES..len).unwrap_or_default();
                let is_last = rest.starts_with(END);
                send_back(&mut net, &frame[..len]);
                if is_last {
                    break;
                }
            }
            None => {
                if net.prepare_to_wait(!room).expect("a device that works") {
                    waits += 1;
                    devices::wait(interrupt, false, u64::MAX);
                    net.waited();
                }
            }
        }
    }
    // It has been transmitted when its buffer is back: the device works while nobody waits for it, so that no time is
    // lost here that matters.
    devices::wait(interrupt, false, 100_000);
    say!("frames {frames}");
    assert!(waits > 0, "there was never nothing to do");
    say!("slept");
}

/// Transmits a frame with its two addresses exchanged.
fn send_back(net: &mut buses::NetDevice, frame: &[u8]) {
    Net::transmit(net, frame.len(), |bytes| {
        bytes.copy_from_slice(frame);
        if let Some((to, from)) = bytes
            .get_mut(..ADDRESSES)
            .map(|head| head.split_at_mut(ADDRESSES / 2))
        {
            to.swap_with_slice(from);
        }
    });
}
