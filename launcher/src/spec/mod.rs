//! What to run: the description that every producer fills and every hypervisor takes.
//!
//! - [`run`]: the builder.
//! - [`engine`]: what executes the guest's code.
//! - [`deadline`]: when a run must be over.
//! - [`request`]: a run as its hypervisor sees it.
//! - [`module`]: the module on the host.
//! - [`mounts`]: the guest's directories.
//! - [`text`]: the text format's translation.
//! - [`payload`]: all of it in the one file that the machine is handed.

pub(crate) mod deadline;
pub(crate) mod engine;
pub(crate) mod module;
pub(crate) mod mounts;
pub(crate) mod payload;
pub(crate) mod request;
pub(crate) mod run;
mod text;
