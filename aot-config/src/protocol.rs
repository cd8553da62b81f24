//! What the compiler says on its standard error, line by line, and the launcher reads.
//!
//! | line | |
//! |---|---|
//! | `hermit-wasm-compiler VERSION COMPATIBILITY` | who it is: the first line, before it reads the module |
//! | `progress DONE ALL` | functions compiled, of how many |
//! | `invalid OFFSET MESSAGE` | the module is not valid |
//! | `unsupported PROPOSALS MESSAGE` | it needs proposals that the machines do not have, comma-separated |
//! | `failed MESSAGE` | the compiler fails on the module, and would again |
//! | `hindered MESSAGE` | the host keeps it from its work: no threads, no room for the code |
//!
//! The code itself goes to standard output. It is whole if the program ends with 0.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use crate::WASMTIME_VERSION;
use crate::compatibility::COMPATIBILITY;

/// The compiler's name.
pub const PROGRAM: &str = "hermit-wasm-compiler";

/// What a compiler says of itself whose code this build takes.
#[must_use]
pub fn identity() -> String {
    format!("{PROGRAM} {WASMTIME_VERSION} {COMPATIBILITY:016x}")
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who speaks: [`identity`], if it is ours.
    Identity(String),
    /// How far it is.
    Progress {
        /// Functions that are compiled.
        done: u32,
        /// Functions that the module has.
        all: u32,
    },
    /// Why there is no code.
    Refused(Refusal),
}

/// Why a module is not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not valid.
    Invalid {
        /// Where, in bytes from its beginning.
        offset: u64,
        /// Why.
        message: String,
    },
    /// It needs what the machines do not have.
    Unsupported {
        /// The proposals' names.
        proposals: Vec<String>,
        /// Where it was seen first.
        message: String,
    },
    /// The compiler fails on the module.
    Failed(String),
    /// The host keeps the compiler from its work.
    Hindered(String),
}

impl Message {
    /// What a line says; `None` if it is none of these, as a panic's words.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        Some(match word {
            PROGRAM => Self::Identity(line.to_string()),
            "progress" => {
                let (done, all) = rest.split_once(' ')?;
                Self::Progress {
                    done: done.parse().ok()?,
                    all: all.parse().ok()?,
                }
            }
            "invalid" => {
                let (offset, message) = rest.split_once(' ')?;
                Self::Refused(Refusal::Invalid {
                    offset: offset.parse().ok()?,
                    message: message.to_string(),
                })
            }
            "unsupported" => {
                let (proposals, message) = rest.split_once(' ')?;
                Self::Refused(Refusal::Unsupported {
                    proposals: proposals.split(',').map(str::to_string).collect(),
                    message: message.to_string(),
                })
            }
            "failed" => Self::Refused(Refusal::Failed(rest.to_string())),
            "hindered" => Self::Refused(Refusal::Hindered(rest.to_string())),
            _ => return None,
        })
    }
}

impl fmt::Display for Message {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => f.write_str(&line(identity)),
            Self::Progress { done, all } => write!(f, "progress {done} {all}"),
            Self::Refused(Refusal::Invalid { offset, message }) => {
                write!(f, "invalid {offset} {}", line(message))
            }
            Self::Refused(Refusal::Unsupported { proposals, message }) => {
                write!(f, "unsupported {} {}", proposals.join(","), line(message))
            }
            Self::Refused(Refusal::Failed(message)) => write!(f, "failed {}", line(message)),
            Self::Refused(Refusal::Hindered(message)) => write!(f, "hindered {}", line(message)),
        }
    }
}

/// A message on one line.
fn line(message: &str) -> String {
    message.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let refused = |refusal| Message::Refused(refusal);
        for message in [
            Message::Identity(identity()),
            Message::Progress { done: 3, all: 4000 },
            refused(Refusal::Invalid {
                offset: 77,
                message: "type mismatch: expected i32".to_string(),
            }),
            refused(Refusal::Unsupported {
                proposals: ["a", "b"].map(str::to_string).into(),
                message: "no".to_string(),
            }),
            refused(Refusal::Failed("broke".to_string())),
            refused(Refusal::Hindered("no threads".to_string())),
        ] {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
    }

    #[test]
    fn a_line_is_one_line_and_others_words_are_none() {
        let failed = Message::Refused(Refusal::Failed("one\ntwo\r\n".to_string()));
        assert_eq!(failed.to_string(), "failed one two  ");
        for other in [
            "",
            "progress",
            "progress x y",
            "invalid x y",
            "unsupported x",
            "thread 'main' panicked",
        ] {
            assert_eq!(Message::parse(other), None, "{other}");
        }
    }
}
