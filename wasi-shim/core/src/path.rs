//! The sandbox: how a guest's path becomes a node beneath the directory it starts from.
//!
//! Layer: core. A path is walked component by component, symbolic links included, on a stack of the directories
//! that lead to where the walk is. `..` goes back on that stack and never beyond its bottom, so nothing above
//! or beside the directory that the path starts from is ever looked at; an absolute path, or an absolute link,
//! leads nowhere. Both are PERM, whether or not anything is there. No file system does any of this itself.

use alloc::vec::Vec;

use crate::{
    Errno,
    fs::{FileSystem, Found, NAME_MAX, Node},
    types::Filetype,
};

/// A path, and the target of a symbolic link, is shorter than this; longer is NAMETOOLONG, as on Linux.
pub const PATH_MAX: usize = 4096;

/// Symbolic links followed in one walk; one more is LOOP, as on Linux.
pub(crate) const LINKS_MAX: u32 = 40;

/// What to do about a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowMode {
    /// Follow it.
    Follow,
    /// Follow it only if slashes come after it, which ask for a directory.
    FollowBeforeSlash,
    /// Never follow it.
    Never,
}

/// A name in a directory, kept apart from the path that it came from.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Name {
    fn new(name: &[u8]) -> Result<Self, Errno> {
        let mut bytes = [0; NAME_MAX];
        let room = bytes.get_mut(..name.len()).ok_or(Errno::NAMETOOLONG)?;
        room.copy_from_slice(name);
        Ok(Self {
            bytes,
            len: name.len(),
        })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Where a path leads.
#[derive(Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one call; a box would be an allocation"
)]
pub(crate) enum Resolved {
    /// To a directory that the walk has been through, by `.` or `..`: it has no name there.
    Passed(Node),
    /// To a name in a directory.
    Named {
        /// The directory.
        dir: Node,
        /// The name.
        name: Name,
        /// What has the name, if anything.
        found: Option<Found>,
        /// Whether slashes came after it, which ask for a directory.
        slash: bool,
    },
}

impl Resolved {
    /// What is there. Slashes after what is no directory are NOTDIR.
    pub(crate) fn existing(&self) -> Result<Found, Errno> {
        match *self {
            Self::Passed(node) => Ok(Found {
                node,
                filetype: Filetype::Directory,
                stat: None,
            }),
            Self::Named { found: None, .. } => Err(Errno::NOENT),
            Self::Named {
                found: Some(found),
                slash,
                ..
            } => {
                if slash && found.filetype != Filetype::Directory {
                    return Err(Errno::NOTDIR);
                }
                Ok(found)
            }
        }
    }
}

/// A path as a guest gives it, checked: UTF-8 without a zero byte, neither empty nor too long. Where it leads is not
/// known yet; that is [`resolve`]'s to say, which takes no other path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestPath<'p>(&'p [u8]);

impl<'p> GuestPath<'p> {
    /// The path that `bytes` are; nothing is looked at for it.
    ///
    /// # Errors
    /// [`Errno::ILSEQ`] if it is no UTF-8, [`Errno::INVAL`] if it has a zero byte, [`Errno::NOENT`] if it is empty,
    /// [`Errno::NAMETOOLONG`].
    pub fn new(bytes: &'p [u8]) -> Result<Self, Errno> {
        if core::str::from_utf8(bytes).is_err() {
            return Err(Errno::ILSEQ);
        }
        if bytes.contains(&0) {
            return Err(Errno::INVAL);
        }
        if bytes.is_empty() {
            return Err(Errno::NOENT);
        }
        if bytes.len() >= PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(Self(bytes))
    }

    /// The path's bytes.
    pub const fn as_bytes(self) -> &'p [u8] {
        self.0
    }

    /// Whether it names a place from the top, which leads nowhere in the sandbox.
    pub fn is_absolute(self) -> bool {
        self.0.starts_with(b"/")
    }

    /// Whether slashes come after its last name, which ask for a directory.
    pub fn ends_in_slash(self) -> bool {
        self.0.ends_with(b"/")
    }
}

/// What is left of a path: the guest's own, or one that a symbolic link's target was put in front of.
enum Rest<'p> {
    Path(&'p [u8]),
    Expanded { path: Vec<u8>, at: usize },
}

/// A component, and what follows it.
struct Component {
    name: Name,
    /// Nothing but slashes follows.
    last: bool,
    /// Slashes follow.
    slash: bool,
}

impl Rest<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Path(path) => path,
            Self::Expanded { path, at } => path.get(*at..).unwrap_or_default(),
        }
    }

    /// Takes the next component; there is one.
    fn next(&mut self) -> Result<Component, Errno> {
        let bytes = self.bytes();
        let start = bytes.iter().take_while(|byte| **byte == b'/').count();
        let bytes = bytes.get(start..).unwrap_or_default();
        let len = bytes.iter().take_while(|byte| **byte != b'/').count();
        let name = Name::new(bytes.get(..len).unwrap_or_default())?;
        let rest = bytes.get(len..).unwrap_or_default();
        let component = Component {
            name,
            last: rest.iter().all(|byte| *byte == b'/'),
            slash: !rest.is_empty(),
        };
        let taken = start.saturating_add(len);
        match self {
            Self::Path(path) => *path = path.get(taken..).unwrap_or_default(),
            Self::Expanded { at, .. } => *at = at.saturating_add(taken),
        }
        Ok(component)
    }

    /// Puts the target of a symbolic link in front of the rest.
    fn expand(&mut self, fs: &mut dyn FileSystem, link: Node) -> Result<(), Errno> {
        let mut path = Vec::new();
        let mut target = [0; PATH_MAX];
        let len = fs.read_link(link, &mut target)?;
        let target = target.get(..len).ok_or(Errno::NAMETOOLONG)?;
        if target.first() == Some(&b'/') {
            return Err(Errno::PERM);
        }
        // The rest is empty or begins with a slash.
        let rest = self.bytes();
        let whole = target.len().saturating_add(rest.len());
        if target.is_empty() || whole >= PATH_MAX {
            return Err(if target.is_empty() {
                Errno::NOENT
            } else {
                Errno::NAMETOOLONG
            });
        }
        path.try_reserve_exact(whole).map_err(|_| Errno::NOMEM)?;
        path.extend_from_slice(target);
        path.extend_from_slice(rest);
        *self = Self::Expanded { path, at: 0 };
        Ok(())
    }
}

/// Walks `path` from the directory `base`. All directories on the way exist; what the last component names need not.
///
/// Errors: PERM if the path or a link leads out of `base`; NOENT, NOTDIR if a directory on the way is not there
/// or is none; LOOP; NAMETOOLONG.
pub(crate) fn resolve(
    fs: &mut dyn FileSystem,
    base: Node,
    path: GuestPath<'_>,
    mode: FollowMode,
) -> Result<Resolved, Errno> {
    if path.is_absolute() {
        return Err(Errno::PERM);
    }
    let mut rest = Rest::Path(path.as_bytes());
    // The directories between `base` and `here`.
    let mut passed: Vec<Node> = Vec::new();
    let mut here = base;
    let mut links = 0;
    loop {
        let component = rest.next()?;
        match component.name.as_bytes() {
            b"." => {}
            b".." => here = passed.pop().ok_or(Errno::PERM)?,
            name => {
                let found = match fs.lookup(here, name) {
                    Ok(found) => Some(found),
                    Err(Errno::NOENT) if component.last => None,
                    Err(errno) => return Err(errno),
                };
                let filetype = found.map(|found| found.filetype);
                let follow = match mode {
                    _ if !component.last => true,
                    FollowMode::Follow => true,
                    FollowMode::FollowBeforeSlash => component.slash,
                    FollowMode::Never => false,
                };
                match found {
                    Some(found) if follow && filetype == Some(Filetype::SymbolicLink) => {
                        if links == LINKS_MAX {
                            return Err(Errno::LOOP);
                        }
                        links = links.saturating_add(1);
                        rest.expand(fs, found.node)?;
                        continue;
                    }
                    found if component.last => {
                        return Ok(Resolved::Named {
                            dir: here,
                            name: component.name,
                            found,
                            slash: component.slash,
                        });
                    }
                    Some(found) if found.filetype == Filetype::Directory => {
                        passed.try_reserve(1).map_err(|_| Errno::NOMEM)?;
                        passed.push(here);
                        here = found.node;
                    }
                    _ => return Err(Errno::NOTDIR),
                }
            }
        }
        if component.last {
            return Ok(Resolved::Passed(here));
        }
    }
}

#[cfg(test)]
mod tests;
