//! Bytes as the manifest writes them: what standard input holds, and what an output must be.
//!
//! Layer: host tests; pure but for `file`.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use regex_lite::Regex;
use serde::Deserialize;

use crate::compare;

/// Where bytes come from. In the manifest either a text or a table with one of these keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The text itself.
    text: Option<String>,
    /// A file relative to `guests/`.
    file: Option<String>,
    /// Hexadecimal digits; white space is ignored.
    hex: Option<String>,
    /// That many bytes of a fixed random-looking sequence.
    random: Option<usize>,
    /// All values from 0 to 255 in order, that many times.
    all_bytes: Option<usize>,
    /// How often the bytes are repeated; once if not given.
    times: Option<usize>,
}

impl Source {
    /// Checks that there is exactly one source.
    ///
    /// # Errors
    /// If there is none or several.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.given() == 1,
            "give exactly one of text, file, hex, random, all_bytes"
        );
        Ok(())
    }

    /// How many of the keys are given.
    fn given(&self) -> usize {
        [
            self.text.is_some(),
            self.file.is_some(),
            self.hex.is_some(),
            self.random.is_some(),
            self.all_bytes.is_some(),
        ]
        .into_iter()
        .filter(|given| *given)
        .count()
    }

    /// The bytes; `guests` is the directory that `file` is relative to.
    ///
    /// # Errors
    /// If a file cannot be read or the digits are not hexadecimal.
    pub fn produce(&self, guests: &Path) -> Result<Vec<u8>> {
        let once = if let Some(text) = &self.text {
            text.clone().into_bytes()
        } else if let Some(file) = &self.file {
            let path = guests.join(file);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
        } else if let Some(hex) = &self.hex {
            parse_hex(hex)?
        } else if let Some(length) = self.random {
            random_looking(length)
        } else if let Some(times) = self.all_bytes {
            (0..=u8::MAX).collect::<Vec<u8>>().repeat(times)
        } else {
            Vec::new()
        };
        Ok(once.repeat(self.times.unwrap_or(1)))
    }
}

/// Reads pairs of hexadecimal digits, with white space anywhere between pairs and `#` comments to a line's end.
///
/// # Errors
/// If there is anything else.
pub fn parse_hex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let digits = line.split('#').next().unwrap_or_default();
        for word in digits.split_whitespace() {
            ensure!(
                word.is_ascii() && word.len() % 2 == 0,
                "'{word}' is not pairs of hexadecimal digits"
            );
            for at in (0..word.len()).step_by(2) {
                let pair = word.get(at..at + 2).unwrap_or_default();
                bytes.push(
                    u8::from_str_radix(pair, 16).with_context(|| format!("'{pair}' is not hexadecimal"))?,
                );
            }
        }
    }
    Ok(bytes)
}

/// Bytes without a pattern that are the same on every run: an xorshift generator with a fixed seed.
fn random_looking(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// One step of a dialogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// What standard output must end with before anything is sent.
    pub after: String,
    /// What is sent then.
    pub send: String,
}

/// What standard input holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "StdinForm")]
pub struct Stdin {
    source: Source,
    /// Whether it stays open after its bytes, so that its end is never seen.
    pub open: bool,
    /// Sent after the bytes, each as soon as its time has come.
    pub dialogue: Vec<Turn>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a text, or a table with text, file, hex, random, all_bytes, times, open or dialogue"
)]
enum StdinForm {
    Text(String),
    Table(StdinTable),
}

/// [`Source`]'s keys again, because `flatten` and `deny_unknown_fields` do not go together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StdinTable {
    text: Option<String>,
    file: Option<String>,
    hex: Option<String>,
    random: Option<usize>,
    all_bytes: Option<usize>,
    times: Option<usize>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    dialogue: Vec<Turn>,
}

impl From<StdinForm> for Stdin {
    fn from(form: StdinForm) -> Self {
        match form {
            StdinForm::Text(text) => Self {
                source: Source {
                    text: Some(text),
                    ..Source::default()
                },
                ..Self::default()
            },
            StdinForm::Table(StdinTable {
                text,
                file,
                hex,
                random,
                all_bytes,
                times,
                open,
                dialogue,
            }) => Self {
                source: Source {
                    text,
                    file,
                    hex,
                    random,
                    all_bytes,
                    times,
                },
                open,
                dialogue,
            },
        }
    }
}

impl Stdin {
    /// Checks that at most one source is given.
    ///
    /// # Errors
    /// If there are more.
    pub fn check(&self) -> Result<()> {
        ensure!(self.source.given() <= 1, "give one source of bytes");
        Ok(())
    }

    /// The bytes to send at once.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn produce(&self, guests: &Path) -> Result<Vec<u8>> {
        self.source.produce(guests)
    }
}

/// What an output must be.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "ExpectedForm")]
pub enum Expected {
    /// Exactly these bytes.
    Exactly(Source),
    /// What standard input held.
    Stdin,
    /// UTF-8 text in which each of these occurs.
    Contains(Vec<String>),
    /// UTF-8 text that this regular expression describes from beginning to end.
    Regex(String),
    /// The row says several of these, or none.
    Contradictory,
}

impl Default for Expected {
    fn default() -> Self {
        Self::Exactly(Source::default())
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a text, or a table with stdin, contains, regex, file, hex, random, all_bytes or text"
)]
enum ExpectedForm {
    Text(String),
    Stdin(IsStdin),
    Contains(Contains),
    Regex(IsRegex),
    Source(Source),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IsStdin {
    stdin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contains {
    contains: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IsRegex {
    regex: String,
}

impl From<ExpectedForm> for Expected {
    fn from(form: ExpectedForm) -> Self {
        match form {
            ExpectedForm::Text(text) => Self::Exactly(Source {
                text: Some(text),
                ..Source::default()
            }),
            ExpectedForm::Stdin(IsStdin { stdin: true }) => Self::Stdin,
            ExpectedForm::Contains(Contains { contains }) if !contains.is_empty() => Self::Contains(contains),
            ExpectedForm::Regex(IsRegex { regex }) => Self::Regex(regex),
            ExpectedForm::Source(source) if source.given() == 1 => Self::Exactly(source),
            ExpectedForm::Stdin(_) | ExpectedForm::Contains(_) | ExpectedForm::Source(_) => {
                Self::Contradictory
            }
        }
    }
}

impl Expected {
    /// Checks that the expectation is one, and that a regular expression is one.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Contradictory => anyhow::bail!(
                "give exactly one of text, file, hex, random, all_bytes, stdin, contains, regex"
            ),
            Self::Regex(regex) => {
                whole(regex)?;
            }
            Self::Exactly(_) | Self::Stdin | Self::Contains(_) => {}
        }
        Ok(())
    }

    /// Says how `got` differs from what is expected, if it does.
    ///
    /// # Errors
    /// If the expectation itself cannot be had.
    pub fn mismatch(&self, got: &[u8], stdin: &[u8], guests: &Path) -> Result<Option<String>> {
        Ok(match self {
            Self::Exactly(source) => compare::exactly(&source.produce(guests)?, got),
            Self::Stdin => compare::exactly(stdin, got),
            Self::Contains(parts) => {
                let text = String::from_utf8_lossy(got);
                let missing: Vec<&String> = parts
                    .iter()
                    .filter(|part| !text.contains(part.as_str()))
                    .collect();
                (!missing.is_empty())
                    .then(|| format!("does not contain {missing:?}; it is:\n{}", compare::show(got)))
            }
            Self::Regex(regex) => {
                let fits = std::str::from_utf8(got)
                    .is_ok_and(|text| whole(regex).is_ok_and(|regex| regex.is_match(text)));
                (!fits).then(|| format!("does not match /{regex}/; it is:\n{}", compare::show(got)))
            }
            Self::Contradictory => {
                self.check()?;
                None
            }
        })
    }
}

/// A regular expression that must match all of a text.
fn whole(regex: &str) -> Result<Regex> {
    Regex::new(&format!(r"\A(?:{regex})\z")).with_context(|| format!("not a regular expression: {regex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Row {
        stdin: Stdin,
        stdout: Expected,
    }

    fn row(text: &str) -> Row {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_source_produces_its_bytes() {
        let here = Path::new(".");
        let bytes = |source: &str| {
            row(&format!("stdin = {source}\nstdout = ''"))
                .stdin
                .produce(here)
                .unwrap()
        };
        assert_eq!(bytes("'abc'"), b"abc");
        assert_eq!(bytes("{ text = 'ab', times = 3 }"), b"ababab");
        assert_eq!(
            bytes("{ hex = 'ff 00# no\n0a' }".replace('\n', " ").as_str()),
            b"\xff\x00"
        );
        assert_eq!(bytes("{ hex = 'ff000a' }"), b"\xff\x00\x0a");
        assert_eq!(bytes("{ random = 1001 }").len(), 1001);
        assert_eq!(bytes("{ random = 100 }"), bytes("{ random = 100 }"));
        assert_eq!(bytes("{ all_bytes = 2 }").get(255..258), Some(&[255, 0, 1][..]));
        assert_eq!(bytes("{ open = true }"), b"");
    }

    #[test]
    fn each_expectation_is_told_from_what_differs() {
        let here = Path::new(".");
        let differs = |expected: &str, got: &[u8]| {
            row(&format!("stdin = ''\nstdout = {expected}"))
                .stdout
                .mismatch(got, b"input", here)
                .unwrap()
                .is_some()
        };
        for (expected, right, wrong) in [
            ("'abc'", &b"abc"[..], &b"abc\n"[..]),
            ("{ stdin = true }", b"input", b"inpu"),
            ("{ contains = ['b', 'c'] }", b"abc", b"ab"),
            ("{ regex = 'a[0-9]+\\n' }", b"a12\n", b"a12\nx"),
            ("{ hex = 'ff' }", b"\xff", b"\xfe"),
            ("{ all_bytes = 0 }", b"", b"\0"),
        ] {
            assert!(!differs(expected, right), "{expected}");
            assert!(differs(expected, wrong), "{expected}");
        }
    }

    #[test]
    fn contradictions_are_noticed() {
        for expected in [
            "{ text = 'a', random = 3 }",
            "{}",
            "{ contains = [] }",
            "{ stdin = false }",
            "{ regex = '(' }",
        ] {
            assert!(
                row(&format!("stdin = ''\nstdout = {expected}"))
                    .stdout
                    .check()
                    .is_err(),
                "{expected}"
            );
        }
    }
}
