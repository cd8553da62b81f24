//! Images with a module that any runtime runs. They say what a container's configuration can say; the rest is refused,
//! since nobody would hold it.

use boot_protocol::payload as names;
use boot_protocol::run_spec::{Access, Mount, MountSource, Network, RunSpec};
use boot_protocol::shown::piece;

use super::super::packed::{Member, Packed};
use super::layer::{self, Layer};
use super::{MODULE, OciKind, absolute, is_interpreted};
use crate::error::Error;
use std::path::Path;

/// The member that is the module.
pub(super) fn member(packed: &Packed) -> Result<&Member, Error> {
    packed
        .member(names::MODULE)
        .ok_or_else(|| Error::Invalid("the payload has no module, only native code".to_string()))
}

/// Refuses what an image of this kind cannot say.
pub(super) fn check(packed: &Packed, kind: OciKind) -> Result<(), Error> {
    let refuse = |what: String| {
        let kind = kind.name();
        Err(Error::Invalid(format!(
            "--oci {kind}: {what}, which an image with a module alone does not hold; use --oci sealed, or leave it out"
        )))
    };
    if !is_interpreted(packed) {
        return refuse("native code is packed".to_string());
    }
    match unsaid(packed.spec(), kind) {
        Some(what) => refuse(what),
        None => Ok(()),
    }
}

/// The first thing in a description that an image of this kind cannot say.
fn unsaid(spec: &RunSpec, kind: OciKind) -> Option<String> {
    // Each by its name, so that the compiler misses a field that nobody thought of.
    let RunSpec {
        module: _,
        argv,
        env,
        open,
        mounts,
        // Whoever runs it says these.
        terminals: _,
        log: _,
        tracing: _,
        invoked: _,
        entry,
        preloads,
        limits,
        deterministic,
        // Its user may give it more, whatever it is.
        may_be_widened: _,
        network,
    } = spec;
    if let Some(name) = open.first() {
        return Some(format!("the variable {name} is the host's"));
    }
    if let Some(entry) = entry {
        return Some(format!("the function '{}' is called", piece(entry)));
    }
    if let Some(preload) = preloads.first() {
        return Some(format!("the module '{}' is linked", piece(&preload.name)));
    }
    let (mut values, traps) = limits.parts();
    if let Some((limit, _)) = values.next() {
        return Some(format!("there is a limit ({})", limit.word()));
    }
    if traps {
        return Some("memory that cannot grow traps".to_string());
    }
    if deterministic.is_some() {
        return Some("the output is the same on every run (DETERMINISTIC)".to_string());
    }
    if let Some(what) = network.as_deref().and_then(of_network) {
        return Some(what);
    }
    if let Some(what) = mounts.iter().find_map(of_mount) {
        return Some(what);
    }
    let only_module = [
        ("there are arguments", argv.len() > 1),
        ("there are variables", !env.is_empty()),
        ("there are directories", !mounts.is_empty()),
        ("ports are exposed", network.is_some()),
    ];
    let said = only_module.iter().find(|(_, is_said)| *is_said);
    match kind {
        OciKind::Artifact => said.map(|(what, _)| (*what).to_string()),
        OciKind::Plain | OciKind::Wasi | OciKind::Sealed => None,
    }
}

fn of_network(network: &Network) -> Option<String> {
    let Network {
        // The engine's.
        address: _,
        wire: _,
        grants,
        // Ports, which an image can name.
        listeners: _,
        published: _,
        inherit,
        look_up,
    } = network;
    if let Some(grant) = grants.first() {
        return Some(format!("the network's {grant} is granted"));
    }
    (*inherit || *look_up).then(|| "the whole network is granted".to_string())
}

fn of_mount(mount: &Mount) -> Option<String> {
    let guest = piece(&mount.guest);
    match (&mount.source, mount.access) {
        (MountSource::Tmpfs { .. }, _) => Some(format!("the directory '{guest}' is in memory (TMPFS)")),
        (MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. }, Access::ReadOnly) => {
            Some(format!("the host's directory '{guest}' is read-only"))
        }
        // The root is there anyway.
        (MountSource::Copy { .. }, _) if is_root(&mount.guest) => None,
        _ if absolute(&mount.guest).is_none() => Some(format!(
            "the directory '{guest}' is called by no absolute path below the root"
        )),
        _ => None,
    }
}

fn is_root(guest: &str) -> bool {
    guest.starts_with('/') && guest.split('/').all(|part| part.is_empty() || part == ".")
}

/// The files of an image: the module, what is copied, and a place for each directory of the host.
pub(super) fn layer(packed: &Packed, kind: OciKind, directory: &Path) -> Result<Layer, Error> {
    let module = member(packed)?;
    let mut layer = layer::Builder::new(directory)?;
    layer.file(
        MODULE,
        0o755,
        module.length,
        &mut packed.part(module.start, module.length),
    )?;
    for mount in &packed.spec().mounts {
        let place = absolute(&mount.guest).unwrap_or_default();
        if !place.is_empty() {
            layer.directory(&place)?;
        }
        let MountSource::Copy { member } = &mount.source else {
            continue;
        };
        let Some(member) = packed.member(member) else {
            return Err(Error::Invalid(format!(
                "--oci {}: the payload has no archive of '{}'",
                kind.name(),
                piece(&mount.guest)
            )));
        };
        layer.tree(&place, packed.part(member.start, member.length))?;
    }
    layer.finish()
}
