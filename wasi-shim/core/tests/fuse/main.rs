//! The FUSE client against a server over a directory of this machine: what one does is seen by the other.
//!
//! Layer: tests.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "patterns, and numbers of the host on 64 bits"
)]

#[path = "../support/directory.rs"]
mod directory;
mod entries;
mod files;
mod hostile;
mod listing;
#[path = "../support/passthrough.rs"]
mod passthrough;

use std::{os::unix::fs::MetadataExt as _, path::Path};

use wasi_core::{
    Errno,
    fs::{Access, FileSystem as _, Found, Handle, Node, fuse::FuseFs},
    types::Filetype,
};

use self::{
    directory::Directory,
    passthrough::{Client, Config},
};

type Fs = FuseFs<Client>;

const READ: Access = Access::READ;
const WRITE: Access = Access {
    read: false,
    write: true,
};
const BOTH: Access = Access {
    read: true,
    write: true,
};

/// A time that no clock would have said.
const NOW: u64 = 1_600_000_000_123_456_789;

fn now() -> u64 {
    NOW
}

/// A directory, its server and a client of it.
struct TestBed {
    dir: Directory,
    client: Client,
    fs: Fs,
    root: Node,
}

impl TestBed {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let dir = Directory::new();
        let client = Client::new(&dir, config);
        let mut fs = FuseFs::new(client.clone(), 0o022).expect("the server answers");
        let root = fs.root();
        Self {
            dir,
            client,
            fs,
            root,
        }
    }

    fn find(&mut self, name: &str) -> Result<Found, Errno> {
        self.fs.lookup(self.root, name.as_bytes())
    }

    /// Opens what has a name in the root.
    fn open(&mut self, name: &str, access: Access) -> Handle {
        let found = self.find(name).expect("it is there");
        self.fs.open(found.node, access).expect("it can be opened")
    }

    /// Everything was given back: look-ups and handles.
    fn settled(mut self) {
        self.fs.settle();
        assert_eq!(self.fs.counts(), (0, 0), "nodes kept and look-ups owed");
        assert_eq!(
            self.client.server.borrow().held(),
            (0, 0),
            "nodes and handles of the server"
        );
    }
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(path, bytes).expect("the host can write");
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the host can read")
}

/// Attributes are the host's, and a look-up tells them at once.
#[test]
fn attributes() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "hello");
    std::fs::hard_link(bed.dir.join("f"), bed.dir.join("g")).expect("a second name");
    let host = std::fs::metadata(bed.dir.join("f")).expect("it is there");

    let found = bed.find("f").expect("it is there");
    let stat = found.stat.expect("a look-up tells attributes");
    assert_eq!(stat, bed.fs.stat(found.node).expect("it is there"));
    assert_eq!((stat.ino, stat.nlink, stat.size), (host.ino(), 2, 5));
    let nanoseconds = |seconds: i64, rest: i64| seconds as u64 * 1_000_000_000 + rest as u64;
    assert_eq!(stat.mtim, nanoseconds(host.mtime(), host.mtime_nsec()));
    assert_eq!(stat.ctim, nanoseconds(host.ctime(), host.ctime_nsec()));
    // Both names lead to one node, as long as one of them is remembered.
    assert_eq!(bed.find("g").expect("it is there").node, found.node);

    assert_eq!(bed.find("h"), Err(Errno::NOENT));
    bed.settled();
}

/// Times are set and kept in nanoseconds, each alone, also on a symbolic link itself.
#[test]
fn times() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "");
    std::os::unix::fs::symlink("f", bed.dir.join("l")).expect("a link");
    for name in ["f", "l"] {
        let node = bed.find(name).expect("it is there").node;
        let before = bed.fs.stat(node).expect("it is there");
        bed.fs
            .set_times(node, Some(NOW), None, &mut now)
            .expect("it can be set");
        let stat = bed.fs.stat(node).expect("it is there");
        assert_eq!((stat.atim, stat.mtim), (NOW, before.mtim));
        bed.fs
            .set_times(node, None, Some(7), &mut now)
            .expect("it can be set");
        let stat = bed.fs.stat(node).expect("it is there");
        assert_eq!((stat.atim, stat.mtim), (NOW, 7));
        let host = std::fs::symlink_metadata(bed.dir.join(name)).expect("it is there");
        assert_eq!((host.mtime(), host.mtime_nsec()), (0, 7));
    }
    bed.settled();
}

/// What is before 1970 is 1970.
#[test]
fn times_before_the_epoch() {
    let mut bed = TestBed::new();
    let file = std::fs::File::create(bed.dir.join("f")).expect("a file");
    let early = std::time::UNIX_EPOCH - std::time::Duration::from_secs(1000);
    file.set_modified(early).expect("the host can set it");
    assert_eq!(
        bed.find("f")
            .and_then(|found| bed.fs.stat(found.node))
            .map(|stat| stat.mtim),
        Ok(0)
    );
    bed.settled();
}

/// A node goes back to the server when it is neither open nor of the present call, and not before.
#[test]
fn nodes_are_kept_while_they_are_needed() {
    let mut bed = TestBed::new();
    for number in 0..200 {
        write(&bed.dir.join(format!("{number}")), "");
    }
    let handle = bed.open("0", READ);
    for number in 0..200 {
        bed.fs.begin_call();
        bed.find(&number.to_string()).expect("it is there");
        bed.find(&number.to_string()).expect("it is there");
        // The open one, that of this call, and not more than a batch waits to be given back.
        assert!(bed.client.server.borrow().held().0 <= 66);
    }
    bed.fs.begin_call();
    std::fs::remove_file(bed.dir.join("0")).expect("the host can remove it");
    assert_eq!(bed.fs.read(handle, 0, &mut [0; 4], &mut now), Ok(0));
    bed.fs.close(handle);
    bed.settled();
}

/// What is no file is not opened: the server would wait at a pipe for ever.
#[test]
fn pipes() {
    let mut bed = TestBed::new();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, bed.dir.join("p"), fifo, mode, 0).expect("a pipe");
    let found = bed.find("p").expect("it is there");
    assert_eq!(found.filetype, Filetype::Unknown);
    assert_eq!(bed.fs.open(found.node, READ), Err(Errno::NOTSUP));
    bed.settled();
}

/// What the host cannot do comes back as the host's error.
#[test]
fn errors_of_the_host() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "");
    let handle = bed.open("f", READ);
    assert_eq!(bed.fs.write(handle, 0, b"x", &mut now), Err(Errno::BADF));
    let node = bed.find("f").expect("it is there").node;
    assert_eq!(bed.fs.read_link(node, &mut [0; 8]), Err(Errno::INVAL));
    assert_eq!(bed.fs.lookup(node, b"x"), Err(Errno::NOTDIR));
    bed.fs.close(handle);
    let handle = bed.open("f", WRITE);
    assert_eq!(bed.fs.set_size(handle, 1 << 63, &mut now), Err(Errno::INVAL));
    assert_eq!(
        bed.fs.allocate(handle, 1 << 62, 1 << 62, &mut now),
        Err(Errno::FBIG)
    );
    bed.fs.close(handle);
    bed.settled();
}
