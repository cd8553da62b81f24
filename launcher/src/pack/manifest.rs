//! The Hermitfile in a payload: what people read there holds, and directories of the host are taken from it.

use boot_protocol::run_spec::{Access, ModuleSource, Mount, MountSource, RunSpec, Terminals};
use hermitfile::{Directory, Manifest, Source};

use crate::spec::engine::Engine;

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
    } = spec;
    let said_engine = match said_engine {
        None => engine,
        Some(hermitfile::Engine::Interp) => Engine::Interp,
        Some(hermitfile::Engine::Native) => Engine::Native,
    };
    let is_copied = directories
        .iter()
        .any(|directory| matches!(directory.source, Source::Copy { .. }));
    let has_copies = mounts
        .iter()
        .any(|mount| matches!(mount.source, MountSource::Copy { .. }));
    let said = directories.iter().filter_map(of_directory);
    let holds = mounts.iter().filter_map(of_mount);
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
        && is_copied == has_copies
        && said.eq(holds)
        && names(links.collect()) == names(preloads.collect())
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
