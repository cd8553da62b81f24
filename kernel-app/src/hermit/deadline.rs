//! The deadline: the kernel's timer interrupts whatever the machine does, and the run ends with these last words.
//!
//! Layer: device. The handler may come anywhere in the application, so it touches nothing of it: no heap, no console
//! but the line itself, which the kernel writes to without interrupts, frame by frame.

use alloc::boxed::Box;
use alloc::string::String;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use boot_protocol::console::Ending;
use boot_protocol::run_spec::{Limit, Reached};
use boot_protocol::shown;

use super::panic::say;
use super::syscalls::sys_deadline;

/// What the last words are about.
struct Deadline {
    reached: Reached,
    /// The module's name, as it can be shown.
    name: String,
}

/// The deadline, once there is one.
static DEADLINE: AtomicPtr<Deadline> = AtomicPtr::new(ptr::null_mut());

/// Ends the machine in so many nanoseconds, in which it runs the module called `name`.
pub(super) fn set(nanoseconds: u64, name: &str) {
    let deadline = Box::leak(Box::new(Deadline {
        reached: Limit::Deadline.of(nanoseconds),
        name: shown::piece(name),
    }));
    DEADLINE.store(deadline, Ordering::Relaxed);
    // SAFETY: `over` takes no lock and allocates nothing.
    unsafe { sys_deadline(nanoseconds.div_ceil(1000), over) };
}

/// The last words, and the machine's exit status.
extern "C" fn over() -> i32 {
    // SAFETY: `set` has stored it before the kernel knew of this function; it is never freed or written to.
    let Deadline { reached, name } = unsafe { &*DEADLINE.load(Ordering::Relaxed) };
    let ending = Ending::of_limit(*reached);
    say(
        ending,
        format_args!("hermit-wasm: `{name}` reached its {reached}\n"),
    );
    i32::from(ending.code)
}
