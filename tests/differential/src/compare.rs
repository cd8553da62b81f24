//! Compares the logs that two runtimes made of the same sequences of calls.
//!
//! Layer: host tests. A log is what `guests/rust/src/bin/differential.rs` prints.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::expectations::{Expectations, Reference};

/// How many differences of a kind are shown.
const MOST_SHOWN: usize = 3;

/// One call and what came of it: `NAME(ARGUMENTS) = ERRNO RESULTS`.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The call's name.
    pub call: &'a str,
    /// Its arguments, as the guest shows them.
    pub arguments: &'a str,
    /// How it ended.
    pub errno: &'a str,
    /// Its results, `NAME=VALUE` each.
    pub results: Vec<&'a str>,
}

impl<'a> Answer<'a> {
    /// Takes a line apart, without its number.
    ///
    /// # Errors
    /// If it is no such line.
    pub fn parse(line: &'a str) -> Result<Self> {
        let wrong = || format!("no line of a log: {line}");
        let (asked, answered) = line.rsplit_once(") = ").with_context(wrong)?;
        let (call, arguments) = asked.split_once('(').with_context(wrong)?;
        let mut words = answered.split(' ');
        Ok(Self {
            call,
            arguments,
            errno: words.next().with_context(wrong)?,
            results: words.collect(),
        })
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Report {
    /// Sequences.
    pub sequences: usize,
    /// Lines of them: calls, and what was there at the end.
    pub calls: usize,
    /// Lines that were compared: those after the end of a sequence's comparison are not.
    pub compared: usize,
    /// Sequences not compared to their end, because a rule said so.
    pub cut: usize,
    /// How often each rule explained a difference, by its place.
    pub explained: BTreeMap<usize, usize>,
    /// Differences without a rule: both lines with their number, by call, our errno and the other's.
    pub unexplained: BTreeMap<(String, String, String), Vec<(String, String)>>,
}

impl Report {
    /// Compares two logs and adds what is found.
    ///
    /// # Errors
    /// If a log is none, or they are not of the same sequences.
    pub fn add(
        &mut self,
        rules: &Expectations,
        reference: Reference,
        ours: &str,
        theirs: &str,
    ) -> Result<()> {
        let (ours, theirs) = (sequences(ours)?, sequences(theirs)?);
        ensure!(
            ours.keys().eq(theirs.keys()),
            "the logs are of {} and {} sequences",
            ours.len(),
            theirs.len()
        );
        for (number, lines) in &ours {
            self.sequences += 1;
            self.calls += lines.len();
            let other = theirs.get(number).context("no such sequence")?;
            self.sequence(rules, reference, lines, other)?;
        }
        Ok(())
    }

    /// Compares a sequence until the two runtimes are in different states.
    fn sequence(
        &mut self,
        rules: &Expectations,
        reference: Reference,
        ours: &[&str],
        theirs: &[&str],
    ) -> Result<()> {
        for (our, their) in ours.iter().zip(theirs) {
            self.compared += 1;
            if our == their {
                continue;
            }
            let (ours, theirs) = (unnumbered(our)?, unnumbered(their)?);
            // A call may stand behind the close that made room for it.
            let last = |line: &'_ str| line.rfind(" ; ").map_or(0, |at| at + 3);
            let (before, after) = (ours.get(..last(ours)), theirs.get(..last(theirs)));
            let (ours, theirs) = (
                Answer::parse(ours.get(last(ours)..).unwrap_or(ours))?,
                Answer::parse(theirs.get(last(theirs)..).unwrap_or(theirs))?,
            );
            let same = before == after && ours.call == theirs.call && ours.arguments == theirs.arguments;
            let rule = rules.rule.iter().position(|rule| {
                same && rule.references.contains(&reference) && rule.explains(&ours, &theirs)
            });
            let Some((place, rule)) = rule.and_then(|place| Some((place, rules.rule.get(place)?))) else {
                let kind = (ours.call.into(), ours.errno.into(), theirs.errno.into());
                self.different(kind, our, their);
                return Ok(());
            };
            *self.explained.entry(place).or_default() += 1;
            if rule.ends {
                self.cut += 1;
                return Ok(());
            }
        }
        if ours.len() != theirs.len() {
            let first = ours.len().min(theirs.len());
            let line = |lines: &[&str]| (*lines.get(first).unwrap_or(&"nothing more")).to_owned();
            self.different(Default::default(), &line(ours), &line(theirs));
        }
        Ok(())
    }

    /// Tells what was found; whether it is good. With `all_rules` each rule has to have explained something.
    #[must_use]
    pub fn print(&self, rules: &Expectations, reference: Reference, seed: u64, all_rules: bool) -> bool {
        println!("\n{reference:?}: differences that a rule explains");
        let mut idle = 0;
        for (place, rule) in rules.rule.iter().enumerate() {
            if !rule.references.contains(&reference) {
                continue;
            }
            let count = self.explained.get(&place).copied().unwrap_or(0);
            idle += usize::from(count == 0);
            println!("{count:7}  {}: {}", rule.calls.join(" "), rule.reason);
        }
        for ((call, ours, theirs), lines) in &self.unexplained {
            println!(
                "DIFFERENT {call}: ours {ours}, theirs {theirs}: {} times",
                lines.len()
            );
            for (ours, theirs) in lines.iter().take(MOST_SHOWN) {
                println!("  ours:   {ours}\n  theirs: {theirs}");
            }
        }
        let unexplained: usize = self.unexplained.values().map(Vec::len).sum();
        println!(
            "differential: {reference:?}: {} sequences, {} calls and lines of state, {} compared ({} sequences ended by a rule), {} explained \
             differences, {} unexplained, seed {seed}",
            self.sequences,
            self.calls,
            self.compared,
            self.cut,
            self.explained.values().sum::<usize>(),
            unexplained,
        );
        if all_rules && idle > 0 {
            println!("{idle} rules explained nothing: take them out of the file of expectations");
        }
        unexplained == 0 && (idle == 0 || !all_rules)
    }

    fn different(&mut self, kind: (String, String, String), ours: &str, theirs: &str) {
        let lines = (ours.into(), theirs.into());
        self.unexplained.entry(kind).or_default().push(lines);
    }
}

/// A log's lines by sequence.
fn sequences(log: &str) -> Result<BTreeMap<u64, Vec<&str>>> {
    let mut sequences: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for line in log.lines() {
        let (number, _) = line
            .split_once('.')
            .with_context(|| format!("a line without number: {line}"))?;
        sequences.entry(number.parse()?).or_default().push(line);
    }
    Ok(sequences)
}

/// A line without its number.
fn unnumbered(line: &str) -> Result<&str> {
    line.split_once(' ')
        .map(|(_, rest)| rest)
        .with_context(|| format!("a line without number: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [[rule]]
        references = ["wasmtime"]
        calls = ["fd_allocate"]
        ours = ["SUCCESS"]
        theirs = ["NOTSUP"]
        reason = "it has none"
        [[rule]]
        references = ["wasmtime"]
        calls = ["path_create_directory"]
        arguments = '/"$'
        ours = ["SUCCESS"]
        theirs = ["NOENT"]
        ends = true
        reason = "slashes"
    "#;

    fn report(ours: &str, theirs: &str) -> Result<Report> {
        let mut report = Report::default();
        report.add(&Expectations::parse(RULES)?, Reference::Wasmtime, ours, theirs)?;
        Ok(report)
    }

    #[test]
    fn lines_are_taken_apart() {
        let answer = Answer::parse(r#"path_open(d, 0, "a) = b") = SUCCESS x=1 y=2"#).unwrap();
        assert_eq!(
            (answer.call, answer.errno, answer.results),
            ("path_open", "SUCCESS", vec!["x=1", "y=2"])
        );
        assert!(Answer::parse("fd_read d NOENT").is_err());
    }

    #[test]
    fn differences_are_explained_or_not() {
        let same = "0.0 fd_sync(1) = SUCCESS\n";
        let found = report(same, same).unwrap();
        assert_eq!((found.compared, found.unexplained.len()), (1, 0));

        let found = report(
            &format!("0.0 fd_allocate(1) = SUCCESS\n1.0 fd_sync(1) = SUCCESS\n{same}"),
            &format!("0.0 fd_allocate(1) = NOTSUP\n1.0 fd_sync(1) = IO\n{same}"),
        )
        .unwrap();
        assert_eq!((found.compared, found.unexplained.len(), found.cut), (3, 1, 0));
        assert_eq!(found.explained.get(&0), Some(&1));
    }

    #[test]
    fn a_rule_may_end_a_sequence() {
        let ours = "0.0 path_create_directory(d, \"a/\") = SUCCESS\n0.1 fd_sync(1) = SUCCESS\n";
        let theirs = "0.0 path_create_directory(d, \"a/\") = NOENT\n0.1 fd_sync(1) = IO\n";
        let found = report(ours, theirs).unwrap();
        assert_eq!((found.compared, found.unexplained.len(), found.cut), (1, 0, 1));
    }

    #[test]
    fn another_call_or_a_missing_one_is_a_difference() {
        let one = "0.0 fd_allocate(1) = SUCCESS\n";
        assert_eq!(
            report(one, "0.0 fd_allocate(2) = NOTSUP\n")
                .unwrap()
                .unexplained
                .len(),
            1
        );
        let two = format!("{one}0.1 fd_sync(1) = SUCCESS\n");
        assert_eq!(report(&two, one).unwrap().unexplained.len(), 1);
        assert!(report(one, "1.0 fd_allocate(1) = SUCCESS\n").is_err());
    }
}
