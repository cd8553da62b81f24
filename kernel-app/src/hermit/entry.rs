//! The symbol that the kernel calls: C's `main`, which takes its words from the device tree instead.

use core::ffi::{c_char, c_int};

use boot_protocol::console::{Cause, Ending};
use boot_protocol::exit_code;

use super::panic::fail;
use super::{device_tree, platform};

/// The application's entry. Called once by the kernel's first task, with what the kernel has made of the command line,
/// which it leaves to the application.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char, _: *const *const c_char) -> c_int {
    #[cfg(feature = "native")]
    super::stack::enter(run);
    #[cfg(not(feature = "native"))]
    run();
}

/// Runs what the command line says, and ends the machine.
#[cfg_attr(target_os = "hermit", optimize(size))]
extern "C" fn run() -> ! {
    match device_tree::command_line() {
        Ok(line) => platform::main(&line),
        Err(error) => fail(
            Ending::new(Cause::Refused, exit_code::USAGE),
            format_args!("hermit-wasm: {error}\n"),
        ),
    }
}
