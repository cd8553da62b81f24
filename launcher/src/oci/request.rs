//! What the launcher in the container is told: a file in its root, which only the container's user can read. Arguments
//! and environment stand on no command line.
//!
//! Layer: JSON, written by `create` and read by the same program.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where it is in the monitor's root.
pub(super) const FILE: &str = "/request.json";

/// Where native code of the module is, if there is some.
pub(super) const CODE: &str = "/module.cwasm";

/// The word behind `oci` by which the program knows that it is the one in the container. No runtime has a command of
/// that name.
pub(super) const INSIDE: &str = "inside";

/// Where the image's root and the other mounts are in the monitor's root.
pub(super) const GUEST: &str = "/guest";

/// What to run, in words that are read where the run is described.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Request {
    /// The module or packed file, beneath [`GUEST`], without links.
    pub(super) module: PathBuf,
    /// What messages call it, and the guest's first argument.
    pub(super) name: String,
    /// The guest's arguments behind that.
    pub(super) args: Vec<String>,
    /// The guest's environment, as `NAME=VALUE`.
    pub(super) env: Vec<String>,
    /// The machine's memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<u64>,
    /// The hypervisor, the file server.
    pub(super) qemu: PathBuf,
    pub(super) virtiofsd: PathBuf,
    /// The annotations that describe the run, which are read again.
    pub(super) annotations: std::collections::BTreeMap<String, String>,
    /// The accelerator that was found to work; none where the launcher finds out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) accelerator: Option<String>,
    /// Native code of the module that this node has compiled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<PathBuf>,
}
