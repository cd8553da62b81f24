//! Recordings as `tests/fuzz` makes and reads them.

use std::path::Path;

use super::{Header, Recording, file};
use crate::error::Error;
use crate::spec::deadline::Deadline;

/// A recording of these blocks, each with its kind. Their checks are right, and nothing else need be.
#[must_use]
pub fn recording_of(blocks: &[(u8, &[u8])]) -> Vec<u8> {
    file::forged(blocks)
}

/// Reads a recording as a replay does; its events.
///
/// # Errors
/// It is none.
///
/// # Panics
/// Something about it does not hold.
pub fn read_recording(path: &Path) -> Result<Vec<u8>, Error> {
    let recording = Recording::open(path, &Deadline::never())?;
    let header = recording.header();
    assert_eq!(Header::decode(&header.encode()).as_ref(), Ok(header));
    assert_eq!(recording.preloads().count(), header.spec.preloads.len());
    let mut events = Vec::new();
    let written = recording.write_to(&mut events, &Deadline::never());
    assert!(written.is_ok(), "it was whole before");
    assert_eq!(u64::try_from(events.len()), Ok(recording.length()));
    Ok(events)
}
