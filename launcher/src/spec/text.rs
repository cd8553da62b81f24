//! WebAssembly's text format, translated in a child that only computes: a text of a few megabytes can make the
//! translator take gigabytes, and minutes.

use std::path::Path;

use boot_protocol::shown::{self, Layout};

use super::deadline::Deadline;
use super::module::{ModuleError, TextError};
use crate::error::Error;
use crate::host::units::MIB;
use crate::jail::worker::{self, Budget, Failure};

/// What the translator may take besides the machine's memory, in which the machine does not run yet. A whole run keeps
/// within 100 MB more than that; the launcher itself has its part.
const HEADROOM: u64 = 64 * MIB;

/// A binary is hardly ever longer than its text.
const LONGER: u64 = MIB;

/// Lines of a message, and bytes of each. The translator quotes whole lines of the source, which may be one of
/// megabytes.
const LINES: usize = 8;
const LONGEST: usize = 600;

/// The longest text that is worth reading for a machine of `memory` bytes: the tree that is made of it is larger.
pub(super) fn longest(memory: u64) -> u64 {
    memory.saturating_add(HEADROOM) / 4
}

/// Turns the text form into the binary form, with no more memory than a run in a machine of `memory` bytes may take.
pub(super) fn translate(
    path: &Path,
    bytes: &[u8],
    memory: u64,
    deadline: &Deadline,
) -> Result<Vec<u8>, Error> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    // The text itself and the answer are in memory too.
    let budget = Budget {
        memory: memory
            .saturating_add(HEADROOM)
            .saturating_sub(length.saturating_mul(2)),
        answer: length.saturating_add(LONGER),
    };
    let reason = match worker::compute(budget, deadline, || parse(path, bytes)) {
        Ok(Ok(binary)) => return Ok(binary),
        Ok(Err(text)) => TextError::Invalid(text),
        Err(Failure::Over(error)) => return Err(error),
        Err(Failure::Memory | Failure::TooLong) => return Err(too_large(path, length, memory).into()),
        Err(Failure::Crashed(how)) => TextError::Untranslatable(how),
        Err(Failure::Unable(why)) => TextError::NoTranslator(why),
    };
    let path = path.into();
    Err(ModuleError::Text { path, reason }.into())
}

/// The error of a text that takes too much.
pub(super) fn too_large(path: &Path, length: u64, memory: u64) -> ModuleError {
    ModuleError::Text {
        path: path.into(),
        reason: TextError::TooLarge { length, memory },
    }
}

/// The translation itself.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("the byte at offset {} is not UTF-8", error.valid_up_to()))?;
    wat::parse_str(text).map_err(|mut error| {
        error.set_path(path);
        let message = error.to_string();
        let lines = message
            .lines()
            .map(|line| shown::bounded(line.as_bytes(), Layout::Line, LONGEST));
        lines.take(LINES).collect::<Vec<_>>().join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many functions, of nothing else.
    fn functions(number: usize) -> Vec<u8> {
        format!("(module {})", "(func)".repeat(number)).into_bytes()
    }

    fn translated(text: &[u8], memory: u64) -> Result<Vec<u8>, Error> {
        translate(Path::new("m.wat"), text, memory, &Deadline::never())
    }

    /// What a text may take follows from --memory: this one takes some 75 times its size.
    #[test]
    fn a_text_that_takes_too_much_memory_is_refused() {
        let text = functions(400_000);
        let error = translated(&text, 4 * MIB).unwrap_err();
        assert_eq!(error.exit_code(), boot_protocol::exit_code::MODULE_REFUSED);
        let message = error.to_string();
        for part in ["'m.wat'", "2.2 MiB", "--memory", "wat2wasm"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(translated(&text, 512 * MIB).unwrap().starts_with(b"\0asm"));
    }

    #[test]
    fn a_translation_ends_with_the_run() {
        let text = functions(400_000);
        let error = translate(Path::new("m.wat"), &text, 512 * MIB, &Deadline::passed()).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    }

    #[test]
    fn messages_are_short_whatever_the_text() {
        let line = "(func)".repeat(100_000);
        let name = "n".repeat(1_000_000);
        for text in [
            format!("(module {line} (func (nonsense)) {line})"),
            format!("(module (func (nonsense)) {line})"),
            format!("(module (func (call ${name})))"),
            format!("(module (func ({name})))"),
        ] {
            let message = translated(text.as_bytes(), 256 * MIB).unwrap_err().to_string();
            assert!(message.len() < 8000, "{} bytes", message.len());
            assert!(message.contains("m.wat:1:"), "{message}");
        }
    }
}
