//! Answers as lines of text: a word, and what belongs to it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{Display, Formatter, Result as Written};

use crate::{Top, Value};

/// What a line with an answer begins with.
pub const ANSWER: &str = "@";
/// The line after the last answer.
pub const END: &str = "end";

/// A result: a value, or what can be said of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A value that arguments could have too.
    Value(Value),
    /// A function.
    Func,
    /// A reference of the hierarchy `any`: `i31`, `struct`, `array`, or something else.
    Any(String),
    /// An exception.
    Exn,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Well, without results.
    Done,
    /// With these results.
    Values(Vec<Seen>),
    /// By a trap.
    Trap(String),
    /// By an exception that nobody caught.
    Exception,
    /// The module cannot be loaded.
    Refused(String),
    /// The module's imports are not there, or of another type.
    Unlinkable(String),
    /// The command names what is not there.
    Missing(String),
}

impl Display for Value {
    fn fmt(&self, out: &mut Formatter<'_>) -> Written {
        match self {
            Self::I32(value) => write!(out, "i32:{value:x}"),
            Self::I64(value) => write!(out, "i64:{value:x}"),
            Self::F32(value) => write!(out, "f32:{value:x}"),
            Self::F64(value) => write!(out, "f64:{value:x}"),
            Self::V128(value) => write!(out, "v128:{value:x}"),
            Self::Null(Top::Func) => out.write_str("null:func"),
            Self::Null(Top::Extern) => out.write_str("null:extern"),
            Self::Null(Top::Any) => out.write_str("null:any"),
            Self::Null(Top::Exn) => out.write_str("null:exn"),
            Self::Extern(value) => write!(out, "extern:{value:x}"),
            Self::Host(value) => write!(out, "host:{value:x}"),
        }
    }
}

impl Display for Seen {
    fn fmt(&self, out: &mut Formatter<'_>) -> Written {
        match self {
            Self::Value(value) => value.fmt(out),
            Self::Func => out.write_str("func:"),
            Self::Any(kind) => write!(out, "any:{kind}"),
            Self::Exn => out.write_str("exn:"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, out: &mut Formatter<'_>) -> Written {
        match self {
            Self::Done => out.write_str("done"),
            Self::Values(values) => {
                out.write_str("values")?;
                values.iter().try_for_each(|value| write!(out, " {value}"))
            }
            Self::Trap(text) => write!(out, "trap {}", text.escape_debug()),
            Self::Exception => out.write_str("exception"),
            Self::Refused(text) => write!(out, "refused {}", text.escape_debug()),
            Self::Unlinkable(text) => write!(out, "unlinkable {}", text.escape_debug()),
            Self::Missing(text) => write!(out, "missing {}", text.escape_debug()),
        }
    }
}

impl Value {
    fn parse(kind: &str, value: &str) -> Option<Self> {
        let narrow = || u32::from_str_radix(value, 16).ok();
        let wide = || u64::from_str_radix(value, 16).ok();
        Some(match kind {
            "i32" => Self::I32(narrow()?),
            "i64" => Self::I64(wide()?),
            "f32" => Self::F32(narrow()?),
            "f64" => Self::F64(wide()?),
            "v128" => Self::V128(u128::from_str_radix(value, 16).ok()?),
            "extern" => Self::Extern(narrow()?),
            "host" => Self::Host(narrow()?),
            "null" => Self::Null(match value {
                "func" => Top::Func,
                "extern" => Top::Extern,
                "any" => Top::Any,
                "exn" => Top::Exn,
                _ => return None,
            }),
            _ => return None,
        })
    }
}

impl Seen {
    fn parse(word: &str) -> Option<Self> {
        let (kind, value) = word.split_once(':')?;
        Some(match kind {
            "func" => Self::Func,
            "any" => Self::Any(value.into()),
            "exn" => Self::Exn,
            _ => Self::Value(Value::parse(kind, value)?),
        })
    }
}

impl Answer {
    /// Whether it says that a module was refused, or that something is not there, as then.
    #[must_use]
    pub fn is_of_a_refusal(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Missing(_) => true,
            Self::Unlinkable(text) => text.starts_with("unknown import"),
            _ => false,
        }
    }

    /// Reads an answer.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let text = || String::from(rest);
        Some(match word {
            "done" => Self::Done,
            "values" => Self::Values(rest.split_whitespace().map(Seen::parse).collect::<Option<_>>()?),
            "trap" => Self::Trap(text()),
            "exception" => Self::Exception,
            "refused" => Self::Refused(text()),
            "unlinkable" => Self::Unlinkable(text()),
            "missing" => Self::Missing(text()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;
    use std::vec;

    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let values = vec![
            Seen::Value(Value::I32(u32::MAX)),
            Seen::Value(Value::V128(1 << 100)),
            Seen::Value(Value::Null(Top::Exn)),
            Seen::Value(Value::Extern(3)),
            Seen::Func,
            Seen::Any("i31".into()),
            Seen::Exn,
        ];
        for answer in [
            Answer::Done,
            Answer::Values(vec![]),
            Answer::Values(values),
            Answer::Trap("out of bounds".into()),
            Answer::Exception,
            Answer::Refused("it is bad".into()),
            Answer::Unlinkable("a::b".into()),
            Answer::Missing("7".into()),
        ] {
            assert_eq!(Answer::parse(&answer.to_string()), Some(answer));
        }
        assert_eq!(Answer::parse("values i32:x"), None);
        assert_eq!(Answer::parse("fine"), None);
        assert!(!Answer::Trap("two\nlines".into()).to_string().contains('\n'));
    }
}
