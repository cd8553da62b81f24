//! What a node's administrator says: `/etc/hermit-wasm/oci.toml`, or the file that the environment variable
//! `HERMIT_OCI_CONFIG` names.
//!
//! Without the file all is as by default. A word in it that means nothing is an error: a limit must not be lost by a
//! misspelt name.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_protocol::shown::piece;
use serde::Deserialize;

use super::refusal::{Refusal, refuse};
use crate::compile::Budget;
use crate::host::program;
use crate::host::shown;
use crate::host::units::MIB;
use crate::vmm::capabilities::Accelerator;

/// Where the file is.
const FILE: &str = "/etc/hermit-wasm/oci.toml";

/// What names another one.
const VARIABLE: &str = "HERMIT_OCI_CONFIG";

/// What names the delegate.
const DELEGATE_VARIABLE: &str = "HERMIT_OCI_DELEGATE";

/// The runtimes that can be the delegate, best first.
const DELEGATES: [&str; 3] = ["runc", "crun", "youki"];

/// Where engines keep their runtimes and hypervisors, in whatever environment they start us.
const DIRECTORIES: [&str; 7] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/libexec",
];

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Config {
    /// The runtime that makes the containers.
    pub(super) delegate: Option<PathBuf>,
    /// The hypervisor.
    pub(super) qemu: Option<PathBuf>,
    /// The file server.
    pub(super) virtiofsd: Option<PathBuf>,
    /// What compiles modules to native code. A rootless engine has to be told: in its user namespace root's files are
    /// not told from any other user's, and a program that was only found there is not taken.
    pub(super) compiler: Option<PathBuf>,
    /// What every container must have: KVM, or TCG.
    pub(super) accel: Option<String>,
    /// The directory whose programs and libraries a monitor sees as its own, read-only: the node's root, or one that was
    /// prepared.
    pub(super) monitor: PathBuf,
    /// More directories of the node that a monitor sees under the same names, read-only.
    pub(super) also: Vec<PathBuf>,
    /// What launcher, hypervisor and file server use besides the machine's memory, in MiB.
    pub(super) overhead: u64,
    /// How long a module may be compiled to native code before its container is made, in seconds.
    pub(super) compile_seconds: u64,
    /// How much memory that may take, in MiB.
    pub(super) compile_memory: u64,
    /// Whether containers may be no WebAssembly, by annotation. An image can bring annotations, too.
    pub(super) native: bool,
    /// Whether native code in an image may run in its machine, by annotation.
    pub(super) precompiled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delegate: None,
            qemu: None,
            virtiofsd: None,
            compiler: None,
            accel: None,
            monitor: "/".into(),
            also: Vec::new(),
            overhead: 96,
            compile_seconds: 60,
            compile_memory: 2048,
            native: false,
            precompiled: false,
        }
    }
}

impl Config {
    /// Reads the file.
    pub(super) fn read() -> Result<Self, Refusal> {
        let (path, named) = match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => (PathBuf::from(path), true),
            None => (PathBuf::from(FILE), false),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                Self::parse(&text).map_err(|why| Refusal::new(format!("{}: {why}", shown::path(&path))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(Self::default()),
            Err(error) => refuse!("cannot read {}: {error}", shown::path(&path)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let this: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
        let paths = [&this.delegate, &this.qemu, &this.virtiofsd, &this.compiler];
        let paths = paths
            .into_iter()
            .flatten()
            .chain([&this.monitor])
            .chain(&this.also);
        for path in paths {
            if !path.is_absolute() {
                return Err(format!("'{}' is no absolute path", shown::path(path)));
            }
        }
        this.accelerator()?;
        Ok(this)
    }

    /// The accelerator that this node demands.
    pub(super) fn accelerator(&self) -> Result<Option<Accelerator>, String> {
        match self.accel.as_deref() {
            None | Some("auto") => Ok(None),
            Some("kvm") => Ok(Some(Accelerator::Kvm)),
            Some("tcg") => Ok(Some(Accelerator::Tcg)),
            Some(other) => Err(format!("accel = '{}': write auto, kvm or tcg", piece(other))),
        }
    }

    /// What a container's limit of memory has room for besides the machine's memory, in bytes.
    pub(super) fn overhead_bytes(&self) -> u64 {
        self.overhead.saturating_mul(MIB)
    }

    /// What compiling a module may take on this node.
    pub(super) fn budget(&self) -> Budget {
        Budget {
            time: Duration::from_secs(self.compile_seconds),
            memory: self.compile_memory.saturating_mul(MIB),
        }
    }

    /// The runtime that makes containers: `named` on the command line, in the environment, in the file, or found.
    pub(super) fn delegate(&self, named: Option<&Path>) -> Result<PathBuf, Refusal> {
        let variable = std::env::var_os(DELEGATE_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let named = named
            .map(Path::to_path_buf)
            .or(variable)
            .or(self.delegate.clone());
        if let Some(named) = named {
            return match find(&named) {
                Some(program) => Ok(program),
                None => refuse!(
                    "the delegate '{}' is not there, or is not executable",
                    shown::path(&named)
                ),
            };
        }
        match DELEGATES.iter().find_map(|name| find(Path::new(name))) {
            Some(program) => Ok(program),
            None => refuse!(
                "none of {} is installed, and one of them has to make the containers; --delegate names another one",
                DELEGATES.join(", ")
            ),
        }
    }
}

/// Finds a program by its name or path, in PATH and in the usual places.
pub(super) fn find(name: &Path) -> Option<PathBuf> {
    let usual = || {
        let plain = !name.as_os_str().as_encoded_bytes().contains(&b'/');
        let places = DIRECTORIES.iter().filter(|_| plain);
        places
            .map(|directory| Path::new(directory).join(name))
            .find_map(|path| program::search_path(&path))
    };
    program::search_path(name).or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let config = Config::parse(
            "delegate = '/usr/bin/crun'\nqemu = '/opt/q/bin/qemu'\noverhead = 128\nnative = true\naccel = 'kvm'\nalso = ['/nix/store']\n",
        )
        .unwrap();
        assert_eq!(config.delegate.as_deref(), Some(Path::new("/usr/bin/crun")));
        assert_eq!(
            (config.overhead, config.native, config.precompiled),
            (128, true, false)
        );
        assert_eq!(config.accelerator(), Ok(Some(Accelerator::Kvm)));
        assert_eq!(config.also, [PathBuf::from("/nix/store")]);
        assert_eq!(Config::default().accelerator(), Ok(None));
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn what_means_nothing_is_an_error() {
        for (text, reason) in [
            ("overhed = 1", "overhed"),
            ("accelerator = 'kvm'", "accelerator"),
            ("overhead = 'much'", "overhead"),
            ("qemu = 'qemu'", "no absolute path"),
            ("compiler = 'hermit-wasm-compiler'", "no absolute path"),
            ("accel = 'hvf'", "write auto, kvm or tcg"),
            ("= 1", "TOML parse error"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
