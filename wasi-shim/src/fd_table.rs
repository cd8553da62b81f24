//! The guest's descriptors: what each number names, its flags and its rights.
//!
//! Layer: core. Implements the rules of `fd_close`, `fd_renumber` and `fd_fdstat_set_rights`, and those that all
//! calls share: an unknown number is BADF, a missing right NOTCAPABLE. Numbers are given lowest first, as POSIX
//! does; the specification leaves the choice.

use alloc::vec::Vec;

use crate::{
    abi::{
        Errno,
        types::{Fd, Fdflags, Filetype, Rights},
    },
    system::Stream,
};

/// What a descriptor number names. A new kind of descriptor is a new variant here; the calls match on it
/// exhaustively, so the compiler names every place that has to decide about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// Standard input.
    Stdin,
    /// Standard output or standard error.
    Output(Stream),
}

/// Rights that a standard stream has besides reading or writing.
const STREAM_RIGHTS: Rights = Rights::FD_FDSTAT_SET_FLAGS
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::POLL_FD_READWRITE);

impl Descriptor {
    /// The file type that the guest sees.
    pub const fn filetype(&self) -> Filetype {
        match self {
            Self::Stdin | Self::Output(_) => Filetype::CharacterDevice,
        }
    }

    /// The rights of a fresh descriptor: what can succeed on it. Seeking is not among them, which is how
    /// wasi-libc's `isatty` knows a terminal.
    const fn rights(&self) -> Rights {
        match self {
            Self::Stdin => STREAM_RIGHTS.union(Rights::FD_READ),
            Self::Output(_) => STREAM_RIGHTS.union(Rights::FD_WRITE),
        }
    }
}

/// An open descriptor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it names.
    pub descriptor: Descriptor,
    /// Flags set with `fd_fdstat_set_flags`.
    pub flags: Fdflags,
    rights_base: Rights,
    rights_inheriting: Rights,
}

impl Entry {
    fn new(descriptor: Descriptor) -> Self {
        // Nothing is opened through a stream, so there is nothing to inherit.
        Self {
            rights_base: descriptor.rights(),
            descriptor,
            flags: Fdflags::NONE,
            rights_inheriting: Rights::NONE,
        }
    }

    /// What this descriptor may be used for.
    pub const fn rights_base(&self) -> Rights {
        self.rights_base
    }

    /// The most that descriptors opened through this one may be used for.
    pub const fn rights_inheriting(&self) -> Rights {
        self.rights_inheriting
    }

    /// Fails unless this descriptor has all of `rights`.
    ///
    /// # Errors
    /// [`Errno::NOTCAPABLE`].
    pub const fn require(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights_base.contains(rights) {
            Ok(())
        } else {
            Err(Errno::NOTCAPABLE)
        }
    }

    /// Reduces the rights.
    ///
    /// # Errors
    /// [`Errno::NOTCAPABLE`] if that would add one.
    pub const fn set_rights(&mut self, base: Rights, inheriting: Rights) -> Result<(), Errno> {
        if !self.rights_base.contains(base) || !self.rights_inheriting.contains(inheriting) {
            return Err(Errno::NOTCAPABLE);
        }
        self.rights_base = base;
        self.rights_inheriting = inheriting;
        Ok(())
    }
}

/// The guest's descriptors by number.
#[derive(Debug)]
pub struct FdTable {
    // Dense: renumbering goes to open numbers only, so no guest can stretch it.
    entries: Vec<Option<Entry>>,
}

impl FdTable {
    /// Standard input, output and error as 0, 1 and 2.
    pub fn with_standard_streams() -> Self {
        let streams = [
            Descriptor::Stdin,
            Descriptor::Output(Stream::Stdout),
            Descriptor::Output(Stream::Stderr),
        ];
        Self {
            entries: streams
                .into_iter()
                .map(|stream| Some(Entry::new(stream)))
                .collect(),
        }
    }

    /// The open descriptor `fd`.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn get(&self, fd: Fd) -> Result<&Entry, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.entries.get(fd));
        slot.and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    /// As [`Self::get`], to change.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn get_mut(&mut self, fd: Fd) -> Result<&mut Entry, Errno> {
        self.slot(fd)?.as_mut().ok_or(Errno::BADF)
    }

    /// Closes `fd` and hands out what it named.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn remove(&mut self, fd: Fd) -> Result<Entry, Errno> {
        self.slot(fd)?.take().ok_or(Errno::BADF)
    }

    /// Makes `to` name what `from` names, and closes `from`; what `to` named is handed out, to be closed.
    /// Both must be open. Renumbering to itself changes nothing.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub fn renumber(&mut self, from: Fd, to: Fd) -> Result<Option<Entry>, Errno> {
        self.get(to)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.remove(from)?;
        Ok(self.slot(to)?.replace(moved))
    }

    fn slot(&mut self, fd: Fd) -> Result<&mut Option<Entry>, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.entries.get_mut(fd));
        slot.ok_or(Errno::BADF)
    }
}
