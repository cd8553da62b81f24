//! What the same measurement gave, several times.

/// The least, the one in the middle, and the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread<T> {
    pub(super) least: T,
    pub(super) median: T,
    pub(super) most: T,
}

impl<T: Copy + PartialOrd> Spread<T> {
    /// Of all that was measured; `None` if that is nothing.
    pub(super) fn of(mut all: Vec<T>) -> Option<Self> {
        all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        Some(Self {
            least: *all.first()?,
            median: *all.get(all.len() / 2)?,
            most: *all.last()?,
        })
    }

    /// The one in the middle, and if there are others the least and the most.
    pub(super) fn show(&self, number: impl Fn(T) -> String) -> String {
        if self.least == self.most {
            return number(self.median);
        }
        format!(
            "{} ({} to {})",
            number(self.median),
            number(self.least),
            number(self.most)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_and_shown() {
        let spread = Spread::of(vec![5, 1, 9]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1, 5, 9));
        assert_eq!(spread.show(|number: i32| number.to_string()), "5 (1 to 9)");
        assert_eq!(
            Spread::of(vec![2.5, 2.5])
                .unwrap()
                .show(|number| format!("{number:.1}")),
            "2.5"
        );
        assert_eq!(Spread::<u8>::of(Vec::new()), None);
    }
}
