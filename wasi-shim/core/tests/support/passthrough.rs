//! A FUSE server over a directory of this machine, in the test's own process: what virtiofsd is to a machine.
//!
//! Layer: tests. A node is an `O_PATH` descriptor, found by name beneath its parent and never followed; what is
//! asked of a node is asked through `/proc/self/fd`. Written from the protocol, without the client's code.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of the host, on 64 bits, as the wire has them"
)]

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::CStr,
    fs::File,
    mem::{MaybeUninit, size_of},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::Path,
    rc::Rc,
};

use fuse_abi::linux::*;
use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, Timestamps},
    io::{Errno, Result},
};
use wasi_core::fs::fuse::Transport;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the server says of itself, and how it behaves.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) max_write: u32,
    pub(crate) max_pages: u16,
    pub(crate) readdirplus: bool,
    /// Listings do not tell types, as those of some file systems.
    pub(crate) hide_types: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_write: 1 << 20,
            max_pages: 256,
            readdirplus: true,
            hide_types: false,
        }
    }
}

struct Node {
    fd: OwnedFd,
    key: (u64, u64),
    lookups: u64,
}

/// The server.
pub(crate) struct Passthrough {
    config: Config,
    nodes: HashMap<u64, Node>,
    by_key: HashMap<(u64, u64), u64>,
    handles: HashMap<u64, OwnedFd>,
    next: u64,
    /// How often each operation was asked for.
    pub(crate) requests: HashMap<u32, u64>,
}

/// The beginning of a structure's bytes.
fn take<T: FromBytes + KnownLayout + Immutable>(bytes: &mut &[u8]) -> T {
    let (value, rest) = T::read_from_prefix(bytes).expect("a request of the right length");
    *bytes = rest;
    value
}

/// A name, and what follows its zero byte.
fn take_name<'a>(bytes: &mut &'a [u8]) -> &'a CStr {
    let name = CStr::from_bytes_until_nul(bytes).expect("a name that ends");
    *bytes = &bytes[name.count_bytes() + 1..];
    name
}

fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn attr_of(stat: &fs::Stat) -> fuse_attr {
    fuse_attr {
        ino: stat.st_ino,
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: stat.st_atime as u64,
        mtime: stat.st_mtime as u64,
        ctime: stat.st_ctime as u64,
        atimensec: stat.st_atime_nsec as u32,
        mtimensec: stat.st_mtime_nsec as u32,
        ctimensec: stat.st_ctime_nsec as u32,
        mode: stat.st_mode,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: stat.st_blksize as u32,
        flags: 0,
    }
}

impl Passthrough {
    pub(crate) fn new(root: &Path, config: Config) -> Self {
        let fd = fs::open(
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .expect("the directory to share");
        let root = Node {
            fd,
            key: (0, 0),
            lookups: 1,
        };
        Self {
            config,
            nodes: HashMap::from([(FUSE_ROOT_ID, root)]),
            by_key: HashMap::new(),
            handles: HashMap::new(),
            next: FUSE_ROOT_ID + 1,
            requests: HashMap::new(),
        }
    }

    /// Nodes besides the root, and handles, that the client has not given back.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.nodes.len() - 1, self.handles.len())
    }

    fn node(&self, nodeid: u64) -> Result<&OwnedFd> {
        self.nodes.get(&nodeid).map(|node| &node.fd).ok_or(Errno::BADF)
    }

    fn handle(&self, fh: u64) -> Result<&OwnedFd> {
        self.handles.get(&fh).ok_or(Errno::BADF)
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn enter(&mut self, parent: u64, name: &CStr) -> Result<fuse_entry_out> {
        let dir = self.node(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(dir, name, flags, Mode::empty())?;
        let stat = fs::fstat(&fd)?;
        let key = (stat.st_dev, stat.st_ino);
        let nodeid = match self.by_key.get(&key) {
            Some(nodeid) => {
                self.nodes.get_mut(nodeid).expect("both tables agree").lookups += 1;
                *nodeid
            }
            None => {
                let nodeid = self.fresh();
                self.by_key.insert(key, nodeid);
                let node = Node { fd, key, lookups: 1 };
                self.nodes.insert(nodeid, node);
                nodeid
            }
        };
        Ok(fuse_entry_out {
            nodeid,
            attr: attr_of(&stat),
            ..fuse_entry_out::default()
        })
    }

    fn forget(&mut self, one: fuse_forget_one) {
        let node = self.nodes.get_mut(&one.nodeid).expect("a node to forget");
        node.lookups = node
            .lookups
            .checked_sub(one.nlookup)
            .expect("no more is forgotten than was looked up");
        if node.lookups == 0 && one.nodeid != FUSE_ROOT_ID {
            self.by_key.remove(&node.key);
            self.nodes.remove(&one.nodeid);
        }
    }

    fn open(&mut self, nodeid: u64, flags: u32, extra: OFlags) -> Result<Vec<u8>> {
        let flags = OFlags::from_bits_retain(flags) | extra | OFlags::CLOEXEC;
        let fd = fs::open(proc_path(self.node(nodeid)?), flags, Mode::empty())?;
        Ok(self.opened(fd).as_bytes().to_vec())
    }

    fn opened(&mut self, fd: OwnedFd) -> fuse_open_out {
        let fh = self.fresh();
        self.handles.insert(fh, fd);
        fuse_open_out {
            fh,
            ..fuse_open_out::default()
        }
    }

    fn attributes(&self, nodeid: u64) -> Result<Vec<u8>> {
        let reply = fuse_attr_out {
            attr: attr_of(&fs::fstat(self.node(nodeid)?)?),
            ..fuse_attr_out::default()
        };
        Ok(reply.as_bytes().to_vec())
    }

    fn set_attributes(&self, nodeid: u64, request: &fuse_setattr_in) -> Result<Vec<u8>> {
        let node = self.node(nodeid)?;
        if request.valid & FATTR_SIZE != 0 {
            if request.valid & FATTR_FH != 0 {
                fs::ftruncate(self.handle(request.fh)?, request.size)?;
            } else {
                let file = fs::open(proc_path(node), OFlags::WRONLY, Mode::empty())?;
                fs::ftruncate(file, request.size)?;
            }
        }
        let time = |bit: u32, seconds: u64, nanoseconds: u32| fs::Timespec {
            tv_sec: seconds as i64,
            tv_nsec: if request.valid & bit == 0 {
                fs::UTIME_OMIT
            } else {
                i64::from(nanoseconds)
            },
        };
        if request.valid & (FATTR_ATIME | FATTR_MTIME) != 0 {
            let times = Timestamps {
                last_access: time(FATTR_ATIME, request.atime, request.atimensec),
                last_modification: time(FATTR_MTIME, request.mtime, request.mtimensec),
            };
            fs::utimensat(CWD, proc_path(node), &times, AtFlags::empty())?;
        }
        self.attributes(nodeid)
    }

    fn list(&mut self, nodeid: u64, request: &fuse_read_in, plus: bool) -> Result<Vec<u8>> {
        let size = request.size as usize;
        let dir = self.handle(request.fh)?.try_clone().map_err(|_| Errno::MFILE)?;
        fs::seek(&dir, SeekFrom::Start(request.offset))?;
        let mut buf = vec![MaybeUninit::uninit(); 1 << 16];
        let mut entries = RawDir::new(dir.as_fd(), &mut buf);
        let mut reply = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let head = if plus { size_of::<fuse_entry_out>() } else { 0 };
            let len = (head + size_of::<fuse_dirent>() + name.count_bytes()).next_multiple_of(8);
            if reply.len() + len > size {
                break;
            }
            let end = reply.len() + len;
            if plus {
                let dots = matches!(name.to_bytes(), b"." | b"..");
                let entry = if dots {
                    fuse_entry_out::default()
                } else {
                    self.enter(nodeid, name)?
                };
                reply.extend_from_slice(entry.as_bytes());
            }
            let hidden = self.config.hide_types;
            let dirent = fuse_dirent {
                ino: entry.ino(),
                off: entry.next_entry_cookie(),
                namelen: name.count_bytes() as u32,
                type_: if hidden {
                    0
                } else {
                    entry.file_type().as_raw_mode() >> 12
                },
                ..fuse_dirent::default()
            };
            reply.extend_from_slice(dirent.as_bytes());
            reply.extend_from_slice(name.to_bytes());
            reply.resize(end, 0);
        }
        Ok(reply)
    }

    /// Answers one request: the reply behind its header.
    fn answer(&mut self, header: &fuse_in_header, mut args: &[u8]) -> Result<Vec<u8>> {
        let nodeid = header.nodeid;
        let args = &mut args;
        let opcode = |opcode: fuse_opcode| opcode as u32;
        use fuse_opcode::*;
        let op = header.opcode;
        let done = Vec::new();
        Ok(if op == opcode(FUSE_INIT) {
            let request: fuse_init_in = take(args);
            let plus = if self.config.readdirplus {
                FUSE_DO_READDIRPLUS
            } else {
                0
            };
            fuse_init_out {
                major: 7,
                minor: request.minor.min(38),
                flags: request.flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | plus),
                max_write: self.config.max_write,
                max_pages: self.config.max_pages,
                ..fuse_init_out::default()
            }
            .as_bytes()
            .to_vec()
        } else if op == opcode(FUSE_LOOKUP) {
            self.enter(nodeid, take_name(args))?.as_bytes().to_vec()
        } else if op == opcode(FUSE_GETATTR) {
            let _: fuse_getattr_in = take(args);
            self.attributes(nodeid)?
        } else if op == opcode(FUSE_SETATTR) {
            self.set_attributes(nodeid, &take(args))?
        } else if op == opcode(FUSE_READLINK) {
            fs::readlinkat(self.node(nodeid)?, c"", Vec::new())?.into_bytes()
        } else if op == opcode(FUSE_SYMLINK) {
            let (name, target) = (take_name(args), take_name(args));
            fs::symlinkat(target, self.node(nodeid)?, name)?;
            self.enter(nodeid, name)?.as_bytes().to_vec()
        } else if op == opcode(FUSE_MKDIR) {
            let request: fuse_mkdir_in = take(args);
            let name = take_name(args);
            fs::mkdirat(self.node(nodeid)?, name, Mode::from_raw_mode(request.mode))?;
            self.enter(nodeid, name)?.as_bytes().to_vec()
        } else if op == opcode(FUSE_UNLINK) {
            fs::unlinkat(self.node(nodeid)?, take_name(args), AtFlags::empty())?;
            done
        } else if op == opcode(FUSE_RMDIR) {
            fs::unlinkat(self.node(nodeid)?, take_name(args), AtFlags::REMOVEDIR)?;
            done
        } else if op == opcode(FUSE_RENAME2) {
            let request: fuse_rename2_in = take(args);
            assert_eq!(request.flags, 0);
            let (from, to) = (take_name(args), take_name(args));
            fs::renameat(self.node(nodeid)?, from, self.node(request.newdir)?, to)?;
            done
        } else if op == opcode(FUSE_LINK) {
            let request: fuse_link_in = take(args);
            let name = take_name(args);
            let from = proc_path(self.node(request.oldnodeid)?);
            fs::linkat(CWD, from, self.node(nodeid)?, name, AtFlags::SYMLINK_FOLLOW)?;
            self.enter(nodeid, name)?.as_bytes().to_vec()
        } else if op == opcode(FUSE_OPEN) {
            let request: fuse_open_in = take(args);
            self.open(nodeid, request.flags, OFlags::empty())?
        } else if op == opcode(FUSE_OPENDIR) {
            let request: fuse_open_in = take(args);
            self.open(nodeid, request.flags, OFlags::DIRECTORY)?
        } else if op == opcode(FUSE_CREATE) {
            let request: fuse_create_in = take(args);
            let name = take_name(args);
            let flags = OFlags::from_bits_retain(request.flags) | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = fs::openat(
                self.node(nodeid)?,
                name,
                flags,
                Mode::from_raw_mode(request.mode & 0o7777),
            )?;
            let mut reply = self.enter(nodeid, name)?.as_bytes().to_vec();
            reply.extend_from_slice(self.opened(fd).as_bytes());
            reply
        } else if op == opcode(FUSE_READ) {
            let request: fuse_read_in = take(args);
            assert!(request.size <= self.config.max_write, "a read that is too long");
            let file = File::from(self.handle(request.fh)?.try_clone().map_err(|_| Errno::MFILE)?);
            let mut buf = vec![0; request.size as usize];
            let count = file
                .read_at(&mut buf, request.offset)
                .map_err(|error| errno_of(&error))?;
            buf.truncate(count);
            buf
        } else if op == opcode(FUSE_WRITE) {
            let request: fuse_write_in = take(args);
            assert_eq!(
                request.size as usize,
                args.len(),
                "the data has the length it says"
            );
            assert!(request.size <= self.config.max_write, "a write that is too long");
            let file = File::from(self.handle(request.fh)?.try_clone().map_err(|_| Errno::MFILE)?);
            let count = file
                .write_at(args, request.offset)
                .map_err(|error| errno_of(&error))?;
            fuse_write_out {
                size: count as u32,
                padding: 0,
            }
            .as_bytes()
            .to_vec()
        } else if op == opcode(FUSE_FLUSH) {
            let request: fuse_flush_in = take(args);
            self.handle(request.fh)?;
            done
        } else if op == opcode(FUSE_FSYNC) || op == opcode(FUSE_FSYNCDIR) {
            let request: fuse_fsync_in = take(args);
            fs::fsync(self.handle(request.fh)?)?;
            done
        } else if op == opcode(FUSE_FALLOCATE) {
            let request: fuse_fallocate_in = take(args);
            let mode = fs::FallocateFlags::from_bits_retain(request.mode);
            fs::fallocate(self.handle(request.fh)?, mode, request.offset, request.length)?;
            done
        } else if op == opcode(FUSE_RELEASE) || op == opcode(FUSE_RELEASEDIR) {
            let request: fuse_release_in = take(args);
            self.handles.remove(&request.fh).ok_or(Errno::BADF)?;
            done
        } else if op == opcode(FUSE_READDIR) || op == opcode(FUSE_READDIRPLUS) {
            self.list(nodeid, &take(args), op == opcode(FUSE_READDIRPLUS))?
        } else {
            return Err(Errno::NOSYS);
        })
    }

    /// Answers a request; a reply, unless it has none.
    pub(crate) fn serve(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let mut args = request;
        let header: fuse_in_header = take(&mut args);
        assert_eq!(
            header.len as usize,
            request.len(),
            "the request has the length it says"
        );
        *self.requests.entry(header.opcode).or_default() += 1;
        if header.opcode == fuse_opcode::FUSE_BATCH_FORGET as u32 {
            let batch: fuse_batch_forget_in = take(&mut args);
            for _ in 0..batch.count {
                self.forget(take(&mut args));
            }
            assert!(args.is_empty());
            return None;
        }
        let (error, body) = match self.answer(&header, args) {
            Ok(body) => (0, body),
            Err(errno) => (-errno.raw_os_error(), Vec::new()),
        };
        let reply = fuse_out_header {
            len: (size_of::<fuse_out_header>() + body.len()) as u32,
            error,
            unique: header.unique,
        };
        Some([reply.as_bytes(), &body].concat())
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).expect("an error of the system")
}

/// Changes a reply to an operation.
type Tamper = Box<dyn FnMut(u32, &mut Vec<u8>)>;

/// A way to a server, which the test can look at meanwhile; replies pass by `tamper`.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) server: Rc<RefCell<Passthrough>>,
    tamper: Rc<RefCell<Tamper>>,
}

impl Client {
    pub(crate) fn new(root: &Path, config: Config) -> Self {
        Self {
            server: Rc::new(RefCell::new(Passthrough::new(root, config))),
            tamper: Rc::new(RefCell::new(Box::new(|_, _| {}))),
        }
    }

    /// From now on, all replies pass by this.
    pub(crate) fn tamper_with(&self, tamper: impl FnMut(u32, &mut Vec<u8>) + 'static) {
        *self.tamper.borrow_mut() = Box::new(tamper);
    }
}

impl Transport for Client {
    fn request(
        &mut self,
        request: &[&[u8]],
        reply: &mut [&mut [u8]],
    ) -> std::result::Result<usize, wasi_core::Errno> {
        let request = request.concat();
        let opcode = u32::from_ne_bytes(request[4..8].try_into().expect("four bytes"));
        let mut bytes = self.server.borrow_mut().serve(&request).expect("a reply");
        (self.tamper.borrow_mut())(opcode, &mut bytes);
        let mut rest = &bytes[..];
        for part in reply {
            let count = rest.len().min(part.len());
            part[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
        }
        Ok(bytes.len() - rest.len())
    }

    fn notify(&mut self, request: &[&[u8]]) -> std::result::Result<(), wasi_core::Errno> {
        assert!(self.server.borrow_mut().serve(&request.concat()).is_none());
        Ok(())
    }
}
