//! What test programs say: runs them, and adds up how many tests passed, failed and were skipped.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use test_qemu::Engine;

use crate::arch::Arch;

/// Machines of one kind: an architecture, and what runs the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machines {
    pub(crate) arch: Arch,
    pub(crate) engine: Engine,
}

impl Machines {
    /// `x86_64/native`.
    pub(crate) fn name(self) -> String {
        format!("{}/{}", self.arch.name(), self.engine.name())
    }

    /// Those of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let (arch, engine) = name.split_once('/')?;
        Some(Self {
            arch: Arch::ALL.into_iter().find(|known| known.name() == arch)?,
            engine: engine.parse().ok()?,
        })
    }
}

/// What a step found.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Of these, what ran in virtual machines, by their kind.
    pub(crate) by_machines: Vec<(Machines, [usize; 3])>,
}

impl Counts {
    /// A step that is one check, done well.
    pub(crate) const ONE: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
        by_machines: Vec::new(),
    };

    /// A step that could not be done.
    pub(crate) const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
        by_machines: Vec::new(),
    };

    pub(crate) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        for (machines, counts) in &other.by_machines {
            self.note(*machines, *counts);
        }
    }

    /// Adds passed, failed and skipped to the row of a kind of machines.
    pub(crate) fn note(&mut self, machines: Machines, counts: [usize; 3]) {
        let index = self.by_machines.iter().position(|(other, _)| *other == machines);
        let index = index.unwrap_or_else(|| {
            self.by_machines.push((machines, [0; 3]));
            self.by_machines.len() - 1
        });
        for (sum, count) in self.by_machines[index].1.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    /// The table by kinds of machines, if there is anything in it.
    pub(crate) fn print_by_machines(&self) {
        if self.by_machines.is_empty() {
            return;
        }
        println!(
            "\n{:16} {:>7} {:>7} {:>8}",
            "in machines", "passed", "failed", "skipped"
        );
        for (machines, [passed, failed, skipped]) in &self.by_machines {
            println!("{:16} {passed:7} {failed:7} {skipped:8}", machines.name());
        }
    }
}

/// Runs a command whose success is one check.
pub(crate) fn check(command: &mut Command) -> Result<Counts> {
    crate::toolchain::run(command)?;
    Ok(Counts::ONE)
}

/// What a line begins with by which a test says that it did not do all that it should. Rust's own test harness knows no
/// test that finds out while it runs that this machine lacks something.
const SKIPPED: &str = "SKIPPED: ";

/// Runs Rust test harnesses and adds up what their closing lines say, and what tests say that they skipped.
pub(crate) fn harness(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.stdout.take().context("no output")?;
    let mut counts = Counts::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.add(&counted(&line));
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        // It failed before a test could: a build error.
        counts.failed += 1;
    }
    if status.success() && counts.passed == 0 {
        bail!("no test was executed");
    }
    Ok(counts)
}

/// What a line adds.
fn counted(line: &str) -> Counts {
    match line.strip_prefix("test result: ") {
        Some(result) => parse_result(result),
        None => Counts {
            skipped: line.starts_with(SKIPPED).into(),
            ..Counts::default()
        },
    }
}

/// Reads `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn parse_result(line: &str) -> Counts {
    let number = |what: &str| {
        let (before, _) = line.split_once(what)?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Counts {
        passed: number(" passed").unwrap_or(0),
        failed: number(" failed").unwrap_or(0),
        skipped: number(" ignored").unwrap_or(0),
        ..Counts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_counted_as_well() {
        let said = "running 3 tests\nSKIPPED: ::1: this host has no IPv6\ntest a ... ok\n\
                    test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n";
        let mut counts = Counts::default();
        said.lines().for_each(|line| counts.add(&counted(line)));
        assert_eq!((counts.passed, counts.failed, counts.skipped), (1, 1, 3));
    }
}
