//! Whether an answer is what a test of the suite wants.

use spec_script::{Answer, Seen, Top, Value};
use wast::WastRet;
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastRetCore};

/// What a command must answer.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// It must succeed; what it returns does not matter.
    Success,
    /// The module must not be loaded.
    Refused,
    /// It must trap, in such words.
    Trap(String),
    /// The module's imports must not fit.
    Unlinkable,
    /// An exception must come out.
    Exception,
    /// It must return these.
    Values(Vec<Pattern>),
}

/// What one result must be.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// Just this.
    Value(Value),
    /// A NaN of 32 bits; canonical or any arithmetic one.
    Nan32 { canonical: bool },
    /// The same of 64 bits.
    Nan64 { canonical: bool },
    /// Lanes of 32 bits.
    Lanes32([Box<Pattern>; 4]),
    /// Lanes of 64 bits.
    Lanes64([Box<Pattern>; 2]),
    /// A null reference, of any type.
    Null,
    /// A function.
    Func,
    /// An external reference that is not null.
    Extern,
    /// An internal reference of one of these kinds; of any, if there is none.
    Any(&'static [&'static str]),
    /// One of these.
    Either(Vec<Pattern>),
}

impl Wanted {
    /// What is wrong with an answer, if something is.
    pub(crate) fn complaint(&self, answer: &Answer) -> Option<String> {
        let fits = match (self, answer) {
            (Self::Success, Answer::Done | Answer::Values(_))
            | (Self::Refused, Answer::Refused(_))
            | (Self::Unlinkable, Answer::Unlinkable(_) | Answer::Refused(_))
            | (Self::Exception, Answer::Exception) => true,
            (Self::Trap(wanted), Answer::Trap(text)) => is_trap(wanted, text),
            (Self::Values(patterns), Answer::Values(values)) => {
                patterns.len() == values.len()
                    && patterns
                        .iter()
                        .zip(values)
                        .all(|(pattern, value)| pattern.fits(value))
            }
            _ => false,
        };
        (!fits).then(|| format!("wanted {self:?}, got: {answer}"))
    }
}

/// What the suite calls traps, and what engines do, where one is not in the other.
const SYNONYMS: [(&str, &str); 13] = [
    ("unreachable", "`unreachable` instruction executed"),
    ("undefined element", "out of bounds table access"),
    ("uninitialized element", "uninitialized element"),
    ("uninitialized", "uninitialized"),
    ("out of bounds table access", "out of bounds table access"),
    ("null function reference", "null reference"),
    ("null structure reference", "null reference"),
    ("null array reference", "null reference"),
    ("null i31 reference", "null reference"),
    ("null exception reference", "null reference"),
    ("null reference", "null reference"),
    ("out of bounds array access", "out of bounds array access"),
    ("cast failure", "cast failure"),
];

fn is_trap(wanted: &str, text: &str) -> bool {
    text.contains(wanted)
        || SYNONYMS
            .iter()
            .any(|(suite, engine)| wanted.starts_with(suite) && text.contains(engine))
}

impl Pattern {
    fn fits(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Self::Either(patterns), _) => patterns.iter().any(|pattern| pattern.fits(seen)),
            (Self::Null, Seen::Value(Value::Null(_)))
            | (Self::Func, Seen::Func)
            | (Self::Extern, Seen::Value(Value::Extern(_))) => true,
            // A number of the host's is of none of the kinds that modules make.
            (Self::Any(kinds), Seen::Value(Value::Host(_))) => kinds.is_empty(),
            (Self::Extern, Seen::Any(kind)) => kind == "extern",
            (Self::Any(kinds), Seen::Any(kind)) => kinds.is_empty() || kinds.contains(&kind.as_str()),
            (Self::Value(wanted), Seen::Value(value)) => wanted == value,
            (Self::Nan32 { canonical }, Seen::Value(Value::F32(bits))) => is_nan32(*bits, *canonical),
            (Self::Nan64 { canonical }, Seen::Value(Value::F64(bits))) => is_nan64(*bits, *canonical),
            (Self::Lanes32(lanes), Seen::Value(Value::V128(value))) => {
                let bytes = value.to_le_bytes();
                lanes
                    .iter()
                    .zip(bytes.as_chunks::<4>().0)
                    .all(|(lane, bytes)| lane.fits(&Seen::Value(Value::F32(u32::from_le_bytes(*bytes)))))
            }
            (Self::Lanes64(lanes), Seen::Value(Value::V128(value))) => {
                let bytes = value.to_le_bytes();
                lanes
                    .iter()
                    .zip(bytes.as_chunks::<8>().0)
                    .all(|(lane, bytes)| lane.fits(&Seen::Value(Value::F64(u64::from_le_bytes(*bytes)))))
            }
            _ => false,
        }
    }

    /// The suite's pattern; `None` if it has no meaning here.
    pub(crate) fn new(wanted: &WastRet<'_>) -> Option<Self> {
        match wanted {
            WastRet::Core(wanted) => Self::core(wanted),
            _ => None,
        }
    }

    fn core(wanted: &WastRetCore<'_>) -> Option<Self> {
        Some(match wanted {
            WastRetCore::I32(value) => Self::Value(Value::I32(value.cast_unsigned())),
            WastRetCore::I64(value) => Self::Value(Value::I64(value.cast_unsigned())),
            WastRetCore::F32(pattern) => nan32(pattern),
            WastRetCore::F64(pattern) => nan64(pattern),
            WastRetCore::V128(pattern) => vector(pattern),
            WastRetCore::RefNull(_) => Self::Null,
            WastRetCore::RefExtern(None) => Self::Extern,
            WastRetCore::RefExtern(Some(number)) => Self::Value(Value::Extern(*number)),
            WastRetCore::RefHost(number) => Self::Value(Value::Host(*number)),
            WastRetCore::RefFunc(_) => Self::Func,
            WastRetCore::RefAny => Self::Any(&[]),
            WastRetCore::RefEq => Self::Any(&["i31", "struct", "array"]),
            WastRetCore::RefArray => Self::Any(&["array"]),
            WastRetCore::RefStruct => Self::Any(&["struct"]),
            WastRetCore::RefI31 => Self::Any(&["i31"]),
            WastRetCore::Either(cases) => Self::Either(cases.iter().map(Self::core).collect::<Option<_>>()?),
            _ => return None,
        })
    }
}

const fn is_nan32(bits: u32, canonical: bool) -> bool {
    if canonical {
        bits & 0x7fff_ffff == 0x7fc0_0000
    } else {
        bits & 0x7fc0_0000 == 0x7fc0_0000
    }
}

const fn is_nan64(bits: u64, canonical: bool) -> bool {
    if canonical {
        bits & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000
    } else {
        bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000
    }
}

const fn nan32(pattern: &NanPattern<wast::token::F32>) -> Pattern {
    match pattern {
        NanPattern::CanonicalNan => Pattern::Nan32 { canonical: true },
        NanPattern::ArithmeticNan => Pattern::Nan32 { canonical: false },
        NanPattern::Value(value) => Pattern::Value(Value::F32(value.bits)),
    }
}

const fn nan64(pattern: &NanPattern<wast::token::F64>) -> Pattern {
    match pattern {
        NanPattern::CanonicalNan => Pattern::Nan64 { canonical: true },
        NanPattern::ArithmeticNan => Pattern::Nan64 { canonical: false },
        NanPattern::Value(value) => Pattern::Value(Value::F64(value.bits)),
    }
}

/// A vector of these lanes' bytes.
pub(crate) fn of_lanes<const N: usize>(lanes: impl IntoIterator<Item = [u8; N]>) -> Value {
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(lanes.into_iter().flatten()) {
        *place = byte;
    }
    Value::V128(u128::from_le_bytes(bytes))
}

fn vector(pattern: &V128Pattern) -> Pattern {
    Pattern::Value(match pattern {
        V128Pattern::I8x16(lanes) => of_lanes(lanes.map(i8::to_le_bytes)),
        V128Pattern::I16x8(lanes) => of_lanes(lanes.map(i16::to_le_bytes)),
        V128Pattern::I32x4(lanes) => of_lanes(lanes.map(i32::to_le_bytes)),
        V128Pattern::I64x2(lanes) => of_lanes(lanes.map(i64::to_le_bytes)),
        V128Pattern::F32x4(lanes) => {
            return Pattern::Lanes32(lanes.each_ref().map(|lane| Box::new(nan32(lane))));
        }
        V128Pattern::F64x2(lanes) => {
            return Pattern::Lanes64(lanes.each_ref().map(|lane| Box::new(nan64(lane))));
        }
    })
}

/// The top of a heap type's hierarchy; `None` for what is no argument here.
pub(crate) const fn top(heap: &HeapType<'_>) -> Option<Top> {
    let HeapType::Abstract { ty, .. } = heap else {
        return None;
    };
    Some(match ty {
        AbstractHeapType::Func | AbstractHeapType::NoFunc => Top::Func,
        AbstractHeapType::Extern | AbstractHeapType::NoExtern => Top::Extern,
        AbstractHeapType::Exn | AbstractHeapType::NoExn => Top::Exn,
        AbstractHeapType::Cont | AbstractHeapType::NoCont => return None,
        _ => Top::Any,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_complained_about() {
        let values = |bits| Answer::Values(vec![Seen::Value(Value::F32(bits))]);
        let canonical = Wanted::Values(vec![Pattern::Nan32 { canonical: true }]);
        assert!(canonical.complaint(&values(0xffc0_0000)).is_none());
        assert!(canonical.complaint(&values(0x7fc0_0001)).is_some());
        let arithmetic = Wanted::Values(vec![Pattern::Nan32 { canonical: false }]);
        assert!(arithmetic.complaint(&values(0x7fc0_0001)).is_none());
        assert!(arithmetic.complaint(&values(0x7f80_0001)).is_some());
        assert!(arithmetic.complaint(&Answer::Values(vec![])).is_some());
        let trap = Wanted::Trap("integer overflow".into());
        assert!(
            trap.complaint(&Answer::Trap("wasm trap: integer overflow".into()))
                .is_none()
        );
        assert!(
            trap.complaint(&Answer::Trap("integer divide by zero".into()))
                .is_some()
        );
        assert!(trap.complaint(&Answer::Done).is_some());
        assert!(Wanted::Success.complaint(&Answer::Missing("x".into())).is_some());
    }

    #[test]
    fn a_trap_elsewhere_is_another_trap() {
        let trap = |wanted: &str, text: &str| {
            let answer = Answer::Trap(format!("wasm trap: {text}"));
            Wanted::Trap(wanted.into()).complaint(&answer)
        };
        assert!(trap("out of bounds memory access", "out of bounds memory access").is_none());
        assert!(trap("out of bounds memory access", "out of bounds table access").is_some());
        assert!(trap("out of bounds array access", "out of bounds memory access").is_some());
    }

    #[test]
    fn a_hosts_reference_is_no_struct_array_or_i31() {
        let host = Answer::Values(vec![Seen::Value(Value::Host(1))]);
        let any = |kinds| Wanted::Values(vec![Pattern::Any(kinds)]);
        assert!(any(&[]).complaint(&host).is_none());
        assert!(any(&["i31", "struct", "array"]).complaint(&host).is_some());
        assert!(any(&["i31"]).complaint(&host).is_some());
    }

    #[test]
    fn lanes_are_judged_one_by_one() {
        let lanes = [1.0_f32, 2.0, 3.0, f32::NAN].map(f32::to_le_bytes);
        let answer = Answer::Values(vec![Seen::Value(of_lanes(lanes))]);
        let value = |lane: f32| Box::new(Pattern::Value(Value::F32(lane.to_bits())));
        let nan = || Box::new(Pattern::Nan32 { canonical: true });
        let wanted = |third| {
            Wanted::Values(vec![Pattern::Lanes32([
                value(1.0),
                value(2.0),
                value(third),
                nan(),
            ])])
        };
        assert!(wanted(3.0).complaint(&answer).is_none());
        assert!(wanted(4.0).complaint(&answer).is_some());
    }
}
