//! The host's directories that virtio-fs devices serve: the module may lie in one, the guest may be given them.
//!
//! Layer: pure; between `mounts` and the machine, which knows the devices.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use wasi_core::Errno;
use wasi_core::fs::fuse::{FuseFs, Transport};
use wasi_core::fs::read_file;

/// Permissions that what the guest creates does not get: those that most hosts withhold too. The host's own mask
/// does not come through to here.
const UMASK: u32 = 0o022;

/// The machine's devices by their names, each a file system from when it is first asked for.
pub struct Devices<F, T> {
    connect: F,
    greeted: Vec<(String, FuseFs<T>)>,
    /// Those that have an owner: a second greeting would end the first one's session.
    taken: Vec<String>,
}

impl<T: Transport, F: FnMut(&str) -> Option<T>> Devices<F, T> {
    /// The devices that `connect` finds by name.
    pub fn new(connect: F) -> Self {
        Self {
            connect,
            greeted: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Reads a file: the first part of `path` is a device's name, the rest a path in what it serves. `None` if there
    /// is no such device.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn read(&mut self, path: &str) -> Option<Result<Vec<u8>, String>> {
        let (tag, rest) = path.trim_start_matches('/').split_once('/')?;
        let fs = match self.greet(tag)? {
            Ok(fs) => fs,
            Err(text) => return Some(Err(text)),
        };
        let rest = rest.trim_start_matches('/');
        Some(read_file(fs, rest.as_bytes()).map_err(describe))
    }

    /// Takes the file system of a device, which nobody else can have then.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn take(&mut self, tag: &str) -> Result<FuseFs<T>, String> {
        self.greet(tag).ok_or_else(|| {
            format!("there is no virtio-fs device with the tag {tag:?}, or it is given to the guest already")
        })??;
        match self.greeted.iter().position(|(known, _)| known == tag) {
            Some(at) => {
                self.taken.push(tag.to_owned());
                Ok(self.greeted.swap_remove(at).1)
            }
            None => Err("internal error".into()),
        }
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn greet(&mut self, tag: &str) -> Option<Result<&mut FuseFs<T>, String>> {
        let at = match self.greeted.iter().position(|(known, _)| known == tag) {
            Some(at) => at,
            None if self.taken.iter().any(|taken| taken == tag) => return None,
            None => {
                let transport = (self.connect)(tag)?;
                match FuseFs::new(transport, UMASK) {
                    Ok(fs) => self.greeted.push((tag.to_owned(), fs)),
                    Err(errno) => {
                        return Some(Err(format!(
                            "the server behind the virtio-fs device {tag:?} does not answer as it should ({errno}): \
                             virtiofsd 1.0 or later, or another that speaks FUSE 7.28, is needed"
                        )));
                    }
                }
                self.greeted.len().saturating_sub(1)
            }
        };
        self.greeted.get_mut(at).map(|(_, fs)| Ok(fs))
    }
}

/// Why a file cannot be read, in words.
fn describe(errno: Errno) -> String {
    let text = match errno {
        Errno::NOENT => "no such file or directory",
        Errno::NOTDIR => "a part of its path is no directory",
        Errno::ISDIR => "it is a directory",
        Errno::ACCES | Errno::PERM => "permission denied",
        Errno::NOMEM => "it does not fit into the machine's memory: raise it with --memory SIZE",
        Errno::AGAIN => "it changes while it is read",
        errno => return format!("{errno}"),
    };
    text.to_owned()
}
