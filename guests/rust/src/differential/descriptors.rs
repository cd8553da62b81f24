//! Calls on descriptors as such: opening, closing, renumbering, flags, rights, attributes.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::OUT;
use crate::times::{self, filestat};
use crate::world::{ALL_RIGHTS, Fd, World, line};

const READ: i64 = 1 << 1;
const WRITE: i64 = 1 << 6;
const LIST: i64 = 1 << 14;

impl World {
    /// Opens into a slot; what was open there stays open in no slot's name, so it is closed first.
    pub fn path_open(&mut self) -> String {
        let slot = self.any_slot();
        let closed = if self.is_open(slot) {
            format!("{} ; ", self.close(slot))
        } else {
            String::new()
        };
        let fd = self.directory();
        let lookup = self.random.below(2) as u32;
        let (path, at, length) = self.any_path();
        let oflags = match self.random.below(8) {
            _ if self.tame => 1,
            0..=3 => 0,
            4 | 5 => 1,
            6 => 1 << self.random.below(4),
            _ => self.random.below(16) as u32,
        };
        let (none, all) = (0, ALL_RIGHTS);
        let base = self.random.pick(&[
            none,
            READ,
            READ,
            WRITE,
            READ | WRITE,
            READ | WRITE,
            READ | WRITE,
            LIST,
            LIST,
            all,
        ]);
        let base = if self.tame { READ | WRITE } else { base };
        // Seldom what [`World::hold`] calls grey.
        let base = if oflags & 0b1001 != 0 && base == READ && self.random.percent(80) {
            WRITE
        } else {
            base
        };
        let inheriting = self.random.pick(&[none, all, base]);
        let fdflags = if !self.tame && self.random.percent(20) {
            self.random.flags(5)
        } else {
            0
        };
        let fdflags = if self.random.percent(15) { 1 } else { fdflags };
        let out = self.area.at(OUT);
        // SAFETY: the path lies where it is said to lie, and there is room for a descriptor.
        let errno = unsafe {
            raw::path_open(
                fd.number,
                lookup as i32,
                at,
                length,
                oflags as i32,
                base,
                inheriting,
                fdflags as i32,
                out,
            )
        };
        if errno == 0 {
            let grey = oflags & 0b1001 != 0 && base & (READ | WRITE) == READ;
            self.hold(slot, self.area.u32(OUT) as i32, grey, fdflags & 1 != 0);
        }
        let arguments = format!(
            "{}, {lookup}, {path}, oflags {oflags:#x}, {base:#x}, {inheriting:#x}, fdflags {fdflags:#x}) -> slot ({slot}",
            fd.label
        );
        closed + &line("path_open", &arguments, errno, "")
    }

    pub fn fd_close(&mut self) -> String {
        let slot = self.used_slot();
        self.close(slot)
    }

    /// Closes what a slot has, or once more what it had.
    pub fn close(&mut self, slot: usize) -> String {
        let fd = self.slot(slot);
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_close(fd.number) };
        self.release(slot);
        line("fd_close", &fd.label, errno, "")
    }

    pub fn fd_renumber(&mut self) -> String {
        let (from, to) = (self.used_slot(), self.used_slot());
        let (source, target) = (self.slot(from), self.slot(to));
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_renumber(source.number, target.number) };
        if errno == 0 && from != to {
            self.moved(from, to);
        }
        line(
            "fd_renumber",
            &format!("{}, {}", source.label, target.label),
            errno,
            "",
        )
    }

    pub fn fd_fdstat_get(&mut self) -> String {
        let fd = if self.random.percent(20) {
            self.directory()
        } else {
            self.file()
        };
        self.fdstat_of(&fd)
    }

    pub fn fdstat_of(&mut self, fd: &Fd) -> String {
        self.area.write(OUT, &[0xee; 24]);
        // SAFETY: there is room for an fdstat.
        let errno = unsafe { raw::fd_fdstat_get(fd.number, self.area.at(OUT)) };
        let results = format!(
            "type={} flags={} base={:#x} inheriting={:#x}",
            self.area.u8(OUT),
            self.area.u16(OUT + 2),
            self.area.u64(OUT + 8),
            self.area.u64(OUT + 16)
        );
        line("fd_fdstat_get", &fd.label, errno, &results)
    }

    pub fn fd_fdstat_set_flags(&mut self) -> String {
        let fd = self.file();
        let flags = self.random.flags(5);
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_fdstat_set_flags(fd.number, flags as i32) };
        if errno == 0 {
            self.reflag(&fd, flags & 1 != 0);
        }
        line(
            "fd_fdstat_set_flags",
            &format!("{}, {flags:#x}", fd.label),
            errno,
            "",
        )
    }

    /// Asks for the rights that all runtimes give, so that nothing changes: what a right is worth differs.
    pub fn fd_fdstat_set_rights(&mut self) -> String {
        let fd = self.file();
        self.area.write(OUT, &[0; 24]);
        // SAFETY: there is room for an fdstat.
        unsafe { raw::fd_fdstat_get(fd.number, self.area.at(OUT)) };
        let (base, inheriting) = (self.area.u64(OUT + 8) as i64, self.area.u64(OUT + 16) as i64);
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_fdstat_set_rights(fd.number, base, inheriting) };
        line(
            "fd_fdstat_set_rights",
            &format!("{}, its own", fd.label),
            errno,
            "",
        )
    }

    pub fn fd_filestat_get(&mut self) -> String {
        let fd = if self.random.percent(20) {
            self.directory()
        } else {
            self.file()
        };
        self.filestat_of(&fd)
    }

    pub fn filestat_of(&mut self, fd: &Fd) -> String {
        self.area.write(OUT, &[0xee; 64]);
        // SAFETY: there is room for a filestat.
        let errno = unsafe { raw::fd_filestat_get(fd.number, self.area.at(OUT)) };
        let results = filestat(&self.area, OUT);
        line("fd_filestat_get", &fd.label, errno, &results)
    }

    pub fn fd_filestat_set_times(&mut self) -> String {
        let fd = self.file();
        let (atim, mtim) = (times::any(&mut self.random), times::any(&mut self.random));
        let flags = times::any_flags(&mut self.random);
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_filestat_set_times(fd.number, atim as i64, mtim as i64, flags as i32) };
        let arguments = format!("{}, {atim}, {mtim}, {flags:#x}", fd.label);
        line("fd_filestat_set_times", &arguments, errno, "")
    }
}
