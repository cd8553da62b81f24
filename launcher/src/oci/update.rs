//! `update` of a machine's container: engines name the guest's memory, as they do for `create`, and the container's
//! limit is that and what the monitor needs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use rustix::fs::MemfdFlags;
use serde_json::Value;

use super::calls;
use super::config::Config;
use super::monitor;
use super::mounts::cannot;
use super::refusal::{Refusal, refuse};
use super::resources;
use super::unknown;
use super::words::Call;
use crate::host::units::show_size;
use crate::spec::run::DEFAULT_MEMORY;

/// Options whose value is an amount of memory that the monitor's is added to. The first is the limit.
const MEMORY: [&str; 3] = ["--memory", "--memory-swap", "--memory-reservation"];

/// The words for the delegate.
pub(super) fn words(call: &Call, config: &Config, delegate: &Path) -> Result<Vec<OsString>, Refusal> {
    let Some(bundle) = calls::machine(call, delegate)? else {
        return Ok(call.words.clone());
    };
    let machine = monitor::request(&bundle)?.memory.unwrap_or(DEFAULT_MEMORY);
    let (before, pieces) = call.pieces();
    let mut words = before;
    for piece in pieces {
        match (piece.name.as_str(), &piece.value) {
            (name, Some(value)) if MEMORY.contains(&name) => {
                let bytes = amount(value)?;
                if name == "--memory" {
                    has_room(bytes, machine)?;
                }
                let more = i64::try_from(config.overhead_bytes()).unwrap_or(i64::MAX);
                let bytes = if bytes > 0 {
                    bytes.saturating_add(more)
                } else {
                    bytes
                };
                words.push(format!("{name}={bytes}").into());
            }
            ("--resources" | "-r", Some(value)) => {
                let path = resources(value, config, machine)?;
                words.extend(["--resources".into(), path.into()]);
            }
            _ => words.extend(piece.words),
        }
    }
    Ok(words)
}

/// Refuses a limit that is less than the machine has: the kernel would end it, much later and with no reason given.
fn has_room(limit: i64, machine: u64) -> Result<(), Refusal> {
    match u64::try_from(limit).is_ok_and(|limit| limit > 0 && limit < machine) {
        true => refuse!(
            "update: the container is a virtual machine with {} of memory, which is fixed at its start, and a limit of \
             {} has no room for it",
            show_size(machine),
            show_size(limit.unsigned_abs())
        ),
        false => Ok(()),
    }
}

/// The limits in a file, or on standard input, with the monitor's part; a file that the delegate inherits.
fn resources(given: &OsStr, config: &Config, machine: u64) -> Result<PathBuf, Refusal> {
    let path = Path::new(given);
    let mut text = Vec::new();
    let read = match given == "-" {
        true => std::io::stdin().lock().read_to_end(&mut text).map(|_| ()),
        false => File::open(path).and_then(|mut file| file.read_to_end(&mut text).map(|_| ())),
    };
    read.map_err(cannot("read the new limits from", path))?;
    let wrong = |error: serde_json::Error| Refusal::new(format!("cannot understand the new limits: {error}"));
    let mut limits: LinuxResources = serde_json::from_slice(&text).map_err(wrong)?;
    let given: Value = serde_json::from_slice(&text).map_err(wrong)?;
    let known = serde_json::to_value(&limits).map_err(wrong)?;
    if let Some(limit) = resources::memory(&mut limits, config.overhead_bytes())? {
        has_room(i64::try_from(limit).unwrap_or(i64::MAX), machine)?;
    }
    resources::tasks(&mut limits);
    let mut all = serde_json::to_value(&limits).map_err(wrong)?;
    unknown::keep(&given, &known, &mut all);
    let write = || -> std::io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create(c"limits", MemfdFlags::empty())?);
        file.write_all(all.to_string().as_bytes())?;
        Ok(file)
    };
    let file = write().map_err(|error| Refusal::new(format!("cannot write the new limits: {error}")))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // For the delegate, which this process becomes.
    let _ = file.into_raw_fd();
    Ok(path)
}

/// An amount of memory as delegates read it: bytes, or with a unit, whatever its case.
fn amount(word: &OsStr) -> Result<i64, Refusal> {
    let text = word.to_string_lossy().to_lowercase();
    let number = text.trim_end_matches('b').trim_end_matches('i');
    let (number, shift) = match number.strip_suffix(['k', 'm', 'g', 't']) {
        Some(rest) if number.ends_with('k') => (rest, 10),
        Some(rest) if number.ends_with('m') => (rest, 20),
        Some(rest) if number.ends_with('g') => (rest, 30),
        Some(rest) => (rest, 40),
        None => (number, 0),
    };
    let bytes = number.trim().parse::<i64>().ok();
    match bytes.and_then(|bytes| bytes.checked_mul(1 << shift)) {
        Some(bytes) => Ok(bytes),
        None => refuse!(
            "update: '{}' is no amount of memory: write bytes, or a whole number with k, m or g",
            boot_protocol::shown::piece(word.as_encoded_bytes())
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_of_new_limits_reaches_the_delegate() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("limits.json");
        let machine = 64 << 20;
        let given = json!({
            "memory": { "limit": machine, "later": 1 },
            "pids": { "limit": 5 },
            "future": { "of": ["limits"] },
        });
        fs::write(&file, given.to_string()).unwrap();
        let config = Config::default();
        let written = resources(file.as_os_str(), &config, machine).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(written).unwrap()).unwrap();
        let limit = machine + config.overhead_bytes();
        assert_eq!(written["memory"], json!({ "limit": limit, "later": 1 }));
        assert_eq!(written["future"], given["future"]);
        assert_eq!(written["pids"]["limit"], 69);
    }

    #[test]
    fn amounts_are_read_as_delegates_do() {
        let read = |text: &str| amount(OsStr::new(text)).map_err(|refusal| refusal.to_string());
        for (text, bytes) in [
            ("-1", -1),
            ("0", 0),
            ("1000", 1000),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("2 GiB", 2 << 30),
        ] {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "1.5g", "9999999999g", "x"] {
            assert!(read(text).unwrap_err().contains("no amount of memory"), "{text}");
        }
    }
}
