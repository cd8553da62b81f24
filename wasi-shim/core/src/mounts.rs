//! The file systems that a guest was given, by number.
//!
//! Layer: core. Descriptors name a file system by its [`MountId`]. Whoever wants to change something has to ask
//! for the file system with [`Mounts::writable`], which is where a read-only one says no.

use alloc::{boxed::Box, vec::Vec};

use crate::{
    Errno,
    fs::{FileSystem, Permission},
};

/// Number of a file system of this guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountId(usize);

impl MountId {
    /// The number that the guest sees as `filestat::dev`; that of the streams is 0.
    pub(crate) fn dev(self) -> u64 {
        u64::try_from(self.0).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[derive(Debug)]
struct Mount {
    fs: Box<dyn FileSystem>,
    permission: Permission,
}

/// The file systems of a guest.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

impl Mounts {
    pub(crate) fn add(&mut self, fs: Box<dyn FileSystem>, permission: Permission) -> MountId {
        let id = MountId(self.0.len());
        self.0.push(Mount { fs, permission });
        id
    }

    /// The file system, to look at.
    pub(crate) fn get(&mut self, id: MountId) -> Result<&mut (dyn FileSystem + 'static), Errno> {
        match self.0.get_mut(id.0) {
            Some(mount) => Ok(&mut *mount.fs),
            None => Err(Errno::BADF),
        }
    }

    /// The file system by its number, for tests that look at all of them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn get_nth(&mut self, index: usize) -> Result<&mut (dyn FileSystem + 'static), Errno> {
        self.get(MountId(index))
    }

    /// The file system, to change something; ROFS if the guest may not.
    pub(crate) fn writable(&mut self, id: MountId) -> Result<&mut (dyn FileSystem + 'static), Errno> {
        match self.0.get_mut(id.0) {
            Some(mount) if mount.permission == Permission::ReadWrite => Ok(&mut *mount.fs),
            Some(_) => Err(Errno::ROFS),
            None => Err(Errno::BADF),
        }
    }
}
