//! The Hermitfile in a payload: what people read there holds, and directories of the host are taken from it.

use boot_protocol::run_spec::{Mount, MountSource, RunSpec};
use hermitfile::{Directory, Manifest, Source};

/// The path of the host's directory that the guest calls `guest`, as the Hermitfile has it.
pub(super) fn host_of<'a>(manifest: &'a Manifest, guest: &str) -> Option<&'a str> {
    let mut directories = manifest.directories.iter();
    directories.find_map(|directory| match &directory.source {
        Source::Map { host, .. } if directory.guest == guest => Some(host.as_str()),
        _ => None,
    })
}

/// Whether a description, which is what holds, is the one that the Hermitfile says.
pub(super) fn agrees(manifest: &Manifest, spec: &RunSpec) -> bool {
    let is_copied = manifest
        .directories
        .iter()
        .any(|directory| matches!(directory.source, Source::Copy { .. }));
    let has_copies = spec
        .mounts
        .iter()
        .any(|mount| matches!(mount.source, MountSource::Copy { .. }));
    let said = manifest.directories.iter().filter_map(of_directory);
    let holds = spec.mounts.iter().filter_map(of_mount);
    let names = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let links = manifest.links.iter().map(|link| link.name.clone());
    let preloads = spec.preloads.iter().map(|preload| preload.name.clone());
    spec.argv.get(1..).unwrap_or_default() == manifest.argv
        && spec.env == manifest.env
        && spec.entry == manifest.entrypoint
        && spec.limits == manifest.limits
        && spec.deterministic.is_none()
        && spec.tracing.is_none()
        && is_copied == has_copies
        && said.eq(holds)
        && names(links.collect()) == names(preloads.collect())
}

/// What a directory grants besides copies: whether it is the host's, its name, and whether it may be changed.
type Granted<'a> = (bool, &'a str, boot_protocol::run_spec::Access);

fn of_directory(directory: &Directory) -> Option<Granted<'_>> {
    let is_hosts = match directory.source {
        Source::Map { .. } => true,
        Source::Tmpfs { .. } => false,
        Source::Copy { .. } => return None,
    };
    Some((is_hosts, &directory.guest, directory.access()))
}

fn of_mount(mount: &Mount) -> Option<Granted<'_>> {
    let is_hosts = match mount.source {
        MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. } => true,
        MountSource::Tmpfs { .. } => false,
        MountSource::Copy { .. } => return None,
    };
    Some((is_hosts, &mount.guest, mount.access))
}
