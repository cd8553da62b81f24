//! The guest's descriptors: what each number names, its flags and its rights.
//!
//! Layer: below the calls, above `wasi-core`. Implements the rules of `fd_close`, `fd_renumber` and
//! `fd_fdstat_set_rights`, and those that all calls share: an unknown number is BADF, a missing right NOTCAPABLE.
//! Numbers are given lowest first, as POSIX does; the specification leaves the choice. What can be done with a
//! descriptor is [`Descriptor`]'s to know; which rights that makes is said here.

use alloc::vec::Vec;

use wasi_core::{descriptor::Descriptor, socket::Kind};

use crate::abi::{
    Errno,
    types::{Fd, Fdflags, Rights},
};

/// Rights that a standard stream has besides reading or writing.
const STREAM_RIGHTS: Rights = Rights::FD_FDSTAT_SET_FLAGS
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::POLL_FD_READWRITE);

/// Rights that mean something for a regular file.
const FILE_RIGHTS: Rights = Rights::FD_DATASYNC
    .union(Rights::FD_READ)
    .union(Rights::FD_SEEK)
    .union(Rights::FD_FDSTAT_SET_FLAGS)
    .union(Rights::FD_SYNC)
    .union(Rights::FD_TELL)
    .union(Rights::FD_WRITE)
    .union(Rights::FD_ADVISE)
    .union(Rights::FD_ALLOCATE)
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::FD_FILESTAT_SET_SIZE)
    .union(Rights::FD_FILESTAT_SET_TIMES)
    .union(Rights::POLL_FD_READWRITE);

/// Rights of a file that need it to be open for writing.
const WRITING_RIGHTS: Rights = Rights::FD_WRITE
    .union(Rights::FD_ALLOCATE)
    .union(Rights::FD_FILESTAT_SET_SIZE);

/// Rights that mean something for a directory.
const DIRECTORY_RIGHTS: Rights = Rights::PATH_CREATE_DIRECTORY
    .union(Rights::PATH_CREATE_FILE)
    .union(Rights::PATH_LINK_SOURCE)
    .union(Rights::PATH_LINK_TARGET)
    .union(Rights::PATH_OPEN)
    .union(Rights::FD_READDIR)
    .union(Rights::PATH_READLINK)
    .union(Rights::PATH_RENAME_SOURCE)
    .union(Rights::PATH_RENAME_TARGET)
    .union(Rights::PATH_FILESTAT_GET)
    .union(Rights::PATH_FILESTAT_SET_SIZE)
    .union(Rights::PATH_FILESTAT_SET_TIMES)
    .union(Rights::FD_FILESTAT_GET)
    .union(Rights::FD_FILESTAT_SET_TIMES)
    .union(Rights::PATH_SYMLINK)
    .union(Rights::PATH_REMOVE_DIRECTORY)
    .union(Rights::PATH_UNLINK_FILE);

/// Rights of a connection.
const SOCKET_RIGHTS: Rights = STREAM_RIGHTS
    .union(Rights::FD_READ)
    .union(Rights::FD_WRITE)
    .union(Rights::SOCK_SHUTDOWN);

/// The rights of a fresh descriptor: what can succeed on it. Seeking is not among those of a stream, which is how
/// wasi-libc's `isatty` knows a terminal.
const fn rights(descriptor: &Descriptor) -> Rights {
    match descriptor {
        Descriptor::Stdin { .. } => STREAM_RIGHTS.union(Rights::FD_READ),
        Descriptor::Output { .. } => STREAM_RIGHTS.union(Rights::FD_WRITE),
        Descriptor::File(file) => {
            let mut rights = FILE_RIGHTS;
            if !file.access.read {
                rights = rights.without(Rights::FD_READ);
            }
            if !file.access.write {
                rights = rights.without(WRITING_RIGHTS);
            }
            rights
        }
        Descriptor::Directory(_) => DIRECTORY_RIGHTS,
        Descriptor::Socket(socket) => match socket.kind() {
            // To wait for a connection is to wait for a read.
            Kind::Stream if socket.is_listening() => {
                STREAM_RIGHTS.union(Rights::FD_READ).union(Rights::SOCK_ACCEPT)
            }
            // One that has no connection may listen.
            Kind::Stream => SOCKET_RIGHTS.union(Rights::SOCK_ACCEPT),
            Kind::Datagram => SOCKET_RIGHTS.without(Rights::SOCK_SHUTDOWN),
        },
    }
}

/// An open descriptor.
#[derive(Debug)]
pub struct Entry {
    /// What it names.
    pub descriptor: Descriptor,
    /// Flags set with `fd_fdstat_set_flags`.
    pub flags: Fdflags,
    rights_base: Rights,
    rights_inheriting: Rights,
}

impl Entry {
    /// A descriptor of what was opened through one that passes on the rights `inherited`: all that mean something
    /// for what it names. The rights that a guest asks for say how it wants to open, and no more; see
    /// docs/wasi.md.
    pub(crate) fn opened(descriptor: Descriptor, flags: Fdflags, inherited: Rights) -> Self {
        Self {
            rights_base: rights(&descriptor).intersection(inherited),
            rights_inheriting: match descriptor {
                Descriptor::Directory(_) => inherited,
                // What it accepts has no more.
                Descriptor::Socket(_) => inherited.intersection(SOCKET_RIGHTS),
                _ => Rights::NONE,
            },
            descriptor,
            flags,
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
    /// No number below this one is free.
    lowest_free: usize,
    limit: usize,
}

impl FdTable {
    /// These descriptors as 0, 1, 2, …, with all rights that mean something for them; at most `limit` may be open
    /// unless that many are already.
    pub fn new(descriptors: Vec<Descriptor>, limit: usize) -> Self {
        // A listener does not wait until it is told to, as in wasmtime: a runtime with one thread, such as Go's, would
        // serve nobody while it accepts.
        let open = |descriptor: Descriptor| {
            let flags = if matches!(descriptor, Descriptor::Socket(_)) {
                Fdflags::NONBLOCK
            } else {
                Fdflags::NONE
            };
            Some(Entry::opened(descriptor, flags, Rights::ALL))
        };
        let entries: Vec<_> = descriptors.into_iter().map(open).collect();
        Self {
            lowest_free: entries.len(),
            entries,
            limit,
        }
    }

    /// The number that the next descriptor gets, with room for it: the lowest that is free. To be followed by
    /// [`Self::insert`] with nothing in between.
    ///
    /// # Errors
    /// [`Errno::MFILE`] if too many are open; [`Errno::NOMEM`].
    pub(crate) fn vacancy(&mut self) -> Result<Fd, Errno> {
        let taken = self
            .entries
            .iter()
            .skip(self.lowest_free)
            .take_while(|entry| entry.is_some());
        self.lowest_free = self.lowest_free.saturating_add(taken.count());
        if self.lowest_free >= self.limit {
            return Err(Errno::MFILE);
        }
        if self.lowest_free == self.entries.len() {
            self.entries.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        }
        Fd::try_from(self.lowest_free).map_err(|_| Errno::MFILE)
    }

    /// Opens a descriptor under the number that [`Self::vacancy`] gave.
    pub(crate) fn insert(&mut self, entry: Entry) {
        match self.entries.get_mut(self.lowest_free) {
            Some(slot) => *slot = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        self.lowest_free = self.lowest_free.saturating_add(1);
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
        let entry = self.slot(fd)?.take().ok_or(Errno::BADF)?;
        self.lowest_free = self.lowest_free.min(usize::try_from(fd).unwrap_or(usize::MAX));
        Ok(entry)
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
