//! Reading and writing descriptors that other processes share, without ever waiting in the call.
//!
//! To ask `poll` first is not enough: another process that shares the pipe may take what `poll` has promised, and the
//! call then waits, for ever, past every deadline. O_NONBLOCK would help, but it belongs to the open file description,
//! and so to everybody who shares it. What is done instead depends on what the descriptor is:
//!
//! - a pipe or a terminal is opened once more through /proc/self/fd, which gives a description of our own;
//! - a socket has MSG_DONTWAIT, and a pipe that cannot be opened (another user's, or without /proc) has RWF_NOWAIT;
//! - a thread waits in the place of this one for whatever is left.

use std::io::{IoSlice, IoSliceMut, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::{io, thread};

use rustix::event::PollFlags;
use rustix::fs::{FileType, FsWord, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvFlags, SendFlags};

/// What is always free in a pipe that reports to be writable.
const PIPE_BUF: usize = 4096;

/// Device numbers of memory devices, /dev/null among them: these never wait.
const MEMORY_DEVICES: u32 = 1;

/// /dev/ptmx: opening it once more makes another terminal.
const PTMX: (u32, u32) = (5, 2);

/// One end of a stream that others may share.
#[derive(Debug)]
pub struct NonBlocking {
    shared: Arc<OwnedFd>,
    direction: Direction,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

/// How a call on it is kept from waiting.
#[derive(Debug)]
enum Way {
    /// It never waits for another process.
    Plain,
    /// The same pipe or terminal with an open file description of its own.
    Own(OwnedFd),
    /// MSG_DONTWAIT.
    Socket,
    /// RWF_NOWAIT, as far as it is known to work.
    NoWait,
    /// Another thread waits.
    Thread(Aside),
}

impl NonBlocking {
    /// For reading from `shared`.
    #[must_use]
    pub fn reader(shared: OwnedFd) -> Self {
        Self::new(shared, Direction::Read)
    }

    /// For writing to `shared`.
    #[must_use]
    pub fn writer(shared: OwnedFd) -> Self {
        Self::new(shared, Direction::Write)
    }

    fn new(shared: OwnedFd, direction: Direction) -> Self {
        let shared = Arc::new(shared);
        let way = Way::of(&shared, direction);
        Self {
            shared,
            direction,
            way,
        }
    }

    /// The descriptor that others share.
    #[must_use]
    pub fn shared(&self) -> BorrowedFd<'_> {
        self.shared.as_fd()
    }

    /// What to wait for by `poll` before the next call.
    #[must_use]
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match (&self.way, self.direction) {
            (Way::Thread(thread), _) if thread.busy => (thread.wake.as_fd(), PollFlags::IN),
            // Not the description of our own: one of a FIFO without writers reports no hang-up.
            (_, Direction::Read) => (self.shared(), PollFlags::IN),
            (_, Direction::Write) => (self.shared(), PollFlags::OUT),
        }
    }

    /// The most bytes that a write should be given after `poll` has said that it is writable.
    #[must_use]
    pub fn chunk(&self) -> usize {
        match self.way {
            Way::Plain => usize::MAX,
            Way::Thread(_) => 16 * PIPE_BUF,
            _ => PIPE_BUF,
        }
    }

    /// Reads into `buffer`. After [`Errno::AGAIN`], call it again with as large a buffer.
    ///
    /// # Errors
    /// The system's; [`Errno::AGAIN`] where it would have to wait.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.way {
            Way::Plain => rustix::io::read(&*self.shared, buffer),
            Way::Own(own) => rustix::io::read(own, buffer),
            Way::Socket => {
                rustix::net::recv(&*self.shared, buffer, RecvFlags::DONTWAIT).map(|(length, _)| length)
            }
            Way::NoWait => {
                let mut slices = [IoSliceMut::new(buffer)];
                match rustix::io::preadv2(&*self.shared, &mut slices, HERE, ReadWriteFlags::NOWAIT) {
                    Err(error) if is_unsupported(error) => {
                        self.leave_to_a_thread().and_then(|()| self.read(buffer))
                    }
                    result => result,
                }
            }
            Way::Thread(thread) => {
                let (bytes, length) = thread.call(|| vec![0; buffer.len()])?;
                let length = length.min(buffer.len());
                let read = bytes.get(..length).unwrap_or_default();
                buffer.get_mut(..length).unwrap_or_default().copy_from_slice(read);
                Ok(length)
            }
        }
    }

    /// Writes some of `bytes`. After [`Errno::AGAIN`], call it again with the same.
    ///
    /// # Errors
    /// The system's; [`Errno::AGAIN`] where it would have to wait.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match &mut self.way {
            Way::Plain => rustix::io::write(&*self.shared, bytes),
            Way::Own(own) => rustix::io::write(own, bytes),
            Way::Socket => rustix::net::send(&*self.shared, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::NoWait => {
                let slices = [IoSlice::new(bytes)];
                match rustix::io::pwritev2(&*self.shared, &slices, HERE, ReadWriteFlags::NOWAIT) {
                    Err(error) if is_unsupported(error) => {
                        self.leave_to_a_thread().and_then(|()| self.write(bytes))
                    }
                    result => result,
                }
            }
            Way::Thread(thread) => thread.call(|| bytes.to_vec()).map(|(_, length)| length),
        }
    }

    fn leave_to_a_thread(&mut self) -> Result<(), Errno> {
        let thread = Aside::start(Arc::clone(&self.shared), self.direction);
        // Anything but EAGAIN, which would be waited for.
        self.way = Way::Thread(thread.map_err(|_| Errno::NOMEM)?);
        Ok(())
    }
}

/// The offset that means the stream's own position.
const HERE: u64 = u64::MAX;

/// Whether the kernel, or what is behind the descriptor, does not know RWF_NOWAIT.
fn is_unsupported(error: Errno) -> bool {
    matches!(
        error,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM
    )
}

/// Whether a file is another machine's or a program's (FUSE): it answers when that one does.
pub(crate) fn is_remote(file: impl AsFd) -> bool {
    const FUSE: FsWord = 0x6573_5546;
    const NFS: FsWord = 0x6969;
    const SMB: FsWord = 0x517b;
    const SMB_2: FsWord = 0xfe53_4d42;
    const CIFS: FsWord = 0xff53_4d42;
    const NINE_P: FsWord = 0x0102_1997;
    const CEPH: FsWord = 0x00c3_6400;
    const AFS: FsWord = 0x5346_414f;
    const CODA: FsWord = 0x7375_7245;
    let kind = rustix::fs::fstatfs(file).map_or(0, |stat| stat.f_type);
    [FUSE, NFS, SMB, SMB_2, CIFS, NINE_P, CEPH, AFS, CODA].contains(&kind)
}

impl Way {
    fn of(shared: &Arc<OwnedFd>, direction: Direction) -> Self {
        let Ok(stat) = rustix::fs::fstat(shared) else {
            return Self::Plain;
        };
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => Self::Socket,
            FileType::Fifo => Self::again(shared, direction),
            FileType::CharacterDevice if device.0 == MEMORY_DEVICES => Self::Plain,
            FileType::CharacterDevice if device != PTMX && rustix::termios::isatty(shared) => {
                Self::again(shared, direction)
            }
            FileType::RegularFile if is_remote(shared) => Self::thread(shared, direction),
            FileType::RegularFile | FileType::Directory | FileType::BlockDevice => Self::Plain,
            _ => Self::NoWait,
        }
    }

    /// A thread that waits, or the plain call where the system has no thread left.
    fn thread(shared: &Arc<OwnedFd>, direction: Direction) -> Self {
        Aside::start(Arc::clone(shared), direction).map_or(Self::Plain, Self::Thread)
    }

    /// Opened once more, if that is possible.
    fn again(shared: &OwnedFd, direction: Direction) -> Self {
        let name = format!("/proc/self/fd/{}", shared.as_raw_fd());
        let access = match direction {
            Direction::Read => OFlags::RDONLY,
            Direction::Write => OFlags::WRONLY,
        };
        // Of a pipe, O_DIRECT says that each write is read by itself.
        let packets = rustix::fs::fcntl_getfl(shared).unwrap_or(access) & OFlags::DIRECT;
        let flags = access | packets | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::open(name, flags, Mode::empty()) {
            Ok(own) => Self::Own(own),
            // Another user's, no /proc, or a pipe whose reader has gone.
            Err(_) => Self::NoWait,
        }
    }
}

/// A thread that makes the calls that may wait. One that still waits when the stream is dropped is left to its call.
#[derive(Debug)]
struct Aside {
    jobs: Sender<Vec<u8>>,
    results: Receiver<(Vec<u8>, Result<usize, Errno>)>,
    /// Readable when a call has ended.
    wake: PipeReader,
    /// A call has been handed over, and its result not been taken.
    busy: bool,
}

impl Aside {
    fn start(shared: Arc<OwnedFd>, direction: Direction) -> io::Result<Self> {
        let (wake, mut notify) = io::pipe()?;
        let (jobs, todo) = channel::<Vec<u8>>();
        let (done, results) = channel();
        thread::Builder::new()
            .name("hermit-wasm stream".to_string())
            .spawn(move || {
                for mut bytes in todo {
                    let result = match direction {
                        Direction::Read => rustix::io::read(&*shared, bytes.as_mut_slice()),
                        Direction::Write => rustix::io::write(&*shared, &bytes),
                    };
                    // Nobody is there any more if the stream was dropped.
                    if done.send((bytes, result)).is_err() || notify.write_all(&[0]).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            jobs,
            results,
            wake,
            busy: false,
        })
    }

    /// Hands a call over, or takes the result of the one that was.
    fn call(&mut self, job: impl FnOnce() -> Vec<u8>) -> Result<(Vec<u8>, usize), Errno> {
        if !self.busy {
            self.jobs.send(job()).map_err(|_| Errno::IO)?;
            self.busy = true;
            return Err(Errno::AGAIN);
        }
        match self.results.try_recv() {
            Ok((bytes, result)) => {
                self.busy = false;
                // The thread writes it right behind the result.
                self.wake.read_exact(&mut [0]).map_err(|_| Errno::IO)?;
                result.map(|length| (bytes, length))
            }
            Err(TryRecvError::Empty) => Err(Errno::AGAIN),
            Err(TryRecvError::Disconnected) => Err(Errno::IO),
        }
    }
}

#[cfg(test)]
#[path = "nonblocking_tests.rs"]
mod tests;
