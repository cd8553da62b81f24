//! The exit codes of `hermit-wasm run`. Layer: shared vocabulary; in prose in `docs/exit-codes.md`.
//!
//! A guest's own code, 0 to 255, is passed on as it is and so may coincide with one of these; whoever must tell
//! them apart looks at standard error, where each of these comes with a message.

use crate::run_spec::Limit;

/// The guest ended well: it returned from `_start` or called `proc_exit(0)`.
pub const SUCCESS: u8 = 0;

/// The guest called `proc_exit` with a code above 255, which no exit status of the host can hold.
pub const OUT_OF_RANGE: u8 = 1;

/// The launcher's command line is wrong: an unknown flag, a size that is no size.
pub const USAGE: u8 = 2;

/// `--timeout` ran out and the launcher ended the virtual machine (the code that coreutils' `timeout` uses).
pub const TIMEOUT: u8 = 124;

/// The machine, not the guest, failed: QEMU is missing or failed, KVM was asked for and does not work, the virtual
/// machine ran out of memory or ended without saying how the guest ended, the output could not be written.
pub const VM_FAILED: u8 = 125;

/// The module was found but cannot be run: not WebAssembly, truncated, a component, a proposal or an import that is
/// not provided, no `_start`, more memory than the virtual machine has (the code shells use for "not executable").
pub const MODULE_REFUSED: u8 = 126;

/// The module was not found or cannot be read (the code that shells use for "command not found").
pub const MODULE_NOT_FOUND: u8 = 127;

/// The guest trapped: 128 + 6, as after `abort`, which is what wasmtime exits with too.
pub const TRAP: u8 = 134;

/// A replayed guest did something else than it had done when it was recorded.
pub const DIVERGED: u8 = 249;

/// A recording ends before its guest does: the recorded run was cut off there.
pub const RECORDING_OVER: u8 = 250;

/// Standard output or standard error was closed by its reader: 128 + 13, as after a SIGPIPE.
pub const OUTPUT_CLOSED: u8 = 141;

/// The code of a guest that has reached its first limit, fuel; the other limits' follow, up to 248. No shell and no
/// `sysexits.h` uses them.
const FIRST_LIMIT: u8 = 241;

/// The code of a guest that has reached this limit.
///
/// ```
/// use boot_protocol::{exit_code::of_limit, run_spec::Limit};
/// assert_eq!(of_limit(Limit::Fuel), 241);
/// assert_eq!(of_limit(Limit::Deadline), 242);
/// assert_eq!(of_limit(Limit::OutputBytes), 248);
/// ```
#[must_use]
pub const fn of_limit(limit: Limit) -> u8 {
    // The discriminants are the numbers, of which there are eight.
    FIRST_LIMIT.saturating_add(limit as u8)
}

/// The code of a run that a signal ended, as shells report it: 128 + the signal's number.
///
/// ```
/// assert_eq!(boot_protocol::exit_code::from_signal(2), 130); // Ctrl-C
/// assert_eq!(boot_protocol::exit_code::from_signal(15), 143); // SIGTERM
/// ```
#[must_use]
pub const fn from_signal(signal: u8) -> u8 {
    128u8.saturating_add(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_distinct() {
        let mut codes = std::vec![
            SUCCESS,
            OUT_OF_RANGE,
            USAGE,
            TIMEOUT,
            VM_FAILED,
            MODULE_REFUSED,
            MODULE_NOT_FOUND,
            TRAP,
            OUTPUT_CLOSED,
            DIVERGED,
            RECORDING_OVER,
        ];
        codes.extend(Limit::ALL.map(of_limit));
        for (index, code) in codes.iter().enumerate() {
            assert!(
                !codes.iter().skip(index + 1).any(|other| other == code),
                "{code} is used twice"
            );
        }
    }

    #[test]
    fn signals_follow_the_shells() {
        assert_eq!(from_signal(6), TRAP);
        assert_eq!(from_signal(13), OUTPUT_CLOSED);
        assert_eq!(from_signal(255), 255);
    }
}
