//! EXIT's content: the run's exit code, whose it is, and which limit the guest met.
//!
//! Layer: wire format. The guest chooses its exit code and what it prints; it does not choose the rest of this.
//!
//! ```text
//! 0  exit code
//! 1  cause: 0 guest, 1 trap, 2 refused, 3 failed, …
//! 2  bit 0: the guest was refused memory
//! 3  of cause 7 alone: the limit's number
//! 4  of cause 7 alone: the limit's value, u64, little-endian
//! ```
//!
//! Images before this had the code alone, which is still read.

use crate::exit_code;
use crate::run_spec::{Limit, Reached};

/// Who or what ended a run inside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// The guest: it returned from `_start`, or called `proc_exit`. The code is its own.
    Guest = 0,
    /// A trap.
    Trap = 1,
    /// The application, which did not begin to run the guest.
    Refused = 2,
    /// The application, which could not go on.
    Failed = 3,
    /// The application, which cannot load native code: it is of another version, or made for another processor. Nothing of
    /// the guest has run, and the module itself can still be interpreted.
    CodeRefused = 4,
    /// The application, which has no room for native code and the memories that it declares. The interpreter may have.
    CodeDoesNotFit = 5,
    /// The interpreter, which lacks a proposal that the module needs. Native code may have it.
    ProposalMissing = 6,
    /// The guest has reached a limit, and the machine has ended it for that.
    Limit = 7,
    /// The application, which replays a guest: it does something else than it had done when it was recorded.
    Diverged = 8,
    /// The application, which replays a guest: the recording ends before the guest does.
    RecordingOver = 9,
}

impl Cause {
    /// All of them, by their bytes.
    const ALL: [Self; 10] = [
        Self::Guest,
        Self::Trap,
        Self::Refused,
        Self::Failed,
        Self::CodeRefused,
        Self::CodeDoesNotFit,
        Self::ProposalMissing,
        Self::Limit,
        Self::Diverged,
        Self::RecordingOver,
    ];

    const fn byte(self) -> u8 {
        // The discriminants are the wire values.
        self as u8
    }

    /// Whether a run that ends so has this code.
    fn fits(self, code: u8) -> bool {
        match self {
            Self::Guest => true,
            Self::Trap => code == exit_code::TRAP,
            Self::Refused => matches!(
                code,
                exit_code::USAGE | exit_code::MODULE_REFUSED | exit_code::MODULE_NOT_FOUND
            ),
            Self::Failed => code == exit_code::VM_FAILED,
            Self::Diverged => code == exit_code::DIVERGED,
            Self::RecordingOver => code == exit_code::RECORDING_OVER,
            Self::CodeRefused | Self::CodeDoesNotFit | Self::ProposalMissing => {
                code == exit_code::MODULE_REFUSED
            }
            Self::Limit => Limit::ALL
                .into_iter()
                .any(|limit| exit_code::of_limit(limit) == code),
        }
    }
}

/// What EXIT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The run's exit code.
    pub code: u8,
    /// Cause and limits, as they stand there; `None`: an old image's.
    how: Option<[u8; 2]>,
    /// The limit that was reached, if that is the cause.
    reached: Option<Reached>,
}

/// Length of the content.
pub(super) const LENGTH: usize = 3;

/// Length of the content where a limit was reached.
pub(super) const LIMIT_LENGTH: usize = 12;

/// Length of the content in old images: the code.
pub(super) const OLD_LENGTH: usize = 1;

/// The bit of a guest that was refused memory.
const MEMORY: u8 = 1;

impl Ending {
    /// The end of a run by `cause`.
    #[must_use]
    pub const fn new(cause: Cause, code: u8) -> Self {
        Self {
            code,
            how: Some([cause.byte(), 0]),
            reached: None,
        }
    }

    /// The end of a guest that has reached a limit, with the limit's code.
    #[must_use]
    pub const fn of_limit(reached: Reached) -> Self {
        Self {
            code: exit_code::of_limit(reached.limit),
            how: Some([Cause::Limit.byte(), 0]),
            reached: Some(reached),
        }
    }

    /// The end of a run in an old image.
    #[must_use]
    pub const fn old(code: u8) -> Self {
        Self {
            code,
            how: None,
            reached: None,
        }
    }

    /// The same; `refused`: the guest, or the application for it, was refused memory that the machine did not have.
    #[must_use]
    pub const fn with_memory_refused(self, refused: bool) -> Self {
        match self.how {
            Some([cause, _]) if refused => Self {
                how: Some([cause, MEMORY]),
                ..self
            },
            _ => self,
        }
    }

    /// Whose the code is; `None`: an old image's, or a machine's that contradicts itself.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        let [byte, _] = self.how?;
        let mut known = Cause::ALL.into_iter();
        known.find(|cause| cause.byte() == byte && cause.fits(self.code) && self.is_consistent(*cause))
    }

    /// Whether there is a limit where the cause is one, with its own code.
    fn is_consistent(self, cause: Cause) -> bool {
        let code = self.reached.map(|reached| exit_code::of_limit(reached.limit));
        code == (cause == Cause::Limit).then_some(self.code)
    }

    /// The limit that has ended the guest, if one has.
    #[must_use]
    pub fn reached(self) -> Option<Reached> {
        self.reached.filter(|_| self.cause() == Some(Cause::Limit))
    }

    /// Whether the guest, or the application for it, was refused memory that the machine did not have.
    #[must_use]
    pub fn memory_refused(self) -> bool {
        self.how.is_some_and(|[_, limits]| limits & MEMORY != 0)
    }

    /// The content of EXIT: the beginning of an array, and its length.
    #[must_use]
    pub fn to_bytes(self) -> ([u8; LIMIT_LENGTH], usize) {
        let [cause, limits] = self.how.unwrap_or_default();
        let mut bytes = [self.code, cause, limits, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let length = match (self.how, self.reached) {
            (Some(_), Some(Reached { limit, value })) => {
                let [_, _, _, number, rest @ ..] = &mut bytes;
                // The discriminants are the numbers.
                *number = limit as u8;
                *rest = value.to_le_bytes();
                LIMIT_LENGTH
            }
            (Some(_), None) => LENGTH,
            (None, _) => OLD_LENGTH,
        };
        (bytes, length)
    }

    /// What EXIT's content says; `None` if it has no length of EXIT's.
    pub(super) fn from_bytes(payload: &[u8]) -> Option<Self> {
        match *payload {
            [code] => Some(Self::old(code)),
            [code, cause, limits] => Some(Self {
                code,
                how: Some([cause, limits]),
                reached: None,
            }),
            [code, cause, limits, number, ref value @ ..] => Some(Self {
                code,
                how: Some([cause, limits]),
                // A limit that nobody knows makes the whole a contradiction.
                reached: match (
                    Limit::from_number(number),
                    u64::from_le_bytes(value.try_into().ok()?),
                ) {
                    (Some(limit), value) => Some(limit.of(value)),
                    (None, _) => None,
                },
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_read_back() {
        for cause in Cause::ALL {
            for code in 0..=255 {
                for refused in [false, true] {
                    let ending = Ending::new(cause, code).with_memory_refused(refused);
                    let (bytes, length) = ending.to_bytes();
                    let read = Ending::from_bytes(&bytes[..length]).unwrap();
                    assert_eq!(read, ending);
                    // A trap has one code, and so on: what contradicts itself has no cause.
                    let known = cause.fits(code) && cause != Cause::Limit;
                    assert_eq!(read.cause(), known.then_some(cause));
                    assert_eq!((read.code, read.memory_refused()), (code, refused));
                }
            }
        }
        assert!(Cause::Trap.fits(134) && !Cause::Trap.fits(0));
        assert!(Cause::Refused.fits(126) && !Cause::Refused.fits(125));
        assert!(Cause::CodeRefused.fits(126) && !Cause::CodeRefused.fits(127));
        assert!(Cause::CodeDoesNotFit.fits(126) && !Cause::CodeDoesNotFit.fits(125));
        assert!(Cause::ProposalMissing.fits(126) && !Cause::ProposalMissing.fits(2));
        assert!(Cause::Failed.fits(125) && !Cause::Failed.fits(126));
    }

    #[test]
    fn bytes_on_the_wire() {
        let trap = Ending::new(Cause::Trap, 134).with_memory_refused(true);
        let bytes = |ending: Ending| {
            let (bytes, length) = ending.to_bytes();
            bytes[..length].to_vec()
        };
        assert_eq!(bytes(trap), [134, 1, 1]);
        assert_eq!(bytes(Ending::new(Cause::Guest, 134)), [134, 0, 0]);
        assert_eq!(bytes(Ending::old(134)), [134]);
        let limit = Ending::of_limit(Limit::Deadline.of(0x0102));
        assert_eq!(bytes(limit), [242, 7, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_limit_is_read_back_with_its_value() {
        for limit in Limit::ALL {
            for value in [0, 1, u64::MAX] {
                let ending = Ending::of_limit(limit.of(value));
                let (bytes, length) = ending.to_bytes();
                let read = Ending::from_bytes(&bytes[..length]).unwrap();
                assert_eq!(
                    (read, read.cause(), read.reached()),
                    (ending, Some(Cause::Limit), Some(limit.of(value)))
                );
            }
        }
        // Another limit's code, a limit beside another cause, no limit of that number.
        for bytes in [[241, 7, 0, 1], [134, 1, 0, 0], [249, 7, 0, 8]] {
            let mut long = [0; LIMIT_LENGTH];
            long[..4].copy_from_slice(&bytes);
            let ending = Ending::from_bytes(&long).unwrap();
            assert_eq!((ending.cause(), ending.reached()), (None, None));
        }
    }

    #[test]
    fn old_images_say_the_code_only() {
        let old = Ending::from_bytes(&[134]).unwrap();
        assert_eq!((old.code, old.cause(), old.memory_refused()), (134, None, false));
        assert_eq!(old.with_memory_refused(true), old);
        // What a later image may add is not understood, and nothing is made of it.
        assert_eq!(Ending::from_bytes(&[7, 200, 0xfe]).unwrap().cause(), None);
        for length in [0, 2, 4, 11, 13] {
            assert_eq!(Ending::from_bytes(&[0; 13][..length]), None);
        }
    }
}
