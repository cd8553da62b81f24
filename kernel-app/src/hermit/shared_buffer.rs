//! The console's shared buffer: the one piece of this machine's memory that the host reads and writes.
//!
//! Layer: device. What goes where in it is `boot_protocol::console::window`.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering, fence};

use boot_protocol::console::client::SharedMemory;
use boot_protocol::console::{Span, Window};

use super::devices::in_one_piece;

/// Bytes for output: two halves of 64 KiB, each a few writes of the sizes that programs like.
const OUTPUT: u32 = 128 << 10;

/// Bytes for input: as much as a program may want at once.
const INPUT: u32 = 64 << 10;

const SIZE: usize = OUTPUT as usize + INPUT as usize;

/// Page-aligned, so that it shares no page with anything that is not the host's business.
#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

// SAFETY: the bytes are reached only through `SharedBuffer`, of which `TAKEN` lets there be one.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; SIZE]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The buffer.
pub(super) struct SharedBuffer {
    /// Its physical address.
    address: u64,
}

impl SharedBuffer {
    /// The buffer, for the first who asks; `None` for others, and where it is not in one piece of physical memory.
    pub(super) fn take() -> Option<Self> {
        let address = in_one_piece(MEMORY.0.get().cast(), SIZE)?;
        (!TAKEN.swap(true, Ordering::Relaxed)).then_some(Self { address })
    }
}

impl SharedMemory for SharedBuffer {
    fn window(&self) -> Window {
        Window {
            address: self.address,
            output: OUTPUT,
            input: INPUT,
        }
    }

    fn put(&mut self, span: Span, bytes: &[u8]) {
        let (Ok(offset), Ok(length)) = (usize::try_from(span.offset), usize::try_from(span.length)) else {
            return;
        };
        let fits = offset
            .checked_add(length)
            .is_some_and(|end| end <= OUTPUT as usize);
        let Some(bytes) = bytes.get(..length).filter(|_| fits) else {
            return;
        };
        // SAFETY: `fits` says that the target lies in the static's first part, which is valid for writes for ever; no
        // reference to it exists, and `&mut self` is its only user. `bytes` is other memory, since nothing outside of
        // this file is given a pointer into the window. The host may read meanwhile; it does not write here.
        unsafe {
            let target = MEMORY.0.get().cast::<u8>().add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), target, length);
        }
        // The bytes are there before the frame that names them.
        fence(Ordering::SeqCst);
    }

    fn get(&mut self, buf: &mut [u8]) {
        // The bytes are read after the answer that names them.
        fence(Ordering::SeqCst);
        let length = buf.len().min(INPUT as usize);
        // SAFETY: `OUTPUT + length` is at most the static's size, and it is valid for reads for ever. The host writes
        // there only between a READ and its answer, and there is no READ without an answer now. `buf` is other
        // memory, since nothing outside of this file is given a pointer into the window.
        unsafe {
            let source = MEMORY.0.get().cast::<u8>().add(OUTPUT as usize);
            ptr::copy_nonoverlapping(source, buf.as_mut_ptr(), length);
        }
    }
}
