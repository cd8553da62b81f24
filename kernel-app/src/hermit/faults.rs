//! What wasmtime asks of a system without Rust's standard library: a word for each slot, and its traps.
//!
//! Layer: device. Contract: `runtime/vm/sys/custom/capi.rs` of crate wasmtime.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::syscalls::{FAULT_ACCESS, sys_fault_handler};

/// wasmtime's words. There is one thread.
static SLOTS: [AtomicPtr<u8>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// wasmtime's handler: program counter, frame pointer, whether there is an address, the address. It returns if the
/// fault is none of a module's.
type Handler = extern "C" fn(usize, usize, bool, usize);

/// The address of the [`Handler`].
static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// The word of a slot, at first null.
#[unsafe(no_mangle)]
extern "C" fn wasmtime_tls_get(slot: usize) -> *mut u8 {
    SLOTS
        .get(slot)
        .map_or(ptr::null_mut(), |word| word.load(Ordering::Relaxed))
}

/// Sets the word of a slot.
#[unsafe(no_mangle)]
extern "C" fn wasmtime_tls_set(slot: usize, word: *mut u8) {
    if let Some(place) = SLOTS.get(slot) {
        place.store(word, Ordering::Relaxed);
    }
}

/// From here on faults of published code go to `handler`.
#[unsafe(no_mangle)]
extern "C" fn wasmtime_init_traps(handler: Handler) -> i32 {
    HANDLER.store(handler as usize, Ordering::Relaxed);
    // SAFETY: `fault` may be entered wherever published code faults: it is a function of the C ABI.
    unsafe { sys_fault_handler(Some(fault)) };
    0
}

/// Where the kernel goes on after a fault of published code, on the stack of what has faulted. If it returns, the
/// kernel reports the fault and ends the machine.
extern "C" fn fault(pc: usize, frame_pointer: usize, kind: u32, address: usize) {
    let handler = ptr::with_exposed_provenance::<()>(HANDLER.load(Ordering::Relaxed));
    // SAFETY: set before the kernel knew of this function, from a `Handler`.
    let handler: Handler = unsafe { core::mem::transmute(handler) };
    handler(pc, frame_pointer, kind == FAULT_ACCESS, address);
}
