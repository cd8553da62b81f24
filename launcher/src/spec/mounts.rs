//! The guest's directories, as the host knows them: its descriptors 3, 4, … in this order.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use boot_protocol::run_spec::Access;
use boot_protocol::shown::piece;
use thiserror::Error;

use crate::error::does_not_fit;
use crate::host::shown;

/// A directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where its files come from.
    pub source: MountSource,
    /// What the guest calls it.
    pub guest: String,
    /// Whether the guest may change anything.
    pub access: Access,
    /// By how many bytes a directory of the host may grow, or how many a [`MountSource::Tmpfs`] can hold; `None`: as
    /// long as there is room. A [`MountSource::Copy`] has none.
    pub quota: Option<u64>,
}

/// Where a directory's files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// Nowhere: it begins empty, in the machine's memory.
    Tmpfs,
    /// A copy of this directory of the host, made before the machine starts and dropped at the end.
    Copy(PathBuf),
    /// Copies of these files of the host, and nothing else.
    Files(Vec<CopiedFile>),
    /// This directory of the host: what the guest changes is changed there.
    Dir(PathBuf),
}

/// A file that is copied by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFile {
    /// Its path on the host. Links are followed.
    pub host: PathBuf,
    /// Its name in the guest's directory.
    pub name: String,
}

impl MountSource {
    /// The flag of `hermit-wasm run` that asks for it or the like, without dashes.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Copy(_) | Self::Files(_) => "copy-dir",
            Self::Dir(_) => "dir",
        }
    }
}

impl Mount {
    /// Where it is in the guest.
    pub(crate) fn place(&self) -> String {
        place(&self.guest)
    }
}

/// Where a path of the guest's is: its name without what does not matter, so that `/a` and `/a/.` are one.
pub(crate) fn place(guest: &str) -> String {
    let parts: Vec<&str> = guest
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let parts = parts.join("/");
    match (guest.starts_with('/'), parts.is_empty()) {
        (true, _) => format!("/{parts}"),
        (false, true) => ".".to_string(),
        (false, false) => parts,
    }
}

/// Refuses two directories at one place: the guest would see one of them.
pub(crate) fn check_places(mounts: &[Mount]) -> Result<(), MountError> {
    let mut taken: HashMap<String, &Mount> = HashMap::new();
    for mount in mounts {
        if let Some(first) = taken.insert(mount.place(), mount) {
            return Err(MountError::SamePlace {
                first: first.to_string(),
                second: mount.to_string(),
                place: mount.place(),
            });
        }
    }
    Ok(())
}

impl fmt::Display for Mount {
    /// As the flag would say it; of files, which no flag asks for, as a Hermitfile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let MountSource::Files(files) = &self.source {
            let guest = piece(self.guest.trim_end_matches('/'));
            let files = files
                .iter()
                .map(|file| format!("COPY {} {guest}/{}", shown::path(&file.host), piece(&file.name)));
            return f.write_str(&files.collect::<Vec<_>>().join(", "));
        }
        write!(f, "--{} ", self.source.flag())?;
        match &self.source {
            MountSource::Tmpfs | MountSource::Files(_) => {
                f.write_str(&piece(&self.guest))?;
                match self.quota {
                    Some(size) => write!(f, ",size={size}"),
                    None => Ok(()),
                }
            }
            MountSource::Copy(host) | MountSource::Dir(host) => {
                write!(f, "{}::{}", shown::path(host), piece(&self.guest))?;
                f.write_str(if self.access == Access::ReadOnly {
                    ":ro"
                } else {
                    ""
                })?;
                match self.quota {
                    Some(quota) => write!(f, ",quota={quota}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Why a directory cannot be mounted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// The directory cannot be opened.
    #[error("--{flag}: cannot {} '{}': {reason}", if *.flag == "dir" { "mount" } else { "copy" }, shown::path(host))]
    Unusable {
        /// The flag that names it.
        flag: &'static str,
        /// The directory.
        host: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something in it cannot be read.
    #[error("--copy-dir: cannot read '{}': {source}", shown::path(path))]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it cannot be put into an archive.
    #[error("--copy-dir: cannot pack '{}': {source}", shown::path(path))]
    Pack {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be copied is larger than the machine's memory.
    #[error("{}", does_not_fit(&format!("--copy-dir: {what} do"), *.memory, *.least))]
    DoesNotFit {
        /// What.
        what: String,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
    /// Two directories are at one place.
    #[error(
        "{first} and {second}: both would be '{}' in the guest; give one of them another name",
        piece(place)
    )]
    SamePlace {
        /// One, as a flag.
        first: String,
        /// The other.
        second: String,
        /// The place.
        place: String,
    },
    /// The machine has room for fewer directories.
    #[error("--dir: {machine} has room for {most} mounted directories{advice}")]
    TooMany {
        /// The machine.
        machine: String,
        /// How many it has room for.
        most: usize,
        /// What to do.
        advice: &'static str,
    },
    /// The hypervisor cannot be told a path.
    #[error(
        "{hypervisor} cannot be given '{}': the path has a colon in it, or is not UTF-8",
        shown::path(path)
    )]
    Path {
        /// The hypervisor.
        hypervisor: &'static str,
        /// The path.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tmpfs(guest: &str) -> Mount {
        Mount {
            source: MountSource::Tmpfs,
            guest: guest.into(),
            access: Access::ReadWrite,
            quota: None,
        }
    }

    fn dir(host: &str, guest: &str) -> Mount {
        Mount {
            source: MountSource::Dir(host.into()),
            ..tmpfs(guest)
        }
    }

    #[test]
    fn two_mounts_at_one_place_are_refused() {
        for (first, second, place) in [
            (tmpfs("/a"), dir("/x", "/a"), "'/a'"),
            (dir("/x", "/a/./b/"), dir("/y", "/a//b"), "'/a/b'"),
            (dir(".", "."), tmpfs("./"), "'.'"),
            (dir("/", "/"), tmpfs("//"), "'/'"),
            (tmpfs("a"), tmpfs("./a"), "'a'"),
        ] {
            let words = [first.to_string(), second.to_string(), place.to_string()];
            let message = check_places(&[first, second]).unwrap_err().to_string();
            for word in &words {
                assert!(message.contains(word), "{message}");
            }
        }
        for (first, second) in [("/a", "a"), (".", "/"), ("/a", "/b"), ("/a", "/a/b")] {
            assert!(check_places(&[tmpfs(first), tmpfs(second)]).is_ok());
        }
    }

    #[test]
    fn a_mount_is_shown_as_its_flag() {
        let mut mount = dir("/h", "/g");
        assert_eq!(mount.to_string(), "--dir /h::/g");
        mount.quota = Some(4096);
        assert_eq!(mount.to_string(), "--dir /h::/g,quota=4096");
        mount.source = MountSource::Tmpfs;
        assert_eq!(mount.to_string(), "--tmpfs /g,size=4096");
        mount.quota = None;
        mount.source = MountSource::Files(vec![CopiedFile {
            host: "/h".into(),
            name: "n".into(),
        }]);
        assert_eq!(mount.to_string(), "COPY /h /g/n");
        mount.access = Access::ReadOnly;
        mount.source = MountSource::Copy("/h".into());
        assert_eq!(mount.to_string(), "--copy-dir /h::/g:ro");
        assert_eq!(tmpfs("/t").to_string(), "--tmpfs /t");
    }
}
