//! Answers the kernel's questions about a daemon's system calls: which may be made.
//!
//! Two kinds are asked about: those by which a directory with a [`Quota`] grows, and `openat2`, whose flags and mode
//! lie in memory. The machine can write nothing into that memory; between the look and the call it stays what it was.
//!
//! Layer: a thread a daemon; reads the daemon's memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::thread;

use rustix::io::Errno;

use super::filter;
use super::quota::{self, Quota};
use crate::jail::ask::{Question, Questions};

/// What one daemon may do.
#[derive(Debug)]
pub(super) struct Keeper {
    /// By how much its directory may grow.
    pub(super) quota: Option<Quota>,
}

impl Keeper {
    /// Answers until the daemon's end, in a thread of its own. Without answers, its calls fail.
    pub(super) fn watch(mut self, questions: Questions) -> io::Result<()> {
        thread::Builder::new().name("keeper".to_string()).spawn(move || {
            while let Ok(Some(question)) = questions.next() {
                let verdict = self.judge(&question);
                if questions.answer(&question, verdict).is_err() {
                    break;
                }
            }
        })?;
        Ok(())
    }

    fn judge(&mut self, question: &Question) -> Result<(), Errno> {
        let flags = match question.call {
            libc::SYS_openat => Some(question.arguments[2]),
            libc::SYS_openat2 => Some(checked_flags(question)?),
            _ => None,
        };
        match &mut self.quota {
            Some(quota) => quota.judge(question, flags),
            None => Ok(()),
        }
    }
}

/// The flags of `openat2`.
///
/// **Errors**: EPERM for a mode that no new file may have, and where the daemon's memory cannot be read.
fn checked_flags(question: &Question) -> Result<u64, Errno> {
    // The beginning of `struct open_how`: flags and mode, 64 bits each.
    let mut how = [0; 16];
    let read = File::open(format!("/proc/{}/mem", question.thread))
        .and_then(|memory| memory.read_exact_at(&mut how, question.arguments[2]));
    let (Ok(()), Some((flags, mode))) = (read, how.split_first_chunk()) else {
        return Err(Errno::PERM);
    };
    let flags = u64::from_ne_bytes(*flags);
    let mode = mode
        .first_chunk()
        .map_or(u64::MAX, |mode| u64::from_ne_bytes(*mode));
    match quota::creates(flags) && mode & (filter::SETUID | filter::SETGID) != 0 {
        true => Err(Errno::PERM),
        false => Ok(flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_openat2_is_looked_at() {
        let create = u64::from(libc::O_CREAT.cast_unsigned());
        for (how, verdict) in [
            ([create, 0o644, 0], Ok(create)),
            ([create, 0o4755, 0], Err(Errno::PERM)),
            ([create, 0o2755, 0], Err(Errno::PERM)),
            // It makes nothing.
            ([0, 0o4755, 0], Ok(0)),
        ] {
            let place = u64::try_from(how.as_ptr().expose_provenance()).unwrap();
            let question = Question::new(std::process::id(), libc::SYS_openat2, [0, 0, place, 24, 0, 0]);
            assert_eq!(checked_flags(&question), verdict, "{how:?}");
        }
        // What cannot be read is refused.
        let nowhere = Question::new(std::process::id(), libc::SYS_openat2, [0, 0, 8, 24, 0, 0]);
        assert_eq!(checked_flags(&nowhere), Err(Errno::PERM));
    }
}
