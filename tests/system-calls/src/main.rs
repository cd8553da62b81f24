//! Holds the kernel's calls for memory, code and faults against what they promise, in the machine.
//!
//! The boot module's first word says what to do; its other pages are for code. Prints a line for each thing that is as
//! it should be, and `done`; or `FAILED` and why. The wrappers are the application's own.

#![no_std]
#![no_main]
#![feature(optimize_attribute)]

#[path = "../../../kernel-app/src/hermit/buses.rs"]
#[expect(dead_code, reason = "the application's, of which this uses a part")]
mod buses;
#[path = "../../../kernel-app/src/hermit/code.rs"]
mod code;
#[path = "../../../kernel-app/src/hermit/devices.rs"]
mod devices;
mod faults;
mod frames;
mod machine;
mod memory;
#[path = "../../../kernel-app/src/hermit/ranges.rs"]
mod ranges;
#[path = "../../../kernel-app/src/hermit/syscalls.rs"]
#[expect(dead_code, reason = "the application's list, of which this uses a part")]
mod syscalls;

use core::fmt;
use core::panic::PanicInfo;

/// The kernel's console.
struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the bytes are valid for this length.
        unsafe { syscalls::sys_console_write(text.as_ptr(), text.len()) };
        Ok(())
    }
}

/// Prints a line.
macro_rules! say {
    ($($part:tt)*) => {
        _ = core::fmt::Write::write_fmt(
            &mut $crate::Console,
            format_args!("{}\n", format_args!($($part)*)),
        )
    };
}
pub(crate) use say;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("FAILED {info}");
    exit(1)
}

fn exit(code: i32) -> ! {
    // SAFETY: takes no pointers; never returns.
    unsafe { syscalls::sys_exit(code) }
}

/// The kernel asks for other ends of the machine than its own.
#[unsafe(no_mangle)]
extern "C" fn end_machine(_: i32) {}

/// What the kernel's first task calls.
#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const u8, _: *const *const u8) -> i32 {
    let module = machine::boot_module();
    let order = module.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match order {
        b"memory" => memory::check(),
        b"tables" => faults::publish_and_wait(module),
        b"faults" => faults::check(module),
        b"unhandled" => faults::fault_and_return(module),
        b"frames" => frames::answer(),
        b"asleep" => frames::sleep(),
        b"elsewhere" => faults::fault_elsewhere(module),
        _ => panic!("the boot module begins with no order"),
    }
    say!("done");
    exit(0)
}
