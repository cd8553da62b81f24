//! What a directory holds, all the way down: so that a call that did something else than it said is found.

use std::fmt;

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{Area, DATA, OUT, PATH};
use crate::random::{checksum, shown};
use crate::times::filestat_without_access;
use crate::world::line;

/// The size of a directory entry without its name.
const HEAD: usize = 24;
/// Most calls that a listing may take.
const MOST_CALLS: usize = 10_000;

/// An entry of a listing.
pub struct Entry {
    name: Vec<u8>,
    kind: u8,
    /// Whether the number of its inode is the one that looking it up gives.
    same_inode: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = if self.same_inode { "" } else { "!inode" };
        write!(f, "{}:{}{other}", shown(&self.name), self.kind)
    }
}

/// Lists a directory with a buffer of `length` bytes. Where that is too small for an entry, for that call only a larger one is
/// used. The errno of a call that fails, or the entries sorted by name.
pub fn list(area: &Area, fd: i32, length: usize) -> (i32, Vec<Entry>) {
    let mut entries = Vec::new();
    let (mut cookie, mut room) = (0, length);
    for _ in 0..MOST_CALLS {
        // SAFETY: there is room for so many bytes, and for a size.
        let errno = unsafe { raw::fd_readdir(fd, area.at(DATA), room as i32, cookie, area.at(OUT)) };
        if errno != 0 {
            return (errno, Vec::new());
        }
        let used = area.u32(OUT) as usize;
        let (mut place, before) = (0, entries.len());
        while place + HEAD <= used {
            let at = DATA + place;
            let name = area.u32(at + 16) as usize;
            if place + HEAD + name > used {
                break;
            }
            cookie = area.u64(at) as i64;
            entries.push((area.u64(at + 8), area.u8(at + 20), area.read(at + HEAD, name)));
            place += HEAD + name;
        }
        if used < room {
            break;
        }
        // Nothing whole fitted.
        room = if entries.len() == before { 512 } else { length };
    }
    entries.sort_by(|one, other| one.2.cmp(&other.2));
    let found = entries
        .into_iter()
        .map(|(inode, kind, name)| Entry {
            // The number of the parent is the file system's secret.
            same_inode: name == b".." || lookup(area, fd, &name) == Some(inode),
            name,
            kind,
        })
        .collect();
    (0, found)
}

/// The number of the inode that a name has.
fn lookup(area: &Area, fd: i32, name: &[u8]) -> Option<u64> {
    (stat(area, fd, name) == 0).then(|| area.u64(OUT + 8))
}

/// Looks a name up without following it; the filestat is in [`OUT`].
fn stat(area: &Area, fd: i32, name: &[u8]) -> i32 {
    put(area, name);
    // SAFETY: the path lies where it is said to lie, and there is room for a filestat.
    unsafe { raw::path_filestat_get(fd, 0, area.at(PATH), name.len() as i32, area.at(OUT)) }
}

/// Tells everything beneath a directory, one line an entry.
pub fn tell(area: &Area, fd: i32, prefix: &str, lines: &mut Vec<String>) {
    let (errno, entries) = list(area, fd, 4096);
    if errno != 0 {
        lines.push(line("tree", prefix, errno, ""));
    }
    for entry in entries {
        if entry.name == b"." || entry.name == b".." {
            continue;
        }
        let path = format!("{prefix}/{}", shown(&entry.name));
        let errno = stat(area, fd, &entry.name);
        let (kind, size) = (area.u8(OUT + 16), area.u64(OUT + 32));
        let attributes = filestat_without_access(area, OUT);
        if errno != 0 {
            lines.push(line("tree", &path, errno, ""));
            continue;
        }
        match kind {
            3 => {
                lines.push(line("tree", &path, 0, &attributes));
                if let Some(directory) = open(area, fd, &entry.name, 2) {
                    tell(area, directory, &path, lines);
                    // SAFETY: no address is given.
                    unsafe { raw::fd_close(directory) };
                }
            }
            7 => {
                let target = readlink(area, fd, &entry.name);
                lines.push(line(
                    "tree",
                    &path,
                    0,
                    &format!("{attributes} target={}", shown(&target)),
                ));
            }
            _ => {
                let sum = open(area, fd, &entry.name, 0).map(|file| {
                    let sum = contents(area, file, size);
                    // SAFETY: no address is given.
                    unsafe { raw::fd_close(file) };
                    sum
                });
                lines.push(line("tree", &path, 0, &format!("{attributes} data={sum:x?}")));
            }
        }
    }
}

/// The check sums of a file's beginning and end.
fn contents(area: &Area, file: i32, size: u64) -> [u32; 2] {
    let part = 160 << 10;
    [0, size.saturating_sub(part)].map(|start| {
        let mut bytes = Vec::new();
        while bytes.len() < part as usize {
            let mut iovec = area.at(DATA).to_le_bytes().to_vec();
            iovec.extend_from_slice(&(part as u32 - bytes.len() as u32).to_le_bytes());
            write(area, PATH, &iovec);
            let offset = start + bytes.len() as u64;
            // SAFETY: the buffer lies in the place for data, and there is room for a size.
            let errno = unsafe { raw::fd_pread(file, area.at(PATH), 1, offset as i64, area.at(OUT)) };
            let count = area.u32(OUT) as usize;
            if errno != 0 || count == 0 {
                break;
            }
            bytes.extend_from_slice(&area.read(DATA, count));
        }
        checksum(&bytes)
    })
}

fn open(area: &Area, fd: i32, name: &[u8], oflags: i32) -> Option<i32> {
    put(area, name);
    // SAFETY: the path lies where it is said to lie, and there is room for a descriptor.
    let errno = unsafe {
        raw::path_open(
            fd,
            0,
            area.at(PATH),
            name.len() as i32,
            oflags,
            1 << 1,
            0,
            0,
            area.at(OUT),
        )
    };
    (errno == 0).then(|| area.u32(OUT) as i32)
}

fn readlink(area: &Area, fd: i32, name: &[u8]) -> Vec<u8> {
    put(area, name);
    // SAFETY: the path lies where it is said to lie, and there is room for 8,192 bytes and a size.
    let errno = unsafe {
        raw::path_readlink(
            fd,
            area.at(PATH),
            name.len() as i32,
            area.at(DATA),
            8192,
            area.at(OUT),
        )
    };
    if errno == 0 {
        area.read(DATA, area.u32(OUT) as usize)
    } else {
        guests::errno_name(errno).into()
    }
}

fn put(area: &Area, name: &[u8]) {
    write(area, PATH, name);
}

fn write(area: &Area, place: usize, bytes: &[u8]) {
    area.write(place, bytes);
}
