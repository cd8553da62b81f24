//! Runs WebAssembly modules, each in a microVM of its own: the launcher of hermit-wasm as a library.
//!
//! A [`Run`] says what to run and what the guest may see. It boots the image that this crate carries (Hermit's kernel,
//! an interpreter, WASI preview 1) under a [hypervisor](vmm), connects the guest's standard streams, and ends with the
//! guest's exit status:
//!
//! ```no_run
//! use hermit_wasm_vm::{Module, Run};
//!
//! let result = Run::new(Module::open("app.wasm")?).arg("hello").output()?;
//! println!("{}: {}", result.status.code(), String::from_utf8_lossy(&result.stdout));
//! # Ok::<(), hermit_wasm_vm::Error>(())
//! ```
//!
//! Progress and warnings go to the crate `log`. Nothing here writes to this process's own streams, unless the guest's
//! are connected to them.
//!
//! - [`Run`]: what to run; [`Running`]: a run on a thread of its own; [`RunResult`]: how it ended.
//! - [`Report`]: the same for programs, as JSON, with what the run took; also of a run that failed.
//! - [`Input`] and [`Output`]: where the guest's standard streams go.
//! - [`Recording`]: a run that was recorded, to be replayed.
//! - [`Interrupt`]: stopping runs from elsewhere.
//! - [`Error`]: what can go wrong, with the table of exit codes.
//! - [`check`]: what this host has for all that.
//! - [`compile`]: modules as native code.
//! - [`pack`]: one file to ship.
//! - [`relay`]: the host's end of a guest's network.
//! - [`jail`]: what hypervisors and daemons can reach of this host.
//! - [`vmm`]: the hypervisors, and the trait for another one.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the launcher needs Linux: it hands files to hypervisors through /proc and ends them by a parent-death signal"
);

pub mod check;
pub mod compile;
mod error;
// What `tests/fuzz` drives. No promise is made about it.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
// What is needed of this host. Public for the program `hermit-wasm` alone: no promise is made about it.
#[doc(hidden)]
pub mod host;
pub mod jail;
// Containers. Public for the program `hermit-wasm` alone: no promise is made about it.
#[cfg(feature = "oci")]
#[doc(hidden)]
pub mod oci;
pub mod pack;
// Recordings of runs.
mod recording;
pub mod relay;
mod report;
mod result;
mod running;
// The connection to a machine that runs.
mod session;
// What to run, as every producer describes it.
mod spec;
pub mod vmm;

/// What launcher and machine agree on: a [`Vmm`](vmm::Vmm) describes a run to its machine in these words.
#[doc(no_inline)]
pub use boot_protocol;
pub use boot_protocol::arch::Arch;
pub use boot_protocol::network::{Grant, Protocol, Publish};
pub use boot_protocol::run_spec::{Access, Limits, LogLevel};
pub use error::{Error, MachineError, MachineFailure, StartError};
/// What a Hermitfile says, and its text.
#[doc(no_inline)]
pub use hermitfile;
pub use host::interrupt::{Interrupt, Stop};
pub use jail::Jail;
pub use recording::{RecordedEnd, Recording, RecordingError};
pub use report::{End, Figures, Limit, Report};
pub use result::{ExitStatus, RunResult};
pub use running::Running;
pub use session::Diagnostics;
pub use session::streams::{Input, Output};
pub use spec::deadline::Deadline;
pub use spec::engine::Engine;
pub use spec::manifest::Hermitfile;
pub use spec::module::{Module, ModuleError, TextError};
pub use spec::mounts::{CopiedFile, Mount, MountError, MountSource};
pub use spec::request::Request;
pub use spec::run::{DEFAULT_MEMORY, Run, SMALLEST_MEMORY};

/// Runs are started, waited for and stopped from any thread, and errors travel as any other's do.
const _: () = {
    const fn is_send<T: Send + 'static>() {}
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Run>();
    is_shared::<Error>();
    is_shared::<RunResult>();
    is_shared::<Interrupt>();
    is_shared::<Module>();
    is_send::<Running>();
};
