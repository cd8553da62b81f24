//! What ends a run without the guest's own exit code: a message for standard error, and how to exit.

use boot_protocol::exit_code;

/// A failure of the launcher, with its message and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What to exit with; one of [`boot_protocol::exit_code`].
    pub(crate) code: u8,
    /// What was attempted, on what, why it failed and what to do; without a line break at the end.
    pub(crate) message: String,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: exit_code::USAGE,
            message: message.into(),
        }
    }

    /// The machine failed.
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self {
            code: exit_code::VM_FAILED,
            message: message.into(),
        }
    }

    /// The module is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self {
            code: exit_code::MODULE_NOT_FOUND,
            message: message.into(),
        }
    }

    /// The module is there and cannot be run.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self {
            code: exit_code::MODULE_REFUSED,
            message: message.into(),
        }
    }
}
