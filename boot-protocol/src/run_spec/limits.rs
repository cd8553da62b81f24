//! What a guest may use up: each limit, what it is counted in, and how a description lists them.
//!
//! Layer: shared vocabulary. The machine holds every one of them; `docs/limits.md` says where and how exactly. People
//! write them as wasmtime's `-W` takes them, `fuel=1000` or `timeout=5s`: [`Limits::apply`].

use alloc::format;
use alloc::string::String;
use core::fmt;

/// A limit of what a guest may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// What the guest may execute, in the engine's units: about one for each instruction of WebAssembly.
    Fuel,
    /// Nanoseconds from the start of the application to the end of the machine, whatever the guest is doing.
    Deadline,
    /// Bytes of one linear memory.
    Memory,
    /// Elements of one table.
    TableElements,
    /// Bytes of the stack that the guest's calls use.
    Stack,
    /// Descriptors that are open at once, the standard streams and the directories included.
    Descriptors,
    /// Bytes that the guest may write to files, all files together.
    FileBytes,
    /// Bytes that the guest may write to standard output and standard error, both together.
    OutputBytes,
}

impl Limit {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 8] = [
        Self::Fuel,
        Self::Deadline,
        Self::Memory,
        Self::TableElements,
        Self::Stack,
        Self::Descriptors,
        Self::FileBytes,
        Self::OutputBytes,
    ];

    /// What reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::TableElements => "table elements",
            Self::Stack => "stack",
            Self::Descriptors => "descriptors",
            Self::FileBytes => "file bytes",
            Self::OutputBytes => "output bytes",
        }
    }

    /// What messages call it, before the word "limit".
    const fn noun(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "time",
            Self::Memory => "memory",
            Self::TableElements => "table",
            Self::Stack => "stack",
            Self::Descriptors => "descriptor",
            Self::FileBytes => "file",
            Self::OutputBytes => "output",
        }
    }

    /// What people write: wasmtime's word where it has one.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "timeout",
            Self::Memory => "max-memory-size",
            Self::TableElements => "max-table-elements",
            Self::Stack => "max-wasm-stack",
            Self::Descriptors => "max-descriptors",
            Self::FileBytes => "max-file-bytes",
            Self::OutputBytes => "max-output-bytes",
        }
    }

    /// The limit of this number, by which the wire and [exit codes](crate::exit_code::of_limit) know it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The limit with a value, as messages name it.
    #[must_use]
    pub const fn of(self, value: u64) -> Reached {
        Reached { limit: self, value }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit that a guest has reached. Prints as messages name it: `memory limit (65536 bytes)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Which.
    pub limit: Limit,
    /// Its value.
    pub value: u64,
}

impl fmt::Display for Reached {
    /// Needs no heap: the deadline comes at any time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, value } = self;
        let noun = limit.noun();
        match limit {
            Limit::Fuel | Limit::Descriptors => write!(f, "{noun} limit ({value})"),
            Limit::TableElements => write!(f, "{noun} limit ({value} elements)"),
            Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => {
                write!(f, "{noun} limit ({value} bytes)")
            }
            Limit::Deadline => {
                let (scale, unit) = DURATIONS
                    .into_iter()
                    .find(|(scale, _)| value.is_multiple_of(*scale))
                    .unwrap_or((1, "ns"));
                write!(
                    f,
                    "{noun} limit ({} {unit})",
                    value.checked_div(scale).unwrap_or(0)
                )
            }
        }
    }
}

/// Units of durations in nanoseconds, those that messages use first.
const DURATIONS: [(u64, &str); 7] = [
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
    (60_000_000_000, "min"),
    (60_000_000_000, "m"),
    (3_600_000_000_000, "h"),
];

/// Units of sizes in bytes.
const SIZES: [(u64, &str); 7] = [
    (1, "b"),
    (1 << 10, "k"),
    (1 << 10, "kib"),
    (1 << 20, "m"),
    (1 << 20, "mib"),
    (1 << 30, "g"),
    (1 << 30, "gib"),
];

/// The word that makes growth trap where it fails.
const TRAP_ON_GROW_FAILURE: &str = "trap-on-grow-failure";

/// Why a word sets no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// No limit is called so.
    Unknown(String),
    /// The limit's value is missing, or no value of this limit's.
    Value {
        /// The limit's word.
        word: &'static str,
        /// What was given.
        value: Option<String>,
        /// What is right.
        expected: &'static str,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => {
                write!(f, "no limit is called {word:?}; the limits are ")?;
                for limit in Limit::ALL {
                    write!(f, "{}, ", limit.word())?;
                }
                f.write_str(TRAP_ON_GROW_FAILURE)
            }
            Self::Value {
                word,
                value: None,
                expected,
            } => write!(f, "{word} needs a value: {word}=VALUE, {expected}"),
            Self::Value {
                word,
                value: Some(value),
                expected,
            } => write!(f, "{word}: cannot use {value:?}; expected {expected}"),
        }
    }
}

impl core::error::Error for LimitError {}

/// A whole number with a unit, the first of which stands for a number alone.
fn with_unit(text: &str, bare: u64, units: &[(u64, &str)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let scale = match unit {
        "" => bare,
        unit => units.iter().find(|(_, name)| unit.eq_ignore_ascii_case(name))?.0,
    };
    number.checked_mul(scale)
}

/// What a guest may use up; what is `None` is limited by the machine alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    values: [Option<u64>; Limit::ALL.len()],
    /// A memory or table that must not or cannot grow traps, where it would else answer -1.
    pub trap_on_grow_failure: bool,
}

impl Limits {
    /// Nothing is limited.
    pub const NONE: Self = Self {
        values: [None; Limit::ALL.len()],
        trap_on_grow_failure: false,
    };

    /// The value of a limit.
    #[must_use]
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.values.get(limit as usize).copied().flatten()
    }

    /// Sets or lifts a limit.
    pub fn set(&mut self, limit: Limit, value: Option<u64>) {
        if let Some(place) = self.values.get_mut(limit as usize) {
            *place = value;
        }
    }

    /// These, with one limit more.
    #[must_use]
    pub fn with(mut self, limit: Limit, value: u64) -> Self {
        self.set(limit, Some(value));
        self
    }

    /// These, with growth that fails made a trap.
    #[must_use]
    pub fn trapping_on_grow_failure(mut self) -> Self {
        self.trap_on_grow_failure = true;
        self
    }

    /// Sets a limit as people write it: `fuel=1000`, `timeout=500ms`, `max-memory-size=16MiB`, `trap-on-grow-failure`.
    ///
    /// # Errors
    /// [`LimitError`] says what is wrong with the word.
    pub fn apply(&mut self, word: &str) -> Result<(), LimitError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let wrong = |word, expected| LimitError::Value {
            word,
            value: value.map(String::from),
            expected,
        };
        if name == TRAP_ON_GROW_FAILURE {
            self.trap_on_grow_failure = match value {
                None | Some("y" | "yes" | "true") => true,
                Some("n" | "no" | "false") => false,
                Some(_) => return Err(wrong(TRAP_ON_GROW_FAILURE, "y or n")),
            };
            return Ok(());
        }
        let known = Limit::ALL.into_iter().find(|limit| limit.word() == name);
        let limit = known.ok_or_else(|| LimitError::Unknown(name.into()))?;
        let text = value.unwrap_or_default();
        let (number, expected) = match limit {
            Limit::Fuel | Limit::TableElements | Limit::Descriptors => {
                (with_unit(text, 1, &[]), "a whole number")
            }
            Limit::Deadline => (
                // A number alone is seconds, as wasmtime has it.
                with_unit(text, 1_000_000_000, &DURATIONS),
                "a whole number with a unit, as 5s or 500ms",
            ),
            Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => (
                with_unit(text, 1, &SIZES),
                "a number of bytes, also with a unit, as 64KiB or 16M",
            ),
        };
        let number = number.ok_or_else(|| wrong(limit.word(), expected))?;
        self.set(limit, Some(number));
        Ok(())
    }

    /// All that there is: the limits that are set, and whether growth that fails traps. Who shows limits, or copies them
    /// elsewhere, begins with this, so that nothing is forgotten.
    pub fn parts(&self) -> (impl Iterator<Item = (Limit, u64)>, bool) {
        let Self {
            values: _,
            trap_on_grow_failure,
        } = self;
        (self.iter(), *trap_on_grow_failure)
    }

    /// The words that [`Self::apply`] makes the same of.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let unit = |limit| if limit == Limit::Deadline { "ns" } else { "" };
        let (values, traps) = self.parts();
        let trap = traps.then(|| TRAP_ON_GROW_FAILURE.into());
        values
            .map(move |(limit, value)| format!("{}={value}{}", limit.word(), unit(limit)))
            .chain(trap)
    }

    /// Those that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL
            .into_iter()
            .filter_map(|limit| Some((limit, self.get(limit)?)))
    }

    /// What both allow: of each limit the lower value.
    #[must_use]
    pub fn narrowed(&self, other: &Self) -> Self {
        let mut both = *self;
        for (limit, value) in other.iter() {
            let lower = both.get(limit).map_or(value, |own| own.min(value));
            both.set(limit, Some(lower));
        }
        both.trap_on_grow_failure |= other.trap_on_grow_failure;
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_value_holds() {
        let own = Limits::NONE.with(Limit::Fuel, 10).with(Limit::Memory, 5);
        let other = Limits::NONE.with(Limit::Fuel, 7).with(Limit::Stack, 3);
        let both = own.narrowed(&other);
        assert_eq!(both, other.narrowed(&own));
        assert!(
            both.iter()
                .eq([(Limit::Fuel, 7), (Limit::Memory, 5), (Limit::Stack, 3)])
        );
        assert_eq!(Limits::NONE.narrowed(&both), both);
        assert!(
            both.trapping_on_grow_failure()
                .narrowed(&both)
                .trap_on_grow_failure
        );
    }

    #[test]
    fn what_people_write() {
        let mut limits = Limits::NONE;
        for (word, limit, value) in [
            ("fuel=1000", Limit::Fuel, 1000),
            ("timeout=5", Limit::Deadline, 5_000_000_000),
            ("timeout=5s", Limit::Deadline, 5_000_000_000),
            ("timeout=250ms", Limit::Deadline, 250_000_000),
            ("timeout=2m", Limit::Deadline, 120_000_000_000),
            ("max-memory-size=65536", Limit::Memory, 65536),
            ("max-memory-size=16MiB", Limit::Memory, 16 << 20),
            ("max-table-elements=10", Limit::TableElements, 10),
            ("max-wasm-stack=64k", Limit::Stack, 64 << 10),
            ("max-descriptors=5", Limit::Descriptors, 5),
            ("max-file-bytes=1G", Limit::FileBytes, 1 << 30),
            ("max-output-bytes=0", Limit::OutputBytes, 0),
        ] {
            limits.apply(word).unwrap();
            assert_eq!(limits.get(limit), Some(value), "{word}");
        }
        limits.apply("trap-on-grow-failure").unwrap();
        let mut again = Limits::NONE;
        for word in limits.words() {
            again.apply(&word).unwrap();
        }
        assert_eq!(limits, again);
        limits.apply("trap-on-grow-failure=n").unwrap();
        assert!(!limits.trap_on_grow_failure);
    }

    #[test]
    fn what_sets_no_limit_changes_none() {
        for word in [
            "",
            "=",
            "feul=1",
            "fuel",
            "fuel=",
            "fuel=-1",
            "fuel=1k",
            "fuel=99999999999999999999",
            "timeout=1x",
            "timeout=99999999999999h",
            "timeout=s",
            "max-memory-size=16Mb!",
            "trap-on-grow-failure=2",
        ] {
            let mut limits = Limits::NONE;
            let error = limits.apply(word).unwrap_err();
            assert_eq!(limits, Limits::NONE, "{word}");
            assert!(!format!("{error}").is_empty());
        }
        let mut limits = Limits::NONE;
        let error = limits.apply("feul=1").unwrap_err();
        assert!(format!("{error}").contains("fuel, timeout"), "{error}");
    }

    #[test]
    fn messages_name_limit_and_value() {
        for (reached, text) in [
            (Limit::Fuel.of(7), "fuel limit (7)"),
            (Limit::Deadline.of(5_000_000_000), "time limit (5 s)"),
            (Limit::Deadline.of(1_500_000_000), "time limit (1500 ms)"),
            (Limit::Deadline.of(1), "time limit (1 ns)"),
            (Limit::Memory.of(65536), "memory limit (65536 bytes)"),
            (Limit::OutputBytes.of(10), "output limit (10 bytes)"),
        ] {
            assert_eq!(format!("{reached}"), text);
        }
    }

    #[test]
    fn each_has_its_place() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            let one = Limits::NONE.with(limit, 1);
            assert!(one.iter().eq([(limit, 1)]));
        }
    }
}
