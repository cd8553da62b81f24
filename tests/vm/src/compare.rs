//! Says readably how two outputs differ.
//!
//! Layer: host tests; pure.

use std::fmt::Write as _;

/// Most lines or bytes of an output that a report shows.
const SHOWN_LINES: usize = 40;
/// How many bytes around a difference a report shows.
const AROUND: usize = 24;

/// How `got` differs from `expected`, if it does: by lines if both are text, else by bytes.
#[must_use]
pub fn exactly(expected: &[u8], got: &[u8]) -> Option<String> {
    if expected == got {
        return None;
    }
    let sizes = format!("{} bytes instead of {}", got.len(), expected.len());
    Some(match (text(expected), text(got)) {
        (Some(expected), Some(got)) => format!("differs ({sizes}):\n{}", lines(expected, got)),
        _ => format!("differs ({sizes}):\n{}", bytes(expected, got)),
    })
}

/// An output for people: text as it is, other bytes escaped, the middle left out if it is long.
#[must_use]
pub fn show(output: &[u8]) -> String {
    if output.is_empty() {
        return "    (empty)\n".into();
    }
    let escaped: Vec<String> = output
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.escape_ascii().to_string())
        .collect();
    let mut shown = String::new();
    for line in escaped.iter().take(SHOWN_LINES) {
        let _ = writeln!(shown, "    {line}");
    }
    if escaped.len() > SHOWN_LINES {
        let _ = writeln!(shown, "    ... and {} more lines", escaped.len() - SHOWN_LINES);
    }
    shown
}

/// Text that can be shown by lines.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'))
}

/// A difference by lines: what is equal at both ends is left out but for one line.
fn lines(expected: &str, got: &str) -> String {
    let expected: Vec<&str> = expected.split_inclusive('\n').collect();
    let got: Vec<&str> = got.split_inclusive('\n').collect();
    let same = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let tail = expected
        .iter()
        .skip(same)
        .rev()
        .zip(got.iter().skip(same).rev())
        .take_while(|(a, b)| a == b)
        .count();
    let mut report = String::new();
    let _ = writeln!(report, "    from line {}:", same + 1);
    if let Some(before) = same.checked_sub(1).and_then(|last| got.get(last)) {
        let _ = writeln!(report, "      {}", before.escape_debug());
    }
    for (sign, all) in [('-', &expected), ('+', &got)] {
        let changed = all.get(same..all.len() - tail).unwrap_or_default();
        for line in changed.iter().take(SHOWN_LINES) {
            let _ = writeln!(report, "    {sign} {}", line.escape_debug());
        }
        if changed.len() > SHOWN_LINES {
            let _ = writeln!(
                report,
                "    {sign} ... and {} more lines",
                changed.len() - SHOWN_LINES
            );
        }
    }
    report
}

/// A difference by bytes: the first one and what is around it.
fn bytes(expected: &[u8], got: &[u8]) -> String {
    let at = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let window = |all: &[u8]| {
        let start = at.saturating_sub(AROUND / 2).min(all.len());
        let end = (at + AROUND / 2).min(all.len());
        all.get(start..end)
            .unwrap_or_default()
            .iter()
            .fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x} ");
                hex
            })
    };
    format!(
        "    first at byte {at}:\n    - {}\n    + {}\n",
        window(expected),
        window(got)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_no_difference() {
        assert_eq!(exactly(b"a\n", b"a\n"), None);
        assert_eq!(exactly(b"", b""), None);
    }

    #[test]
    fn text_differs_by_lines() {
        let report = exactly(b"one\ntwo\nthree\n", b"one\n2\nthree\n").unwrap();
        assert!(report.contains("from line 2"), "{report}");
        assert!(
            report.contains("- two\\n") && report.contains("+ 2\\n") && !report.contains("three"),
            "{report}"
        );
    }

    #[test]
    fn a_missing_line_end_shows() {
        let report = exactly(b"end\n", b"end").unwrap();
        assert!(
            report.contains("- end\\n") && report.contains("+ end\n"),
            "{report}"
        );
    }

    #[test]
    fn binary_differs_by_bytes() {
        let report = exactly(b"\x00\x01\xff", b"\x00\x01").unwrap();
        assert!(
            report.contains("first at byte 2") && report.contains("- 00 01 ff") && report.contains("+ 00 01"),
            "{report}"
        );
    }

    #[test]
    fn long_output_is_cut() {
        assert!(show(&b"x\n".repeat(1000)).contains("960 more lines"));
    }
}
