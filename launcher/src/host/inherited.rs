//! Descriptors that whoever started this program has left open for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};

/// A copy of the descriptor `number`, which must be open for writing. From now on no child inherits either of them.
///
/// # Errors
/// It is not open, or not for writing.
pub fn writable(number: u16) -> io::Result<OwnedFd> {
    let copy = any(RawFd::from(number))?;
    let access = rustix::fs::fcntl_getfl(copy.as_fd())? & OFlags::ACCMODE;
    match access == OFlags::RDONLY {
        true => Err(Errno::BADF.into()),
        false => Ok(copy),
    }
}

/// A copy of the descriptor `number`. From now on no child inherits either of them.
///
/// # Errors
/// It is not open.
pub(crate) fn any(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the number is not -1. It is borrowed within this function, of which no call closes it. That it is open is
    // no precondition here: each of these calls reports a number that is not, and reads no memory through it.
    let left_open = unsafe { BorrowedFd::borrow_raw(number) };
    let copy = rustix::io::fcntl_dupfd_cloexec(left_open, 3)?;
    rustix::io::fcntl_setfd(left_open, FdFlags::CLOEXEC)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;

    #[test]
    fn what_is_open_for_writing_is_copied() {
        let (mut reader, writer) = io::pipe().unwrap();
        let number = u16::try_from(writer.as_raw_fd()).unwrap();
        let mut copy = File::from(writable(number).unwrap());
        copy.write_all(b"x").unwrap();
        drop((copy, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn nothing_else_is() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(writable(u16::try_from(reader.as_raw_fd()).unwrap()).is_err());
        assert!(writable(u16::MAX).is_err());
        assert!(any(-1).is_err());
    }
}
