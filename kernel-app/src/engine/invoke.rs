//! Calls any exported function, as `wasmtime run --invoke` does: arguments from text, results as text.
//!
//! Layer: engine, for either. Numbers look as wasmtime's command line has them, which takes and prints them as Rust
//! does: integers in decimal or behind `0x`, with a sign; floating-point numbers in decimal, never with an exponent in
//! results.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Display;
use core::num::ParseIntError;

use wasi_core::{Errno, Stream, System, WasiCtx};

use super::{Entry, Problem, decimal, quoted};
use crate::exit_status::Outcome;

/// A type of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    I32,
    I64,
    F32,
    F64,
    /// One of which no argument is text, by its name.
    Other(String),
}

/// A value: an argument or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    I32(i32),
    I64(i64),
    /// Its bits.
    F32(u32),
    /// Its bits.
    F64(u64),
    V128(u128),
    /// A reference, as it is shown.
    Reference(&'static str),
}

/// wasmtime's words.
const TAKES_ARGUMENTS: &str = "warning: using `--invoke` with a function that takes arguments is experimental and may \
                               break in the future\n";
/// wasmtime's words.
const RETURNS_VALUES: &str = "warning: using `--invoke` with a function that returns values is experimental and may break \
                              in the future\n";

/// Most functions that a message names.
const MAX_NAMED_EXPORTS: usize = 20;

/// Says what wasmtime says before it calls a function that takes so many arguments, if it `warns`.
pub(super) fn begin(system: &mut impl System, warns: bool, arguments: usize) {
    if warns && arguments > 0 {
        warn(system, TAKES_ARGUMENTS);
    }
}

/// Prints results, one on a line, as output of the guest's.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn finish(context: &mut WasiCtx<impl System>, warns: bool, results: impl Iterator<Item = Value>) {
    let mut text = String::new();
    for result in results {
        text.push_str(&result.to_text());
        text.push('\n');
    }
    if !text.is_empty() {
        if warns {
            warn(&mut context.system, RETURNS_VALUES);
        }
        write(&text, |rest| context.print(Stream::Stdout, rest));
    }
}

/// Says what the guest has not said, and what no limit of its counts.
fn warn(system: &mut impl System, text: &str) {
    write(text, |rest| system.console_write(Stream::Stderr, rest));
}

/// Writes all of it; where that fails, nobody is there to be told.
fn write(text: &str, mut some: impl FnMut(&[u8]) -> Result<usize, Errno>) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match some(rest) {
            Ok(taken @ 1..) => rest = rest.get(taken..).unwrap_or_default(),
            Ok(0) | Err(_) => break,
        }
    }
}

/// The problem of a module that does not export the function that is to be called, but the functions `others`.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn missing<'a>(entry: Entry<'_>, mut others: impl Iterator<Item = &'a str>) -> Problem {
    let mut names: Vec<_> = (&mut others)
        .take(MAX_NAMED_EXPORTS)
        .map(|name| format!("`{}`", quoted(name)))
        .collect();
    if let more @ 1.. = others.count() {
        names.push(format!("and {more} more"));
    }
    let known = match names.is_empty() {
        true => String::from("it exports no functions"),
        false => format!("it exports {}", names.join(", ")),
    };
    Problem {
        reason: format!("no func export named `{}` found; {known}", quoted(entry.name)),
        advice: None,
    }
}

/// Reads a function's arguments. As with wasmtime, there may be more than it has parameters.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn arguments(entry: Entry<'_>, types: &[Type]) -> Result<Vec<Value>, Outcome> {
    let name = quoted(entry.name);
    // No argument helps.
    if let Some(Type::Other(ty)) = types.iter().find(|ty| matches!(ty, Type::Other(_))) {
        return Err(Outcome::Refused(format!(
            "unsupported argument type {ty} of `{name}`: only i32, i64, f32 and f64 can be given as text"
        )));
    }
    let mut values = Vec::new();
    for (number, ty) in types.iter().enumerate() {
        let Some(text) = entry.arguments.get(number) else {
            return Err(Outcome::Usage(format!(
                "not enough arguments for `{name}`: it takes {}, and {} given",
                types.len(),
                match entry.arguments.len() {
                    0 => "none is".to_string(),
                    1 => "1 is".to_string(),
                    given => format!("{given} are"),
                },
            )));
        };
        let value = ty.parse(text).map_err(|error| {
            let number = number.saturating_add(1);
            let text = quoted(text);
            Outcome::Usage(format!(
                "argument {number} of `{name}` is `{text}`, which is not a valid {}: {error}",
                ty.name()
            ))
        })?;
        values.push(value);
    }
    Ok(values)
}

impl Type {
    fn name(&self) -> &str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Other(name) => name,
        }
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        fn integer<T>(
            text: &str,
            from_radix: fn(&str, u32) -> Result<T, ParseIntError>,
        ) -> Result<T, String> {
            let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
            match hexadecimal {
                Some(digits) => from_radix(digits, 16),
                None => from_radix(text, 10),
            }
            .map_err(words)
        }
        fn words(error: impl Display) -> String {
            error.to_string()
        }
        Ok(match self {
            Self::I32 => Value::I32(integer(text, i32::from_str_radix)?),
            Self::I64 => Value::I64(integer(text, i64::from_str_radix)?),
            Self::F32 => Value::F32(decimal::single(text).map_err(words)?),
            Self::F64 => Value::F64(decimal::double(text).map_err(words)?),
            Self::Other(name) => return Err(format!("unsupported argument type {name}")),
        })
    }
}

impl Value {
    fn to_text(self) -> String {
        match self {
            Self::I32(value) => value.to_string(),
            Self::I64(value) => value.to_string(),
            Self::F32(bits) => f32::from_bits(bits).to_string(),
            Self::F64(bits) => f64::from_bits(bits).to_string(),
            Self::V128(value) => value.to_string(),
            Self::Reference(shown) => shown.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use wasi_core::context::WasiCtxBuilder;
    use wasi_core::limits::{Limit, Limits};
    use wasi_core::testing::TestSystem;

    fn read(types: &[Type], arguments: &[&str]) -> Result<Vec<Value>, Outcome> {
        let arguments: Vec<String> = arguments.iter().map(|text| text.to_string()).collect();
        let name = "f";
        super::arguments(
            Entry {
                name,
                arguments: &arguments,
                warns: true,
            },
            types,
        )
    }

    #[test]
    fn integers_are_read_as_wasmtime_reads_them() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("+7", 7),
            ("2147483647", i32::MAX),
            ("-2147483648", i32::MIN),
            ("0x7fffffff", i32::MAX),
            ("0X10", 16),
            ("0x-10", -16),
        ] {
            assert_eq!(read(&[Type::I32], &[text]), Ok(vec![Value::I32(value)]), "{text}");
            assert_eq!(read(&[Type::I64], &[text]), Ok(vec![Value::I64(value.into())]));
        }
        assert_eq!(
            read(&[Type::I64], &["-9223372036854775808"]),
            Ok(vec![Value::I64(i64::MIN)])
        );
        for (text, reason) in [
            ("", "cannot parse integer from empty string"),
            ("0x", "cannot parse integer from empty string"),
            ("x", "invalid digit found in string"),
            ("-0x1", "invalid digit found in string"),
            ("1 ", "invalid digit found in string"),
            ("2147483648", "number too large to fit in target type"),
            ("0xffffffff", "number too large to fit in target type"),
            ("-2147483649", "number too small to fit in target type"),
        ] {
            match read(&[Type::I32], &[text]) {
                Err(Outcome::Usage(said)) => assert_eq!(
                    said,
                    format!("argument 1 of `f` is `{text}`, which is not a valid i32: {reason}")
                ),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn floating_point_numbers_are_read_as_wasmtime_reads_them() {
        for (text, value) in [
            ("0", 0.0f64),
            ("-0", -0.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
            ("5e-324", f64::from_bits(1)),
        ] {
            assert_eq!(
                read(&[Type::F64], &[text]),
                Ok(vec![Value::F64(value.to_bits())]),
                "{text}"
            );
        }
        assert_eq!(
            read(&[Type::F32], &["0.1"]),
            Ok(vec![Value::F32(0.1f32.to_bits())])
        );
        assert!(
            matches!(read(&[Type::F32], &["NaN"]), Ok(values) if matches!(values[..], [Value::F32(bits)] if f32::from_bits(bits).is_nan()))
        );
        for (text, reason) in [
            ("", "cannot parse float from empty string"),
            ("0x1p3", "invalid float literal"),
            ("one", "invalid float literal"),
        ] {
            match read(&[Type::F64], &[text]) {
                Err(Outcome::Usage(said)) => assert!(said.ends_with(reason), "{said}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn too_few_arguments_are_an_error_and_more_are_not() {
        let two = [Type::I32, Type::I64];
        match read(&two, &["1"]) {
            Err(Outcome::Usage(said)) => {
                assert_eq!(said, "not enough arguments for `f`: it takes 2, and 1 is given");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            read(&two, &["1", "2", "three"]),
            Ok(vec![Value::I32(1), Value::I64(2)])
        );
        assert_eq!(read(&[], &["-x"]), Ok(vec![]));
    }

    #[test]
    fn what_no_text_is_is_the_modules_fault() {
        for name in ["v128", "externref"] {
            match read(&[Type::I32, Type::Other(name.into())], &[]) {
                Err(Outcome::Refused(said)) => {
                    assert!(said.starts_with(&format!("unsupported argument type {name}")));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn results_look_as_wasmtimes() {
        let mut system = TestSystem::default();
        let float = |value: f64| Value::F64(value.to_bits());
        begin(&mut system, true, 0);
        assert_eq!(system.stderr, b"");
        begin(&mut system, true, 1);
        assert_eq!(system.stderr, TAKES_ARGUMENTS.as_bytes());
        let mut context = WasiCtxBuilder::new().build(system);
        finish(
            &mut context,
            true,
            [
                Value::I32(-1),
                Value::I64(i64::MIN),
                Value::F32(0.1f32.to_bits()),
                float(0.1),
                float(-0.0),
                float(1e21),
                float(1e-7),
                float(f64::NAN),
                float(f64::NEG_INFINITY),
                Value::V128(u128::MAX),
                Value::Reference("<null externref>"),
            ]
            .into_iter(),
        );
        assert_eq!(
            String::from_utf8(context.system.stdout).unwrap(),
            "-1\n-9223372036854775808\n0.1\n0.1\n-0\n1000000000000000000000\n0.0000001\nNaN\n-inf\n\
             340282366920938463463374607431768211455\n<null externref>\n"
        );
        let both = [TAKES_ARGUMENTS, RETURNS_VALUES].concat();
        assert_eq!(String::from_utf8(context.system.stderr).unwrap(), both);

        let mut silent = WasiCtxBuilder::new().build(TestSystem::default());
        finish(&mut silent, true, [].into_iter());
        assert_eq!((silent.system.stdout, silent.system.stderr), (vec![], vec![]));
    }

    #[test]
    fn results_are_output_and_warnings_are_not() {
        let print = |most| {
            let limits = Limits {
                output_bytes: Some(most),
                ..Limits::default()
            };
            let mut context = WasiCtxBuilder::new().limits(limits).build(TestSystem::default());
            finish(&mut context, true, [Value::I32(12), Value::I32(345)].into_iter());
            assert_eq!(context.system.stderr, RETURNS_VALUES.as_bytes());
            (context.exceeded(), context.system.stdout)
        };
        assert_eq!(print(7), (None, b"12\n345\n".to_vec()));
        assert_eq!(print(6), (Some(Limit::OutputBytes), b"12\n345".to_vec()));
        assert_eq!(print(0), (Some(Limit::OutputBytes), vec![]));
    }

    #[test]
    fn a_missing_export_names_those_that_there_are() {
        let entry = Entry {
            name: "g",
            arguments: &[],
            warns: true,
        };
        assert_eq!(
            missing(entry, ["a", "b\u{1b}"].into_iter()).reason,
            "no func export named `g` found; it exports `a`, `b\\u{1b}`"
        );
        assert_eq!(
            missing(entry, [].into_iter()).reason,
            "no func export named `g` found; it exports no functions"
        );
        let many = missing(entry, std::iter::repeat_n("f", 50)).reason;
        assert!(many.ends_with("`f`, and 30 more"), "{many}");
    }
}
