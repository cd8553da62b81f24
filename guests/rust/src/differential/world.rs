//! One sequence: its directory, its open descriptors, and the choice of the next call.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{Area, OTHER, OUT, PATH};
use crate::random::{Random, shown};

/// The preopened directory in which each sequence has a directory of its own.
const PREOPEN: i32 = 3;
/// A number that no descriptor ever has.
const NEVER: i32 = 0x3fff_ffff;
/// The right to list a directory.
const READDIR: i64 = 1 << 14;
/// All rights.
pub const ALL_RIGHTS: i64 = 0x1fff_ffff;

/// How many descriptors a sequence holds at most; the first is its directory.
const SLOTS: usize = 7;

/// The state of one sequence.
pub struct World {
    pub random: Random,
    pub area: Area,
    /// Paths are to lead somewhere, files to be made.
    pub tame: bool,
    slots: [Option<Held>; SLOTS],
    /// The numbers that slots held, of use when they are closed.
    was: [i32; SLOTS],
}

/// What a slot has.
#[derive(Clone, Copy)]
pub struct Held {
    number: i32,
    /// It was created or truncated for reading only: runtimes differ in whether it can be written.
    grey: bool,
    /// It was given the flag `append`.
    append: bool,
}

/// A descriptor to call with: its name in the log (with `?`: see [`Held::grey`]), and its number, which runtimes may choose as they like.
pub struct Fd {
    pub label: String,
    pub number: i32,
    pub append: bool,
    /// The slot that it is in, if in any.
    pub slot: Option<usize>,
}

impl World {
    /// A sequence in a directory of its own.
    pub fn begin(area: Area, seed: u64, sequence: u64) -> Result<Self, String> {
        let mut world = Self {
            random: Random::new(seed, sequence),
            area,
            tame: false,
            slots: [None; SLOTS],
            was: [NEVER; SLOTS],
        };
        let name = format!("s{sequence}");
        let (at, length) = world.put(PATH, name.as_bytes());
        let out = world.area.at(OUT);
        // SAFETY: the path lies where it is said to lie, and there is room for a descriptor.
        let (made, opened) = unsafe {
            (
                raw::path_create_directory(PREOPEN, at, length),
                raw::path_open(PREOPEN, 0, at, length, 2, READDIR, ALL_RIGHTS, 0, out),
            )
        };
        if made != 0 || opened != 0 {
            return Err(format!(
                "descriptor {PREOPEN} is no directory to work in: making {name}: {}, opening it: {}",
                guests::errno_name(made),
                guests::errno_name(opened)
            ));
        }
        world.hold(0, world.area.u32(OUT) as i32, false, false);
        Ok(world)
    }

    /// Makes a call that builds something where the sequence starts.
    pub fn building_call(&mut self) -> String {
        self.tame = true;
        let line = match self.random.below(10) {
            0..=3 => self.path_create_directory(),
            4..=6 => self.path_open(),
            7 | 8 => self.path_symlink(),
            _ => self.path_link(),
        };
        self.tame = false;
        line
    }

    /// Makes some call.
    pub fn any_call(&mut self) -> String {
        match self.random.below(200) {
            0..=31 => self.path_open(),
            32..=37 => self.fd_close(),
            38..=42 => self.fd_renumber(),
            43..=54 => self.fd_read(),
            55..=62 => self.fd_pread(),
            63..=76 => self.fd_write(),
            77..=82 => self.fd_pwrite(),
            83..=89 => self.fd_seek(),
            90..=91 => self.fd_tell(),
            92..=97 => self.fd_filestat_set_size(),
            98..=99 => self.fd_allocate(),
            100 => self.fd_advise(),
            101 => self.fd_sync(),
            102..=105 => self.fd_fdstat_get(),
            106..=109 => self.fd_fdstat_set_flags(),
            110 => self.fd_fdstat_set_rights(),
            111..=114 => self.fd_filestat_get(),
            115..=118 => self.fd_filestat_set_times(),
            119..=125 => self.fd_readdir(),
            126..=133 => self.path_create_directory(),
            134..=138 => self.path_remove_directory(),
            139..=146 => self.path_unlink_file(),
            147..=158 => self.path_rename(),
            159..=166 => self.path_link(),
            167..=175 => self.path_symlink(),
            176..=178 => self.path_readlink(),
            179..=185 => self.path_filestat_get(),
            186..=188 => self.path_filestat_set_times(),
            189..=190 => self.identity(),
            191..=194 => self.poll_oneoff(),
            195..=196 => self.prestat(),
            197 => self.socket(),
            _ => self.other(),
        }
    }

    /// Tells what the sequence has left, and closes all.
    pub fn end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for slot in 1..SLOTS {
            if self.is_open(slot) {
                let fd = self.slot(slot);
                lines.push(self.fdstat_of(&fd));
                lines.push(self.filestat_of(&fd));
                lines.push(self.tell_of(&fd));
            }
        }
        let top = self.slot(0).number;
        crate::tree::tell(&self.area, top, "", &mut lines);
        for slot in 0..SLOTS {
            if self.slots[slot].is_some() {
                lines.push(self.close(slot));
            }
        }
        lines
    }

    /// Puts a path into memory; its address and length.
    pub fn put(&mut self, place: usize, path: &[u8]) -> (i32, i32) {
        self.area.write(place, path);
        (self.area.at(place), path.len() as i32)
    }

    /// A random path in memory: how it is shown, address and length.
    pub fn any_path(&mut self) -> (String, i32, i32) {
        let path = if self.tame {
            self.random.tame_path()
        } else {
            self.random.path()
        };
        let (at, length) = self.put(PATH, &path);
        (shown(&path), at, length)
    }

    /// Another one, of use together with the first.
    pub fn other_path(&mut self) -> (String, i32, i32) {
        let path = if self.tame {
            self.random.tame_path()
        } else {
            self.random.path()
        };
        let (at, length) = self.put(OTHER, &path);
        (shown(&path), at, length)
    }

    /// A descriptor for a call that wants a directory.
    pub fn directory(&mut self) -> Fd {
        match self.random.below(100) {
            _ if self.tame => self.slot(0),
            0..=69 => self.slot(0),
            70..=96 => {
                let slot = self.used_slot();
                self.slot(slot)
            }
            _ => self.odd_descriptor(),
        }
    }

    /// A descriptor for a call that wants a file.
    pub fn file(&mut self) -> Fd {
        match self.random.below(100) {
            0..=93 => {
                let slot = self.used_slot();
                self.slot(slot)
            }
            94..=96 => self.slot(0),
            _ => self.odd_descriptor(),
        }
    }

    fn odd_descriptor(&mut self) -> Fd {
        let (label, number) = self
            .random
            .pick(&[("never", NEVER), ("max", -1), ("min", i32::MIN)]);
        Fd {
            label: label.into(),
            number,
            append: false,
            slot: None,
        }
    }

    /// A slot other than the sequence's directory, open or not.
    pub fn any_slot(&mut self) -> usize {
        1 + self.random.below(SLOTS as u64 - 1) as usize
    }

    /// Mostly a slot that is open, if one is.
    pub fn used_slot(&mut self) -> usize {
        let open: Vec<usize> = (1..SLOTS).filter(|slot| self.is_open(*slot)).collect();
        if open.is_empty() || self.random.percent(10) {
            self.any_slot()
        } else {
            self.random.pick(&open)
        }
    }

    /// The descriptor in a slot. Of a closed one it is the number that it had, unless that has been given again.
    pub fn slot(&self, slot: usize) -> Fd {
        let mut label = if slot == 0 { "d".into() } else { slot.to_string() };
        let number = match self.slots[slot] {
            Some(held) => {
                if held.grey {
                    label.push('?');
                }
                held.number
            }
            None => {
                let was = self.was[slot];
                let again = self.slots.iter().flatten().any(|held| held.number == was);
                if again { NEVER } else { was }
            }
        };
        Fd {
            label,
            number,
            append: self.slots[slot].is_some_and(|held| held.append),
            slot: Some(slot),
        }
    }

    pub fn is_open(&self, slot: usize) -> bool {
        self.slots[slot].is_some()
    }

    /// Notes that a slot has a descriptor now.
    pub fn hold(&mut self, slot: usize, number: i32, grey: bool, append: bool) {
        self.slots[slot] = Some(Held { number, grey, append });
        self.was[slot] = number;
    }

    /// Notes that a descriptor's flags are others now.
    pub fn reflag(&mut self, fd: &Fd, append: bool) {
        if let Some(held) = fd.slot.and_then(|slot| self.slots[slot].as_mut()) {
            held.append = append;
        }
    }

    /// Notes that a slot's descriptor is closed.
    pub fn release(&mut self, slot: usize) {
        self.slots[slot] = None;
    }

    /// Notes that what one slot had is another's now, under that one's number.
    pub fn moved(&mut self, from: usize, to: usize) {
        if let (Some(source), Some(target)) = (self.slots[from], self.slots[to]) {
            self.slots[to] = Some(Held {
                number: target.number,
                ..source
            });
        }
        self.release(from);
    }
}

/// A line of the log.
pub fn line(call: &str, arguments: &str, errno: i32, results: &str) -> String {
    let space = if errno == 0 && !results.is_empty() {
        " "
    } else {
        ""
    };
    let results = if errno == 0 { results } else { "" };
    format!(
        "{call}({arguments}) = {}{space}{results}",
        guests::errno_name(errno)
    )
}
