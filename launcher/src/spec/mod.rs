//! What to run: the description that every producer fills and every hypervisor takes.
//!
//! - [`run`]: the builder.
//! - [`packing`]: runs that are packed, and of what was; [`command`]: command lines that run the same.
//! - [`choice`]: which engine a run gets; `ahead`: native code for a run of another process.
//! - [`course`]: the way of a run to its result.
//! - [`engine`]: what executes the guest's code.
//! - [`deadline`]: when a run must be over.
//! - [`program`]: what the machine is given to run.
//! - [`request`]: a run as its hypervisor sees it.
//! - [`module`]: the module on the host; [`module_error`]: why it cannot be run.
//! - [`reading`]: files that are read as long as there is time.
//! - [`manifest`]: a Hermitfile as a run.
//! - [`mounts`]: the guest's directories; [`network`]: its network.
//! - [`text`]: the text format's translation.
//! - [`tracing`]: runs that are recorded, and runs that replay a recording.
//! - [`outline`]: a module from outside.
//! - [`linking`]: the order of modules that import from each other.
//! - [`payload`]: all of it in the one file that the machine is handed; [`copying`]: copies of directories in it.

#[cfg(feature = "oci")]
pub(crate) mod ahead;
pub(crate) mod choice;
mod command;
pub(crate) mod copying;
mod course;
pub(crate) mod deadline;
pub(crate) mod engine;
mod linking;
pub(crate) mod manifest;
pub(crate) mod module;
mod module_error;
pub(crate) mod mounts;
pub(crate) mod network;
mod outline;
mod packing;
pub(crate) mod payload;
pub(crate) mod program;
pub(crate) mod reading;
pub(crate) mod request;
pub(crate) mod run;
mod text;
mod tracing;
