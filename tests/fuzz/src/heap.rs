//! An allocator that knows how much was taken at most, so that a bound on memory can be tested.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    // Per thread: tests run side by side.
    static USED: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn count(change: impl FnOnce(usize) -> usize) {
    // Without the thread's storage, while the thread ends, nothing is counted.
    let _ = USED.try_with(|used| {
        used.set(change(used.get()));
        MOST.with(|most| most.set(most.get().max(used.get())));
    });
}

// SAFETY: every method hands its arguments, and with them the caller's promises, to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|used| used.wrapping_add(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // What another thread took makes this too small; `most` compares differences within one call only.
        count(|used| used.saturating_sub(layout.size()));
        // SAFETY: `ptr` came from `System.alloc` above, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// What `work` returns, and the most heap that it held at once beyond what there was before.
pub(crate) fn most<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = USED.get();
    MOST.set(before);
    let result = work();
    (result, MOST.get().saturating_sub(before))
}
