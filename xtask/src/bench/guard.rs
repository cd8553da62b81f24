//! Holds exact figures against those on record, `bench/record.toml`: none may be worse by more than 3 %.
//!
//! `cargo xtask bench --record REASON` writes what it measures into the record; that is a change to be reviewed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use test_qemu::Engine;

use super::counter::Counter;
use super::{Figure, boot, calls, compute, fuel, has_valgrind, machine_calls};
use crate::arch::Arch;
use crate::ci::harness::Counts;
use crate::toolchain::{output, root};

/// By how many hundredths a figure may be worse.
const MARGIN: u64 = 3;

/// Figures on record: by section, then by name.
#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Why the figures were recorded last.
    reason: String,
    section: BTreeMap<String, BTreeMap<String, u64>>,
}

/// How a figure compares with the one on record.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    /// So much better that the record should follow, or a later loss would not be seen.
    Better(u64),
    Worse(u64),
    /// Not on record, though others of its section are.
    New,
    /// On record, and not measured any more.
    Gone,
}

/// Measures, and compares with the record; what is not on record for this machine's QEMU, or cannot be measured here,
/// is skipped, and that is said.
pub(crate) fn check() -> Result<Counts> {
    let record = Record::read()?;
    let mut counts = Counts::default();
    for (section, figures) in measure(&mut counts)? {
        let Some(known) = record.section.get(&section) else {
            println!(
                "SKIP: {} figures NOT CHECKED: {} has none of {section}; \
                 `cargo xtask bench --record REASON` adds them",
                figures.len(),
                path().display()
            );
            counts.skipped += figures.len();
            continue;
        };
        println!("\n{section}");
        for (name, now, verdict) in compare(known, &figures) {
            counts.passed += 1;
            let said = match verdict {
                Verdict::Kept => String::new(),
                Verdict::Better(before) => format!("better than {before}; record it"),
                Verdict::Worse(before) => {
                    format!("WORSE than {before} by more than {MARGIN} %")
                }
                Verdict::New => "NOT ON RECORD".to_owned(),
                Verdict::Gone => "NOT MEASURED any more".to_owned(),
            };
            if !matches!(verdict, Verdict::Kept | Verdict::Better(_)) {
                counts.passed -= 1;
                counts.failed += 1;
            }
            println!("  {name:56} {now:>12}  {said}");
        }
    }
    if counts.failed > 0 {
        println!(
            "\nIf that is meant: `cargo xtask bench --record REASON` writes these figures into {}.",
            path().display()
        );
    }
    Ok(counts)
}

/// Measures, and writes that into the record; sections that were not measured here stay.
pub(crate) fn record(reason: &str) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "a record wants a reason");
    let mut record = if path().exists() {
        Record::read()?
    } else {
        Record::default()
    };
    for (section, figures) in measure(&mut Counts::default())? {
        record.section.insert(section, figures.into_iter().collect());
    }
    reason.clone_into(&mut record.reason);
    fs::create_dir_all(root().join("bench"))?;
    fs::write(path(), record.to_text()).with_context(|| format!("cannot write {}", path().display()))
}

fn path() -> PathBuf {
    root().join("bench/record.toml")
}

/// All that can be measured here, by sections; counts what cannot as skipped.
fn measure(counts: &mut Counts) -> Result<Vec<(String, Vec<Figure>)>> {
    let counter = Counter::new()?;
    let mut in_machines = boot::figures(&counter)?;
    in_machines.extend(fuel::in_machines(&counter)?);
    in_machines.extend(machine_calls::figures(&counter)?);
    in_machines.extend(compute::in_machines(&counter)?);
    let mut sections = vec![("sizes in bytes".to_owned(), boot::sizes()?)];
    for counted in in_machines {
        // The versions of the three may differ; figures are of one of them.
        let section = section(counted.arch, counted.engine, &qemu_version(counted.arch)?);
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, figures)) => figures.push(counted.figure),
            None => sections.push((section, vec![counted.figure])),
        }
    }
    if has_valgrind() {
        let mut native = calls::figures()?;
        native.extend(fuel::on_host()?);
        sections.push((
            format!("instructions on a host, {}", std::env::consts::ARCH),
            native,
        ));
    } else {
        println!(
            "SKIP: calls and the interpreter on the host NOT COUNTED: valgrind is not here; `scripts/setup` installs it"
        );
        counts.skipped += 1;
    }
    Ok(sections)
}

/// The name of the section for a kind of machines.
fn section(arch: Arch, engine: Engine, version: &str) -> String {
    format!("{}, {}, on QEMU {version}", arch.name(), engine.name())
}

/// The version of an architecture's QEMU: the first two numbers.
fn qemu_version(arch: Arch) -> Result<String> {
    let text = output(Command::new(format!("qemu-system-{}", arch.name())).arg("--version"))?;
    short_version(&text).with_context(|| format!("no version in: {text}"))
}

/// `7.2` of `QEMU emulator version 7.2.22 (Debian …)`.
fn short_version(text: &str) -> Option<String> {
    let (_, version) = text.split_once("version ")?;
    let mut numbers = version.split(|character: char| !character.is_ascii_digit());
    Some(format!("{}.{}", numbers.next()?, numbers.next()?))
}

/// A verdict on each figure, measured or on record, with the figure as it is now.
fn compare(known: &BTreeMap<String, u64>, figures: &[Figure]) -> Vec<(String, u64, Verdict)> {
    let mut verdicts: Vec<_> = figures
        .iter()
        .map(|(name, now)| {
            let verdict = match known.get(name) {
                None => Verdict::New,
                Some(before) if now * 100 > before * (100 + MARGIN) => Verdict::Worse(*before),
                Some(before) if now * 100 < before * (100 - MARGIN) => Verdict::Better(*before),
                Some(_) => Verdict::Kept,
            };
            (name.clone(), *now, verdict)
        })
        .collect();
    for (name, before) in known {
        if figures.iter().all(|(other, _)| other != name) {
            verdicts.push((name.clone(), *before, Verdict::Gone));
        }
    }
    verdicts
}

impl Record {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(path()).with_context(|| format!("cannot read {}", path().display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a record", path().display()))
    }

    fn to_text(&self) -> String {
        let mut text = "# Figures that are the same in every run. `ci/bench-guard` fails if one is worse by more than 3 %, and skips what is\n\
             # not here for its version of QEMU. docs/performance.md says what they mean.\n\
             # `cargo xtask bench --record REASON` writes this file: a change to review like any other.\n\n"
            .to_owned();
        // Writing to a string cannot fail. Debug's quoting is TOML's for what names and reasons consist of.
        let _ = writeln!(text, "reason = {:?}", self.reason);
        for (section, figures) in &self.section {
            let _ = writeln!(text, "\n[section.{section:?}]");
            for (name, figure) in figures {
                let _ = writeln!(text, "{name:?} = {figure}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worse_by_more_than_the_margin_is_told() {
        let known = [("a", 1000), ("b", 1000), ("c", 1000), ("d", 12), ("gone", 5)];
        let known = known.map(|(name, figure)| (name.to_owned(), figure)).into();
        let figures = [("a", 1030), ("b", 1031), ("c", 969), ("d", 13), ("new", 1)];
        let figures = figures.map(|(name, figure)| (name.to_owned(), figure));
        let verdicts: Vec<_> = compare(&known, &figures)
            .into_iter()
            .map(|(name, _, verdict)| (name, verdict))
            .collect();
        let expected = [
            ("a", Verdict::Kept),
            ("b", Verdict::Worse(1000)),
            ("c", Verdict::Better(1000)),
            ("d", Verdict::Worse(12)),
            ("new", Verdict::New),
            ("gone", Verdict::Gone),
        ];
        assert_eq!(
            verdicts,
            expected.map(|(name, verdict)| (name.to_owned(), verdict))
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = Record {
            reason: "why \"that\" is\nso".to_owned(),
            ..Record::default()
        };
        let figures = [
            ("fd_write, 1 byte".to_owned(), 880),
            ("empty _start".to_owned(), 0),
        ];
        record
            .section
            .insert("x86_64 on QEMU 7.2".to_owned(), figures.into());
        let read: Record = toml::from_str(&record.to_text()).unwrap();
        assert_eq!(read, record);
    }

    #[test]
    fn the_records_sections_are_of_machines_and_engines() {
        let known = Record::read().unwrap();
        for arch in Arch::ALL {
            let section = section(arch, Engine::Interp, "7.2");
            assert!(known.section.contains_key(&section), "{section}");
        }
    }

    #[test]
    fn versions_of_qemu_are_cut_to_two_numbers() {
        for (text, version) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", Some("7.2")),
            ("QEMU emulator version 10.0.2\nCopyright", Some("10.0")),
            ("something else", None),
        ] {
            assert_eq!(short_version(text).as_deref(), version);
        }
    }
}
