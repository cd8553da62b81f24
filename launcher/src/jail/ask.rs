//! System calls that the kernel asks the launcher about, before it makes them for a jailed process.
//!
//! The child sets a filter whose answer is "ask" (SECCOMP_RET_USER_NOTIF), and sends the descriptor of the questions
//! through a socket. The process waits in its call until it is answered.
//!
//! Layer: system calls; seccomp_unotify(2) has the rules.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use seccompiler::BpfProgram;

use super::filter::BPF_RETURN;
use super::sys;

/// SECCOMP_RET_TRACE, which `seccompiler` knows, and the answer that it lacks, SECCOMP_RET_USER_NOTIF.
const TRACE: u32 = 0x7ff0_0000;
const ASK: u32 = 0x7fc0_0000;

/// Makes a program that answers `Trace(0)` ask instead.
pub(crate) fn asking(mut program: BpfProgram) -> BpfProgram {
    for instruction in &mut program {
        if instruction.code == BPF_RETURN && instruction.k == TRACE {
            instruction.k = ASK;
        }
    }
    program
}

/// In the child, which has set no_new_privs: sets the filter, and sends the descriptor of its questions. It makes
/// system calls only.
pub(super) fn set_and_send(program: &BpfProgram, socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the filter points to as many instructions as it says, which the system reads and copies; both types are
    // the system's `struct sock_filter`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    let number = RawFd::try_from(result).unwrap_or(-1);
    if number < 0 {
        return Err(sys::last_error());
    }
    // SAFETY: the call has succeeded, so this is the number of a new descriptor, which nobody else has.
    let questions = unsafe { OwnedFd::from_raw_fd(number) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let descriptors = [questions.as_fd()];
    message.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    id: u64,
    /// The thread that calls.
    pub(crate) thread: u32,
    /// The call's number.
    pub(crate) call: i64,
    /// Its arguments, as registers.
    pub(crate) arguments: [u64; 6],
}

#[cfg(test)]
impl Question {
    /// One that nobody waits for.
    pub(crate) fn new(thread: u32, call: i64, arguments: [u64; 6]) -> Self {
        Self {
            id: 0,
            thread,
            call,
            arguments,
        }
    }
}

/// The questions of one process.
#[derive(Debug)]
pub(crate) struct Questions(OwnedFd);

impl Questions {
    /// What the child has sent to the other end of `socket`.
    pub(crate) fn receive(socket: &UnixStream) -> io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut message,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let descriptors = message.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptor = descriptors.flatten().next();
        descriptor
            .map(Self)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The next question; `None`: the process has ended.
    pub(crate) fn next(&self) -> io::Result<Option<Question>> {
        loop {
            let mut events = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut events, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !events[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            // SAFETY: plain numbers, of which zeros are demanded before the call.
            let mut question = unsafe { std::mem::zeroed::<libc::seccomp_notif>() };
            // SAFETY: the descriptor is that of a filter, and the structure is the one that this request fills.
            let result = unsafe {
                libc::ioctl(
                    self.0.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_RECV,
                    &raw mut question,
                )
            };
            match if result < 0 {
                Some(io::Error::last_os_error())
            } else {
                None
            } {
                None => {
                    return Ok(Some(Question {
                        id: question.id,
                        thread: question.pid,
                        call: i64::from(question.data.nr),
                        arguments: question.data.args,
                    }));
                }
                // The caller was killed meanwhile.
                Some(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {}
                Some(error) => return Err(error),
            }
        }
    }

    /// Lets the call happen, or answers it with an errno.
    pub(crate) fn answer(&self, question: &Question, verdict: Result<(), Errno>) -> io::Result<()> {
        // SAFETY: plain numbers.
        let mut answer = unsafe { std::mem::zeroed::<libc::seccomp_notif_resp>() };
        answer.id = question.id;
        match verdict {
            Ok(()) => answer.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1),
            Err(errno) => answer.error = -errno.raw_os_error(),
        }
        // SAFETY: as above, for the request that reads this structure.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut answer,
            )
        };
        match if result < 0 {
            Some(io::Error::last_os_error())
        } else {
            None
        } {
            // The caller was killed meanwhile.
            Some(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}
