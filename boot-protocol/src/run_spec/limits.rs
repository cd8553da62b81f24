//! What a guest may use up: each limit, what it is counted in, and how a description lists them.
//!
//! Layer: shared vocabulary. The machine holds every one of them; `docs/limits.md` says where and how exactly.

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

    /// What messages call it.
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
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    fn each_has_its_place() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            let one = Limits::NONE.with(limit, 1);
            assert!(one.iter().eq([(limit, 1)]));
        }
    }
}
