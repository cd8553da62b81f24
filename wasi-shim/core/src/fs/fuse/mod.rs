//! A directory of the host, live: the client of a FUSE server.
//!
//! Layer: file systems. Speaks the protocol of `linux/fuse.h`, version 7, over a [`Transport`]: virtio-fs in the
//! machine, a server of the tests' own elsewhere. The host's error numbers come through as WASI's.
//!
//! Names are looked up one by one, by `crate::path`, and what the server finds is never followed: a symbolic link
//! is a node like others. The client trusts the server's file contents and metadata and validates its framing: a
//! reply of a wrong length or form is [`Errno::IO`].
//!
//! `file_system` is what the calls see, `session` one request and its reply, `nodes` what the server is to be told to
//! forget, `listing` a directory's entries, `attr` attributes, `errno` errors.

mod attr;
mod errno;
mod file_system;
mod listing;
mod nodes;
mod session;

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use fuse_abi::linux::{
    FUSE_ROOT_ID, fuse_attr_out, fuse_entry_out, fuse_getattr_in, fuse_opcode, fuse_open_in, fuse_open_out,
    fuse_read_in, fuse_release_in, fuse_setattr_in, fuse_write_in, fuse_write_out,
};

use self::{listing::Listing, nodes::Nodes, session::Session};
use super::{DirEntry, FileSystem as _, Found, Handle, Node, Stat};
use crate::{
    Errno,
    types::{Filesize, Filetype},
};

/// The way to a FUSE server and back.
///
/// An error says that the server cannot be reached, and it will not be asked again what it has to say: mostly
/// [`Errno::IO`].
pub trait Transport {
    /// Sends a request, the parts of which follow one another, and waits for the reply, which fills `reply` in
    /// order; how many bytes that was. Parts may be empty.
    ///
    /// # Errors
    /// The server cannot be reached.
    fn request(&mut self, request: &[&[u8]], reply: &mut [&mut [u8]]) -> Result<usize, Errno>;

    /// Sends a request that has no reply.
    ///
    /// # Errors
    /// The server cannot be reached.
    fn notify(&mut self, request: &[&[u8]]) -> Result<(), Errno>;
}

/// `O_*` of Linux, those that are the same on all processors.
mod flags {
    pub(super) const RDONLY: u32 = 0;
    pub(super) const WRONLY: u32 = 1;
    pub(super) const RDWR: u32 = 2;
    pub(super) const CREAT: u32 = 0o100;
    pub(super) const EXCL: u32 = 0o200;
    pub(super) const APPEND: u32 = 0o2000;
}

/// Pieces of a listing without any entry that are believed before it counts as endless.
const EMPTY_PIECES: u32 = 8;

/// A file system that a FUSE server serves.
pub struct FuseFs<T> {
    session: Session<T>,
    nodes: Nodes,
    handles: Vec<Option<Open>>,
    vacant: Vec<usize>,
    /// What `create` made and opened at once, until `open` comes for it: the node and the server's handle.
    created: Option<(u64, u64)>,
    /// A name went: its node must not wait for a batch, since a server that knows it keeps the file's room.
    removed: bool,
    umask: u32,
}

/// What is open.
struct Open {
    nodeid: u64,
    /// The server's handle.
    fh: u64,
    /// With which flags.
    flags: u32,
    /// A second handle that the server writes to the end by; made when it is first needed.
    append: Option<u64>,
    /// Something was written since the last flush.
    dirty: bool,
    /// `None` if it is no directory.
    listing: Option<Box<Listing>>,
}

impl<T: Transport> FuseFs<T> {
    /// Greets the server. What the guest creates has the permissions 0666, directories and links 0777, without
    /// those in `umask`.
    ///
    /// # Errors
    /// [`Errno::PROTONOSUPPORT`] if the server's version is too old or too new; [`Errno::IO`] and others if it
    /// does not answer properly.
    pub fn new(transport: T, umask: u32) -> Result<Self, Errno> {
        Ok(Self {
            session: Session::new(transport)?,
            nodes: Nodes::default(),
            handles: Vec::new(),
            vacant: Vec::new(),
            created: None,
            removed: false,
            umask: umask & 0o777,
        })
    }

    /// The longest read or write that the server takes at once.
    pub fn max_transfer(&self) -> u32 {
        self.session.max_transfer
    }

    /// Lets the server forget all nodes that are not open, now and not with others later.
    pub fn settle(&mut self) {
        self.begin_call();
        let session = &mut self.session;
        self.nodes.flush(&mut |nodes| session.forget(nodes));
    }

    /// How many nodes are kept, besides the root, and how many look-ups are still to be taken back.
    pub fn counts(&self) -> (usize, usize) {
        self.nodes.counts()
    }

    /// Keeps what the server has found.
    fn entered(&mut self, entry: &fuse_entry_out) -> Result<Found, Errno> {
        // No node: the server says that there is nothing, and that it stays so for a while. The root has no name.
        let filetype = attr::filetype_of_mode(entry.attr.mode);
        match entry.nodeid {
            0 => return Err(Errno::NOENT),
            FUSE_ROOT_ID => return Err(Errno::IO),
            nodeid => self.nodes.looked_up(nodeid, filetype),
        }
        let stat = attr::stat(&entry.attr)?;
        Ok(Found {
            node: Node(entry.nodeid),
            filetype,
            stat: Some(stat),
        })
    }

    /// Lets go of the handle that `create` got and nobody came for.
    fn drop_created(&mut self) {
        if let Some((nodeid, fh)) = self.created.take() {
            self.release(fuse_opcode::FUSE_RELEASE, nodeid, fh, flags::RDWR);
        }
    }

    fn get(&mut self, handle: Handle) -> Result<&mut Open, Errno> {
        let at = usize::try_from(handle.0).map_err(|_| Errno::BADF)?;
        self.handles
            .get_mut(at)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)
    }

    fn open_node(&mut self, opcode: fuse_opcode, nodeid: u64, flags: u32) -> Result<u64, Errno> {
        let request = fuse_open_in {
            flags,
            ..fuse_open_in::default()
        };
        let opened: fuse_open_out = self.session.call(opcode, nodeid, &request, &[])?;
        Ok(opened.fh)
    }

    /// Gives a handle back. Nobody could be told of a failure.
    fn release(&mut self, opcode: fuse_opcode, nodeid: u64, fh: u64, flags: u32) {
        let request = fuse_release_in {
            fh,
            flags,
            ..fuse_release_in::default()
        };
        let _: Result<(), Errno> = self.session.call(opcode, nodeid, &request, &[]);
    }

    fn set_attr(&mut self, nodeid: u64, request: &fuse_setattr_in) -> Result<(), Errno> {
        let _: fuse_attr_out = self
            .session
            .call(fuse_opcode::FUSE_SETATTR, nodeid, request, &[])?;
        Ok(())
    }

    fn attributes(&mut self, nodeid: u64) -> Result<Stat, Errno> {
        let request = fuse_getattr_in::default();
        let reply: fuse_attr_out = self
            .session
            .call(fuse_opcode::FUSE_GETATTR, nodeid, &request, &[])?;
        attr::stat(&reply.attr)
    }

    /// Writes in pieces that the server takes.
    fn write_to(
        &mut self,
        nodeid: u64,
        fh: u64,
        flags: u32,
        offset: Filesize,
        buf: &[u8],
    ) -> Result<usize, Errno> {
        let mut done: usize = 0;
        let longest = usize::try_from(self.session.max_transfer).unwrap_or(usize::MAX);
        for piece in buf.chunks(longest.max(1)) {
            let request = fuse_write_in {
                fh,
                offset: offset.saturating_add(done as u64),
                size: u32::try_from(piece.len()).map_err(|_| Errno::INVAL)?,
                flags,
                ..fuse_write_in::default()
            };
            let result: Result<fuse_write_out, _> =
                self.session
                    .call_with(fuse_opcode::FUSE_WRITE, nodeid, &request, &[], piece);
            let count = match result {
                Ok(reply) => usize::try_from(reply.size).map_err(|_| Errno::IO)?,
                Err(_) if done > 0 => return Ok(done),
                Err(errno) => return Err(errno),
            };
            if count > piece.len() {
                return Err(Errno::IO);
            }
            done = done.saturating_add(count);
            if count < piece.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Fetches the piece of a directory's listing that begins with `cookie`; whether there is one.
    fn fetch(&mut self, nodeid: u64, fh: u64, listing: &mut Listing, cookie: u64) -> Result<bool, Errno> {
        let size = if cookie == 0 {
            listing::FIRST
        } else {
            listing::MORE
        };
        listing.bytes.clear();
        listing.bytes.try_reserve(size).map_err(|_| Errno::NOMEM)?;
        listing.bytes.resize(size, 0);
        let request = fuse_read_in {
            fh,
            offset: cookie,
            size: u32::try_from(size).map_err(|_| Errno::INVAL)?,
            ..fuse_read_in::default()
        };
        let opcode = if listing.plus {
            fuse_opcode::FUSE_READDIRPLUS
        } else {
            fuse_opcode::FUSE_READDIR
        };
        let result = self.session.fetch(opcode, nodeid, &request, &mut listing.bytes);
        listing.bytes.truncate(*result.as_ref().unwrap_or(&0));
        result?;
        listing.begin(cookie);
        let Self { session, nodes, .. } = self;
        for nodeid in listing.nodeids() {
            nodes.owe(nodeid, 1, &mut |nodes| session.forget(nodes));
        }
        Ok(!listing.bytes.is_empty())
    }

    fn list(
        &mut self,
        nodeid: u64,
        fh: u64,
        listing: &mut Listing,
        mut cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let mut here = listing.seek(cookie)?;
        let mut empty_pieces = 0;
        loop {
            if !here && !self.fetch(nodeid, fh, listing, cookie)? {
                return Ok(());
            }
            here = false;
            let mut empty = true;
            while let Some(entry) = listing.peek()? {
                let (next, end) = (entry.next, entry.end());
                if !entry.is_dots() {
                    // The host's file system does not tell types in a listing: ask for attributes, where that goes.
                    if entry.filetype == Filetype::Unknown && !listing.plus && self.session.readdirplus {
                        listing.plus = true;
                        break;
                    }
                    if core::str::from_utf8(entry.name).is_err() {
                        return Err(Errno::ILSEQ);
                    }
                    empty = false;
                    let told = DirEntry {
                        next,
                        ino: entry.ino,
                        filetype: entry.filetype,
                        name: entry.name,
                    };
                    if !sink(told) {
                        return Ok(());
                    }
                }
                cookie = next;
                listing.pass(next, end);
            }
            empty_pieces = if empty {
                u32::saturating_add(empty_pieces, 1)
            } else {
                0
            };
            if empty_pieces > EMPTY_PIECES {
                return Err(Errno::IO);
            }
        }
    }
}

impl<T> fmt::Debug for FuseFs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuseFs")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}
