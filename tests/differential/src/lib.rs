//! Runs modules on our WASI and on `wasmi_wasi`, with the same interpreter, and compares what runtimes answer.
//!
//! Layer: host tests and measurements; nothing of it is in the image.

pub mod client;
pub mod compare;
pub mod expectations;
pub mod network;
pub mod process;
pub mod shim;
pub mod theirs;

/// What a module is run with.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The arguments, the program's name first.
    pub args: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Directories: the host's path and the guest's. Ours are in memory and have no path on the host.
    pub directories: Vec<(Option<std::path::PathBuf>, String)>,
    /// Whether it may do what it likes with the host's network; ours only.
    pub network: bool,
    /// Where the host listens for it, behind the directories; ours only.
    pub listeners: Vec<std::net::SocketAddr>,
}
