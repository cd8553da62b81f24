//! Containers as `tests/fuzz` makes them: as `create` does, without a trial of KVM, without compiling and without a
//! delegate.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::monitor::{self, Programs};
use super::refusal::Refusal;
use super::rewrite::{Container, Fate};
use super::{Asked, make};

/// What a bundle's configuration becomes.
#[derive(Debug)]
pub struct Made {
    /// The configuration for the delegate.
    pub config: String,
    /// The delegate's bundle.
    pub bundle: PathBuf,
}

/// Makes a machine of the container that `text` describes, in the directory `bundle`, on a node whose root is `node`.
/// `None`: it stays as it is.
///
/// # Errors
/// The sentence in which it is refused.
pub fn container(bundle: &Path, node: &Path, text: &[u8]) -> Result<Option<Made>, String> {
    machine(bundle, node, text).map_err(|refusal| refusal.to_string())
}

fn machine(bundle: &Path, node: &Path, text: &[u8]) -> Result<Option<Made>, Refusal> {
    let (asked, spec) = Asked::read(Path::new("config.json"), text)?;
    let mut container = Container {
        bundle,
        id: Some(OsStr::new("fuzz")),
        spec,
    };
    let config = Config {
        monitor: node.into(),
        ..Config::default()
    };
    let Fate::Machine(machine) = container.fate(&config)? else {
        return Ok(None);
    };
    let programs = Programs {
        launcher: node.join("usr/bin/hermit-wasm"),
        qemu: node.join("usr/bin/qemu"),
        virtiofsd: node.join("usr/bin/virtiofsd"),
    };
    let own = monitor::bundle(bundle, OsStr::new("fuzz"))?;
    make(&mut container, &machine, &config, &programs, None, &own, |_| {
        Ok(None)
    })?;
    Ok(Some(Made {
        config: asked.written(&container.spec)?.to_string(),
        bundle: own,
    }))
}
