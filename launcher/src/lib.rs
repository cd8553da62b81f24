//! Runs WebAssembly modules, each in a microVM of its own: the launcher of hermit-wasm as a library.
//!
//! A [`Run`] says what to run and what the guest may see. It boots the image that this crate carries (Hermit's kernel, an
//! interpreter, WASI preview 1) under a [hypervisor](vmm), connects the guest's standard streams, and ends with the
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
//! - [`spec`]: what to run, as every producer describes it.
//! - [`vmm`]: the hypervisors.
//! - [`session`]: the connection to a machine that runs.
//! - [`host`]: what is needed of this host.
//! - [`Error`]: what can go wrong, with the table of exit codes.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the launcher needs Linux: it hands files to hypervisors through /proc and ends them by a parent-death signal"
);

mod error;
pub mod host;
mod result;
mod running;
pub mod session;
pub mod spec;
pub mod vmm;

pub use boot_protocol::arch::Arch;
pub use boot_protocol::run_spec::{Access, LogLevel};
pub use error::{Error, MachineError, MachineFailure, StartError};
pub use host::interrupt::{Interrupt, Stop};
pub use result::{ExitStatus, RunResult};
pub use running::Running;
pub use session::Diagnostics;
pub use session::streams::{Input, Output};
pub use spec::module::{Module, ModuleError};
pub use spec::mounts::{Mount, MountError, MountSource};
pub use spec::run::{DEFAULT_MEMORY, Deadline, Request, Run};
