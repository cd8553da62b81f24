//! Recordings that are not replayed: of other modules, or damaged.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};

use crate::guest::{self, EXITS, TRAPS};
use crate::{Case, Test, equal, said};

pub(crate) const TESTS: &[Test] = &[
    ("other-module", other_module),
    ("other-preload", other_preload),
    ("damaged", damaged),
    ("cut", cut),
];

/// It was refused before anything ran, with this in the message.
fn is_refused(replayed: &Output, why: &str) -> Result<()> {
    let said = said(replayed);
    ensure!(
        replayed.status.code() == Some(126),
        "{:?}: {said}",
        replayed.status
    );
    ensure!(said.contains(why) && replayed.stdout.is_empty(), "{said}");
    Ok(())
}

fn other_module(case: &Case) -> Result<()> {
    case.record_guest(EXITS, &[])?.output()?;
    case.module("guest.wat", &guest::reads_and(TRAPS))?;
    is_refused(&case.replay(&[])?, "is not what was recorded as the program")
}

fn other_preload(case: &Case) -> Result<()> {
    let module = case.module("guest.wat", guest::IMPORTS)?;
    let library = case.module("library.wat", guest::LIBRARY)?;
    let flag = |path: &Path| format!("library={}", path.display());
    case.record(&["--preload", &flag(&library)], &module, &[])?
        .output()?;
    let refused = case.replay(&["--preload", &flag(&module)])?;
    is_refused(&refused, "is not what was recorded as the preload 'library'")
}

fn damaged(case: &Case) -> Result<()> {
    case.record_guest(EXITS, &[])?.output()?;
    let path = case.path("recording");
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the recording is empty")? ^= 1;
    fs::write(&path, bytes)?;
    is_refused(&case.replay(&[])?, "damaged")
}

/// A recording that lost its end replays as far as it reaches; one that lost its beginning does not.
fn cut(case: &Case) -> Result<()> {
    let recorded = case.record_guest(EXITS, &[])?.output()?;
    let path = case.path("recording");
    let bytes = fs::read(&path)?;
    fs::write(
        &path,
        bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default(),
    )?;
    let replayed = case.replay(&[])?;
    // The guest's exit was before: only how the run ended is lost.
    equal(&recorded, &replayed, 7)?;
    let said = said(&replayed);
    ensure!(said.contains("is cut off"), "{said}");
    fs::write(&path, bytes.get(..50).unwrap_or_default())?;
    is_refused(&case.replay(&[])?, "it ends before it says what was recorded")
}
