//! The Hermitfile in a payload: what people read there holds, and directories of the host are taken from it.

use std::collections::BTreeSet;

use boot_protocol::run_spec::{Access, ModuleSource, Mount, MountSource, RunSpec, Terminals};
use hermitfile::{Directory, Manifest, Source};

use crate::spec::engine::Engine;
use crate::spec::manifest::parent_and_name;
use crate::spec::mounts::place;

/// The path of the host's directory that the guest calls `guest`, as the Hermitfile has it.
pub(super) fn host_of<'a>(manifest: &'a Manifest, guest: &str) -> Option<&'a str> {
    let mut directories = manifest.directories.iter();
    directories.find_map(|directory| match &directory.source {
        Source::Map { host, .. } if directory.guest == guest => Some(host.as_str()),
        _ => None,
    })
}

/// Whether a description, which is what holds, is the one that the Hermitfile says; `engine` is what runs it.
pub(super) fn agrees(manifest: &Manifest, spec: &RunSpec, engine: Engine) -> bool {
    // Each by its name, so that the compiler misses a field that nobody compares.
    let Manifest {
        // Its name remains, as the first argument, which a Hermitfile cannot choose.
        from: _,
        entrypoint,
        argv,
        env,
        // As `host_variables`.
        pwd_is_host_cwd: _,
        exe_name_is_host_exe_name: _,
        directories,
        links,
        engine: said_engine,
        limits,
        deterministic: seed,
        may_be_widened,
        // As `network`.
        grants: _,
        exposed: _,
    } = manifest;
    let RunSpec {
        module,
        argv: arguments,
        env: variables,
        open,
        mounts,
        terminals,
        log,
        entry,
        invoked,
        preloads,
        limits: held_limits,
        deterministic,
        tracing,
        may_be_widened: is_widened,
        network,
    } = spec;
    let said_engine = match said_engine {
        None => engine,
        Some(hermitfile::Engine::Interp) => Engine::Interp,
        Some(hermitfile::Engine::Native) => Engine::Native,
    };
    let names = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let links = links.iter().map(|link| link.name.clone());
    let preloads = preloads.iter().map(|preload| preload.name.clone());
    *module == ModuleSource::Payload
        && arguments.get(1..).unwrap_or_default() == argv
        && variables == env
        && *open == manifest.host_variables()
        && entry == entrypoint
        && !invoked
        && held_limits == limits
        && *terminals == Terminals::NONE
        && log.is_none()
        && deterministic == seed
        && tracing.is_none()
        && is_widened == may_be_widened
        && said_engine == engine
        && network.as_deref() == manifest.network().as_ref()
        && has_all(directories, mounts)
        && names(links.collect()) == names(preloads.collect())
}

/// Whether the directories that the guest has are those that the Hermitfile says, in its order, which is that of their
/// descriptors.
fn has_all(directories: &[Directory], mounts: &[Mount]) -> bool {
    let mut mounts = mounts.iter().peekable();
    // Where files were copied to: all that are copied into one directory make one.
    let mut places = BTreeSet::new();
    for directory in directories {
        let next = mounts.peek();
        let Some(said) = of_directory(directory) else {
            // Nothing says whether a file was copied or a directory.
            let (parent, _) = parent_and_name(&directory.guest);
            let copied = next.filter(|mount| matches!(mount.source, MountSource::Copy { .. }));
            match copied.map(|mount| mount.guest.as_str()) {
                Some(guest) if guest == directory.guest => {}
                _ if places.contains(&place(parent)) => continue,
                Some(guest) if guest == parent => {}
                _ => return false,
            }
            let Some(copied) = mounts.next().filter(|mount| mount.access == Access::ReadOnly) else {
                return false;
            };
            places.insert(place(&copied.guest));
            continue;
        };
        if mounts.next().and_then(of_mount) != Some(said) {
            return false;
        }
    }
    mounts.next().is_none()
}

/// What a directory grants besides copies.
#[derive(PartialEq, Eq)]
struct Granted<'a> {
    guest: &'a str,
    is_hosts: bool,
    access: Access,
    /// Most bytes in it.
    size: Option<u64>,
}

fn of_directory(directory: &Directory) -> Option<Granted<'_>> {
    let (is_hosts, size) = match directory.source {
        Source::Map { .. } => (true, None),
        Source::Tmpfs { size } => (false, size),
        Source::Copy { .. } => return None,
    };
    Some(Granted {
        guest: &directory.guest,
        is_hosts,
        access: directory.access(),
        size,
    })
}

fn of_mount(mount: &Mount) -> Option<Granted<'_>> {
    let (is_hosts, size) = match mount.source {
        MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. } => (true, None),
        MountSource::Tmpfs { size } => (false, size),
        MountSource::Copy { .. } => return None,
    };
    Some(Granted {
        guest: &mount.guest,
        is_hosts,
        access: mount.access,
        size,
    })
}
