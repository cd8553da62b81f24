//! The heap: Hermit's allocator as Rust's, with some memory kept back for what must not fail.
//!
//! What a guest chooses the size of is asked for in large pieces, and whoever asks can take no for an answer: linear
//! memory, the data of files. The small things beneath cannot (a frame, a string, the kernel's own). So a large request
//! fails while there would still be [`RESERVE`] bytes for the small ones: a guest that fills the memory gets an errno,
//! and the machine lives.

use core::alloc::{GlobalAlloc, Layout};

use super::syscalls::{sys_alloc, sys_alloc_zeroed, sys_dealloc, sys_realloc};

/// Bytes that no large request gets.
const RESERVE: usize = 256 << 10;
/// From this size in bytes on a request is large.
const LARGE: usize = 32 << 10;
/// Alignment of blocks that are only tried; any would do.
const ALIGN: usize = 16;

/// Hermit's heap.
struct Hermit;

/// Whether the heap has `size` bytes in one piece.
fn has(size: usize) -> bool {
    // SAFETY: `ALIGN` is a power of two, `size` is above zero.
    let block = unsafe { sys_alloc(size.max(1), ALIGN) };
    if block.is_null() {
        return false;
    }
    // SAFETY: the block was just allocated with this size and alignment, and nobody has it.
    unsafe { sys_dealloc(block, size.max(1), ALIGN) };
    true
}

/// Whether `more` bytes may be taken.
fn allowed(more: usize) -> bool {
    more < LARGE || has(more.saturating_add(RESERVE))
}

/// The largest piece that the heap has, to the next 64 KiB, less the reserve.
pub(crate) fn largest_free_block() -> usize {
    let size = (16..40)
        .rev()
        .map(|bit| 1_usize << bit)
        .fold(0, |size, bit| if has(size | bit) { size | bit } else { size });
    size.saturating_sub(RESERVE)
}

// SAFETY: the kernel's heap hands out blocks of the asked size and alignment that do not overlap, or null; it keeps
// a block until it is given back, and takes size and alignment as `Layout` defines them. Where this returns null
// without asking the kernel, nothing has changed.
unsafe impl GlobalAlloc for Hermit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !allowed(layout.size()) {
            return core::ptr::null_mut();
        }
        // SAFETY: takes any size and alignment; the caller promises a size above zero.
        unsafe { sys_alloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !allowed(layout.size()) {
            return core::ptr::null_mut();
        }
        // SAFETY: as for `alloc`.
        unsafe { sys_alloc_zeroed(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !allowed(new_size.saturating_sub(layout.size())) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller promises that `ptr` is a block of this allocator with this layout.
        unsafe { sys_realloc(ptr, layout.size(), layout.align(), new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `ptr` is a block of this allocator with this layout.
        unsafe { sys_dealloc(ptr, layout.size(), layout.align()) }
    }
}

#[global_allocator]
static ALLOCATOR: Hermit = Hermit;
