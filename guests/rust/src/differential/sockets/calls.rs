//! The calls on sockets. None of them can wait: what would is looked at first.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::{DATA, LIST, OUT};
use crate::control::LISTENER;
use crate::random::checksum;
use crate::world::{Connection, Named, World, line};

/// A subscription's size, and an event's.
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;

const PEEK: i32 = 1;
const WAITALL: i32 = 2;
const NONBLOCK: i32 = 4;

impl World<'_> {
    pub fn accept(&mut self) -> String {
        let fd = match self.random.below(8) {
            0 => self.any_fd(),
            _ => Named {
                number: LISTENER as i32,
                label: "listener".into(),
            },
        };
        // With flags that mean nothing wasmtime accepts a connection and loses it.
        let flags = match self.waiting.is_empty() {
            true => self.random.pick(&[0, NONBLOCK, 1, 5, 16]),
            false => self.random.pick(&[0, NONBLOCK]),
        };
        let out = self.area.at(OUT);
        // SAFETY: there is room for a descriptor.
        let errno = unsafe { raw::sock_accept(fd.number, flags, out) };
        if errno == 0 && !self.waiting.is_empty() {
            self.connections.push(Connection {
                number: self.area.u32(OUT) as i32,
                client: self.waiting.remove(0),
                sent: 0,
                waits: flags & NONBLOCK == 0,
                ended: false,
                closed: false,
                answered: false,
            });
        }
        line("sock_accept", &format!("{}, {flags}", fd.label), errno, "")
    }

    /// Puts a list of buffers; their number, how many bytes they have, and how they are shown.
    fn buffers(&mut self, fill: bool, most: i32) -> (i32, usize, String) {
        let count = self.random.pick(&[1, 1, 1, 1, 0, 2, 3]).min(most);
        let (mut list, mut at, mut shown) = (Vec::new(), DATA, Vec::new());
        for _ in 0..count {
            let length = self.random.pick(&[0, 1, 2, 5, 64, 1000, 4096]);
            list.extend_from_slice(&self.area.at(at).to_le_bytes());
            list.extend_from_slice(&u32::to_le_bytes(length as u32));
            at += length;
            shown.push(length.to_string());
        }
        let total = at - DATA;
        let bytes = if fill {
            self.random.bytes(total)
        } else {
            vec![0; total]
        };
        self.area.write(DATA, &bytes);
        self.area.write(LIST, &list);
        (count, total, shown.join("+"))
    }

    /// How many bytes can be received without waiting, and whether a receive would not wait.
    fn there(&mut self, number: i32) -> (usize, bool) {
        let mut subscriptions = [0_u8; 2 * SUBSCRIPTION];
        subscriptions[8] = 1;
        subscriptions[16..20].copy_from_slice(&number.to_le_bytes());
        subscriptions[SUBSCRIPTION..SUBSCRIPTION + 8].copy_from_slice(&1_u64.to_le_bytes());
        subscriptions[SUBSCRIPTION + 16..SUBSCRIPTION + 20].copy_from_slice(&1_u32.to_le_bytes());
        self.area.write(LIST, &subscriptions);
        let (list, events, out) = (self.area.at(LIST), self.area.at(DATA), self.area.at(OUT));
        // SAFETY: the subscriptions lie there, and there is room for as many events and a size.
        let errno = unsafe { raw::poll_oneoff(list, events, 2, out) };
        let count = if errno == 0 {
            self.area.u32(OUT) as usize
        } else {
            0
        };
        let ready = (0..count).any(|index| self.area.u64(DATA + index * EVENT) == 0);
        if !ready {
            return (0, false);
        }
        let mut iovec = self.area.at(DATA).to_le_bytes().to_vec();
        iovec.extend_from_slice(&(256_u32 << 10).to_le_bytes());
        self.area.write(LIST, &iovec);
        // SAFETY: the list and its buffer lie there, and there is room for the results.
        let errno = unsafe { raw::sock_recv(number, list, 1, PEEK, out, out + 8) };
        let there = if errno == 0 { self.area.u32(OUT) } else { 0 };
        (there as usize, true)
    }

    pub fn receive(&mut self) -> String {
        let odd = self.random.percent(6);
        let (index, fd) = match self.some() {
            Some(index) if !odd => (Some(index), self.named(index)),
            // The listener says that it cannot be read, and does not wait.
            _ => (None, self.any_fd()),
        };
        let index = index.or_else(|| self.connections.iter().position(|one| one.number == fd.number));
        let call = self.random.pick(&["fd_read", "sock_recv"]);
        let mut flags = match call {
            "fd_read" => 0,
            _ => self.random.pick(&[0, 0, PEEK, WAITALL, PEEK | WAITALL]),
        };
        let mut peeked = None;
        if let Some(index) = index {
            let (there, ready) = self.there(fd.number);
            peeked = Some(there);
            if !ready && self.connections[index].waits {
                return line("nothing", &fd.label, 0, "");
            }
        }
        let (count, total, shown) = self.buffers(false, i32::MAX);
        // wasmtime stops the guest where not all comes.
        let all = peeked.is_some_and(|there| total <= there);
        if !all {
            flags &= !WAITALL;
        }
        let (list, out) = (self.area.at(LIST), self.area.at(OUT));
        // SAFETY: the list and its buffers lie there, and there is room for the results.
        let errno = unsafe {
            match call {
                "fd_read" => raw::fd_read(fd.number, list, count, out),
                _ => raw::sock_recv(fd.number, list, count, flags, out, out + 8),
            }
        };
        let (length, mut results) = (self.area.u32(OUT) as usize, String::new());
        if errno == 0 {
            let sum = checksum(&self.area.read(DATA, length.min(total)));
            results = format!("length={length} sum={sum:08x}");
            if call == "sock_recv" {
                results += &format!(" flags={}", self.area.u16(OUT + 8));
            }
        }
        let all = if all { "all" } else { "more" };
        line(
            call,
            &format!("{}, {shown} {all}, {flags}", fd.label),
            errno,
            &results,
        )
    }

    pub fn send(&mut self) -> Result<String, String> {
        let odd = self.random.percent(6);
        let fd = match self.some() {
            Some(index) if !odd => self.named(index),
            _ => self.any_fd(),
        };
        let call = self.random.pick(&["fd_write", "sock_send"]);
        let index = self.connections.iter().position(|one| one.number == fd.number);
        // Where nobody is there any more, the answer to a first piece makes a second one fail.
        let is_closed = index.is_some_and(|index| self.connections[index].closed);
        let (count, _, shown) = self.buffers(true, if is_closed { 1 } else { i32::MAX });
        let (list, out) = (self.area.at(LIST), self.area.at(OUT));
        // What the client does not read has to fit.
        if let Some(index) = index
            && self.connections[index].sent > 20_000
        {
            return Ok(line("nothing", &fd.label, 0, ""));
        }
        // SAFETY: the list and its buffers lie there, and there is room for the result.
        let errno = unsafe {
            match call {
                "fd_write" => raw::fd_write(fd.number, list, count, out),
                _ => raw::sock_send(fd.number, list, count, 0, out),
            }
        };
        let length = self.area.u32(OUT);
        if errno == 0
            && length > 0
            && let Some(index) = index
        {
            let connection = &mut self.connections[index];
            connection.sent += u64::from(length);
            if connection.closed && !connection.answered {
                // Its host answers that nobody is there.
                connection.answered = true;
                self.control
                    .ask(&format!("gone {}", self.connections[index].client))?;
            }
        }
        let results = format!("length={length}");
        Ok(line(call, &format!("{}, {shown}", fd.label), errno, &results))
    }

    pub fn shutdown(&mut self) -> String {
        let fd = self.any_fd();
        let how = self.random.pick(&[0, 1, 1, 2, 2, 3]);
        // SAFETY: no pointer is passed.
        let errno = unsafe { raw::sock_shutdown(fd.number, how) };
        line("sock_shutdown", &format!("{}, {how}", fd.label), errno, "")
    }

    pub fn poll(&mut self) -> String {
        // Of several, wasmtime tells all once one is ready.
        let count = 1;
        let (mut list, mut shown) = (Vec::new(), Vec::new());
        for userdata in 0..=count {
            let mut subscription = [0_u8; SUBSCRIPTION];
            let mut put = |at: usize, bytes: &[u8]| subscription[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, &u64::to_le_bytes(userdata));
            if userdata == count {
                // The wait is over at once.
                put(16, &1_u32.to_le_bytes());
            } else {
                let (fd, kind) = (self.any_fd(), self.random.pick(&[1_u8, 1, 2]));
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
        let errno = unsafe { raw::poll_oneoff(list, events, count as i32 + 1, out) };
        let (mut happened, mut bytes, mut hung_up) = (Vec::new(), Vec::new(), Vec::new());
        if errno == 0 {
            for index in 0..self.area.u32(OUT) as usize {
                let at = DATA + index * EVENT;
                let (userdata, kind) = (self.area.u64(at), self.area.u8(at + 10));
                if kind == 0 {
                    continue;
                }
                let error = guests::errno_name(i32::from(self.area.u16(at + 8)));
                happened.push(format!("{userdata}:{kind}:{error}"));
                match (kind, self.area.u16(at + 24)) {
                    (1, 0) => bytes.push(format!("{userdata}:{}", self.area.u64(at + 16))),
                    // How much could be sent is a guess.
                    (_, 0) => {}
                    (_, flags) => hung_up.push(format!("{userdata}:{flags}")),
                }
            }
        }
        for list in [&mut happened, &mut bytes, &mut hung_up] {
            list.sort();
        }
        let [happened, bytes, hung_up] = [happened, bytes, hung_up].map(|list| list.join(","));
        let results = format!("events={happened} bytes={bytes} hangup={hung_up}");
        line("poll_oneoff", &shown.join(", "), errno, &results)
    }

    /// Calls that are for descriptors of any kind.
    pub fn attributes(&mut self) -> String {
        let fd = self.any_fd();
        let (number, out, list) = (fd.number, self.area.at(OUT), self.area.at(LIST));
        let mut iovec = self.area.at(DATA).to_le_bytes().to_vec();
        iovec.extend_from_slice(&10_u32.to_le_bytes());
        self.area.write(LIST, &iovec);
        let flags = self.random.pick(&[0, NONBLOCK, NONBLOCK, 1, 5, 2]);
        let (mut results, mut more) = (String::new(), String::new());
        // SAFETY: lists and buffers lie where they are said to, and there is room for the results.
        let (name, errno) = unsafe {
            match self.random.below(18) {
                0..=2 => {
                    let errno = raw::fd_fdstat_get(number, out);
                    let (kind, flags) = (self.area.u8(OUT), self.area.u16(OUT + 2));
                    let (base, inheriting) = (self.area.u64(OUT + 8), self.area.u64(OUT + 16));
                    results = format!("type={kind} flags={flags} base={base} inheriting={inheriting}");
                    ("fd_fdstat_get", errno)
                }
                3..=4 => {
                    let errno = raw::fd_filestat_get(number, out);
                    let sum = checksum(&self.area.read(OUT + 24, 40));
                    results = format!("type={} rest={sum:08x}", self.area.u8(OUT + 16));
                    ("fd_filestat_get", errno)
                }
                5..=7 if number != LISTENER as i32 => {
                    more = format!(", {flags}");
                    ("fd_fdstat_set_flags", raw::fd_fdstat_set_flags(number, flags))
                }
                5..=8 => ("fd_prestat_get", raw::fd_prestat_get(number, out)),
                9 => ("fd_seek", raw::fd_seek(number, 0, 0, out)),
                10 => ("fd_tell", raw::fd_tell(number, out)),
                11 => ("fd_pread", raw::fd_pread(number, list, 1, 0, out)),
                12 => ("fd_pwrite", raw::fd_pwrite(number, list, 1, 0, out)),
                13 => ("fd_sync", raw::fd_sync(number)),
                14 => ("fd_advise", raw::fd_advise(number, 0, 0, 0)),
                15 => ("fd_filestat_set_size", raw::fd_filestat_set_size(number, 0)),
                16 => (
                    "fd_filestat_set_times",
                    raw::fd_filestat_set_times(number, 0, 0, 0),
                ),
                _ => (
                    "fd_readdir",
                    raw::fd_readdir(number, self.area.at(DATA), 100, 0, out),
                ),
            }
        };
        if name == "fd_fdstat_set_flags"
            && errno == 0
            && let Some(one) = self.connections.iter_mut().find(|one| one.number == number)
        {
            one.waits = flags & NONBLOCK == 0;
        }
        line(name, &format!("{}{more}", fd.label), errno, &results)
    }

    /// Replaces a connection by another.
    pub fn renumber(&mut self) -> String {
        let (Some(from), Some(to)) = (self.some(), self.some()) else {
            return self.close();
        };
        let shown = format!("{}, {}", self.named(from).label, self.named(to).label);
        let number = self.connections[to].number;
        // SAFETY: no pointer is passed.
        let errno = unsafe { raw::fd_renumber(self.connections[from].number, number) };
        if errno == 0 && from != to {
            self.connections[from].number = number;
            self.connections.remove(to);
        }
        line("fd_renumber", &shown, errno, "")
    }

    pub fn close(&mut self) -> String {
        let Some(index) = self.some() else {
            return line("nothing", "", 0, "");
        };
        let fd = self.named(index);
        self.connections.remove(index);
        // SAFETY: no pointer is passed.
        let errno = unsafe { raw::fd_close(fd.number) };
        line("fd_close", &fd.label, errno, "")
    }
}
