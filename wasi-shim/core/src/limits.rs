//! What a guest may use up of what WASI gives: descriptors, bytes written to files, bytes of output.
//!
//! Layer: core. A call that would exceed a limit does what the limit still allows, and notes it: the interface ends the
//! guest then. The calls themselves know only errors, which a guest could ignore.

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open descriptors.
    Descriptors,
    /// Bytes written to files.
    FileBytes,
    /// Bytes written to standard output and standard error.
    OutputBytes,
}

/// The limits of a guest; `None` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many descriptors it may have open, streams and preopens included.
    pub descriptors: Option<usize>,
    /// How many bytes it may write to files, all together.
    pub file_bytes: Option<u64>,
    /// How many bytes it may write to standard output and standard error together.
    pub output_bytes: Option<u64>,
}

/// What is left of the limits.
#[derive(Debug, Default)]
pub(crate) struct Left {
    limits: Limits,
    exceeded: Option<Limit>,
}

impl Left {
    pub(crate) const fn of(limits: Limits) -> Self {
        Self {
            limits,
            exceeded: None,
        }
    }

    /// The limit that the guest has wanted to exceed.
    pub(crate) const fn exceeded(&self) -> Option<Limit> {
        self.exceeded
    }

    /// Notes that the guest has wanted more than this limit allows.
    pub(crate) const fn exceed(&mut self, limit: Limit) {
        self.exceeded = Some(limit);
    }

    /// How many bytes of output are left, if they are limited.
    pub(crate) const fn output(&self) -> Option<u64> {
        self.limits.output_bytes
    }

    /// Notes that the guest has wanted one descriptor more than it may have, if that is limited.
    pub(crate) fn no_descriptor(&mut self) {
        if self.limits.descriptors.is_some() {
            self.exceeded = Some(Limit::Descriptors);
        }
    }

    /// How many of `wanted` bytes may be written.
    pub(crate) fn admit(&mut self, limit: Limit, wanted: usize) -> usize {
        self.admit_behind(limit, 0, wanted)
    }

    /// How many of `wanted` bytes may be written, if `gap` bytes before them count too.
    pub(crate) fn admit_behind(&mut self, limit: Limit, gap: u64, wanted: usize) -> usize {
        let Some(left) = self.of_bytes(limit) else {
            return wanted;
        };
        let room = usize::try_from(left.saturating_sub(gap)).unwrap_or(usize::MAX);
        if wanted > room {
            self.exceeded = Some(limit);
        }
        wanted.min(room)
    }

    /// Whether all of `wanted` bytes may be written.
    pub(crate) fn admit_all(&mut self, limit: Limit, wanted: u64) -> bool {
        let admitted = self.of_bytes(limit).is_none_or(|left| wanted <= *left);
        if !admitted {
            self.exceeded = Some(limit);
        }
        admitted
    }

    /// Counts what was written.
    pub(crate) fn count(&mut self, limit: Limit, written: u64) {
        if let Some(left) = self.of_bytes(limit) {
            *left = left.saturating_sub(written);
        }
    }

    /// Whether bytes of this kind are counted.
    pub(crate) const fn counts_files(&self) -> bool {
        self.limits.file_bytes.is_some()
    }

    fn of_bytes(&mut self, limit: Limit) -> Option<&mut u64> {
        match limit {
            Limit::Descriptors => None,
            Limit::FileBytes => self.limits.file_bytes.as_mut(),
            Limit::OutputBytes => self.limits.output_bytes.as_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_may_be_written_and_no_more() {
        let mut left = Left::of(Limits {
            output_bytes: Some(10),
            ..Limits::default()
        });
        assert_eq!(left.admit(Limit::OutputBytes, 7), 7);
        left.count(Limit::OutputBytes, 7);
        assert_eq!(left.admit(Limit::OutputBytes, 3), 3);
        assert_eq!((left.admit(Limit::FileBytes, 100), left.exceeded()), (100, None));
        assert_eq!(left.admit(Limit::OutputBytes, 4), 3);
        assert_eq!(left.exceeded(), Some(Limit::OutputBytes));
    }

    #[test]
    fn a_gap_counts_like_the_bytes_behind_it() {
        let limited = || {
            Left::of(Limits {
                file_bytes: Some(10),
                ..Limits::default()
            })
        };
        let mut left = limited();
        assert_eq!(
            (left.admit_behind(Limit::FileBytes, 8, 2), left.exceeded()),
            (2, None)
        );
        assert_eq!(left.admit_behind(Limit::FileBytes, 8, 3), 2);
        assert_eq!(left.exceeded(), Some(Limit::FileBytes));
        assert_eq!(limited().admit_behind(Limit::FileBytes, u64::MAX, 1), 0);
        assert_eq!(limited().admit_behind(Limit::OutputBytes, u64::MAX, 1), 1);
    }

    #[test]
    fn a_size_is_admitted_whole_or_not() {
        let mut left = Left::of(Limits {
            file_bytes: Some(10),
            ..Limits::default()
        });
        assert!(left.admit_all(Limit::FileBytes, 10) && left.exceeded().is_none());
        assert!(!left.admit_all(Limit::FileBytes, 11));
        assert_eq!(left.exceeded(), Some(Limit::FileBytes));
    }
}
