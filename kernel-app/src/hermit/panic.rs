//! The application's own failures: one message on the console, then the machine ends.
//!
//! Layer: device. Uses no heap: the lack of it is one of the failures.

use core::alloc::Layout;
use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use boot_protocol::console::{Cause, Ending, FrameKind};
use boot_protocol::exit_code;
use boot_protocol::shown;

use super::console::{send_anyway, write_line};
use super::exit;

/// Whether the console speaks the protocol. A failure strikes where no console is at hand, so it is noted here.
static FRAMED: AtomicBool = AtomicBool::new(false);

/// Whether the console speaks the protocol.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_console_framed() -> bool {
    FRAMED.load(Ordering::Relaxed)
}

/// Notes that the console speaks the protocol.
pub(super) fn console_is_framed() {
    FRAMED.store(true, Ordering::Relaxed);
}

/// A message as short pieces on the console, in frames where the other side expects them.
struct Message;

impl fmt::Write for Message {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A panic may quote a text of the guest's.
        shown::runs(text.as_bytes(), shown::Layout::Text, |run| {
            if FRAMED.load(Ordering::Relaxed) {
                send_anyway(FrameKind::Diagnostic, run.as_bytes());
            } else {
                write_line(run.as_bytes());
            }
        });
        Ok(())
    }
}

/// Ends the machine so after `message`.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn fail(ending: Ending, message: fmt::Arguments<'_>) -> ! {
    say(ending, message);
    exit(ending.code)
}

/// Says `message`, and that the run ends so.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn say(ending: Ending, message: fmt::Arguments<'_>) {
    // `Message` never fails; a formatted value that did would only cut the text short.
    let _ = Message.write_fmt(message);
    if FRAMED.load(Ordering::Relaxed) {
        let (bytes, length) = ending.to_bytes();
        send_anyway(FrameKind::Exit, bytes.get(..length).unwrap_or_default());
    }
}

/// How the application ends when it cannot go on.
pub(super) const FAILED: Ending = Ending::new(Cause::Failed, exit_code::VM_FAILED);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(
        FAILED,
        format_args!("hermit-wasm: internal error, please report it: {info}\n"),
    )
}

/// Ends the machine when the heap is used up.
#[alloc_error_handler]
fn out_of_memory(layout: Layout) -> ! {
    fail(
        FAILED.with_memory_refused(true),
        format_args!(
            "hermit-wasm: the virtual machine has too little memory ({} more bytes were needed): raise it with \
             --memory SIZE (QEMU: -m SIZE)\n",
            layout.size()
        ),
    )
}
