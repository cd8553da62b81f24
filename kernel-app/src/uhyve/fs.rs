//! [`UhyveFs`]: a directory of the host that uhyve maps into the machine.
//!
//! Layer: pure; a `FileSystem` of `wasi-core` over [`Host`]. uhyve knows paths and descriptors, no nodes: a node here
//! is a path. What uhyve cannot do is NOTSUP: renaming, links (symbolic ones are seen, and neither read nor followed),
//! removing directories, setting times, shrinking a file to anything but nothing, syncing, reserving space.
//!
//! Directories that exist only because something below them was mapped have nothing of the host behind them. uhyve
//! would create files there in a temporary directory and drop them at the end; here they are read-only (ROFS), so that
//! nothing that was written is lost.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use boot_protocol::fingerprint::fingerprint;
use uhyve_interface::v2::parameters::{
    FileAttr, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, Timespec,
};
use wasi_core::Errno;
use wasi_core::fs::{Access, DirEntry, FileSystem, Found, Handle, Node, Now, Stat};
use wasi_core::types::{Filesize, Filetype, Timestamp};

use super::{Host, Seek, dirents};

/// The longest path that uhyve is given, without the zero byte; Linux takes no longer one.
pub(super) const PATH_MAX: usize = 4095;

/// Bytes of directory entries fetched at once.
const ENTRIES: usize = 4096;

/// The directory at the top.
const ROOT: u64 = 0;

/// A path that the shim knows by its number.
#[derive(Debug)]
struct Known {
    path: Vec<u8>,
    filetype: Filetype,
    /// How often it is open.
    handles: u32,
    /// One of its descriptors, if it is open.
    fd: Option<i32>,
}

/// A mapped directory of the host.
#[derive(Debug)]
pub struct UhyveFs<H> {
    host: H,
    known: BTreeMap<u64, Known>,
    /// Nodes handed out since the last call began, or closed.
    fresh: Vec<u64>,
    next: u64,
    /// The node of each open descriptor.
    open: BTreeMap<i32, u64>,
    /// Where directory entries are received.
    entries: Vec<u8>,
}

/// What `attributes` are of.
pub(super) fn filetype(attributes: &FileAttr) -> Filetype {
    match attributes.st_mode & 0o170_000 {
        0o040_000 => Filetype::Directory,
        0o100_000 => Filetype::RegularFile,
        0o120_000 => Filetype::SymbolicLink,
        0o020_000 => Filetype::CharacterDevice,
        0o060_000 => Filetype::BlockDevice,
        0o140_000 => Filetype::SocketStream,
        _ => Filetype::Unknown,
    }
}

/// Whether a directory exists in uhyve's mapping only: uhyve makes up its attributes, without an inode.
fn is_made_up(attributes: &FileAttr) -> bool {
    attributes.st_ino == 0
}

/// The shim's form of attributes.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn stat(path: &[u8], attributes: &FileAttr) -> Stat {
    Stat {
        ino: match attributes.st_ino {
            0 => made_up_ino(path),
            ino => ino,
        },
        filetype: filetype(attributes),
        nlink: attributes.st_nlink,
        size: Filesize::try_from(attributes.st_size).unwrap_or(0),
        atim: nanoseconds(attributes.st_atim),
        mtim: nanoseconds(attributes.st_mtim),
        ctim: nanoseconds(attributes.st_ctim),
    }
}

/// Reads until `buf` is full or the end is reached; says which.
pub(super) fn read_fully(host: &mut impl Host, fd: i32, buf: &mut [u8]) -> Result<(usize, bool), Errno> {
    let mut done = 0;
    while let Some(space) = buf.get_mut(done..).filter(|space| !space.is_empty()) {
        match host.read(fd, space)? {
            0 => return Ok((done, true)),
            count => done = done.saturating_add(count),
        }
    }
    Ok((done, false))
}

fn nanoseconds(time: Timespec) -> Timestamp {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// A number for a path that has no inode: its fingerprint, with the top bit set, which inodes of disks never have.
fn made_up_ino(path: &[u8]) -> u64 {
    fingerprint(path) | 1 << 63
}

impl<H: Host> UhyveFs<H> {
    /// The directory that the machine sees at `path`.
    ///
    /// # Errors
    /// NOENT if nothing is mapped there or below; NOTDIR if it is no directory; INVAL for a path that does not begin
    /// with a slash; NAMETOOLONG.
    pub fn new(mut host: H, path: &str) -> Result<Self, Errno> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Errno::INVAL);
        }
        let path = path.trim_end_matches('/').as_bytes();
        if path.len() > PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let attributes = host.stat(if path.is_empty() { b"/" } else { path })?;
        if filetype(&attributes) != Filetype::Directory {
            return Err(Errno::NOTDIR);
        }
        let root = Known {
            path: path.to_vec(),
            filetype: Filetype::Directory,
            handles: 0,
            fd: None,
        };
        Ok(Self {
            host,
            known: BTreeMap::from([(ROOT, root)]),
            fresh: Vec::new(),
            next: ROOT.saturating_add(1),
            open: BTreeMap::new(),
            entries: vec![0; ENTRIES],
        })
    }

    fn known(&self, node: Node) -> Result<&Known, Errno> {
        self.known.get(&node.0).ok_or(Errno::BADF)
    }

    /// The path of a node, as uhyve takes it.
    fn path(&self, node: Node) -> Result<&[u8], Errno> {
        let path = &self.known(node)?.path;
        Ok(if path.is_empty() { b"/" } else { path })
    }

    /// The path of `name` in a directory.
    fn join(&self, dir: Node, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let dir = &self.known(dir)?.path;
        let length = dir.len().saturating_add(1).saturating_add(name.len());
        if length > PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut path = Vec::new();
        path.try_reserve_exact(length).map_err(|_| Errno::NOSPC)?;
        path.extend_from_slice(dir);
        path.push(b'/');
        path.extend_from_slice(name);
        Ok(path)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn hand_out(&mut self, path: Vec<u8>, filetype: Filetype) -> Result<Node, Errno> {
        let number = self.next;
        self.next = number.checked_add(1).ok_or(Errno::NFILE)?;
        self.fresh.try_reserve(1).map_err(|_| Errno::NOSPC)?;
        self.fresh.push(number);
        let known = Known {
            path,
            filetype,
            handles: 0,
            fd: None,
        };
        self.known.insert(number, known);
        Ok(Node(number))
    }

    /// The path of `name` in `dir`, if entries can come and go there.
    fn changeable(&mut self, dir: Node, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let path = self.path(dir)?.to_vec();
        let attributes = self.host.stat(&path)?;
        if is_made_up(&attributes) {
            return Err(Errno::ROFS);
        }
        self.join(dir, name)
    }

    /// What has a path, if anything.
    fn look(&mut self, path: &[u8]) -> Result<Option<Filetype>, Errno> {
        match self.host.stat(path) {
            Ok(attributes) => Ok(Some(filetype(&attributes))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn fd(&self, handle: Handle) -> Result<i32, Errno> {
        let fd = i32::try_from(handle.0).map_err(|_| Errno::BADF)?;
        if self.open.contains_key(&fd) {
            Ok(fd)
        } else {
            Err(Errno::BADF)
        }
    }

    fn size(&mut self, fd: i32) -> Result<Filesize, Errno> {
        let attributes = self.host.fstat(fd)?;
        Filesize::try_from(attributes.st_size).map_err(|_| Errno::IO)
    }

    fn attributes(&mut self, node: Node) -> Result<FileAttr, Errno> {
        let known = self.known.get(&node.0).ok_or(Errno::BADF)?;
        match known.fd {
            // What has lost its name is still open.
            Some(fd) => self.host.fstat(fd),
            None if known.path.is_empty() => self.host.stat(b"/"),
            None => self.host.stat(&known.path),
        }
    }

    /// Empties the file that `fd` is open on, through its path: there is no hypercall for descriptors.
    fn empty(&mut self, fd: i32) -> Result<(), Errno> {
        let node = Node(*self.open.get(&fd).ok_or(Errno::BADF)?);
        let path = self.path(node)?.to_vec();
        let (open, named) = (self.host.fstat(fd)?, self.host.stat(&path));
        if !named.is_ok_and(|named| (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)) {
            // It has lost its name, or another file has it now.
            return Err(Errno::NOTSUP);
        }
        let other = self.host.open(&path, O_WRONLY | O_TRUNC)?;
        self.host.close(other);
        Ok(())
    }
}

impl<H: Host> FileSystem for UhyveFs<H> {
    fn begin_call(&mut self) {
        for number in core::mem::take(&mut self.fresh) {
            if self.known.get(&number).is_some_and(|known| known.handles == 0) {
                self.known.remove(&number);
            }
        }
    }

    fn root(&mut self) -> Node {
        Node(ROOT)
    }

    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        let path = self.join(dir, name)?;
        let stat = stat(&path, &self.host.stat(&path)?);
        let node = self.hand_out(path, stat.filetype)?;
        Ok(Found {
            node,
            filetype: stat.filetype,
            stat: Some(stat),
        })
    }

    fn stat(&mut self, node: Node) -> Result<Stat, Errno> {
        let attributes = self.attributes(node)?;
        Ok(stat(self.path(node)?, &attributes))
    }

    fn read_link(&mut self, _: Node, _: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::NOTSUP)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn open(&mut self, node: Node, access: Access) -> Result<Handle, Errno> {
        let known = self.known(node)?;
        let flags = match (known.filetype, access) {
            (Filetype::Directory, _) => O_RDONLY | O_DIRECTORY,
            (
                _,
                Access {
                    read: true,
                    write: true,
                },
            ) => O_RDWR,
            (_, Access { write: true, .. }) => O_WRONLY,
            _ => O_RDONLY,
        };
        let path = self.path(node)?.to_vec();
        let fd = self.host.open(&path, flags)?;
        let Ok(handle) = u64::try_from(fd) else {
            return Err(Errno::IO);
        };
        self.open.insert(fd, node.0);
        if let Some(known) = self.known.get_mut(&node.0) {
            known.handles = known.handles.saturating_add(1);
            known.fd = Some(fd);
        }
        Ok(Handle(handle))
    }

    fn close(&mut self, handle: Handle) {
        let Ok(fd) = self.fd(handle) else { return };
        self.host.close(fd);
        let Some(node) = self.open.remove(&fd) else { return };
        let Some(known) = self.known.get_mut(&node) else {
            return;
        };
        known.handles = known.handles.saturating_sub(1);
        if known.fd == Some(fd) {
            known.fd = None;
        }
        if known.handles == 0 && node != ROOT {
            self.known.remove(&node);
        }
    }

    fn read(&mut self, file: Handle, offset: Filesize, buf: &mut [u8], _: Now<'_>) -> Result<usize, Errno> {
        let fd = self.fd(file)?;
        let Ok(offset) = i64::try_from(offset) else {
            return Ok(0);
        };
        self.host.seek(fd, Seek::Start(offset))?;
        Ok(read_fully(&mut self.host, fd, buf)?.0)
    }

    fn write(&mut self, file: Handle, offset: Filesize, buf: &[u8], _: Now<'_>) -> Result<usize, Errno> {
        let fd = self.fd(file)?;
        let length = Filesize::try_from(buf.len()).map_err(|_| Errno::FBIG)?;
        let offset = offset
            .checked_add(length)
            .filter(|end| i64::try_from(*end).is_ok())
            .and_then(|_| i64::try_from(offset).ok())
            .ok_or(Errno::FBIG)?;
        self.host.seek(fd, Seek::Start(offset))?;
        self.host.write(fd, buf)
    }

    fn append(&mut self, file: Handle, buf: &[u8], _: Now<'_>) -> Result<(usize, Filesize), Errno> {
        let fd = self.fd(file)?;
        let end = self.host.seek(fd, Seek::End)?;
        let written = self.host.write(fd, buf)?;
        Ok((
            written,
            end.saturating_add(Filesize::try_from(written).unwrap_or(Filesize::MAX)),
        ))
    }

    fn set_size(&mut self, file: Handle, size: Filesize, _: Now<'_>) -> Result<(), Errno> {
        let fd = self.fd(file)?;
        let now = self.size(fd)?;
        if size == now {
            return Ok(());
        }
        match size.checked_sub(1) {
            None => self.empty(fd),
            Some(last) if size > now => {
                // A zero byte at the new end; the host fills what lies between with zeros.
                let last = i64::try_from(last)
                    .ok()
                    .filter(|last| *last < i64::MAX)
                    .ok_or(Errno::FBIG)?;
                self.host.seek(fd, Seek::Start(last))?;
                self.host.write(fd, &[0]).map(|_| ())
            }
            Some(_) => Err(Errno::NOTSUP),
        }
    }

    fn allocate(&mut self, _: Handle, _: Filesize, _: Filesize, _: Now<'_>) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn sync(&mut self, _: Handle, _: bool) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn set_times(
        &mut self,
        _: Node,
        _: Option<Timestamp>,
        _: Option<Timestamp>,
        _: Now<'_>,
    ) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        _: Now<'_>,
    ) -> Result<(), Errno> {
        let fd = self.fd(dir)?;
        let node = Node(*self.open.get(&fd).ok_or(Errno::BADF)?);
        let start = i64::try_from(cookie).map_err(|_| Errno::INVAL)?;
        self.host.seek(fd, Seek::Start(start))?;
        let mut position = cookie;
        let mut buffer = core::mem::take(&mut self.entries);
        let result = loop {
            let length = match self.host.entries(fd, &mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => length,
                Err(error) => break Err(error),
            };
            let entries = buffer.get(..length).unwrap_or_default();
            match self.pass_on(node, entries, &mut position, sink) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.entries = buffer;
        result
    }

    fn create(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<Node, Errno> {
        let path = self.changeable(dir, name)?;
        let fd = self.host.open(&path, O_CREAT | O_EXCL | O_WRONLY)?;
        self.host.close(fd);
        self.hand_out(path, Filetype::RegularFile)
    }

    fn create_dir(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let path = self.changeable(dir, name)?;
        self.host.make_dir(&path)
    }

    fn create_link(&mut self, _: Node, _: &[u8], _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn hard_link(&mut self, _: Node, _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn unlink(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let path = self.changeable(dir, name)?;
        match self.look(&path)? {
            None => Err(Errno::NOENT),
            Some(Filetype::Directory) => Err(Errno::ISDIR),
            Some(_) => self.host.unlink(&path),
        }
    }

    fn remove_dir(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let path = self.join(dir, name)?;
        match self.look(&path)? {
            None => Err(Errno::NOENT),
            Some(Filetype::Directory) => Err(Errno::NOTSUP),
            Some(_) => Err(Errno::NOTDIR),
        }
    }

    fn rename(&mut self, from: Node, from_name: &[u8], _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let path = self.join(from, from_name)?;
        match self.look(&path)? {
            None => Err(Errno::NOENT),
            Some(_) => Err(Errno::NOTSUP),
        }
    }
}

impl<H: Host> UhyveFs<H> {
    /// Passes records of the directory `dir` on to `sink`; `false` if it wants no more. `position` is where the next
    /// record is found.
    fn pass_on(
        &mut self,
        dir: Node,
        mut entries: &[u8],
        position: &mut u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, Errno> {
        while !entries.is_empty() {
            let (record, rest) = dirents::next(entries).ok_or(Errno::IO)?;
            entries = rest;
            let made_up = record.position == 0;
            *position = match record.position {
                // uhyve counts bytes in a directory of its own.
                0 => position.saturating_add(record.length),
                position => position,
            };
            if matches!(record.name, b"." | b"..") {
                continue;
            }
            let (ino, filetype) = match record.filetype {
                Some(filetype) if !made_up => (record.ino, filetype),
                _ => {
                    let path = self.join(dir, record.name)?;
                    match self.host.stat(&path) {
                        Ok(FileAttr { st_ino: 0, .. }) => {
                            (made_up_ino(&path), record.filetype.unwrap_or(Filetype::Unknown))
                        }
                        Ok(attributes) => (attributes.st_ino, filetype(&attributes)),
                        // It has gone meanwhile, or is not to be looked at.
                        Err(_) => (record.ino, record.filetype.unwrap_or(Filetype::Unknown)),
                    }
                }
            };
            let entry = DirEntry {
                next: *position,
                ino,
                filetype,
                name: record.name,
            };
            if !sink(entry) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
