//! A host of its own for a test: a network namespace, in which the test program starts itself once more. Root's rights
//! or user namespaces are needed.
//!
//! Layer: host tests.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The argument by which a program knows that it is in the namespace.
const INSIDE: &str = "--on-a-host-of-its-own";

/// How such a host is had: `unshare`'s flags.
pub type Way = &'static [&'static str];

/// As root, and as who has user namespaces.
const WAYS: [Way; 2] = [&["--net"], &["--net", "--user", "--map-root-user"]];

/// A command for a host of its own.
fn unshared(way: Way, program: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).arg(program).stdin(Stdio::null());
    command
}

/// How a host can be had here on which the shell script `make` ends well.
///
/// # Errors
/// Why that is not possible.
pub fn way(make: &str) -> Result<Way, String> {
    let mut reasons = Vec::new();
    for way in WAYS {
        match unshared(way, OsStr::new("sh")).args(["-c", make]).output() {
            Err(error) => reasons.push(format!("unshare: {error}")),
            Ok(output) if output.status.success() => return Ok(way),
            Ok(output) => reasons.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }
    Err(reasons.join("; "))
}

/// Starts this program there, with these words for [`words`]; prints what it says.
///
/// # Errors
/// If it cannot be started or does not end well, with what it said.
pub fn start(way: Way, words: &[&OsStr]) -> Result<()> {
    let output = unshared(way, std::env::current_exe()?.as_os_str())
        .arg(INSIDE)
        .args(words)
        .output()
        .context("cannot start unshare")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{said}");
    print!("{said}");
    Ok(())
}

/// The words from [`start`], if this program is in such a namespace.
#[must_use]
pub fn words() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == INSIDE).then(|| words.collect())
}

/// Makes the host what it is to be, by a shell script: links, addresses, routes.
///
/// # Errors
/// If the script fails.
pub fn make(script: &str) -> Result<()> {
    let made = Command::new("sh").args(["-c", script]).status()?;
    ensure!(made.success(), "cannot make the host: {made}");
    Ok(())
}
