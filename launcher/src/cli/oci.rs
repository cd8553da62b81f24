//! The command by which container engines call: `hermit-wasm oci`, and the program itself where it is called
//! `hermit-oci`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use hermit_wasm_vm::oci::{self, Inside};
use hermit_wasm_vm::{Deadline, Diagnostics, Error};

use crate::{stderr, watchdog};

/// The exit code of a runtime that fails, whatever the reason.
const FAILED: u8 = 1;

/// The words for an OCI runtime, if this program was called as one.
pub(super) fn words_of(line: &[OsString]) -> Option<Vec<OsString>> {
    let (program, words) = line.split_first()?;
    (Path::new(program).file_name()? == oci::NAME).then(|| words.to_vec())
}

/// Does what an engine asks for; the exit code.
pub(super) fn perform(words: Vec<OsString>, start: Instant) -> Result<u8, Error> {
    if oci::is_inside(&words) {
        return inside(start);
    }
    match oci::perform(words) {
        Ok(Some(text)) => super::print_exactly(&text),
        Ok(None) => Ok(0),
        Err(sentence) => {
            stderr::say(&sentence);
            Ok(FAILED)
        }
    }
}

/// Runs what a container was made for.
fn inside(start: Instant) -> Result<u8, Error> {
    let inside = Inside::read()?;
    let deadline = Deadline::since(start, inside.timeout());
    stderr::init_log(inside.verbose(), false, deadline.at());
    let result = watchdog::watch(deadline, |deadline| {
        inside
            .run(deadline)?
            .deadline(deadline.clone())
            .diagnostics(Diagnostics::Stderr)
            .show_machine(inside.verbose() > 0)
            .run()
    });
    let result = result.inspect_err(|error| {
        translate(&error.to_string());
        translate(error.transcript());
    })?;
    stderr::show(&result.transcript);
    translate(&result.transcript);
    Ok(result.status.code())
}

/// Says what stands for a flag that a message names: whoever reads it has given none.
fn translate(message: &str) {
    if message.contains("--memory") {
        stderr::say(
            "of a container, the memory limit is --memory, and without one the annotation org.hermit-wasm.memory",
        );
    }
}
