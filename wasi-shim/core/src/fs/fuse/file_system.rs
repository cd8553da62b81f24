//! The operations of [`FileSystem`] as requests to the server.
//!
//! Layer: file systems.

use alloc::{boxed::Box, vec::Vec};

use fuse_abi::linux::{
    FATTR_FH, FATTR_SIZE, FUSE_FSYNC_FDATASYNC, FUSE_ROOT_ID, fuse_create_in, fuse_entry_out,
    fuse_fallocate_in, fuse_flush_in, fuse_fsync_in, fuse_link_in, fuse_mkdir_in, fuse_opcode, fuse_open_out,
    fuse_read_in, fuse_rename2_in, fuse_setattr_in,
};
use zerocopy::FromBytes as _;

use super::{FuseFs, Open, Transport, attr, flags};
use crate::{
    Errno,
    fs::{Access, DirEntry, FileSystem, Found, Handle, Node, Now, Stat},
    types::{Filesize, Filetype, Timestamp},
};

/// `S_IFREG` of Linux.
const REGULAR: u32 = 0o100_000;

/// The longest target of a symbolic link, and one more byte.
const TARGET_MAX: usize = 4096;

/// The reply to `FUSE_CREATE`: an entry, and what was opened.
type Created = [u8; size_of::<fuse_entry_out>() + size_of::<fuse_open_out>()];

impl<T: Transport> FileSystem for FuseFs<T> {
    fn begin_call(&mut self) {
        self.drop_created();
        let Self { session, nodes, .. } = self;
        nodes.settle(&mut |nodes| session.forget(nodes));
        if core::mem::take(&mut self.removed) {
            nodes.flush(&mut |nodes| session.forget(nodes));
        }
    }

    fn root(&mut self) -> Node {
        Node(FUSE_ROOT_ID)
    }

    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        self.nodes.reserve()?;
        let entry: fuse_entry_out = self.session.call(fuse_opcode::FUSE_LOOKUP, dir.0, &(), &[name])?;
        self.entered(&entry)
    }

    fn stat(&mut self, node: Node) -> Result<Stat, Errno> {
        self.attributes(node.0)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno> {
        // Servers take for granted that it is one.
        if self.nodes.filetype(link.0)? != Filetype::SymbolicLink {
            return Err(Errno::INVAL);
        }
        let mut target = [0; TARGET_MAX];
        let len = self
            .session
            .fetch(fuse_opcode::FUSE_READLINK, link.0, &(), &mut target)?;
        let target = target.get(..len).ok_or(Errno::IO)?;
        if len == TARGET_MAX || target.contains(&0) {
            return Err(Errno::IO);
        }
        buf.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
        Ok(len)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn open(&mut self, node: Node, access: Access) -> Result<Handle, Errno> {
        self.handles.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        // So that closing needs no memory.
        let places = self.handles.len().saturating_add(1);
        self.vacant
            .try_reserve(places.saturating_sub(self.vacant.len()))
            .map_err(|_| Errno::NOMEM)?;

        let nodeid = node.0;
        let directory = match self.nodes.filetype(nodeid)? {
            Filetype::Directory => true,
            Filetype::RegularFile => false,
            // A pipe would keep the server waiting for its other end.
            _ => return Err(Errno::NOTSUP),
        };
        let flags = match access {
            Access { write: false, .. } => flags::RDONLY,
            Access { read: false, .. } => flags::WRONLY,
            Access { .. } => flags::RDWR,
        };
        let (fh, flags) = match self.created {
            // Open already, for both.
            Some((created, fh)) if created == nodeid => {
                self.created = None;
                (fh, flags::RDWR)
            }
            _ if directory => (self.open_node(fuse_opcode::FUSE_OPENDIR, nodeid, flags)?, flags),
            _ => (self.open_node(fuse_opcode::FUSE_OPEN, nodeid, flags)?, flags),
        };
        self.nodes.opened(nodeid);
        let open = Open {
            nodeid,
            fh,
            flags,
            append: None,
            dirty: false,
            listing: directory.then(Box::default),
        };
        let at = match self.vacant.pop() {
            Some(at) => at,
            None => {
                self.handles.push(None);
                self.handles.len().saturating_sub(1)
            }
        };
        if let Some(slot) = self.handles.get_mut(at) {
            *slot = Some(open);
        }
        Ok(Handle(at as u64))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn flush(&mut self, handle: Handle) -> Result<(), Errno> {
        let open = self.get(handle)?;
        if !core::mem::take(&mut open.dirty) {
            return Ok(());
        }
        let (nodeid, fh, append) = (open.nodeid, open.fh, open.append);
        for fh in [Some(fh), append].into_iter().flatten() {
            let request = fuse_flush_in {
                fh,
                ..fuse_flush_in::default()
            };
            match self.session.call(fuse_opcode::FUSE_FLUSH, nodeid, &request, &[]) {
                // It has nothing to do then.
                Err(Errno::NOSYS) => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn close(&mut self, handle: Handle) {
        let Ok(at) = usize::try_from(handle.0) else { return };
        let Some(open) = self.handles.get_mut(at).and_then(Option::take) else {
            return;
        };
        self.vacant.push(at);
        if let Some(fh) = open.append {
            let flags = flags::WRONLY | flags::APPEND;
            self.release(fuse_opcode::FUSE_RELEASE, open.nodeid, fh, flags);
        }
        let opcode = if open.listing.is_some() {
            fuse_opcode::FUSE_RELEASEDIR
        } else {
            fuse_opcode::FUSE_RELEASE
        };
        self.release(opcode, open.nodeid, open.fh, open.flags);
        let Self { session, nodes, .. } = self;
        nodes.closed(open.nodeid, &mut |nodes| session.forget(nodes));
    }

    fn read(
        &mut self,
        file: Handle,
        offset: Filesize,
        buf: &mut [u8],
        _now: Now<'_>,
    ) -> Result<usize, Errno> {
        let open = self.get(file)?;
        let (nodeid, fh, flags) = (open.nodeid, open.fh, open.flags);
        let longest = usize::try_from(self.session.max_transfer).unwrap_or(usize::MAX);
        let mut done: usize = 0;
        for piece in buf.chunks_mut(longest.max(1)) {
            let request = fuse_read_in {
                fh,
                offset: offset.saturating_add(done as u64),
                size: u32::try_from(piece.len()).map_err(|_| Errno::INVAL)?,
                flags,
                ..fuse_read_in::default()
            };
            let wanted = piece.len();
            let count = match self
                .session
                .fetch(fuse_opcode::FUSE_READ, nodeid, &request, piece)
            {
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done = done.saturating_add(count);
            if count < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn write(&mut self, file: Handle, offset: Filesize, buf: &[u8], _now: Now<'_>) -> Result<usize, Errno> {
        let open = self.get(file)?;
        open.dirty = true;
        let (nodeid, fh, flags) = (open.nodeid, open.fh, open.flags);
        self.write_to(nodeid, fh, flags, offset, buf)
    }

    fn append(&mut self, file: Handle, buf: &[u8], _now: Now<'_>) -> Result<(usize, Filesize), Errno> {
        let open = self.get(file)?;
        open.dirty = true;
        let (nodeid, append) = (open.nodeid, open.append);
        let flags = flags::WRONLY | flags::APPEND;
        // The host finds the end while it writes, so that others who append are not overwritten.
        let fh = match append {
            Some(fh) => fh,
            None => {
                let fh = self.open_node(fuse_opcode::FUSE_OPEN, nodeid, flags)?;
                self.get(file)?.append = Some(fh);
                fh
            }
        };
        let end = self.attributes(nodeid)?.size;
        let count = self.write_to(nodeid, fh, flags, end, buf)?;
        Ok((count, end.saturating_add(count as u64)))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn set_size(&mut self, file: Handle, size: Filesize, _now: Now<'_>) -> Result<(), Errno> {
        let open = self.get(file)?;
        open.dirty = true;
        let (nodeid, mut request) = (open.nodeid, fuse_setattr_in::default());
        (request.valid, request.size) = (FATTR_SIZE, size);
        // By the handle if it may write: that was allowed, whatever the permissions are by now.
        if open.flags != flags::RDONLY {
            request.valid |= FATTR_FH;
            request.fh = open.fh;
        }
        self.set_attr(nodeid, &request)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn allocate(
        &mut self,
        file: Handle,
        offset: Filesize,
        len: Filesize,
        _now: Now<'_>,
    ) -> Result<(), Errno> {
        let open = self.get(file)?;
        open.dirty = true;
        let request = fuse_fallocate_in {
            fh: open.fh,
            offset,
            length: len,
            ..fuse_fallocate_in::default()
        };
        let nodeid = open.nodeid;
        self.session
            .call(fuse_opcode::FUSE_FALLOCATE, nodeid, &request, &[])
            .map_err(|errno| match errno {
                Errno::NOSYS => Errno::NOTSUP,
                errno => errno,
            })
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn sync(&mut self, file: Handle, data_only: bool) -> Result<(), Errno> {
        let open = self.get(file)?;
        let opcode = if open.listing.is_some() {
            fuse_opcode::FUSE_FSYNCDIR
        } else {
            fuse_opcode::FUSE_FSYNC
        };
        let request = fuse_fsync_in {
            fh: open.fh,
            fsync_flags: if data_only { FUSE_FSYNC_FDATASYNC } else { 0 },
            ..fuse_fsync_in::default()
        };
        let nodeid = open.nodeid;
        self.session.call(opcode, nodeid, &request, &[])
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn set_times(
        &mut self,
        node: Node,
        atim: Option<Timestamp>,
        mtim: Option<Timestamp>,
        _now: Now<'_>,
    ) -> Result<(), Errno> {
        self.set_attr(node.0, &attr::set_times(atim, mtim))
    }

    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        _now: Now<'_>,
    ) -> Result<(), Errno> {
        let open = self.get(dir)?;
        let (nodeid, fh) = (open.nodeid, open.fh);
        let mut listing = open.listing.take().ok_or(Errno::NOTDIR)?;
        let result = self.list(nodeid, fh, &mut listing, cookie, sink);
        if result.is_err() {
            listing.bytes = Vec::new();
        }
        self.get(dir)?.listing = Some(listing);
        result
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn create(&mut self, dir: Node, name: &[u8], _now: Now<'_>) -> Result<Node, Errno> {
        self.drop_created();
        self.nodes.reserve()?;
        let request = fuse_create_in {
            flags: flags::RDWR | flags::CREAT | flags::EXCL,
            mode: REGULAR | (0o666 & !self.umask),
            umask: self.umask,
            ..fuse_create_in::default()
        };
        let reply: Created = self
            .session
            .call(fuse_opcode::FUSE_CREATE, dir.0, &request, &[name])?;
        let (entry, rest) = fuse_entry_out::read_from_prefix(&reply).map_err(|_| Errno::IO)?;
        let opened = fuse_open_out::read_from_bytes(rest).map_err(|_| Errno::IO)?;
        self.created = Some((entry.nodeid, opened.fh));
        let found = self.entered(&entry)?;
        if found.filetype != Filetype::RegularFile {
            return Err(Errno::IO);
        }
        Ok(found.node)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn create_dir(&mut self, dir: Node, name: &[u8], _now: Now<'_>) -> Result<(), Errno> {
        self.nodes.reserve()?;
        let request = fuse_mkdir_in {
            mode: 0o777 & !self.umask,
            umask: self.umask,
        };
        let entry: fuse_entry_out = self
            .session
            .call(fuse_opcode::FUSE_MKDIR, dir.0, &request, &[name])?;
        self.entered(&entry).map(drop)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn create_link(&mut self, dir: Node, name: &[u8], target: &[u8], _now: Now<'_>) -> Result<(), Errno> {
        self.nodes.reserve()?;
        // A zero byte would end it on the wire.
        if target.contains(&0) {
            return Err(Errno::INVAL);
        }
        let entry: fuse_entry_out =
            self.session
                .call(fuse_opcode::FUSE_SYMLINK, dir.0, &(), &[name, target])?;
        self.entered(&entry).map(drop)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn hard_link(&mut self, node: Node, dir: Node, name: &[u8], _now: Now<'_>) -> Result<(), Errno> {
        self.nodes.reserve()?;
        let request = fuse_link_in { oldnodeid: node.0 };
        let entry: fuse_entry_out = self
            .session
            .call(fuse_opcode::FUSE_LINK, dir.0, &request, &[name])?;
        self.entered(&entry).map(drop)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn unlink(&mut self, dir: Node, name: &[u8], _now: Now<'_>) -> Result<(), Errno> {
        let () = self.session.call(fuse_opcode::FUSE_UNLINK, dir.0, &(), &[name])?;
        self.removed = true;
        Ok(())
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn remove_dir(&mut self, dir: Node, name: &[u8], _now: Now<'_>) -> Result<(), Errno> {
        self.session.call(fuse_opcode::FUSE_RMDIR, dir.0, &(), &[name])
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn rename(
        &mut self,
        from: Node,
        from_name: &[u8],
        to: Node,
        to_name: &[u8],
        _now: Now<'_>,
    ) -> Result<(), Errno> {
        let request = fuse_rename2_in {
            newdir: to.0,
            ..fuse_rename2_in::default()
        };
        let () = self
            .session
            .call(fuse_opcode::FUSE_RENAME2, from.0, &request, &[from_name, to_name])?;
        // It may have replaced another.
        self.removed = true;
        Ok(())
    }
}
