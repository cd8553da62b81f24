//! What the machine and its hypervisor print that is not the guest's: kept for the case that something goes wrong, or
//! shown as it comes.

use boot_protocol::shown::{self, Layout};

/// How much is kept: the end, where the reason of a failure stands.
const KEPT: usize = 64 * 1024;

/// Longest line before it is shown without its end.
const LONGEST_LINE: usize = 4096;

/// Text that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// Stands before each line that is shown.
    prefix: String,
    /// Whether lines are shown as they come.
    live: bool,
    /// The last of what has come.
    kept: Vec<u8>,
    /// Whether something was forgotten.
    shortened: bool,
    /// A line that has not ended, when live.
    line: Vec<u8>,
}

impl Transcript {
    /// An empty one.
    pub(crate) fn new(name: &str, live: bool) -> Self {
        Self {
            prefix: format!("[{name}] "),
            live,
            kept: Vec::new(),
            shortened: false,
            line: Vec::new(),
        }
    }

    /// Takes text; returns what is to be shown of it now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * KEPT {
            self.kept.drain(..self.kept.len() - KEPT);
            self.shortened = true;
        }
        let mut shown = Vec::new();
        if self.live {
            for byte in bytes {
                if *byte != b'\n' {
                    self.line.push(*byte);
                }
                if *byte == b'\n' || self.line.len() >= LONGEST_LINE {
                    show_line(&self.prefix, &self.line, &mut shown);
                    self.line.clear();
                }
            }
        }
        shown
    }

    /// Bytes that are kept.
    #[cfg(feature = "fuzzing")]
    pub(super) fn retained(&self) -> usize {
        self.kept.capacity().saturating_add(self.line.capacity())
    }

    /// All that has come, or its end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    /// The first line that says something, as it can be shown.
    pub(crate) fn first_line(&self) -> Option<String> {
        let text = self.text();
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| !line.is_empty()).map(shown::piece)
    }

    /// All that has come, if that is one line and has not been shown: short enough to be part of a message.
    pub(crate) fn only_line(&self) -> Option<String> {
        if self.live {
            return None;
        }
        let mut shown = Vec::new();
        for line in self.kept.split(|byte| *byte == b'\n') {
            show_line("", line, &mut shown);
        }
        let text = String::from_utf8(shown).ok()?;
        let line = text.strip_suffix('\n')?;
        (!line.contains('\n')).then(|| line.to_string())
    }

    /// What is to be shown at the end of a run: the line that has not ended, if the others were shown as they came;
    /// else, if the run failed, everything.
    pub(crate) fn finish(&mut self, failed: bool) -> Vec<u8> {
        let mut shown = Vec::new();
        if self.live {
            show_line(&self.prefix, &self.line, &mut shown);
            self.line.clear();
        } else if failed {
            if self.shortened {
                shown.extend_from_slice(self.prefix.as_bytes());
                shown.extend_from_slice(b"[...]\n");
            }
            for line in self.kept.split(|byte| *byte == b'\n') {
                show_line(&self.prefix, line, &mut shown);
            }
        }
        shown
    }
}

/// Appends a line with its prefix, without what a terminal would obey. Lines with nothing to see are left out.
fn show_line(prefix: &str, line: &[u8], shown: &mut Vec<u8>) {
    let clean = shown::bounded(&without_colours(line), Layout::Line, LONGEST_LINE);
    if !clean.is_empty() {
        shown.extend_from_slice(prefix.as_bytes());
        shown.extend_from_slice(clean.as_bytes());
        shown.push(b'\n');
    }
}

/// The line without colours (`ESC [ … m`), with a space for each tab, and without white space at its end. Logs have all
/// these, and nobody misses them; other control sequences are shown for what they are.
fn without_colours(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == 0x1b
            && let Some(parameters) = after.strip_prefix(b"[")
            && let Some(end) = parameters
                .iter()
                .position(|byte| !byte.is_ascii_digit() && *byte != b';')
            && parameters.get(end) == Some(&b'm')
        {
            rest = parameters.get(end.saturating_add(1)..).unwrap_or_default();
            continue;
        }
        plain.push(if *byte == b'\t' { b' ' } else { *byte });
    }
    let end = plain.trim_ascii_end().len();
    plain.truncate(end);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_quiet_one_shows_all_after_a_failure_and_nothing_else() {
        let mut transcript = Transcript::new("vm", false);
        assert_eq!(transcript.push(b"one\r\ntw"), b"");
        assert_eq!(transcript.push(b"o\r\n\r\nthree"), b"");
        assert_eq!(transcript.text(), "one\r\ntwo\r\n\r\nthree");
        assert_eq!(transcript.finish(false), b"");
        assert_eq!(
            string(transcript.finish(true)),
            "[vm] one\n[vm] two\n[vm] three\n"
        );
    }

    #[test]
    fn the_first_line_with_something_in_it() {
        for (text, line) in [("\n  \n one \ntwo", Some("one")), (" \n", None)] {
            let mut transcript = Transcript::new("vm", false);
            transcript.push(text.as_bytes());
            assert_eq!(transcript.first_line().as_deref(), line);
        }
    }

    #[test]
    fn one_line_may_be_part_of_a_message() {
        for (text, line) in [
            ("", None),
            ("\r\n", None),
            ("one", Some("one")),
            ("\r\n\x1b[1mone\x1b[0m \r\n", Some("one")),
            ("one\ntwo\n", None),
        ] {
            let mut quiet = Transcript::new("vm", false);
            quiet.push(text.as_bytes());
            assert_eq!(quiet.only_line().as_deref(), line, "{text:?}");
            let mut live = Transcript::new("vm", true);
            live.push(text.as_bytes());
            assert_eq!(live.only_line(), None);
        }
    }

    #[test]
    fn a_live_one_shows_whole_lines_once() {
        let mut transcript = Transcript::new("vm", true);
        assert_eq!(transcript.push(b"on"), b"");
        assert_eq!(string(transcript.push(b"e\ntwo\nth")), "[vm] one\n[vm] two\n");
        assert_eq!(string(transcript.finish(true)), "[vm] th\n");
        assert_eq!(transcript.finish(true), b"");
    }

    #[test]
    fn a_terminal_is_not_commanded() {
        let mut transcript = Transcript::new("vm", true);
        let shown =
            transcript.push(b"\x1b[1;31mred\x1b[0m\x07 \x1bc\ttab \xff\xc3\xa4\x1b[2\r\n\x1b[0m\n\x1b[2J\n");
        assert_eq!(
            string(shown),
            "[vm] red\\u{7} \\u{1b}c tab \\xffä\\u{1b}[2\n[vm] \\u{1b}[2J\n"
        );
    }

    #[test]
    fn only_the_end_of_much_is_kept() {
        let mut transcript = Transcript::new("vm", false);
        for _ in 0..10_000 {
            transcript.push(b"0123456789012345678901234567890\n");
        }
        transcript.push(b"the end");
        let shown = string(transcript.finish(true));
        assert!(shown.starts_with("[vm] [...]\n"));
        assert!(shown.ends_with("the end\n"));
        assert!(shown.replace("[vm] ", "").len() <= 2 * KEPT + 100);
    }

    #[test]
    fn a_line_without_end_is_shown_in_parts() {
        let mut transcript = Transcript::new("vm", true);
        let shown = transcript.push(&[b'x'; LONGEST_LINE + 1]);
        assert_eq!(shown.len(), LONGEST_LINE + 6);
        assert_eq!(string(transcript.finish(false)), "[vm] x\n");
    }
}
