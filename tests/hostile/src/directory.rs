//! Attacks on a mounted directory: requests that no kernel would send, to make virtiofsd do on the host what the run's
//! flags do not allow.
//!
//! FUSE's messages: `include/uapi/linux/fuse.h` of Linux. What each request was answered goes to standard output, by
//! the number of the error.

use core::fmt::{self, Write};

use crate::console::standard_output;
use crate::machine::{self, Machine, PAGE, bytes, peek, poke};
use crate::virtio::{self, Descriptor, Kind, Queue};

/// FUSE's numbers of requests.
mod request {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const READLINK: u32 = 5;
    pub(super) const SYMLINK: u32 = 6;
    pub(super) const MKNOD: u32 = 8;
    pub(super) const MKDIR: u32 = 9;
    pub(super) const RENAME: u32 = 12;
    pub(super) const LINK: u32 = 13;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const SETXATTR: u32 = 21;
    pub(super) const INIT: u32 = 26;
    pub(super) const CREATE: u32 = 35;
}

/// The mounted directory itself.
const ROOT: u64 = 1;

/// Room for requests and answers, behind the queue's pages.
const ROOM: u64 = 1 << 20;

/// A connection to the daemon.
struct Fuse {
    queue: Queue,
    /// Where requests are written, and, a mebibyte on, answers come.
    memory: u64,
    /// Whose the requests claim to be.
    user: u32,
    /// Whether the daemon has left a request without an answer: it will answer no other.
    gone: bool,
}

/// A request's content, put together.
struct Content {
    bytes: [u8; 4096],
    length: usize,
}

impl Content {
    fn new() -> Self {
        Self {
            bytes: [0; 4096],
            length: 0,
        }
    }

    fn bytes(mut self, more: &[u8]) -> Self {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(more) {
            *place = *byte;
        }
        self.length += more.len();
        self
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A name with its end.
    fn name(self, name: &str) -> Self {
        self.bytes(name.as_bytes()).bytes(&[0])
    }
}

impl Fuse {
    /// Connects to the first mounted directory.
    fn new(machine: &Machine) -> Option<Self> {
        let (from, to) = machine.regions()[0];
        let memory = from.next_multiple_of(PAGE);
        (to - memory > 4 * ROOM).then_some(())?;
        let mut fuse = Self {
            queue: Queue::new(Kind::FileSystem, memory)?,
            memory: memory + 3 * PAGE,
            user: 0,
            gone: false,
        };
        // Version 7.31, all features but those that a longer message would name.
        const EXTENDED: u32 = 1 << 30;
        let content = Content::new().u32(7).u32(31).u32(0).u32(!EXTENDED);
        (fuse.request(request::INIT, 0, &content) == Some(0)).then_some(fuse)
    }

    fn answer(&self) -> u64 {
        self.memory + ROOM
    }

    /// Sends a request and waits for its answer: the error, 0 for none, or nothing where no answer comes.
    fn request(&mut self, number: u32, node: u64, content: &Content) -> Option<i32> {
        const HEADER: u32 = 40;
        if self.gone {
            return None;
        }
        let length = HEADER + u32::try_from(content.length).unwrap_or(0);
        let header = Content::new()
            .u32(length)
            .u32(number)
            .u64(1)
            .u64(node)
            .u32(self.user)
            .u32(self.user)
            .u32(1)
            .u32(0);
        let whole = header
            .bytes
            .iter()
            .take(header.length)
            .chain(content.bytes.iter().take(content.length));
        for (address, byte) in (self.memory..).zip(whole) {
            poke(address, *byte);
        }
        poke(self.answer() + 4, 1_i32);
        let room = 64 << 10;
        self.queue.submit(&[
            Descriptor {
                address: self.memory,
                length,
                flags: virtio::NEXT,
                next: 1,
            },
            Descriptor {
                address: self.answer(),
                length: room,
                flags: virtio::WRITE,
                next: 0,
            },
        ]);
        self.gone = !self.queue.answered();
        (!self.gone).then(|| peek::<i32>(self.answer() + 4))
    }

    /// The same, and its answer to standard output.
    fn report(&mut self, what: &str, number: u32, node: u64, content: &Content) -> Option<i32> {
        let answer = self.request(number, node, content);
        let mut line = Line::default();
        let _ = match answer {
            Some(error) => writeln!(line, "{what}: {error}"),
            None => writeln!(line, "{what}: no answer"),
        };
        standard_output(line.text());
        answer
    }

    /// The node that the last answer names, and what follows it in the answer.
    fn node(&self) -> u64 {
        peek(self.answer() + 16)
    }

    /// The file that CREATE (behind the node) or OPEN has opened.
    fn file(&self, created: bool) -> u64 {
        peek(self.answer() + 16 + if created { 128 } else { 0 })
    }

    fn lookup(&mut self, name: &str) -> Option<u64> {
        let answer = self.report(name, request::LOOKUP, ROOT, &Content::new().name(name));
        (answer == Some(0)).then(|| self.node())
    }
}

/// A line of text.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }
}

impl Line {
    fn text(&self) -> &str {
        self.bytes
            .get(..self.length)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or("?\n")
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn connect(machine: &Machine) -> Option<Fuse> {
    let fuse = Fuse::new(machine);
    standard_output(if fuse.is_some() {
        "connected\n"
    } else {
        "no directory\n"
    });
    fuse
}

/// Nodes and rights that would let others in: devices, pipes, sockets, setuid and setgid, as root and as others.
pub(crate) fn rights(machine: &Machine) {
    const DISK: u32 = 8 << 8;
    let Some(mut fuse) = connect(machine) else { return };
    for user in [0, 65534] {
        fuse.user = user;
        for (kind, mode) in [
            ("block", 0o060_666),
            ("character", 0o020_666),
            ("fifo", 0o010_666),
            ("socket", 0o140_666),
            ("file", 0o106_755),
        ] {
            let mut name = Line::default();
            let _ = write!(name, "mknod-{kind}-{user}");
            // mode, rdev, umask, padding
            let content = Content::new().u32(mode).u32(DISK).u32(0).u32(0).name(name.text());
            fuse.report(name.text(), request::MKNOD, ROOT, &content);
        }
        let mut name = Line::default();
        let _ = write!(name, "mkdir-{user}");
        let content = Content::new().u32(0o7777).u32(0).name(name.text());
        fuse.report(name.text(), request::MKDIR, ROOT, &content);
        for (kind, mode) in [("setuid", 0o106_755), ("plain", 0o100_644)] {
            let mut name = Line::default();
            let _ = write!(name, "create-{kind}-{user}");
            // flags (O_RDWR), mode, umask, open flags
            let content = Content::new().u32(2).u32(mode).u32(0).u32(0).name(name.text());
            if fuse.report(name.text(), request::CREATE, ROOT, &content) == Some(0) {
                set_rights(&mut fuse);
            }
        }
    }
}

/// SETATTR of the node that was just made: its mode, and its owner.
fn set_rights(fuse: &mut Fuse) {
    const MODE: u32 = 1;
    const OWNER: u32 = 2 | 4;
    let node = fuse.node();
    for (what, valid, owner) in [
        ("setattr-owner", OWNER, 4321),
        ("setattr-both", MODE | OWNER, 0),
        ("setattr-mode", MODE, 0),
    ] {
        // valid, padding, file, size, a lock's owner, three times, their nanoseconds, mode, unused, user, group, unused
        let content = Content::new()
            .u32(valid)
            .u32(0)
            .bytes(&[0; 6 * 8 + 3 * 4])
            .u32(0o106_777)
            .u32(0)
            .u32(owner)
            .u32(owner)
            .u32(0);
        fuse.report(what, request::SETATTR, node, &content);
    }
    // size, flags, name, value: a capability for whoever executes it.
    let content = Content::new().u32(20).u32(0).name("security.capability").bytes(&[
        1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    fuse.report("setxattr", request::SETXATTR, node, &content);
}

/// Ways out of the directory. `secret` lies next to it.
pub(crate) fn escape(machine: &Machine) {
    let Some(mut fuse) = connect(machine) else { return };
    for name in [
        "..",
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "/",
        "",
        ".",
        "./..",
    ] {
        if let Some(node) = fuse.lookup(name) {
            // Where it leads: `..` of the directory must be the directory.
            let content = Content::new().name("secret");
            fuse.report("secret in it", request::LOOKUP, node, &content);
        }
    }
    for (name, target) in [
        ("out", "../secret"),
        ("far", "/etc/passwd"),
        ("process", "/proc/self/root/etc/passwd"),
    ] {
        let content = Content::new().name(name).name(target);
        fuse.report("symlink", request::SYMLINK, ROOT, &content);
        if let Some(node) = fuse.lookup(name) {
            fuse.report("readlink", request::READLINK, node, &Content::new());
            // flags, open flags
            if fuse.report("open", request::OPEN, node, &Content::new().u32(0).u32(0)) == Some(0) {
                let file = fuse.file(false);
                read(&mut fuse, node, file, 4096);
            }
        }
    }
    for name in ["../made", "a/../../made", "/tmp/made"] {
        let content = Content::new().u32(2).u32(0o644).u32(0).u32(0).name(name);
        fuse.report("create", request::CREATE, ROOT, &content);
        let content = Content::new().u32(0o755).u32(0).name(name);
        fuse.report("mkdir", request::MKDIR, ROOT, &content);
        let content = Content::new().u32(0o100_644).u32(0).u32(0).u32(0).name(name);
        fuse.report("mknod", request::MKNOD, ROOT, &content);
        let content = Content::new().u64(ROOT).name("inside").name(name);
        fuse.report("rename", request::RENAME, ROOT, &content);
        if let Some(node) = fuse.lookup("inside") {
            fuse.report("link", request::LINK, ROOT, &Content::new().u64(node).name(name));
        }
        fuse.report(
            "symlink",
            request::SYMLINK,
            ROOT,
            &Content::new().name(name).name("inside"),
        );
    }
}

/// What was read goes to standard output, which the test searches for what it must not find.
fn read(fuse: &mut Fuse, node: u64, file: u64, length: u32) {
    // file, offset, size, flags, owner of a lock, flags of the file, padding
    let content = Content::new()
        .u64(file)
        .u64(0)
        .u32(length)
        .u32(0)
        .u64(0)
        .u32(0)
        .u32(0);
    if fuse.report("read", request::READ, node, &content) == Some(0) {
        let length = u64::from(peek::<u32>(fuse.answer())).saturating_sub(16).min(4096);
        let text = bytes(fuse.answer() + 16, length);
        standard_output(str::from_utf8(text).unwrap_or("not text\n"));
    }
}

/// Requests that are not what they say: sizes, nodes and files that do not exist, requests without content.
pub(crate) fn nonsense(machine: &Machine) {
    let Some(mut fuse) = connect(machine) else { return };
    for node in [0, ROOT, 2, 1 << 40, u64::MAX] {
        for number in (0..64).chain([4096, u32::MAX]) {
            // Not INIT, and nothing that ends the session.
            if number == request::INIT || number == 38 {
                continue;
            }
            fuse.request(number, node, &Content::new());
            fuse.request(number, node, &Content::new().bytes(&[0xff; 512]));
        }
    }
    let content = Content::new().u32(2).u32(0o644).u32(0).u32(0).name("large");
    if fuse.report("create", request::CREATE, ROOT, &content) == Some(0) {
        let (node, file) = (fuse.node(), fuse.file(true));
        for length in [0, 1 << 20, 1 << 30, u32::MAX] {
            let content = Content::new()
                .u64(file)
                .u64(0)
                .u32(length)
                .u32(0)
                .u64(0)
                .u32(0)
                .u32(0);
            fuse.report("read", request::READ, node, &content);
            let content = Content::new()
                .u64(file)
                .u64(0)
                .u32(length)
                .u32(0)
                .u64(0)
                .u32(0)
                .u32(0)
                .bytes(b"text");
            fuse.report("write", request::WRITE, node, &content);
        }
    }
    fuse.lookup("inside");
}

/// Chains of descriptors that point outside of memory, at devices, at themselves, and in circles; rings that do.
pub(crate) fn rings(machine: &Machine) {
    let Some(mut fuse) = connect(machine) else { return };
    let (address, flags) = (fuse.memory, virtio::NEXT);
    let outside = Descriptor {
        address: 1 << 45,
        length: 4096,
        flags: virtio::WRITE,
        next: 0,
    };
    let wraps = Descriptor {
        address: u64::MAX - 100,
        length: u32::MAX,
        flags: virtio::WRITE,
        next: 0,
    };
    let device = Descriptor {
        address: 0xfee0_0000,
        length: 4096,
        flags: virtio::WRITE,
        next: 0,
    };
    let request = Descriptor {
        address,
        length: 40,
        flags,
        next: 1,
    };
    let circle = Descriptor {
        address,
        length: 40,
        flags,
        next: 0,
    };
    let strange = Descriptor {
        address,
        length: 40,
        flags,
        next: u16::MAX,
    };
    let indirect = Descriptor {
        address: 1 << 45,
        length: u32::MAX,
        flags: virtio::INDIRECT | flags,
        next: 0,
    };
    let nested = Descriptor {
        address,
        length: 17,
        flags: virtio::INDIRECT,
        next: 0,
    };
    for chain in [
        [request, outside],
        [request, wraps],
        [request, device],
        [request, circle],
        [circle, circle],
        [strange, outside],
        [indirect, indirect],
        [nested, outside],
        [outside, outside],
    ] {
        fuse.queue.submit(&chain);
        machine::wait(1_000_000);
    }
    fuse.queue.claim(40_000);
    machine::wait(10_000_000);
    let memory = fuse.memory;
    for ring in [1 << 45, 0xfee0_0000, !0xfff, 0xa_0000] {
        for broken in 0..3 {
            let mut rings = [memory, memory + PAGE, memory + 2 * PAGE];
            rings[broken] = ring;
            if let Some(mut queue) = Queue::with_rings(Kind::FileSystem, memory, rings) {
                queue.submit(&[request, outside]);
            }
            machine::wait(1_000_000);
        }
    }
    standard_output("no rule of the queue was kept\n");
}

/// More files than the daemon may hold open, each looked up and never forgotten.
pub(crate) fn crowd(machine: &Machine) {
    const FILES: u32 = 10_000;
    let Some(mut fuse) = connect(machine) else { return };
    let mut line = Line::default();
    for index in 0..FILES {
        let mut name = Line::default();
        let _ = write!(name, "f{index}");
        // flags (O_RDWR), mode, umask, open flags
        let content = Content::new().u32(2).u32(0o644).u32(0).u32(0).name(name.text());
        let answer = fuse.request(request::CREATE, ROOT, &content);
        if answer != Some(0) {
            let _ = writeln!(line, "a crowd of {index}, then {answer:?}");
            break;
        }
    }
    standard_output(line.text());
}
