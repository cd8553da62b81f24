//! A root of the process's own: empty but for what is in [`View`], under the same names, read-only but for what is to
//! be written.
//!
//! Everything is mounted by descriptors: what is to be seen is taken before the new root covers it. No directory of the
//! host is needed for that, and none is changed. Needs Linux 5.12.
//!
//! Layer: the list is made in the launcher; [`Root::enter`] is the child's, and makes system calls only.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use super::spawn::c_string;
use super::sys;
use super::view::{Access, Place, View};

/// Directories that programs expect, and that stay empty but for what is mounted below.
const EXPECTED: [&str; 4] = ["dev", "etc", "proc/self/fd", "tmp"];

/// A root to be made.
pub(super) struct Root {
    /// Directories that are made, relative to the root, parents first.
    directories: Vec<CString>,
    /// Symbolic links: the link, and its target.
    links: Vec<(CString, CString)>,
    mounts: Vec<Mount>,
}

/// Something of the host's that is mounted in the root.
struct Mount {
    /// Its name on the host.
    source: CString,
    /// Its name in the root, without the slash.
    place: CString,
    /// Whether an empty file is made to mount it on.
    make: bool,
    /// `MOUNT_ATTR_*`.
    attributes: MountAttrFlags,
    /// A copy of the host's mount, in the child, until it is in its place.
    taken: Option<OwnedFd>,
}

impl Root {
    /// A root that shows what is in view.
    pub(super) fn new(view: &View) -> io::Result<Self> {
        let mut directories = EXPECTED.map(Path::new).to_vec();
        let mut mounts = Vec::new();
        for place in &view.places {
            let covered = view
                .places
                .iter()
                .any(|other| other != place && other.directory && place.path.starts_with(&other.path));
            let path = inside(&place.path);
            if !covered {
                directories.push(match place.directory {
                    true => path,
                    false => path.parent().unwrap_or(Path::new("")),
                });
            }
            mounts.push(Mount::new(place, covered)?);
        }
        mounts.push(Mount::descriptors());
        let mut links = vec![(c"proc/self/exe".to_owned(), c_string(view.program.as_os_str())?)];
        for (link, target) in &view.links {
            let link = inside(link);
            directories.push(link.parent().unwrap_or(Path::new("")));
            links.push((c_string(link.as_os_str())?, c_string(target.as_os_str())?));
        }
        Ok(Self {
            directories: with_parents(&directories)?,
            links,
            mounts,
        })
    }

    /// Makes the root, and makes it this process's. Nothing else is left then.
    pub(super) fn enter(&mut self) -> Result<(), Errno> {
        // What is mounted here is seen nowhere else.
        rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for mount in &mut self.mounts {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let taken = rustix::mount::open_tree(CWD, &*mount.source, flags)?;
            sys::add_mount_attributes(taken.as_fd(), mount.attributes, libc::AT_RECURSIVE)?;
            mount.taken = Some(taken);
        }
        let root = empty()?;
        let from_here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        // Over the old one.
        rustix::mount::move_mount(root.as_fd(), c"", CWD, c"/", from_here)?;
        for directory in &self.directories {
            rustix::fs::mkdirat(&root, &**directory, Mode::from_raw_mode(0o755))?;
        }
        for (link, target) in &self.links {
            rustix::fs::symlinkat(&**target, &root, &**link)?;
        }
        for mount in &mut self.mounts {
            if mount.make {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&root, &*mount.place, flags, Mode::from_raw_mode(0o444))?;
            }
            if let Some(taken) = mount.taken.take() {
                rustix::mount::move_mount(taken.as_fd(), c"", &root, &*mount.place, from_here)?;
            }
        }
        rustix::process::fchdir(&root)?;
        match rustix::process::pivot_root(c".", c".") {
            // The old one now lies over the new one.
            Ok(()) => rustix::mount::unmount(c".", UnmountFlags::DETACH)?,
            // The first root of the system, the initial memory disk, cannot be exchanged: it stays below, where nobody
            // without CAP_SYS_CHROOT gets.
            Err(Errno::INVAL) => rustix::process::chroot(c".")?,
            Err(error) => return Err(error),
        }
        rustix::process::chdir(c"/")?;
        // The root alone: what is mounted in it has its own attributes.
        sys::add_mount_attributes(root.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, 0)
    }
}

impl Mount {
    fn new(place: &Place, covered: bool) -> io::Result<Self> {
        let safe = MountAttrFlags::MOUNT_ATTR_NOSUID;
        Ok(Self {
            source: c_string(place.path.as_os_str())?,
            place: c_string(inside(&place.path).as_os_str())?,
            make: !covered && !place.directory,
            attributes: match place.access {
                Access::Read => safe | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY,
                Access::Write => safe | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC,
                // Devices can be written to there; their names cannot be changed.
                Access::Device => {
                    safe | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY
                }
            },
            taken: None,
        })
    }

    /// The process's own descriptors.
    fn descriptors() -> Self {
        Self {
            source: c"/proc/self/fd".to_owned(),
            place: c"proc/self/fd".to_owned(),
            make: false,
            attributes: EMPTY | MountAttrFlags::MOUNT_ATTR_RDONLY,
            taken: None,
        }
    }
}

/// What an empty root's mounts are for: nothing to execute, no device, no other user's rights.
const EMPTY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A small file system in memory, mounted nowhere yet.
fn empty() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [(c"mode", c"0755"), (c"size", c"64k"), (c"nr_inodes", c"1024")] {
        rustix::mount::fsconfig_set_string(&context, key, value)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, EMPTY)
}

/// A path's name in the root.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// These directories and all above them, parents first.
fn with_parents(directories: &[&Path]) -> io::Result<Vec<CString>> {
    let all: BTreeSet<&Path> = directories
        .iter()
        .flat_map(|directory| directory.ancestors())
        .filter(|directory| !directory.as_os_str().is_empty())
        .collect();
    all.into_iter()
        .map(|directory| c_string(directory.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn parents_are_made_first_and_once() {
        let made = with_parents(&["a/b/c", "a/b", "d"].map(Path::new)).unwrap();
        assert_eq!(made, [c"a", c"a/b", c"a/b/c", c"d"].map(CStr::to_owned));
    }
}
