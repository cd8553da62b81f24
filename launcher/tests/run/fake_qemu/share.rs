//! Machines that speak FUSE to virtiofsd without a kernel between: what no guest could ask for.

use boot_protocol::console::client::Output;

use super::guests::guest;
use super::vhost_user::{Caller, Fuse, numbers};
use super::{Scenario, argument, leave};

pub(super) const SCENARIOS: &[Scenario] = &[("attack the share", attack), ("fill the share", fill)];

/// The root's number.
const ROOT: u64 = 1;

/// Linux's kinds of files and bits of a mode.
mod mode {
    pub(super) const FIFO: u32 = 0o010_000;
    pub(super) const CHARACTER: u32 = 0o020_000;
    pub(super) const BLOCK: u32 = 0o060_000;
    pub(super) const REGULAR: u32 = 0o100_000;
    pub(super) const SOCKET: u32 = 0o140_000;
    pub(super) const SETUID: u32 = 0o4000;
    pub(super) const SETGID: u32 = 0o2000;
}

/// FUSE's requests, as far as an attacker cares.
impl Fuse {
    fn named(&mut self, operation: u32, node: u64, fixed: &[u8], names: &[&[u8]]) -> Result<Vec<u8>, i32> {
        let mut payload = fixed.to_vec();
        for name in names {
            payload.extend_from_slice(name);
            payload.push(0);
        }
        self.ask(operation, node, &payload)
    }

    fn lookup(&mut self, name: &str) -> Result<u64, i32> {
        self.named(1, ROOT, &[], &[name.as_bytes()])
            .map(|entry| node(&entry))
    }

    fn mknod(&mut self, name: &str, mode: u32, device: u32) -> Result<u64, i32> {
        self.named(8, ROOT, &numbers(&[mode, device, 0, 0]), &[name.as_bytes()])
            .map(|entry| node(&entry))
    }

    fn mkdir(&mut self, name: &str, mode: u32) -> Result<u64, i32> {
        self.named(9, ROOT, &numbers(&[mode, 0]), &[name.as_bytes()])
            .map(|entry| node(&entry))
    }

    /// A new file, open for reading and writing: its node and handle.
    fn create(&mut self, name: &str, mode: u32) -> Result<(u64, u64), i32> {
        const RDWR: u32 = 2;
        let entry = self.named(35, ROOT, &numbers(&[RDWR, mode, 0, 0]), &[name.as_bytes()])?;
        Ok((
            node(&entry),
            u64::from_le_bytes(entry[128..136].try_into().unwrap()),
        ))
    }

    /// SETATTR of mode (1), owner (2) or group (4).
    fn set(&mut self, node: u64, valid: u32, mode: u32, uid: u32, gid: u32) -> Result<(), i32> {
        let mut payload = numbers(&[valid, 0]);
        payload.extend_from_slice(&[0; 48]);
        payload.extend_from_slice(&numbers(&[0, 0, 0, mode, 0, uid, gid, 0]));
        self.ask(4, node, &payload).map(drop)
    }

    fn symlink(&mut self, name: &str, target: &str) -> Result<u64, i32> {
        self.named(6, ROOT, &[], &[name.as_bytes(), target.as_bytes()])
            .map(|entry| node(&entry))
    }

    fn hard_link(&mut self, old: u64, name: &str) -> Result<(), i32> {
        self.named(13, ROOT, &old.to_le_bytes(), &[name.as_bytes()])
            .map(drop)
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), i32> {
        self.named(12, ROOT, &ROOT.to_le_bytes(), &[old.as_bytes(), new.as_bytes()])
            .map(drop)
    }

    /// RENAME_WHITEOUT, which leaves a device.
    fn rename_whiteout(&mut self, old: &str, new: &str) -> Result<(), i32> {
        let mut fixed = ROOT.to_le_bytes().to_vec();
        fixed.extend_from_slice(&numbers(&[4, 0]));
        self.named(45, ROOT, &fixed, &[old.as_bytes(), new.as_bytes()])
            .map(drop)
    }

    fn unlink(&mut self, name: &str) -> Result<(), i32> {
        self.named(10, ROOT, &[], &[name.as_bytes()]).map(drop)
    }

    fn set_attribute(&mut self, node: u64, name: &str, value: &[u8]) -> Result<(), i32> {
        let mut payload = numbers(&[value.len().try_into().unwrap(), 0]);
        payload.extend_from_slice(name.as_bytes());
        payload.push(0);
        payload.extend_from_slice(value);
        self.ask(21, node, &payload).map(drop)
    }

    fn open(&mut self, node: u64, flags: u32) -> Result<u64, i32> {
        let reply = self.ask(14, node, &numbers(&[flags, 0]))?;
        Ok(u64::from_le_bytes(reply[..8].try_into().unwrap()))
    }

    fn read(&mut self, node: u64, handle: u64) -> Result<Vec<u8>, i32> {
        let mut payload = handle.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0; 8]);
        payload.extend_from_slice(&numbers(&[4096, 0, 0, 0, 0, 0]));
        self.ask(15, node, &payload)
    }

    fn allocate(&mut self, node: u64, handle: u64, offset: u64, length: u64) -> Result<(), i32> {
        let mut payload: Vec<u8> = [handle, offset, length]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        payload.extend_from_slice(&numbers(&[0, 0]));
        self.ask(43, node, &payload).map(drop)
    }

    fn copy(&mut self, node: u64, handle: u64, from: u64, to: u64, length: u64) -> Result<(), i32> {
        let words = [handle, from, node, handle, to, length, 0];
        let payload: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.ask(47, node, &payload).map(drop)
    }

    fn close_and_forget(&mut self, node: u64, handle: u64) {
        let mut payload = handle.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0; 16]);
        self.ask(18, node, &payload).expect("it can be closed");
        // FORGET has no reply.
        let _ = self.ask(2, node, &1u64.to_le_bytes());
    }

    fn write(&mut self, node: u64, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), i32> {
        let mut payload = handle.to_le_bytes().to_vec();
        payload.extend_from_slice(&offset.to_le_bytes());
        payload.extend_from_slice(&numbers(&[bytes.len().try_into().unwrap(), 0, 0, 0, 0, 0]));
        payload.extend_from_slice(bytes);
        self.ask(16, node, &payload).map(drop)
    }
}

fn node(entry: &[u8]) -> u64 {
    u64::from_le_bytes(entry[..8].try_into().unwrap())
}

/// Tries everything, says how each went (0 or the errno), and proves at the end that the daemon still serves. The
/// argument is a file outside of the directory.
fn attack() -> ! {
    let outside = argument();
    let mut fuse = Fuse::new();
    let mut report = Vec::new();
    let mut tell =
        |what: &str, result: Result<(), i32>| report.push((what.to_string(), result.err().unwrap_or(0)));

    for (name, kind) in [
        ("fifo", mode::FIFO),
        ("character", mode::CHARACTER),
        ("block", mode::BLOCK),
        ("socket", mode::SOCKET),
        ("setuid-node", mode::REGULAR | mode::SETUID),
        ("setgid-node", mode::REGULAR | mode::SETGID),
    ] {
        // Device 1, 3 is /dev/null.
        let made = fuse.mknod(name, kind | 0o755, 1 << 8 | 3);
        tell(name, made.map(drop));
    }
    for (name, bits) in [("setuid", mode::SETUID), ("setgid", mode::SETGID)] {
        tell(name, fuse.create(name, bits | 0o755).map(drop));
        tell(
            &format!("{name}-directory"),
            fuse.mkdir(&format!("{name}-directory"), bits | 0o755).map(drop),
        );
    }
    let (file, handle) = fuse.create("file", 0o644).expect("a file can be created");
    fuse.write(file, handle, 0, b"#!/bin/sh\n")
        .expect("a file can be written");
    for bits in [mode::SETUID, mode::SETGID, mode::SETUID | mode::SETGID] {
        tell(&format!("mode {bits:o}"), fuse.set(file, 1, bits | 0o777, 0, 0));
    }
    let directory = fuse
        .mkdir("directory", 0o755)
        .expect("a directory can be created");
    tell(
        "directory-mode",
        fuse.set(directory, 1, mode::SETGID | 0o777, 0, 0),
    );
    tell("owner", fuse.set(file, 2, 0, 12345, 0));
    tell("group", fuse.set(file, 4, 0, 0, 12345));
    // Version 2, CAP_SETUID permitted and effective.
    let capability = numbers(&[0x0200_0001, 1 << 7, 0, 0, 0]);
    for (name, value) in [
        ("security.capability", capability.as_slice()),
        ("trusted.x", b"x"),
        ("user.x", b"x"),
        ("system.posix_acl_access", b"\x02\0\0\0"),
    ] {
        tell(name, fuse.set_attribute(file, name, value));
    }
    fuse.caller = Caller {
        uid: 12345,
        gid: 12345,
    };
    tell("other user", fuse.create("other-user", 0o644).map(drop));
    fuse.caller = Caller { uid: 0, gid: 0 };

    fuse.create("white", 0o644).expect("a file can be created");
    tell("whiteout", fuse.rename_whiteout("white", "black"));

    escape(&mut fuse, &outside, &mut tell);
    fuse.symlink("link-out", &outside)
        .expect("a link can point anywhere");
    fuse.hard_link(file, "hard")
        .expect("a hard link can be made inside");
    fuse.create("control\u{1b}[31m\nname", 0o644)
        .expect("a name can have control characters");
    let again = fuse.open(file, 0).and_then(|handle| fuse.read(file, handle));
    tell(
        "still serves",
        again.map(|bytes| assert_eq!(bytes, b"#!/bin/sh\n")),
    );

    let mut guest = guest();
    for (what, error) in report {
        guest.write(Output::Stdout, format!("{what}: {error}\n").as_bytes());
    }
    leave(guest, 0)
}

/// Ways out of the directory, by names that no kernel would send.
fn escape(fuse: &mut Fuse, outside: &str, tell: &mut dyn FnMut(&str, Result<(), i32>)) {
    let up = format!("{}{outside}", "../".repeat(20));
    let name = outside.rsplit('/').next().unwrap();
    for (what, path) in [
        ("up", up.as_str()),
        ("absolute", outside),
        ("beside", &format!("../{name}")),
    ] {
        let found = fuse.lookup(path);
        tell(&format!("{what}: lookup"), found.map(drop));
        if let Ok(node) = found {
            tell(&format!("{what}: mode"), fuse.set(node, 1, 0o777, 0, 0));
            let opened = fuse.open(node, 2).map(drop);
            tell(&format!("{what}: open"), opened);
        }
        tell(
            &format!("{what}: create"),
            fuse.create(&format!("{path}-new"), 0o644).map(drop),
        );
        tell(
            &format!("{what}: mkdir"),
            fuse.mkdir(&format!("{path}-dir"), 0o755).map(drop),
        );
        tell(
            &format!("{what}: symlink"),
            fuse.symlink(&format!("{path}-link"), "x").map(drop),
        );
        tell(&format!("{what}: rename in"), fuse.rename(path, "stolen"));
        fuse.create("moved", 0o644).expect("a file can be created");
        tell(
            &format!("{what}: rename out"),
            fuse.rename("moved", &format!("{path}-moved")),
        );
        let _ = fuse.unlink("moved");
        tell(&format!("{what}: unlink"), fuse.unlink(path));
    }
}

/// Takes all the room that it can get in the way that the argument names, and says with which errno that ended, and how
/// deleting and filling it again went.
fn fill() -> ! {
    let way = argument();
    let mut fuse = Fuse::new();
    // A file that is deleted while it is open takes room too.
    let (hidden, its_handle) = fuse.create("hidden", 0o600).expect("a file can be created");
    for number in 0..4 {
        fuse.write(hidden, its_handle, number << 16, &[1; 1 << 16])
            .expect("there is room");
    }
    fuse.unlink("hidden").expect("it can be deleted");
    let (file, handle) = fuse.create("file", 0o600).expect("a file can be created");
    // The same place again and again takes no more room.
    for _ in 0..100 {
        fuse.write(file, handle, 0, &[1; 1 << 16])
            .expect("overwriting needs no room");
    }
    let end = (0..100_000).find_map(|number| grow(&mut fuse, &way, file, handle, number).err());
    let mut report = format!("{way}: {}\n", end.unwrap_or(0));

    // The deleted file is gone when it is closed and forgotten.
    fuse.close_and_forget(hidden, its_handle);
    let again = fuse.create("again", 0o600).err().unwrap_or(0);
    report.push_str(&format!("after deleting: {again}\n"));
    let mut guest = guest();
    guest.write(Output::Stdout, report.as_bytes());
    leave(guest, 0)
}

/// One more attempt.
fn grow(fuse: &mut Fuse, way: &str, file: u64, handle: u64, number: u64) -> Result<(), i32> {
    let far = 1 << 30;
    match way {
        "write" => fuse.write(file, handle, number << 16, &[1; 1 << 16]),
        // A page each, and the next not beside it.
        "scatter" => fuse.write(file, handle, far + (number << 16), b"x"),
        "allocate" => fuse.allocate(file, handle, far + (number << 16), 1 << 16),
        "copy" => fuse.copy(file, handle, 0, far + (number << 16), 1 << 16),
        "create" => fuse.create(&format!("file-{number}"), 0o600).map(drop),
        "mkdir" => fuse.mkdir(&format!("directory-{number}"), 0o700).map(drop),
        "mknod" => fuse
            .mknod(&format!("node-{number}"), mode::REGULAR | 0o600, 0)
            .map(drop),
        "symlink" => fuse
            .symlink(&format!("link-{number}"), &"x".repeat(4000))
            .map(drop),
        "link" => fuse.hard_link(file, &format!("hard-{number}")),
        _ => panic!("no way to grow is called '{way}'"),
    }
}
