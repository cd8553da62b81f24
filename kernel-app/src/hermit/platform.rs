//! The machine as the application wants it: [`Platform`] on Hermit.
//!
//! Layer: top of the device code.

use alloc::rc::Rc;
use alloc::string::String;
use core::cell::RefCell;

use boot_protocol::command_line;
use boot_protocol::run_spec::{self, LogLevel};
use kernel_app::app::{self, Platform};
use kernel_app::command_line::CommandLine;

use super::console::Console;
use super::machine::Machine;
use super::uhyve::Uhyve;
use super::{allocator, deadline, exit, fuse, log, payload};

/// The engine of this image.
#[cfg(not(feature = "native"))]
use kernel_app::engine::wasmi::Interpreter as Engine;
#[cfg(feature = "native")]
type Engine = kernel_app::engine::wasmtime::Native<super::native::Pages>;

/// Makes the engine, which tells the allocator how the guest's memories grow.
#[cfg(not(feature = "native"))]
fn engine() -> Engine {
    Engine::on(allocator::announce)
}

/// Makes the engine, whose memories are no business of the allocator's.
#[cfg(feature = "native")]
fn engine() -> Engine {
    Engine::default()
}

/// The module that runs when no other is given: it greets and shows what it was given.
#[cfg(not(feature = "native"))]
static EMBEDDED: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/embedded.wasm")));

/// An image without an interpreter runs no module.
#[cfg(feature = "native")]
static EMBEDDED: Option<&[u8]> = None;

/// This machine.
struct Hermit {
    /// The one console, which the guest's standard streams use, and devices that have a question for the host.
    console: Rc<RefCell<Console>>,
    shares: fuse::Shares,
}

impl Platform for Hermit {
    type System = Machine;
    type Device = fuse::Share;
    type Files = Uhyve;
    type Engine = Engine;

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn open_console(&mut self, console: command_line::Console) {
        *self.console.borrow_mut() = Console::open(console);
    }

    fn show_log(&self, level: LogLevel) {
        log::init(level);
    }

    fn payload(&self) -> Option<&'static [u8]> {
        payload()
    }

    fn embedded(&self) -> Option<&'static [u8]> {
        EMBEDDED
    }

    fn engine(&self) -> Self::Engine {
        engine()
    }

    fn system(&self) -> Machine {
        Machine::new(Rc::clone(&self.console))
    }

    fn connect(&self, system: &mut Machine, network: &run_spec::Network) -> Result<(), String> {
        system.connect(network)
    }

    fn finish(&self, system: &mut Machine) {
        if let Some(sockets) = system.sockets() {
            sockets.finish();
        }
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn virtio_fs(&self, tag: &str, number: Option<u32>) -> Option<fuse::Share> {
        self.shares
            .find(tag, number.map(|number| (Rc::clone(&self.console), number)))
    }

    fn uhyve(&self) -> Option<Uhyve> {
        Uhyve::find()
    }

    fn set_deadline(&self, nanoseconds: u64, name: &str) {
        deadline::set(nanoseconds, name);
    }

    fn free_memory(&self) -> usize {
        allocator::free_memory()
    }
}

/// Runs what is to run, says what is to be said, and ends the machine.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn main(line: &CommandLine) -> ! {
    let mut platform = Hermit {
        console: Rc::new(RefCell::new(Console::open(command_line::Console::Raw))),
        shares: fuse::Shares::default(),
    };
    let status = app::run(&mut platform, line);
    let mut console = platform.console.borrow_mut();
    if let Some(message) = &status.message {
        console.diagnostic(message);
    }
    console.exit(status.ending());
    exit(status.code)
}
