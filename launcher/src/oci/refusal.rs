//! Why a container is not made, and how whoever asked is told.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::host::json;

/// One sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(String);

impl Refusal {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A refusal, of which the sentence is a format.
macro_rules! refuse {
    ($($words:tt)*) => {
        Err($crate::oci::refusal::Refusal::new(format!($($words)*)))
    };
}
pub(super) use refuse;

/// How loud a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Warning,
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where messages go: the file of `--log`, as runc writes it; and for errors standard error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log<'a> {
    pub(super) file: Option<&'a Path>,
    pub(super) json: bool,
}

impl Log<'_> {
    /// Adds a line. Engines show the last one if a command fails.
    pub(super) fn say(&self, level: Level, message: &str) {
        let Some(path) = self.file else { return };
        let line = line(level, message, self.json, SystemTime::now());
        // In one piece: the delegate writes there, too. There is no other place to complain.
        if let Ok(mut file) = File::options().append(true).create(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}

/// A line as runc's log has it.
fn line(level: Level, message: &str, as_json: bool, now: SystemTime) -> String {
    let (level, message, time) = (level.name(), json::string(message), rfc3339(now));
    match as_json {
        true => format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n"),
        false => format!("time=\"{time}\" level={level} msg={message}\n"),
    }
}

/// The time as RFC 3339 has it, in UTC, to the second.
fn rfc3339(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days of the proleptic Gregorian calendar, of eras of 400 years that begin in March.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        era * 400 + year + next,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_as_runc_writes_them() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(
            line(Level::Error, "no \"such\" file", true, at(951_782_400)),
            "{\"level\":\"error\",\"msg\":\"no \\\"such\\\" file\",\"time\":\"2000-02-29T00:00:00Z\"}\n"
        );
        assert_eq!(
            line(Level::Warning, "x", false, at(1_767_225_599)),
            "time=\"2025-12-31T23:59:59Z\" level=warning msg=\"x\"\n"
        );
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00Z");
    }
}
