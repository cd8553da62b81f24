//! The stack that a program of native code runs on: larger than the one that the kernel gives a task.
//!
//! Layer: device, above `ranges`. Guests nest their calls as deep as the interpreter lets them, and native code keeps
//! its frames on the processor's stack. How much memory that gets depends on how much there is; nothing of it is
//! touched before it is used.

use core::arch::asm;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::allocator;
use super::ranges::{PAGE, Range};

/// Bytes of the stack that the kernel gives a task.
const OF_TASK: usize = 1 << 20;
/// Bytes that the application itself needs at most, above the guest and in its calls.
const OWN: usize = 512 << 10;
/// Bytes of the largest stack.
const MOST: usize = 16 << 20;
/// What part of the free memory becomes the stack, if that is more than a task has.
const PART: usize = 32;
/// Bytes below and above it where nothing is: more than any function of the application has on its stack, and as much
/// as a large page, of which it is then made.
const GUARD: usize = 2 << 20;

/// Bytes of the stack in use.
static SIZE: AtomicUsize = AtomicUsize::new(OF_TASK);

/// Bytes of it that guests may use.
pub(crate) fn for_guests() -> usize {
    SIZE.load(Ordering::Relaxed).saturating_sub(OWN)
}

/// Calls `main` on a stack of its own, if there is memory for one, else on the present one.
pub(super) fn enter(main: extern "C" fn() -> !) -> ! {
    match new() {
        // SAFETY: memory that is the stack's alone ends there, aligned to pages; it is never given back.
        Some(top) => unsafe { call(main, top) },
        None => main(),
    }
}

/// The end of a new stack.
fn new() -> Option<*mut u8> {
    let size = (allocator::free_memory() / PART).min(MOST) / PAGE * PAGE;
    if size <= OF_TASK {
        return None;
    }
    let range = Range::reserve(GUARD + size + GUARD, GUARD)?;
    range.commit_as_it_is(GUARD, size).ok()?;
    SIZE.store(size, Ordering::Relaxed);
    let top = range.start().as_ptr().wrapping_add(GUARD + size);
    mem::forget(range);
    Some(top)
}

/// Calls `main` on the stack that ends at `top`.
///
/// # Safety
/// Nothing else uses the stack's memory, and `top` is a multiple of 16.
unsafe fn call(main: extern "C" fn() -> !, top: *mut u8) -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a function of the C ABI is entered on an empty stack, and never comes back to this one. The frame pointer
    // is zero, which ends a walk along frames.
    unsafe {
        asm!("mov rsp, {top}", "xor ebp, ebp", "call {main}", "ud2",
            top = in(reg) top, main = in(reg) main, options(noreturn))
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("mov sp, {top}", "mov x29, xzr", "br {main}",
            top = in(reg) top, main = in(reg) main, options(noreturn))
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        asm!("mv sp, {top}", "li s0, 0", "jr {main}",
            top = in(reg) top, main = in(reg) main, options(noreturn))
    }
}
