//! Calls on paths: making, removing, moving, linking, looking at.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{DATA, OTHER, OUT, PATH};
use crate::random::shown;
use crate::times::{self, filestat};
use crate::world::{World, line};

/// A call with a descriptor and a path.
type OnPath = unsafe extern "C" fn(i32, i32, i32) -> i32;

impl World {
    fn on_path(&mut self, name: &str, call: OnPath) -> String {
        let fd = self.directory();
        let (path, at, length) = self.any_path();
        // SAFETY: the path lies where it is said to lie.
        let errno = unsafe { call(fd.number, at, length) };
        line(name, &format!("{}, {path}", fd.label), errno, "")
    }

    pub fn path_create_directory(&mut self) -> String {
        self.on_path("path_create_directory", raw::path_create_directory)
    }

    pub fn path_remove_directory(&mut self) -> String {
        self.on_path("path_remove_directory", raw::path_remove_directory)
    }

    pub fn path_unlink_file(&mut self) -> String {
        self.on_path("path_unlink_file", raw::path_unlink_file)
    }

    pub fn path_rename(&mut self) -> String {
        let (from, to) = (self.directory(), self.directory());
        let (old, old_at, old_length) = self.any_path();
        let (new, new_at, new_length) = self.other_path();
        // SAFETY: the paths lie where they are said to lie.
        let errno =
            unsafe { raw::path_rename(from.number, old_at, old_length, to.number, new_at, new_length) };
        let arguments = format!("{}, {old}, {}, {new}", from.label, to.label);
        line("path_rename", &arguments, errno, "")
    }

    pub fn path_link(&mut self) -> String {
        let (from, to) = (self.directory(), self.directory());
        let flags = u32::from(self.random.percent(5));
        let (old, old_at, old_length) = self.any_path();
        let (new, new_at, new_length) = self.other_path();
        // SAFETY: the paths lie where they are said to lie.
        let errno = unsafe {
            raw::path_link(
                from.number,
                flags as i32,
                old_at,
                old_length,
                to.number,
                new_at,
                new_length,
            )
        };
        let arguments = format!("{}, {flags}, {old}, {}, {new}", from.label, to.label);
        line("path_link", &arguments, errno, "")
    }

    pub fn path_symlink(&mut self) -> String {
        let fd = self.directory();
        // Chains and loops want simple targets, escapes odd ones.
        let target = if self.random.percent(50) {
            self.random.tame_path()
        } else {
            self.random.path()
        };
        let (target_at, target_length) = self.put(OTHER, &target);
        let (path, at, length) = self.any_path();
        // SAFETY: the paths lie where they are said to lie.
        let errno = unsafe { raw::path_symlink(target_at, target_length, fd.number, at, length) };
        let arguments = format!("{}, {}, {path}", shown(&target), fd.label);
        line("path_symlink", &arguments, errno, "")
    }

    pub fn path_readlink(&mut self) -> String {
        let fd = self.directory();
        let (path, at, length) = self.any_path();
        let room = self.random.pick(&[0, 1, 3, 100, 8192]);
        self.area.write(DATA, &[0xdd; 8193]);
        let (buffer, out) = (self.area.at(DATA), self.area.at(OUT));
        // SAFETY: the path lies where it is said to lie; there is room for so many bytes and a size.
        let errno = unsafe { raw::path_readlink(fd.number, at, length, buffer, room, out) };
        let used = self.area.u32(OUT) as usize;
        let untouched = self.area.u8(DATA + used.min(8192)) == 0xdd;
        let target = if errno == 0 {
            shown(&self.area.read(DATA, used))
        } else {
            String::new()
        };
        let results = format!("target={target} guard={untouched}");
        line(
            "path_readlink",
            &format!("{}, {path}, {room}", fd.label),
            errno,
            &results,
        )
    }

    pub fn path_filestat_get(&mut self) -> String {
        let fd = self.directory();
        let lookup = self.random.below(2) as u32;
        let (path, at, length) = self.any_path();
        self.area.write(OUT, &[0xee; 64]);
        let out = self.area.at(OUT);
        // SAFETY: the path lies where it is said to lie, and there is room for a filestat.
        let errno = unsafe { raw::path_filestat_get(fd.number, lookup as i32, at, length, out) };
        let results = filestat(&self.area, OUT);
        let arguments = format!("{}, {lookup}, {path}", fd.label);
        line("path_filestat_get", &arguments, errno, &results)
    }

    pub fn path_filestat_set_times(&mut self) -> String {
        let fd = self.directory();
        let lookup = self.random.below(2) as u32;
        let (path, at, length) = self.any_path();
        let (atim, mtim) = (times::any(&mut self.random), times::any(&mut self.random));
        let flags = times::any_flags(&mut self.random);
        // SAFETY: the path lies where it is said to lie.
        let errno = unsafe {
            raw::path_filestat_set_times(
                fd.number,
                lookup as i32,
                at,
                length,
                atim as i64,
                mtim as i64,
                flags as i32,
            )
        };
        let arguments = format!("{}, {lookup}, {path}, {atim}, {mtim}, {flags:#x}", fd.label);
        line("path_filestat_set_times", &arguments, errno, "")
    }

    /// Whether two paths are one file, which numbers of inodes cannot be printed for.
    pub fn identity(&mut self) -> String {
        let fd = self.directory();
        let (one, other) = (self.random.tame_path(), self.random.tame_path());
        let [first, second] = [&one, &other].map(|path| {
            let (at, length) = self.put(PATH, path);
            let out = self.area.at(OUT);
            // SAFETY: the path lies where it is said to lie, and there is room for a filestat.
            let errno = unsafe { raw::path_filestat_get(fd.number, 0, at, length, out) };
            (errno, self.area.u64(OUT), self.area.u64(OUT + 8))
        });
        let errno = if first.0 == 0 { second.0 } else { first.0 };
        let results = format!("device={} inode={}", first.1 == second.1, first.2 == second.2);
        let arguments = format!("{}, {}, {}", fd.label, shown(&one), shown(&other));
        line("identity", &arguments, errno, &results)
    }
}
