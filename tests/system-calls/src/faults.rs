//! Code and its faults: what is published, where the kernel goes on after a fault, and what it makes of others.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::code;
use crate::machine::{Routine, SAVED, enter, flags, leave, routine_bytes};
use crate::ranges::{PAGE, Range, Refused};
use crate::say;
use crate::syscalls::{FAULT_ACCESS, sys_console_read, sys_fault_handler};

/// A division without a result.
const FAULT_DIVISION: u32 = 1;
/// What is no instruction.
const FAULT_INSTRUCTION: u32 = 2;

/// What the handler was told: program counter, frame pointer, kind, address; and its flags and stack.
static SEEN: [AtomicUsize; 6] = [const { AtomicUsize::new(0) }; 6];

extern "C" fn handler(pc: usize, frame_pointer: usize, kind: u32, address: usize) {
    // SAFETY: touches nothing.
    let flags = unsafe { flags() };
    let here = 0_u8;
    let stack = (&raw const here).addr();
    for (place, value) in SEEN
        .iter()
        .zip([pc, frame_pointer, kind as usize, address, flags, stack])
    {
        place.store(value, Ordering::Relaxed);
    }
    // SAFETY: faults are only made in code that `enter` has called.
    unsafe { leave() }
}

extern "C" fn handler_that_returns(_: usize, _: usize, _: u32, _: usize) {
    say!("not mine");
}

/// Calls a routine in published code. The fault is its kind and address.
fn call(code: usize, routine: Routine, argument: usize) -> Result<usize, (u32, usize)> {
    SEEN.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    // SAFETY: touches nothing.
    let before = unsafe { flags() };
    let start = code + routine.offset();
    // SAFETY: the routine is there, and does no more than its name says.
    let result = unsafe { enter(start, argument) };
    let [pc, frame_pointer, kind, address, after, stack] =
        SEEN.each_ref().map(|place| place.load(Ordering::Relaxed));
    if pc == 0 {
        return Ok(result);
    }
    assert_eq!(result, usize::MAX);
    assert!((start..start + 32).contains(&pc), "{pc:#x} is not in {start:#x}");
    let stack_pointer = SAVED.load(Ordering::Relaxed);
    assert_eq!(frame_pointer, stack_pointer, "frame pointer");
    assert_eq!(after, before, "the processor's flags");
    assert!(stack < stack_pointer && stack_pointer - stack < PAGE, "stack");
    Err((u32::try_from(kind).unwrap_or(u32::MAX), address))
}

/// Puts the routines into `to` and publishes them.
fn publish(to: *mut u8) -> usize {
    let bytes = routine_bytes();
    // SAFETY: the callers have a page there.
    unsafe { to.copy_from(bytes.as_ptr(), bytes.len()) };
    assert_eq!(code::publish(to, bytes.len()), Ok(()));
    to.expose_provenance()
}

/// Pages of a new range, backed.
fn backed(pages: usize) -> Range {
    let range = Range::reserve(pages * PAGE, PAGE).expect("a range");
    range.commit(0, pages * PAGE).expect("memory");
    range
}

/// A page of the boot module's, behind its first one.
fn page_of(module: &mut [u8]) -> *mut u8 {
    let start = module.as_mut_ptr();
    let offset = start.addr().next_multiple_of(PAGE) - start.addr() + PAGE;
    assert!(offset + PAGE <= module.len(), "the boot module is too short");
    start.wrapping_add(offset)
}

fn set_handler(handler: extern "C" fn(usize, usize, u32, usize)) {
    // SAFETY: a function of this ABI.
    unsafe { sys_fault_handler(Some(handler)) };
}

/// Every kind of fault, in place and in a range.
pub(crate) fn check(module: &mut [u8]) {
    set_handler(handler);
    let range = backed(3);
    let places = [
        publish(range.start().as_ptr().wrapping_add(PAGE)),
        publish(page_of(module)),
    ];
    for code in places {
        kinds(code);
        // What exceptions use of stacks is free again after each.
        let guard = Guard::new();
        for _ in 0..2000 {
            let address = guard.address();
            assert_eq!(call(code, Routine::Load, address), Err((FAULT_ACCESS, address)));
        }
        // Neither the code nor what lies beside it in the last page can be written to.
        for address in [code, code + PAGE - 8] {
            assert_eq!(call(code, Routine::Store, address), Err((FAULT_ACCESS, address)));
        }
        assert!(call(code, Routine::Load, code).is_ok());
    }
    neighbours(&range, places[0]);
    what_is_refused(&range);
    unpublished(range, places[0]);
}

/// A page that is reserved and not backed.
struct Guard(Range);

impl Guard {
    fn new() -> Self {
        Self(Range::reserve(PAGE, PAGE).expect("a range"))
    }

    /// An address in it.
    fn address(&self) -> usize {
        self.0.start().addr().get() + 0x238
    }
}

fn kinds(code: usize) {
    let guard = Range::reserve(4 << 30, PAGE).expect("a range");
    guard.commit(0, PAGE).expect("memory");
    let start = guard.start().addr().get();
    for routine in [Routine::Load, Routine::Store] {
        assert!(call(code, routine, start + PAGE - 8).is_ok());
        for address in [
            start + PAGE,
            start + (3 << 30),
            start + (4 << 30) - 8,
            0,
            8,
            PAGE - 8,
        ] {
            assert_eq!(call(code, routine, address), Err((FAULT_ACCESS, address)));
        }
    }
    assert_eq!(call(code, Routine::Illegal, 0), Err((FAULT_INSTRUCTION, 0)));
    // Only x86_64 has an exception for it; elsewhere compilers check.
    let kind = if cfg!(target_arch = "x86_64") {
        FAULT_DIVISION
    } else {
        FAULT_INSTRUCTION
    };
    assert_eq!(call(code, Routine::Divide, 2), Ok(3));
    assert_eq!(call(code, Routine::Divide, 0), Err((kind, 0)));
    assert_eq!(call(code, Routine::Overflow, 0), Err((kind, 0)));
    say!("kinds of faults");
}

/// The pages around published ones are data as before.
fn neighbours(range: &Range, code: usize) {
    let start = range.start().addr().get();
    for address in [start, start + 2 * PAGE] {
        assert!(call(code, Routine::Store, address).is_ok());
    }
    say!("neighbours");
}

fn what_is_refused(range: &Range) {
    let start = range.start().as_ptr();
    let refused = |offset: usize, len: usize| {
        assert_eq!(
            code::publish(start.wrapping_add(offset), len),
            Err(Refused::Invalid),
            "{offset} {len}"
        );
    };
    refused(PAGE, PAGE);
    refused(0, 2 * PAGE);
    refused(0, 0);
    refused(8, 8);
    refused(2 * PAGE, PAGE + 1);
    refused(0_usize.wrapping_sub(PAGE), PAGE);
    let ours = (check as *const () as usize) & !(PAGE - 1);
    let ours = core::ptr::with_exposed_provenance::<u8>(ours);
    assert_eq!(code::publish(ours, PAGE), Err(Refused::Invalid));
    assert_eq!(code::unpublish(ours, PAGE), Err(Refused::Invalid));
    let empty = Range::reserve(PAGE, PAGE).expect("a range");
    assert_eq!(code::publish(empty.start().as_ptr(), PAGE), Err(Refused::Invalid));
    // SAFETY: that nothing happens is what is tested.
    let taken = unsafe { range.decommit(0, 3 * PAGE) };
    assert_eq!(taken, Err(Refused::Invalid));
    say!("what is refused");
}

/// Data again, and given back; then other code at the same address.
fn unpublished(range: Range, code: usize) {
    let start = range.start().as_ptr().wrapping_add(PAGE);
    let len = routine_bytes().len();
    assert_eq!(code::unpublish(start, len), Ok(()));
    // SAFETY: it is data again.
    unsafe { start.write_bytes(0xcc, PAGE) };
    assert_eq!(code::unpublish(start, len), Err(Refused::Invalid));
    assert_eq!(publish(start), code);
    assert_eq!(call(code, Routine::Divide, 3), Ok(2));
    assert_eq!(code::unpublish(start, len), Ok(()));
    drop(range);
    say!("unpublished");
}

/// Publishes both ways, says where, and waits for the debugger.
pub(crate) fn publish_and_wait(module: &mut [u8]) {
    // Some of it in large pages, of which code takes a part.
    let range = Range::reserve(8 << 20, 2 << 20).expect("a range");
    range.commit(0, 8 << 20).expect("memory");
    let start = range.start().as_ptr();
    let places = [
        (publish(start.wrapping_add(3 * PAGE)), PAGE),
        (publish(page_of(module)), PAGE),
        (start.addr() + (2 << 20) + PAGE, 5 << 20),
    ];
    assert_eq!(
        code::publish(start.wrapping_add((2 << 20) + PAGE), 5 << 20),
        Ok(())
    );
    let again = backed(1);
    publish(again.start().as_ptr());
    assert_eq!(
        code::unpublish(again.start().as_ptr(), routine_bytes().len()),
        Ok(())
    );
    for (address, len) in places {
        say!("published {address:x} {len:x}");
    }
    say!("begun");
    // SAFETY: one byte is valid for writing.
    unsafe { sys_console_read(&raw mut *module.as_mut_ptr(), 1, u64::MAX) };
}

/// A fault of published code whose handler returns.
pub(crate) fn fault_and_return(module: &mut [u8]) {
    set_handler(handler_that_returns);
    let code = publish(page_of(module));
    _ = call(code, Routine::Load, Guard::new().address());
}

/// A fault that is not published code's.
pub(crate) fn fault_elsewhere(module: &mut [u8]) {
    set_handler(handler);
    publish(page_of(module));
    let bytes = routine_bytes().as_ptr().addr();
    _ = call(bytes, Routine::Load, Guard::new().address());
}
