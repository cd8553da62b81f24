//! What the launcher needs of this host, hypervisor or not: files, memory, time, daemons.
//!
//! - `beneath`: what lies beneath a directory, without links.
//! - `cgroup`: a cgroup of the run's own.
//! - `files`: files that a hypervisor opens by name although they have none.
//! - [`identity`]: digests of what runs.
//! - `image`: the bootable images that this crate carries.
//! - `inherited`: descriptors that this program was started with.
//! - `interrupt`: asking a run to stop, from another thread or by a signal.
//! - `json`: strings as JSON has them.
//! - `memory`: the machine's memory, seen from here.
//! - `nonblocking`: streams that others share, without ever waiting for them.
//! - `privileges`: the capabilities that children will have.
//! - `program`: finding programs as a shell does.
//! - `shown`: what messages say of a path.
//! - `tsc`: the frequency of the time stamp counter.
//! - [`units`]: sizes and durations, as people write them: Hermitfiles have them too.
//! - `version`: what programs say of themselves.
//! - `virtiofsd`: the daemon behind a mounted directory.

pub(crate) mod beneath;
pub(crate) mod cgroup;
pub(crate) mod files;
pub mod identity;
pub(crate) mod image;
pub mod inherited;
pub mod interrupt;
pub mod json;
pub(crate) mod memory;
pub mod nonblocking;
pub(crate) mod privileges;
pub(crate) mod program;
pub mod shown;
pub(crate) mod tsc;
pub(crate) mod version;
pub(crate) mod virtiofsd;

pub use hermitfile::units;
