//! Calls on open files and directories: reading, writing, positions, sizes, listing.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{DATA, LIST, OUT};
use crate::random::checksum;
use crate::world::{Fd, World, line};

/// The largest offsets that mean something; beyond, file systems differ.
const OFFSETS: [u64; 12] = [
    0,
    1,
    7,
    100,
    4095,
    65_535,
    65_536,
    1 << 32,
    (1 << 40) - 1,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// One call that moves bytes: descriptor, list of buffers, their number, offset; gives the errno.
type Move = unsafe fn(i32, i32, i32, u64, i32) -> i32;

impl World {
    fn any_offset(&mut self) -> u64 {
        if self.random.percent(60) {
            self.random.below(2000)
        } else {
            self.random.pick(&OFFSETS)
        }
    }

    /// Lengths of buffers: mostly one, mostly short.
    fn any_lengths(&mut self) -> Vec<usize> {
        let count = self.random.pick(&[1, 1, 1, 1, 1, 1, 0, 2, 3, 9]);
        (0..count)
            .map(|_| match self.random.below(20) {
                0..=1 => 0,
                2 => self.random.pick(&[4096, 65_535, 65_536, 65_537]) / count,
                3..=6 => self.random.below(3) as usize,
                _ => self.random.below(900) as usize,
            })
            .collect()
    }

    /// Calls until all buffers are used up, nothing more comes, or it fails: a runtime may move fewer bytes at once than it
    /// was asked to, and some use one buffer only. The errno of the first call, and how many bytes in all.
    fn move_all(&mut self, fd: &Fd, lengths: &[usize], offset: u64, call: Move) -> (i32, usize) {
        let total: usize = lengths.iter().sum();
        let mut moved = 0;
        loop {
            let (mut skip, mut place, mut list) = (moved, DATA, Vec::new());
            for length in lengths {
                let done = skip.min(*length);
                list.extend_from_slice(&self.area.at(place + done).to_le_bytes());
                list.extend_from_slice(&((length - done) as u32).to_le_bytes());
                skip -= done;
                place += length;
            }
            self.area.write(LIST, &list);
            self.area.write(OUT, &[0xee; 4]);
            let (list, out) = (self.area.at(LIST), self.area.at(OUT));
            let offset = offset.wrapping_add(moved as u64);
            // SAFETY: the list lies there, each buffer in the place for data, and there is room for a size.
            let errno = unsafe { call(fd.number, list, lengths.len() as i32, offset, out) };
            if errno != 0 {
                return (if moved == 0 { errno } else { 0 }, moved);
            }
            let count = self.area.u32(OUT) as usize;
            moved += count;
            if moved >= total || count == 0 {
                return (0, moved);
            }
        }
    }

    fn any_read(&mut self, name: &str, offset: Option<u64>, call: Move) -> String {
        let fd = self.file();
        let lengths = self.any_lengths();
        let total = lengths.iter().sum();
        self.area.write(DATA, &vec![0xdd; total]);
        let (errno, count) = self.move_all(&fd, &lengths, offset.unwrap_or(0), call);
        // What is beyond must be untouched.
        let sum = checksum(&self.area.read(DATA, total));
        let at = offset.map(|offset| format!(" at {offset}")).unwrap_or_default();
        let arguments = format!("{}, {lengths:?}{at}", fd.label);
        line(name, &arguments, errno, &format!("count={count} data={sum:08x}"))
    }

    fn any_write(&mut self, name: &str, offset: Option<u64>, call: Move) -> String {
        let fd = self.file();
        let mut lengths = self.any_lengths();
        // To write nothing at the end of a file moves the position in some runtimes; everything after would differ.
        if fd.append && lengths.iter().sum::<usize>() == 0 {
            lengths.push(1);
        }
        let data = self.random.bytes(lengths.iter().sum());
        self.area.write(DATA, &data);
        let (errno, count) = self.move_all(&fd, &lengths, offset.unwrap_or(0), call);
        let at = offset.map(|offset| format!(" at {offset}")).unwrap_or_default();
        let arguments = format!("{}, {lengths:?}{at}", fd.label);
        line(name, &arguments, errno, &format!("count={count}"))
    }

    pub fn fd_read(&mut self) -> String {
        // SAFETY: the caller's promises are those of the call.
        self.any_read("fd_read", None, |fd, list, count, _, out| unsafe {
            raw::fd_read(fd, list, count, out)
        })
    }

    pub fn fd_pread(&mut self) -> String {
        let offset = self.any_offset();
        // SAFETY: the caller's promises are those of the call.
        self.any_read("fd_pread", Some(offset), |fd, list, count, offset, out| unsafe {
            raw::fd_pread(fd, list, count, offset as i64, out)
        })
    }

    pub fn fd_write(&mut self) -> String {
        // SAFETY: the caller's promises are those of the call.
        self.any_write("fd_write", None, |fd, list, count, _, out| unsafe {
            raw::fd_write(fd, list, count, out)
        })
    }

    pub fn fd_pwrite(&mut self) -> String {
        let offset = self.any_offset();
        // SAFETY: the caller's promises are those of the call.
        self.any_write("fd_pwrite", Some(offset), |fd, list, count, offset, out| unsafe {
            raw::fd_pwrite(fd, list, count, offset as i64, out)
        })
    }

    pub fn fd_seek(&mut self) -> String {
        let fd = self.file();
        let offset = match self.random.below(10) {
            0..=5 => self.random.below(3000) as i64 - 1000,
            6..=7 => 0,
            8 => self.any_offset() as i64,
            _ => (self.any_offset() as i64).wrapping_neg(),
        };
        let whence = self.random.below(3) as u32;
        self.area.write(OUT, &[0xee; 8]);
        // SAFETY: there is room for a position.
        let errno = unsafe { raw::fd_seek(fd.number, offset, whence as i32, self.area.at(OUT)) };
        let results = format!("position={}", self.area.u64(OUT));
        line(
            "fd_seek",
            &format!("{}, {offset}, {whence}", fd.label),
            errno,
            &results,
        )
    }

    pub fn fd_tell(&mut self) -> String {
        let fd = self.file();
        self.tell_of(&fd)
    }

    pub fn tell_of(&mut self, fd: &Fd) -> String {
        self.area.write(OUT, &[0xee; 8]);
        // SAFETY: there is room for a position.
        let errno = unsafe { raw::fd_tell(fd.number, self.area.at(OUT)) };
        let results = format!("position={}", self.area.u64(OUT));
        line("fd_tell", &fd.label, errno, &results)
    }

    pub fn fd_filestat_set_size(&mut self) -> String {
        let fd = self.file();
        let size = self.any_offset();
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_filestat_set_size(fd.number, size as i64) };
        line(
            "fd_filestat_set_size",
            &format!("{}, {size}", fd.label),
            errno,
            "",
        )
    }

    /// Only within the file, where no more than a time changes by it, which is set then: runtimes that cannot do it go on from
    /// the same state.
    pub fn fd_allocate(&mut self) -> String {
        let fd = self.file();
        self.area.write(OUT, &[0; 64]);
        // SAFETY: there is room for a filestat.
        unsafe { raw::fd_filestat_get(fd.number, self.area.at(OUT)) };
        let size = self.area.u64(OUT + 32).min(1 << 20);
        let share = self.random.pick(&[0, 1, 2]);
        let length = size.checked_div(share).unwrap_or(0);
        // SAFETY: no address is given.
        let errno = unsafe {
            let errno = raw::fd_allocate(fd.number, 0, length as i64);
            raw::fd_filestat_set_times(fd.number, 0, 0, 1 << 3);
            errno
        };
        let share = ["nothing", "all", "half"][share as usize];
        line("fd_allocate", &format!("{}, {share}", fd.label), errno, "")
    }

    pub fn fd_advise(&mut self) -> String {
        let fd = self.file();
        let (offset, length) = (self.any_offset(), self.any_offset());
        let advice = self.random.below(6) as u32;
        // SAFETY: no address is given.
        let errno = unsafe { raw::fd_advise(fd.number, offset as i64, length as i64, advice as i32) };
        let arguments = format!("{}, {offset}, {length}, {advice}", fd.label);
        line("fd_advise", &arguments, errno, "")
    }

    pub fn fd_sync(&mut self) -> String {
        let fd = self.file();
        // SAFETY: no address is given.
        let (sync, datasync) = unsafe { (raw::fd_sync(fd.number), raw::fd_datasync(fd.number)) };
        let datasync = format!("datasync={}", guests::errno_name(datasync));
        line("fd_sync", &fd.label, sync, &datasync)
    }

    /// A whole listing, in buffers of some size: names and types in order of the names.
    pub fn fd_readdir(&mut self) -> String {
        let fd = self.directory();
        let length = self.random.pick(&[0, 1, 23, 24, 25, 40, 60, 300, 4096, 65_536]);
        let (errno, entries) = crate::tree::list(&self.area, fd.number, length);
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        let results = format!("entries={}", entries.join(","));
        line("fd_readdir", &format!("{}, {length}", fd.label), errno, &results)
    }
}
