//! The guest's mounts: the image's root at [`GUEST`](super::request::GUEST) of the monitor, and all others where they
//! belong beneath it.
//!
//! An image, and a volume that another container has written to, may have links where something is to be mounted. Those
//! of the image are resolved here, within the image; behind a mount none is allowed. So what the delegate is told has no
//! links, and nothing of the monitor is covered.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};

use super::image_root::{ImageRoot, Place};
use super::refusal::{Refusal, refuse};
use super::request::GUEST;
use super::view::{Links, View, behind};
use crate::host::shown;

/// File systems of a kernel that the guest does not have.
const KERNELS: [&str; 6] = ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Where a container has what only programs of Linux use.
const LINUX: [&str; 2] = ["/proc", "/sys"];

/// The same in /dev, where Kubernetes has the file of its termination message, too.
const DEVICES: [&str; 5] = ["/dev", "/dev/shm", "/dev/pts", "/dev/mqueue", "/dev/console"];

/// What a resolver of names reads, where the engine has made it for the container.
pub(super) const RESOLVER: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// A container's files, as its configuration has them.
pub(super) struct Guest<'a> {
    /// The image's root.
    pub(super) root: &'a Path,
    /// Where relative paths of the configuration begin.
    pub(super) bundle: &'a Path,
    pub(super) image: &'a ImageRoot,
    pub(super) read_only: bool,
}

/// A mount that the guest gets.
#[derive(Debug)]
pub(super) struct Placed {
    /// Where it is, beneath the image's root.
    pub(super) at: PathBuf,
    pub(super) content: Content,
    /// What it is mounted on.
    pub(super) place: Place,
}

/// What lies in a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// This directory or file.
    Of(PathBuf),
    /// A copy of what is there before it is mounted: the image's, or an earlier mount's.
    Copy,
    /// Nothing.
    None,
}

impl Guest<'_> {
    /// The mounts for the delegate, and where they are. Nothing is changed.
    pub(super) fn plan(&self, given: &[Mount]) -> Result<(Vec<Mount>, Vec<Placed>), Refusal> {
        let mut options = vec!["rbind", "nosuid", "nodev"];
        if self.read_only {
            options.push("ro");
        }
        let mut mounts = vec![bind(self.root, Path::new(GUEST), &options)?];
        let mut placed: Vec<Placed> = Vec::new();
        for mount in given.iter().filter(|mount| is_the_guests(mount)) {
            let destination = mount.destination();
            let content = match (is_bind(mount), mount.source()) {
                (true, Some(source)) => Content::Of(self.bundle.join(source)),
                _ if is_copy(mount) => Content::Copy,
                _ => Content::None,
            };
            let at = self.place(destination, &placed).map_err(|why| {
                Refusal::new(format!("cannot mount at {}: {why}", shown::path(destination)))
            })?;
            if at.as_os_str().is_empty() {
                return refuse!(
                    "cannot mount at {}: that is the root of the image",
                    shown::path(destination)
                );
            }
            let mut other = mount.clone();
            other.set_destination(Path::new(GUEST).join(&at));
            if let Content::Of(source) = &content {
                other.set_source(Some(source.clone()));
            }
            if RESOLVER.iter().any(|file| destination == Path::new(file)) && is_bind(&other) {
                // The monitor resolves names by the same file: a guest would choose what its grants mean.
                let mut options = other.options().clone().unwrap_or_default();
                options.retain(|option| option != "rw");
                options.push("ro".to_string());
                other.set_options(Some(options));
            }
            let place = place_for(&other);
            mounts.push(other);
            placed.push(Placed { at, content, place });
        }
        Ok((mounts, placed))
    }

    /// Where `destination` is, beneath the image's root. In a volume no link is followed: the delegate would do so in the
    /// monitor's root.
    fn place(&self, destination: &Path, placed: &[Placed]) -> Result<PathBuf, String> {
        let view = View {
            image: self.image,
            placed,
        };
        let found = view.find(destination, Links::Refused);
        found.map(|found| found.path).map_err(|error| error.to_string())
    }
}

/// Makes what is mounted over, where the image does not have it. Behind another mount, the delegate does. What is new
/// belongs to `owner`: root of the container's user namespace, where it has one of its own.
pub(super) fn make(image: &ImageRoot, placed: &[Placed], owner: Option<(u32, u32)>) -> Result<(), Refusal> {
    for (number, mount) in placed.iter().enumerate() {
        let before = placed.get(..number).unwrap_or_default();
        if behind(&mount.at, before).is_some() {
            continue;
        }
        image.make(&mount.at, mount.place, owner).map_err(|error| {
            Refusal::new(format!(
                "cannot make {} in the image, where something is to be mounted: {error}",
                shown::path(Path::new("/").join(&mount.at))
            ))
        })?;
    }
    Ok(())
}

/// Whether a mount is for the guest: it has no kernel of Linux's.
fn is_the_guests(mount: &Mount) -> bool {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let destination: PathBuf = mount.destination().components().collect();
    let is_a_kernels = KERNELS.contains(&kind)
        || LINUX.iter().any(|path| destination.starts_with(path))
        || DEVICES.iter().any(|path| destination == Path::new(path));
    !is_a_kernels
}

pub(super) fn is_bind(mount: &Mount) -> bool {
    let says = |option: &String| matches!(option.as_str(), "bind" | "rbind");
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(says)
}

/// Whether a mount is a file system in memory that begins as a copy of what is there. Of no other kind do delegates make
/// one.
fn is_copy(mount: &Mount) -> bool {
    let copies = |option: &String| option == "tmpcopyup";
    mount.typ().as_deref() == Some("tmpfs") && mount.options().iter().flatten().any(copies)
}

/// What has to be there for a mount. A file system in memory gets the mode of the directory that it is mounted on,
/// whatever its own options say.
pub(super) fn place_for(mount: &Mount) -> Place {
    let is_file = |source: &PathBuf| source.exists() && !source.is_dir();
    if is_bind(mount) {
        return match mount.source().as_ref().is_some_and(is_file) {
            true => Place::File,
            false => Place::Directory(0o755),
        };
    }
    let options = mount.options().iter().flatten();
    let mut modes = options.filter_map(|option| u32::from_str_radix(option.strip_prefix("mode=")?, 8).ok());
    match (modes.next_back(), mount.typ().as_deref()) {
        (Some(mode), _) => Place::Directory(mode & 0o7777),
        (None, Some("tmpfs")) => Place::Directory(0o1777),
        (None, _) => Place::Directory(0o755),
    }
}

/// A bind mount.
pub(super) fn bind(source: &Path, destination: &Path, options: &[&str]) -> Result<Mount, Refusal> {
    mount("bind", source, destination, options)
}

/// A mount.
pub(super) fn mount(
    kind: &str,
    source: &Path,
    destination: &Path,
    options: &[&str],
) -> Result<Mount, Refusal> {
    MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(destination)
        .options(options.iter().map(ToString::to_string).collect::<Vec<_>>())
        .build()
        .map_err(|error| Refusal::new(format!("cannot describe a mount: {error}")))
}

/// For `map_err`: what was attempted on a path.
pub(super) fn cannot<'a>(attempt: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Refusal + 'a {
    move |error| Refusal::new(format!("cannot {attempt} {}: {error}", shown::path(path)))
}
