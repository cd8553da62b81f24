//! The heap: Hermit's allocator as Rust's, with ranges of their own for linear memories and tables, and some memory
//! kept back for what must not fail.
//!
//! What a guest chooses the size of is asked for in large pieces, and whoever asks can take no for an answer: linear
//! memory, the data of files. The small things beneath cannot (a frame, a string, the kernel's own). So a large request
//! fails while there would still be [`RESERVE`] bytes for the small ones: a guest that fills the memory gets an errno,
//! and the machine lives.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use kernel_app::blocks::{Blocks, KNOWN, PAGE, Pages, Resized};

use super::syscalls::{
    sys_alloc, sys_alloc_zeroed, sys_commit, sys_dealloc, sys_free_memory, sys_realloc, sys_release,
    sys_reserve,
};

/// Bytes that no large request gets.
const RESERVE: usize = 256 << 10;
/// From this size in bytes on a request is large.
const LARGE: usize = KNOWN;

// What is pure knows no device; the two agree.
#[cfg(feature = "native")]
const _: () = assert!(PAGE == super::ranges::PAGE, "one size of pages");

/// Hermit's heap, and the blocks that have ranges of their own.
struct Hermit(UnsafeCell<Blocks>);

// SAFETY: the application has one thread, no interrupt's handler allocates from it, and no method of `Blocks` and of
// `Kernel` allocates: there is one reference to the blocks at a time.
unsafe impl Sync for Hermit {}

#[global_allocator]
static ALLOCATOR: Hermit = Hermit(UnsafeCell::new(Blocks::new()));

/// The kernel's memory, page by page.
struct Kernel;

impl Pages for Kernel {
    fn reserve(&mut self, len: usize) -> Option<usize> {
        // SAFETY: takes any length.
        let start = unsafe { sys_reserve(len, PAGE) };
        (!start.is_null()).then(|| start.expose_provenance())
    }

    fn commit(&mut self, start: usize, len: usize) -> bool {
        // SAFETY: the pages are reserved by `reserve`, and not yet backed.
        has(len) && unsafe { sys_commit(ptr::with_exposed_provenance_mut(start), len) } == 0
    }

    fn release(&mut self, start: usize, len: usize) {
        // SAFETY: the range is one of `reserve`, and its block was given back or has moved. It fails for published code
        // only, which a heap's block is not.
        unsafe { sys_release(ptr::with_exposed_provenance_mut(start), len) };
    }

    fn free(&mut self) -> usize {
        free_memory()
    }
}

/// Bytes that large requests could still get in all.
pub(crate) fn free_memory() -> usize {
    // SAFETY: takes nothing.
    unsafe { sys_free_memory() }.saturating_sub(RESERVE)
}

/// Whether there are `more` bytes for a large request, and for the tables that map them.
pub(crate) fn has(more: usize) -> bool {
    more.saturating_add(more / 256) <= free_memory()
}

/// Whether the heap may take `more` bytes.
fn allowed(more: usize) -> bool {
    more < LARGE || has(more)
}

/// A linear memory or a table of the guest's is about to get `desired` bytes instead of `current`. Whether there is
/// enough memory for it: what comes next, the interpreter's own request, then does not fail.
#[cfg(not(feature = "native"))]
pub(crate) fn announce(current: usize, desired: usize) -> bool {
    ALLOCATOR.with(|blocks| blocks.announce(&mut Kernel, current, desired))
}

impl Hermit {
    /// Does something with the blocks.
    fn with<T>(&self, work: impl FnOnce(&mut Blocks) -> T) -> T {
        // SAFETY: as `Sync` has it, nobody else has a reference: no `work` here calls this again.
        work(unsafe { &mut *self.0.get() })
    }
}

// SAFETY: the kernel's heap hands out blocks of the asked size and alignment that do not overlap, or null; it keeps
// a block until it is given back, and takes size and alignment as `Layout` defines them. Ranges do not overlap the heap
// and each other; they begin at a page, and only blocks of less alignment get one. Of a block in a range, what the
// interpreter has announced is backed, which is all that it touches: see `kernel_app::blocks`. Where this returns null
// without asking the kernel, nothing has changed.
unsafe impl GlobalAlloc for Hermit {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: takes any size and alignment; the caller promises a size above zero.
        self.place(layout, || unsafe { sys_alloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`. What a range is backed with is zeros.
        self.place(layout, || unsafe {
            sys_alloc_zeroed(layout.size(), layout.align())
        })
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let resized = if layout.size() >= KNOWN {
            self.with(|blocks| blocks.resize(&mut Kernel, ptr.addr(), new_size))
        } else {
            self.with(Blocks::cancel);
            Resized::Heap
        };
        match resized {
            Resized::InPlace => ptr,
            Resized::Refused => ptr::null_mut(),
            Resized::Moved { to, copy, old } => {
                let new = ptr::with_exposed_provenance_mut::<u8>(to);
                // SAFETY: both are backed so far, and do not overlap.
                unsafe { ptr::copy_nonoverlapping(ptr, new, copy) };
                match old {
                    Some((start, len)) => Kernel.release(start, len),
                    // SAFETY: the caller promises that `ptr` is a block of this allocator with this layout; it is none
                    // of a range.
                    None => unsafe { sys_dealloc(ptr, layout.size(), layout.align()) },
                }
                new
            }
            Resized::Heap => {
                if !allowed(new_size.saturating_sub(layout.size())) {
                    return ptr::null_mut();
                }
                // SAFETY: as for `sys_dealloc` above.
                let new = unsafe { sys_realloc(ptr, layout.size(), layout.align(), new_size) };
                if layout.size() >= KNOWN && !new.is_null() {
                    self.with(|blocks| blocks.moved(ptr.addr(), new.addr(), new_size));
                }
                new
            }
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if layout.size() >= KNOWN && self.with(|blocks| blocks.free(&mut Kernel, ptr.addr())) {
            return;
        }
        // SAFETY: the caller promises that `ptr` is a block of this allocator with this layout; it is none of a range.
        unsafe { sys_dealloc(ptr, layout.size(), layout.align()) }
    }
}

impl Hermit {
    /// A block for `layout`: in a range, if the interpreter has announced it, else what `heap` gives.
    #[inline]
    fn place(&self, layout: Layout, heap: impl FnOnce() -> *mut u8) -> *mut u8 {
        let is_announced = self.with(|blocks| blocks.expects()) && layout.align() <= PAGE;
        if is_announced {
            match self.with(|blocks| blocks.allocate(&mut Kernel, layout.size())) {
                Resized::Moved { to, .. } => return ptr::with_exposed_provenance_mut(to),
                Resized::Refused => return ptr::null_mut(),
                Resized::InPlace | Resized::Heap => {}
            }
        }
        if !allowed(layout.size()) {
            return ptr::null_mut();
        }
        let block = heap();
        if is_announced {
            self.with(|blocks| blocks.note(block.addr(), layout.size()));
        }
        block
    }
}
