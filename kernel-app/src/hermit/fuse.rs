//! The virtio-fs devices as transports of FUSE requests.
//!
//! Layer: device. The kernel (patch 0009) moves the bytes; the device reads and writes the caller's memory.

use alloc::rc::Rc;
use core::cell::RefCell;

use wasi_core::Errno;
use wasi_core::fs::fuse::Transport;

use super::console::Console;
use super::syscalls::{
    Segment, sys_fuse_devices, sys_fuse_request, sys_fuse_stop, sys_fuse_tag, sys_fuse_wait,
};

/// Bytes of a device's name.
const TAG_LEN: usize = 36;
/// `ETIMEDOUT` of the kernel.
const TIMED_OUT: isize = -110;
/// The device's queue for requests without a reply.
const HIGH_PRIORITY: usize = 0;
/// The device's queue for all others.
const REQUESTS: usize = 1;
/// Pieces of memory that a request and its reply consist of at most.
const PIECES: usize = 8;

/// How long a reply may take, in microseconds, before the host is asked whether there will be one. A server that lives
/// can be slow: writing back to a slow disk takes its time. One that has died does not answer at all, and no device
/// says so.
const PATIENCE: u64 = 1_000_000;
/// How often that is waited for where nobody can be asked.
const MOST_WAITS: u32 = 120;

/// A device.
pub(crate) struct Share {
    index: usize,
    /// Whom to ask about the server, and what the host calls it.
    host: Option<(Rc<RefCell<Console>>, u32)>,
}

impl Share {
    /// The device of this name. `host` is who knows about its server, and its number there.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(crate) fn find(tag: &str, host: Option<(Rc<RefCell<Console>>, u32)>) -> Option<Self> {
        // SAFETY: takes no pointers.
        let count = unsafe { sys_fuse_devices() };
        let index = (0..count).find(|index| {
            let name = name_of(*index);
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            name == tag.as_bytes()
        })?;
        Some(Self { index, host })
    }

    /// Whether the server may still answer, after so many waits for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn may_answer(&mut self, waits: u32) -> bool {
        let served = match &self.host {
            Some((console, number)) => console.borrow_mut().is_served(*number),
            None => None,
        };
        served.unwrap_or(waits < MOST_WAITS)
    }

    /// Sends `request` and waits until the device has done with it, and with `reply`.
    fn send(&mut self, queue: usize, request: &[&[u8]], reply: &mut [&mut [u8]]) -> Result<usize, Errno> {
        let mut pieces = [const { None }; PIECES];
        let sent = request.iter().filter(|part| !part.is_empty());
        let received = reply.iter_mut().filter(|part| !part.is_empty());
        let (mut send, mut recv) = (0, 0);
        let all = sent
            .map(|part| {
                send += 1;
                Segment {
                    // The device only reads it.
                    base: part.as_ptr().cast_mut(),
                    len: part.len(),
                }
            })
            .chain(received.map(|part| {
                recv += 1;
                Segment {
                    base: part.as_mut_ptr(),
                    len: part.len(),
                }
            }));
        for (count, segment) in all.enumerate() {
            *pieces.get_mut(count).ok_or(Errno::IO)? = Some(segment);
        }
        let empty = Segment {
            base: core::ptr::null_mut(),
            len: 0,
        };
        let segments = pieces.map(|piece| piece.unwrap_or(empty));
        // SAFETY: `segments` is valid for reads, and has at least `send + recv` elements that were set above. Each is
        // the memory of a slice that the caller lends until this function returns: the first `send` for reading, the
        // others for writing. It returns when the device has done with them, or was stopped, after which it touches
        // them no more.
        let mut result =
            unsafe { sys_fuse_request(self.index, queue, segments.as_ptr(), send, recv, PATIENCE) };
        let mut waits = 0_u32;
        while result == TIMED_OUT {
            waits = waits.saturating_add(1);
            if self.may_answer(waits) {
                // SAFETY: takes no pointers. The request's memory stays lent.
                result = unsafe { sys_fuse_wait(self.index, PATIENCE) };
                continue;
            }
            ::log::error!("virtio-fs: the server has died or hangs: its directory is given up");
            // SAFETY: takes no pointers.
            unsafe { sys_fuse_stop(self.index) };
            // SAFETY: takes no pointers.
            result = unsafe { sys_fuse_wait(self.index, 0) };
            if result == TIMED_OUT {
                break;
            }
        }
        usize::try_from(result).map_err(|_| Errno::IO)
    }
}

/// A device's name, padded with zeros.
fn name_of(index: usize) -> [u8; TAG_LEN] {
    let mut tag = [0; TAG_LEN];
    // SAFETY: `tag` is valid for a write of the 36 bytes that the kernel writes.
    unsafe { sys_fuse_tag(index, tag.as_mut_ptr()) };
    tag
}

impl Transport for Share {
    fn request(&mut self, request: &[&[u8]], reply: &mut [&mut [u8]]) -> Result<usize, Errno> {
        self.send(REQUESTS, request, reply)
    }

    fn notify(&mut self, request: &[&[u8]]) -> Result<(), Errno> {
        self.send(HIGH_PRIORITY, request, &mut []).map(drop)
    }
}
