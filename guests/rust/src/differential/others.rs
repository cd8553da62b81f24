//! Calls that have little to do with files, on descriptors of files all the same.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{DATA, LIST, OUT};
use crate::random::shown;
use crate::world::{World, line};

/// A subscription's size, and an event's.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;
/// Later than any test ends, in nanoseconds.
const NEVER: u64 = 1 << 50;

impl World {
    /// Waits for clocks that have passed or for descriptors of files: for anything else the answer would depend on time.
    pub fn poll_oneoff(&mut self) -> String {
        let count = self.random.pick(&[0, 1, 1, 2, 3, 8]);
        let clocks = self.random.percent(30);
        let (mut list, mut shown) = (Vec::new(), Vec::new());
        for userdata in 0..count {
            let mut subscription = [0_u8; SUBSCRIPTION];
            let mut put = |at: usize, bytes: &[u8]| subscription[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, &u64::to_le_bytes(userdata));
            if clocks {
                // Relative and soon, or absolute and long ago.
                let (clock, absolute) = (self.random.below(2) as u32, self.random.below(2) as u16);
                let timeout = self.random.below(1000);
                put(16, &clock.to_le_bytes());
                put(24, &timeout.to_le_bytes());
                put(40, &absolute.to_le_bytes());
                shown.push(format!("clock {clock} {timeout} {absolute}"));
            } else if userdata > 0 && self.random.percent(20) {
                put(16, &1_u32.to_le_bytes());
                put(24, &NEVER.to_le_bytes());
                shown.push("clock 1 far".into());
            } else {
                let (fd, kind) = (self.file(), self.random.pick(&[1_u8, 2]));
                put(8, &[kind]);
                put(16, &fd.number.to_le_bytes());
                shown.push(format!(
                    "{} {}",
                    if kind == 1 { "read" } else { "write" },
                    fd.label
                ));
            }
            list.extend_from_slice(&subscription);
        }
        self.area.write(LIST, &list);
        let (list, events, out) = (self.area.at(LIST), self.area.at(DATA), self.area.at(OUT));
        // SAFETY: the subscriptions lie there, and there is room for as many events and a size.
        let errno = unsafe { raw::poll_oneoff(list, events, count as i32, out) };
        let (mut happened, mut bytes) = (Vec::new(), Vec::new());
        if errno == 0 {
            for index in 0..self.area.u32(OUT) as usize {
                let at = DATA + index * EVENT;
                let (userdata, kind) = (self.area.u64(at), self.area.u8(at + 10));
                let error = guests::errno_name(i32::from(self.area.u16(at + 8)));
                happened.push(format!("{userdata}:{kind}:{error}"));
                let hangup = if self.area.u16(at + 24) == 0 { "" } else { "!" };
                bytes.push(format!("{userdata}:{}{hangup}", self.area.u64(at + 16)));
            }
        }
        // With clocks alone, how many of them have passed in time is nobody's promise.
        let results = if clocks {
            format!("some={}", !happened.is_empty())
        } else {
            happened.sort();
            bytes.sort();
            format!("events={} bytes={}", happened.join(","), bytes.join(","))
        };
        line("poll_oneoff", &shown.join(", "), errno, &results)
    }

    pub fn prestat(&mut self) -> String {
        let fd = self.directory();
        if self.random.percent(50) {
            let out = self.area.at(OUT);
            // SAFETY: there is room for a prestat.
            let errno = unsafe { raw::fd_prestat_get(fd.number, out) };
            return line("fd_prestat_get", &fd.label, errno, "");
        }
        let room = self.random.pick(&[0, 1, 100]);
        // SAFETY: there is room for so many bytes.
        let errno = unsafe { raw::fd_prestat_dir_name(fd.number, self.area.at(DATA), room) };
        line("fd_prestat_dir_name", &format!("{}, {room}", fd.label), errno, "")
    }

    pub fn socket(&mut self) -> String {
        let fd = self.file();
        let mut iovec = self.area.at(DATA).to_le_bytes().to_vec();
        iovec.extend_from_slice(&10_u32.to_le_bytes());
        self.area.write(LIST, &iovec);
        let (list, out) = (self.area.at(LIST), self.area.at(OUT));
        // SAFETY: the list and its buffer lie there, and there is room for the results.
        let (name, errno) = unsafe {
            match self.random.below(4) {
                0 => ("sock_accept", raw::sock_accept(fd.number, 0, out)),
                1 => ("sock_recv", raw::sock_recv(fd.number, list, 1, 0, out, out + 8)),
                2 => ("sock_send", raw::sock_send(fd.number, list, 1, 0, out)),
                _ => ("sock_shutdown", raw::sock_shutdown(fd.number, 3)),
            }
        };
        line(name, &fd.label, errno, "")
    }

    pub fn other(&mut self) -> String {
        let out = self.area.at(OUT);
        match self.random.below(4) {
            0 => {
                let clock = self.random.below(4) as u32;
                // SAFETY: there is room for a time.
                let errno = unsafe { raw::clock_time_get(clock as i32, 1, out) };
                line("clock_time_get", &clock.to_string(), errno, "")
            }
            1 => {
                let clock = self.random.below(4) as u32;
                // SAFETY: there is room for a time.
                let errno = unsafe { raw::clock_res_get(clock as i32, out) };
                line("clock_res_get", &clock.to_string(), errno, "")
            }
            2 => {
                let length = self.random.pick(&[0, 1, 32, 70_000]);
                self.area.write(DATA, &vec![0; length + 1]);
                // SAFETY: there is room for so many bytes.
                let errno = unsafe { raw::random_get(self.area.at(DATA), length as i32) };
                let guard = self.area.u8(DATA + length) == 0;
                let filled = length < 32 || self.area.read(DATA, length).iter().any(|byte| *byte != 0);
                let results = format!("guard={guard} filled={filled}");
                line("random_get", &length.to_string(), errno, &results)
            }
            _ => {
                // SAFETY: the sizes have room, and what they count was not large for the C library either.
                let (errno, count) = unsafe {
                    (
                        raw::environ_sizes_get(out, out + 4) | raw::sched_yield(),
                        self.area.u32(OUT),
                    )
                };
                line("environ_sizes_get", &shown(b""), errno, &format!("count={count}"))
            }
        }
    }
}
