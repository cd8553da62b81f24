//! What steps found, as a table for people and as a file for the process that adds several jobs up.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::harness::{Counts, Machines};

/// The variable that names the file to hand a report over in.
pub(crate) const VARIABLE: &str = "HERMIT_WASM_CI_REPORT";

/// What steps found, in their order, and how many seconds each took.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(String, Counts, u64)>,
}

impl Report {
    pub(crate) fn add(&mut self, step: &str, counts: Counts, seconds: u64) {
        self.rows.push((step.to_owned(), counts, seconds));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
    }

    pub(crate) fn has(&self, step: &str) -> bool {
        self.rows.iter().any(|(name, ..)| name == step)
    }

    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, counts, _) in &self.rows {
            total.add(counts);
        }
        total
    }

    /// Prints a row a step, one a kind of machines, and the sum, alone in the last line.
    pub(crate) fn print(&self) {
        println!("\n=== summary");
        println!(
            "{:18} {:>7} {:>7} {:>8} {:>8}",
            "step", "passed", "failed", "skipped", "time"
        );
        for (name, counts, seconds) in &self.rows {
            println!(
                "{name:18} {:7} {:7} {:8} {seconds:7}s",
                counts.passed, counts.failed, counts.skipped
            );
        }
        let total = self.total();
        total.print_by_machines();
        println!(
            "\n{} passed, {} failed, {} skipped",
            total.passed, total.failed, total.skipped
        );
    }

    /// Writes the report into the file that [`VARIABLE`] names; whether it names one.
    pub(crate) fn hand_over(&self) -> Result<bool> {
        let Some(path) = std::env::var_os(VARIABLE) else {
            return Ok(false);
        };
        fs::write(&path, self.to_text()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }

    /// Reads what another process handed over.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a report", path.display()))
    }

    /// A line a step, `STEP PASSED FAILED SKIPPED SECONDS`, each followed by its machines', ` ARCH/ENGINE PASSED FAILED
    /// SKIPPED`.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, counts, seconds) in &self.rows {
            let Counts {
                passed,
                failed,
                skipped,
                by_machines,
            } = counts;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {passed} {failed} {skipped} {seconds}");
            for (machines, [passed, failed, skipped]) in by_machines {
                let _ = writeln!(text, " {} {passed} {failed} {skipped}", machines.name());
            }
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut report = Self::default();
        for line in text.lines() {
            let mut words = line.trim_start().split(' ');
            let name = words.next()?;
            let mut number = || words.next()?.parse::<usize>().ok();
            let [passed, failed, skipped] = [number()?, number()?, number()?];
            if line.starts_with(' ') {
                let machines = Machines::from_name(name)?;
                report
                    .rows
                    .last_mut()?
                    .1
                    .note(machines, [passed, failed, skipped]);
            } else {
                let counts = Counts {
                    passed,
                    failed,
                    skipped,
                    ..Counts::default()
                };
                report.add(name, counts, u64::try_from(number()?).ok()?);
            }
        }
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use test_qemu::Engine;

    use super::*;
    use crate::arch::Arch;

    #[test]
    fn what_is_handed_over_arrives() {
        let mut report = Report::default();
        report.add("fmt", Counts::ONE, 3);
        let mut counts = Counts {
            passed: 5,
            failed: 1,
            skipped: 2,
            ..Counts::default()
        };
        let of = |arch, engine| Machines { arch, engine };
        counts.note(of(Arch::Aarch64, Engine::Interp), [4, 1, 0]);
        counts.note(of(Arch::Aarch64, Engine::Native), [1, 0, 2]);
        report.add("boot", counts, 70);
        let read = Report::parse(&report.to_text()).unwrap();
        assert_eq!(read.to_text(), report.to_text());
        let total = read.total();
        assert_eq!((total.passed, total.failed, total.skipped), (6, 1, 2));
        assert_eq!(
            total.by_machines,
            [
                (of(Arch::Aarch64, Engine::Interp), [4, 1, 0]),
                (of(Arch::Aarch64, Engine::Native), [1, 0, 2])
            ]
        );
        assert!(read.has("boot") && !read.has("share"));
    }

    #[test]
    fn half_a_report_is_none() {
        assert!(Report::parse("fmt 1 0").is_none());
        assert!(Report::parse("fmt 1 0 0").is_none());
        assert!(Report::parse(" x86_64/interp 1 0 0").is_none());
        assert!(Report::parse("boot 1 0 0 9\n sparc/interp 1 0 0").is_none());
        assert!(Report::parse("boot 1 0 0 9\n x86_64 1 0 0").is_none());
    }
}
