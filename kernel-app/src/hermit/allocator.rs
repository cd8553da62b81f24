//! The heap: Hermit's allocator as Rust's.

use core::alloc::{GlobalAlloc, Layout};

use super::syscalls::{sys_alloc, sys_alloc_zeroed, sys_dealloc, sys_realloc};

/// Hermit's heap.
struct Hermit;

// SAFETY: the kernel's heap hands out blocks of the asked size and alignment that do not overlap, or null; it keeps
// a block until it is given back, and takes size and alignment as `Layout` defines them.
unsafe impl GlobalAlloc for Hermit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: takes any size and alignment; the caller promises a size above zero.
        unsafe { sys_alloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe { sys_alloc_zeroed(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
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
