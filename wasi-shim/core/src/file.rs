//! Operations on what is open: bytes in and out, attributes, storage, entries of a directory.
//!
//! Layer: core. None of them asks whether it may: that a descriptor can be read or written is checked before, with
//! [`Descriptor`]'s own functions, and so is all of the guest's memory, so that nothing happens by halves.

use crate::{
    Errno,
    context::WasiCtx,
    descriptor::{Descriptor, OpenDirectory, OpenFile},
    fs::{DirEntry, FileSystem, Node, Now, Stat},
    limits::Limit,
    mounts::MountId,
    system::{Clock, Readiness, Source, Stream, System, readiness, wall_clock},
    types::{Filesize, Timestamp},
};

/// Attributes of a node, and the number of its file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The file system's number; that of the streams is 0.
    pub dev: u64,
    /// What the file system says.
    pub stat: Stat,
}

/// What to set a time to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it as it is.
    Keep,
    /// The time of the call.
    Now,
    /// This time, in nanoseconds since 1970.
    To(Timestamp),
}

/// Times to set: of the last access and of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetTimes {
    /// Last access.
    pub atim: SetTime,
    /// Last change of the data.
    pub mtim: SetTime,
}

impl SetTimes {
    /// The values, both the same now if both are to be now. The clock is asked only if one is.
    fn resolve(self, now: Now<'_>) -> [Option<Timestamp>; 2] {
        let times = [self.atim, self.mtim];
        let time = if times.contains(&SetTime::Now) { now() } else { 0 };
        times.map(|set| match set {
            SetTime::Keep => None,
            SetTime::Now => Some(time),
            SetTime::To(value) => Some(value),
        })
    }
}

/// Whether a read waits for the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// It waits.
    Wait,
    /// It fails with AGAIN if nothing is there.
    Fail,
    /// It stops where nothing is there: an earlier part of the same read has got something.
    Stop,
}

impl<S> WasiCtx<S> {
    /// Attributes of what is open; `None` for a stream.
    ///
    /// # Errors
    /// What the file system says.
    pub fn attributes(&mut self, descriptor: &Descriptor) -> Result<Option<Attributes>, Errno> {
        match descriptor.node() {
            None => Ok(None),
            Some((mount, node)) => self.node_attributes(mount, node, None).map(Some),
        }
    }

    /// Attributes of a node, if they are not known yet.
    pub(crate) fn node_attributes(
        &mut self,
        mount: MountId,
        node: Node,
        known: Option<Stat>,
    ) -> Result<Attributes, Errno> {
        let stat = match known {
            Some(stat) => stat,
            None => self.mounts.get(mount)?.stat(node)?,
        };
        Ok(Attributes {
            dev: mount.dev(),
            stat,
        })
    }

    /// The size of an open file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn size(&mut self, file: &OpenFile) -> Result<Filesize, Errno> {
        Ok(self.mounts.get(file.mount)?.stat(file.node)?.size)
    }

    /// How much of an open file is left to read from its position: always ready, at its end with `hangup`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn left(&mut self, file: &OpenFile) -> Result<Readiness, Errno> {
        let bytes = self.size(file)?.saturating_sub(file.position);
        Ok(Readiness::Ready {
            bytes,
            hangup: bytes == 0,
        })
    }

    /// Brings a file's data, or data and attributes, to its storage.
    ///
    /// # Errors
    /// What the storage says.
    pub fn sync(&mut self, file: &OpenFile, data_only: bool) -> Result<(), Errno> {
        self.mounts.get(file.mount)?.sync(file.handle, data_only)
    }

    /// Hands on what was written and is still held back, before [`Self::close`].
    ///
    /// # Errors
    /// Why a write has failed after all.
    pub fn flush(&mut self, descriptor: &Descriptor) -> Result<(), Errno> {
        match descriptor {
            Descriptor::File(file) => self.mounts.get(file.mount)?.flush(file.handle),
            Descriptor::Directory(_)
            | Descriptor::Stdin { .. }
            | Descriptor::Output { .. }
            | Descriptor::Socket(_) => Ok(()),
        }
    }
}

impl<S: System> WasiCtx<S> {
    /// Closes what is open. The machine's console stays as it is.
    pub fn close(&mut self, descriptor: Descriptor) {
        if let Descriptor::Socket(socket) = &descriptor {
            self.close_socket(socket);
        }
        if let Some((mount, handle)) = descriptor.handle()
            && let Ok(fs) = self.mounts.get(mount)
        {
            fs.close(handle);
        }
    }

    /// A file system and the clock for the times that it records, to look at something.
    fn with_fs<T>(
        &mut self,
        mount: MountId,
        look: impl FnOnce(&mut dyn FileSystem, Now<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        look(self.mounts.get(mount)?, &mut wall_clock(&mut self.system))
    }

    /// A file system and the clock for the times that it records, to change something; ROFS if the guest may not.
    pub(crate) fn change<T>(
        &mut self,
        mount: MountId,
        change: impl FnOnce(&mut dyn FileSystem, Now<'_>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        change(self.mounts.writable(mount)?, &mut wall_clock(&mut self.system))
    }

    /// Fills `buf` from where the last read or write of `from` ended, and moves on; how many bytes, 0 at the end, or
    /// `None` if nothing is there and `blocking` says to stop. `buf` is not empty. Sockets have
    /// [`receive`](Self::receive).
    ///
    /// # Errors
    /// [`Errno::AGAIN`] as `blocking` says; [`Errno::BADF`] if it cannot be read from; what the machine or the file
    /// system says.
    pub fn read(
        &mut self,
        from: &mut Descriptor,
        buf: &mut [u8],
        blocking: Blocking,
    ) -> Result<Option<usize>, Errno> {
        match from {
            Descriptor::Stdin { .. } => self.read_stdin(buf, blocking),
            Descriptor::File(file) => {
                let count = self.read_at(file, file.position, buf)?;
                file.position = advance(file.position, count);
                Ok(Some(count))
            }
            Descriptor::Output { .. } | Descriptor::Directory(_) | Descriptor::Socket(_) => Err(Errno::BADF),
        }
    }

    /// Out of line: reading a file is what has to be quick.
    #[inline(never)]
    fn read_stdin(&mut self, buf: &mut [u8], blocking: Blocking) -> Result<Option<usize>, Errno> {
        if self.deterministic.is_some() {
            return self.read_input(buf, blocking);
        }
        match blocking {
            Blocking::Wait => {}
            Blocking::Fail => {
                if readiness(&mut self.system, Source::Stdin)? == Readiness::NotReady {
                    return Err(Errno::AGAIN);
                }
            }
            // What fails now fails again in the next read, which can say so.
            Blocking::Stop => match readiness(&mut self.system, Source::Stdin) {
                Ok(Readiness::Ready { bytes: 1.., .. }) => {}
                _ => return Ok(None),
            },
        }
        self.system.console_read(buf).map(Some)
    }

    /// Reads standard input of a run that is the same each time.
    #[cold]
    #[inline(never)]
    fn read_input(&mut self, buf: &mut [u8], blocking: Blocking) -> Result<Option<usize>, Errno> {
        let world = self.deterministic.as_mut().ok_or(Errno::NOSYS)?;
        match blocking {
            // Whether something is there yet is chance.
            Blocking::Wait | Blocking::Fail => world.read(&mut self.system, buf).map(Some),
            Blocking::Stop => world.read_on(&mut self.system, buf),
        }
    }

    /// Fills `buf` from `offset` of a file; fewer bytes than it has only at the end of the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_at(&mut self, file: &OpenFile, offset: Filesize, buf: &mut [u8]) -> Result<usize, Errno> {
        self.with_fs(file.mount, |fs, now| fs.read(file.handle, offset, buf, now))
    }

    /// Writes to where the last read or write of `to` ended, or with `append` to a file's end, and moves on; how many
    /// bytes were taken. `bytes` is not empty. Sockets have [`send`](Self::send).
    ///
    /// # Errors
    /// [`Errno::BADF`] if it cannot be written to; [`Errno::ROFS`]; what the machine or the file system says.
    pub fn write(&mut self, to: &mut Descriptor, bytes: &[u8], append: bool) -> Result<usize, Errno> {
        match to {
            Descriptor::Output { stream, .. } => self.print(*stream, bytes),
            Descriptor::File(file) if append => {
                let (count, end) = self.append(file, bytes)?;
                file.position = end;
                Ok(count)
            }
            Descriptor::File(file) => {
                let count = self.write_at(file, file.position, bytes)?;
                file.position = advance(file.position, count);
                Ok(count)
            }
            Descriptor::Stdin { .. } | Descriptor::Directory(_) | Descriptor::Socket(_) => Err(Errno::BADF),
        }
    }

    /// Writes what of `bytes` the limit of output admits to one of the guest's streams; how many that were.
    ///
    /// # Errors
    /// What the machine says.
    pub fn print(&mut self, stream: Stream, bytes: &[u8]) -> Result<usize, Errno> {
        let admitted = self.left.admit(Limit::OutputBytes, bytes.len());
        let count = self
            .system
            .console_write(stream, bytes.get(..admitted).unwrap_or_default())?;
        self.left.count(Limit::OutputBytes, advance(0, count));
        Ok(count)
    }

    /// The part of `bytes` that the limit of bytes in files admits.
    #[inline]
    fn admitted<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.left.counts_files() {
            true => self.admitted_behind(0, bytes),
            false => bytes,
        }
    }

    #[cold]
    #[inline(never)]
    fn admitted_behind<'a>(&mut self, gap: u64, bytes: &'a [u8]) -> &'a [u8] {
        let admitted = self.left.admit_behind(Limit::FileBytes, gap, bytes.len());
        bytes.get(..admitted).unwrap_or_default()
    }

    /// Writes to `offset` of a file; how many bytes there was room for. What lies between the file's end and `offset`
    /// counts as written.
    ///
    /// # Errors
    /// [`Errno::NOSPC`], [`Errno::FBIG`], [`Errno::ROFS`]; what the file system says.
    #[inline]
    pub fn write_at(&mut self, file: &OpenFile, offset: Filesize, bytes: &[u8]) -> Result<usize, Errno> {
        let (bytes, gap) = match self.left.counts_files() && !bytes.is_empty() {
            true => {
                let gap = self.gap(file, offset)?;
                (self.admitted_behind(gap, bytes), gap)
            }
            false => (bytes, 0),
        };
        let count = self.change(file.mount, |fs, now| fs.write(file.handle, offset, bytes, now))?;
        self.left.count(Limit::FileBytes, advance(gap, count));
        Ok(count)
    }

    /// How many bytes lie between the file's end and `offset` behind it.
    #[cold]
    #[inline(never)]
    fn gap(&mut self, file: &OpenFile, offset: Filesize) -> Result<u64, Errno> {
        Ok(offset.saturating_sub(self.size(file)?))
    }

    /// Writes to the end of a file; how many bytes there was room for, and where the file ends then.
    ///
    /// # Errors
    /// As for [`Self::write_at`].
    pub fn append(&mut self, file: &OpenFile, bytes: &[u8]) -> Result<(usize, Filesize), Errno> {
        let bytes = self.admitted(bytes);
        let (count, end) = self.change(file.mount, |fs, now| fs.append(file.handle, bytes, now))?;
        self.left.count(Limit::FileBytes, advance(0, count));
        Ok((count, end))
    }

    /// Sets the size of a file; new bytes are zeros.
    ///
    /// # Errors
    /// [`Errno::NOSPC`], [`Errno::FBIG`], [`Errno::ROFS`]; what the file system says.
    pub fn set_size(&mut self, file: &OpenFile, size: Filesize) -> Result<(), Errno> {
        let more = |now: Filesize| size.saturating_sub(now);
        self.growing(file, more, |fs, now| fs.set_size(file.handle, size, now))
    }

    /// Reserves space in a file, which grows to hold it. All of it counts as written: there may have been holes.
    ///
    /// # Errors
    /// [`Errno::NOSPC`], [`Errno::FBIG`], [`Errno::NOTSUP`], [`Errno::ROFS`]; what the file system says.
    pub fn allocate(&mut self, file: &OpenFile, offset: Filesize, len: Filesize) -> Result<(), Errno> {
        let more = |now: Filesize| offset.saturating_add(len).saturating_sub(now).max(len);
        self.growing(file, more, |fs, now| fs.allocate(file.handle, offset, len, now))
    }

    /// Changes a file, which counts as `more` of its size in bytes written; if that is too much, nothing is changed.
    fn growing(
        &mut self,
        file: &OpenFile,
        more: impl FnOnce(Filesize) -> u64,
        change: impl FnOnce(&mut dyn FileSystem, Now<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut counted = 0;
        if self.left.counts_files() {
            counted = more(self.size(file)?);
            if !self.left.admit_all(Limit::FileBytes, counted) {
                return Err(Errno::NOSPC);
            }
        }
        self.change(file.mount, change)?;
        self.left.count(Limit::FileBytes, counted);
        Ok(())
    }

    /// Sets the times of a node.
    pub(crate) fn set_node_times(
        &mut self,
        mount: MountId,
        node: Node,
        times: SetTimes,
    ) -> Result<(), Errno> {
        let time = self.virtual_time().map(|time| time.of(Clock::Realtime));
        self.change(mount, |fs, now| {
            let [atim, mtim] = times.resolve(&mut || time.unwrap_or_else(&mut *now));
            fs.set_times(node, atim, mtim, now)
        })
    }

    /// Sets the times of a file or directory.
    ///
    /// # Errors
    /// [`Errno::BADF`] on a stream; [`Errno::ROFS`]; what the file system says.
    pub fn set_times(&mut self, descriptor: &Descriptor, times: SetTimes) -> Result<(), Errno> {
        let (mount, node) = descriptor.node().ok_or(Errno::BADF)?;
        self.set_node_times(mount, node, times)
    }

    /// Hands the entries of a directory from `cookie` on to `sink`, until it says `false` or there are no more; see
    /// [`FileSystem::read_dir`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn read_directory(
        &mut self,
        directory: &OpenDirectory,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        self.with_fs(directory.mount, |fs, now| {
            fs.read_dir(directory.handle, cookie, sink, now)
        })
    }
}

/// Where the next byte goes after `count` bytes at `offset`.
#[must_use]
pub fn advance(offset: Filesize, count: usize) -> Filesize {
    offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
}
