//! A guest's memory on the bench: every test states all bytes that a call changes, so any other change fails it.
//!
//! Layer: tests.

use alloc::{string::String, vec::Vec};
use core::{fmt::Write as _, net::SocketAddr};

use wasi_core::{
    Network as _, WasiCtx,
    context::WasiCtxBuilder,
    file::Blocking,
    fs::{
        Access, FileSystem, Node, Permission,
        mem::{Limits, MemFs},
    },
    socket::{Family, Kind},
    testing::{Happening, TestNetwork, TestSystem},
};

use crate::{
    abi::{
        Errno,
        types::{Fd, Fdflags, Filetype, Lookupflags, Oflags, Rights, Size},
    },
    calls::path::path_open,
    context::WasiP1Ctx,
    error::Error,
    fd_table::Entry,
    memory::{GuestMemory, Ptr},
};

/// Size of the guest's memory.
pub(super) const SIZE: u32 = 1024;

/// The standard streams, and two numbers that are not open.
pub(super) const FDS: [u32; 5] = [0, 1, 2, 3, u32::MAX];

/// What memory holds where nothing was written: neither zero nor a value that a call would write.
const GUARD: u8 = 0xa5;

type Ctx = WasiP1Ctx<TestSystem>;

pub(super) fn le32(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// When the file systems of the tests were made.
pub(super) const BIRTH: u64 = 1_600_000_000_000_000_000;

/// The tree that most tests of files work on:
///
/// ```text
/// f "hello", hard (the same file), sub/g "g", empty/
/// lf -> f, ld -> sub, le -> empty, dang -> nowhere, loop -> loop, abs -> /f, up -> ../x,
/// self -> sub/.., lfd -> sub/../f
/// ```
pub(super) fn tree(limits: Limits) -> MemFs {
    let mut fs = MemFs::new(limits, BIRTH);
    let root = fs.root();
    let now = &mut || BIRTH;
    let f = put_file(&mut fs, root, b"f", b"hello");
    for dir in [&b"sub"[..], b"empty"] {
        fs.create_dir(root, dir, now).expect("the directory");
    }
    let sub = fs.lookup(root, b"sub").expect("it was made").node;
    put_file(&mut fs, sub, b"g", b"g");
    let links: [(&[u8], &[u8]); 9] = [
        (b"lf", b"f"),
        (b"ld", b"sub"),
        (b"le", b"empty"),
        (b"dang", b"nowhere"),
        (b"loop", b"loop"),
        (b"abs", b"/f"),
        (b"up", b"../x"),
        (b"self", b"sub/.."),
        (b"lfd", b"sub/../f"),
    ];
    for (name, target) in links {
        fs.create_link(root, name, target, now).expect("the link");
    }
    fs.hard_link(f, root, b"hard", now).expect("the second name");
    fs
}

/// Makes a file.
pub(super) fn put_file(fs: &mut MemFs, dir: Node, name: &[u8], data: &[u8]) -> Node {
    let now = &mut || BIRTH;
    let node = fs.create(dir, name, now).expect("the file");
    let access = Access {
        read: false,
        write: true,
    };
    let handle = fs.open(node, access).expect("a file can be opened");
    assert_eq!(fs.write(handle, 0, data, now), Ok(data.len()));
    fs.close(handle);
    node
}

/// All that is in the file systems, to see what a call has changed. Reading it is an access, so those times are
/// not in it.
fn dump(core: &mut WasiCtx<TestSystem>) -> String {
    let mut text = String::new();
    for index in 0.. {
        let Some(fs) = core.file_system(index) else { break };
        let root = fs.root();
        dump_directory(fs, root, &mut text, 0);
    }
    text
}

fn dump_directory(fs: &mut dyn FileSystem, dir: Node, text: &mut String, depth: usize) {
    let handle = fs.open(dir, Access::READ).expect("a directory can be opened");
    let mut names = Vec::new();
    let sink = &mut |entry: wasi_core::fs::DirEntry<'_>| {
        names.push(entry.name.to_vec());
        true
    };
    fs.read_dir(handle, 0, sink, &mut || BIRTH)
        .expect("a directory can be read");
    fs.close(handle);
    for name in names {
        let found = fs.lookup(dir, &name).expect("it was read");
        let stat = fs.stat(found.node).expect("it is there");
        let mut data = [0; 256];
        match found.filetype {
            Filetype::RegularFile => {
                let handle = fs.open(found.node, Access::READ).expect("a file can be opened");
                fs.read(handle, 0, &mut data, &mut || BIRTH)
                    .expect("a file can be read");
                fs.close(handle);
            }
            Filetype::SymbolicLink => drop(fs.read_link(found.node, &mut data)),
            _ => {}
        }
        let name = String::from_utf8_lossy(&name);
        let (ino, nlink, size, mtim, ctim) = (stat.ino, stat.nlink, stat.size, stat.mtim, stat.ctim);
        writeln!(text, "{depth} {name} {ino} {nlink} {size} {mtim} {ctim} {data:?}").expect("memory");
        if found.filetype == Filetype::Directory {
            dump_directory(fs, found.node, text, depth + 1);
        }
    }
}

/// A context and a memory full of guard bytes.
pub(super) struct TestBed {
    pub(super) ctx: Ctx,
    pub(super) memory: Vec<u8>,
}

impl TestBed {
    pub(super) fn new() -> Self {
        Self::on(TestSystem::default())
    }

    pub(super) fn on(system: TestSystem) -> Self {
        Self::of(WasiCtxBuilder::new().build(system))
    }

    /// With [`tree`] as `/`, descriptor 3.
    pub(super) fn with_tree() -> Self {
        Self::with_fs(tree(Limits::NONE), Permission::ReadWrite)
    }

    /// With a file system as `/`, descriptor 3.
    pub(super) fn with_fs(fs: MemFs, permission: Permission) -> Self {
        let builder = WasiCtxBuilder::new()
            .preopen(fs, "/", permission)
            .expect("a good name");
        Self::of(builder.build(TestSystem::default()))
    }

    /// With a listener at port 80, descriptor 3, and a network on which this happens.
    pub(super) fn served(script: impl IntoIterator<Item = (u64, Happening)>) -> Self {
        let mut network = TestNetwork::new(script);
        let local = SocketAddr::new([10, 0, 2, 15].into(), 80);
        let id = network.listen(local, 8).expect("a free port");
        let system = TestSystem {
            network: Some(network),
            ..TestSystem::default()
        };
        Self::of(WasiCtxBuilder::new().listener(id, local).build(system))
    }

    /// Opens a socket for IPv4.
    pub(super) fn open_socket(&mut self, kind: Kind) -> Fd {
        let descriptor = self.ctx.core.open_socket(Family::V4, kind).expect("a network");
        let fd = self.ctx.fds.vacancy().expect("few are open");
        self.ctx
            .fds
            .insert(Entry::opened(descriptor, Fdflags::NONE, Rights::ALL));
        fd
    }

    /// Connects a socket, or begins to.
    pub(super) fn connect(&mut self, fd: Fd, to: SocketAddr, blocking: Blocking) -> Result<(), Errno> {
        let socket = self.ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
        self.ctx.core.connect(socket, to, blocking)
    }

    /// The network.
    pub(super) fn network(&mut self) -> &mut TestNetwork {
        self.ctx.core.system.network.as_mut().expect("a network")
    }

    pub(super) fn of(core: WasiCtx<TestSystem>) -> Self {
        Self {
            ctx: WasiP1Ctx::new(core),
            memory: [GUARD].repeat(at(SIZE)),
        }
    }

    /// Puts bytes where the guest would have put them.
    pub(super) fn put(&mut self, address: u32, bytes: &[u8]) {
        let address = at(address);
        self.memory[address..address + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts a path; what a call takes for it.
    pub(super) fn path(&mut self, address: u32, path: impl AsRef<[u8]>) -> (Ptr<u8>, Size) {
        let path = path.as_ref();
        self.put(address, path);
        (Ptr::new(address), Size::try_from(path.len()).expect("short"))
    }

    /// Opens a path beneath the descriptor 3, following links; the descriptor.
    pub(super) fn open(&mut self, path: &str, oflags: Oflags, rights: Rights, fdflags: Fdflags) -> Fd {
        let at = self.open_at(3, path, oflags, rights, fdflags);
        at.unwrap_or_else(|errno| panic!("{path}: {errno}"))
    }

    /// Opens a path beneath a descriptor, following links. Leaves memory as it was.
    pub(super) fn open_at(
        &mut self,
        fd: Fd,
        path: &str,
        oflags: Oflags,
        rights: Rights,
        fdflags: Fdflags,
    ) -> Result<Fd, Errno> {
        let memory = self.memory.clone();
        let (p, len) = self.path(SIZE - 512, path);
        let (follow, out) = (Lookupflags::SYMLINK_FOLLOW, Ptr::new(0));
        let end = self.run(|c, m| {
            path_open(
                c,
                m,
                fd,
                follow,
                p,
                len,
                oflags,
                rights,
                Rights::NONE,
                fdflags,
                out,
            )
        });
        let opened = u32::from_le_bytes(*self.memory.first_chunk().expect("4 bytes"));
        self.memory = memory;
        match end {
            Ok(()) => Ok(opened),
            Err(Error::Errno(errno)) => Err(errno),
            Err(other) => panic!("{path}: {other}"),
        }
    }

    /// Puts a list of iovecs.
    pub(super) fn put_iovecs(&mut self, address: u32, iovecs: &[(u32, u32)]) {
        let bytes: Vec<u8> = iovecs
            .iter()
            .flat_map(|(buf, len)| [le32(*buf), le32(*len)].concat())
            .collect();
        self.put(address, &bytes);
    }

    pub(super) fn run(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        call(&mut self.ctx, &mut GuestMemory::new(&mut self.memory))
    }

    /// The call succeeds and changes these bytes only.
    #[track_caller]
    pub(super) fn ok(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
        changes: &[(u32, &[u8])],
    ) {
        let mut expected = self.memory.clone();
        for (address, bytes) in changes {
            expected[at(*address)..at(*address) + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(self.run(call), Ok(()));
        self.assert_memory(&expected);
    }

    /// The call fails with `errno` and changes nothing: no memory, no descriptor, no file.
    #[track_caller]
    pub(super) fn errno(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
        errno: Errno,
    ) {
        let (expected, state) = (self.memory.clone(), self.state());
        assert_eq!(self.run(call), Err(Error::Errno(errno)));
        self.assert_memory(&expected);
        assert_eq!(self.state(), state);
    }

    /// The descriptors and the files.
    pub(super) fn state(&mut self) -> String {
        let files = dump(&mut self.ctx.core);
        alloc::format!("{:?}\n{files}", self.ctx.fds)
    }

    /// The call traps, and leaves no trace in memory, on the machine, in a file.
    #[track_caller]
    pub(super) fn trap(&mut self, call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>) {
        let (expected, machine, state) = (self.memory.clone(), self.ctx.core.system.clone(), self.state());
        let end = self.run(call);
        assert!(matches!(end, Err(Error::Trap(_))), "expected a trap, got {end:?}");
        assert_eq!(self.state(), state);
        self.assert_memory(&expected);
        assert_eq!(self.ctx.core.system, machine);
    }

    #[track_caller]
    fn assert_memory(&self, expected: &[u8]) {
        let differs = |(index, (found, wanted))| {
            (found != wanted).then(|| alloc::format!("byte {index}: {found:#04x}, expected {wanted:#04x}"))
        };
        let difference = self.memory.iter().zip(expected).enumerate().find_map(differs);
        assert_eq!(difference, None);
    }
}

fn at(address: u32) -> usize {
    usize::try_from(address).expect("an address fits")
}
