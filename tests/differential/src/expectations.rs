//! Rules that say where another runtime answers something else than ours, and why.
//!
//! Layer: host tests. The rules are in `tests/differential/expectations.toml`; docs/testing.md says how they are used.

use anyhow::{Context as _, Result, ensure};
use regex_lite::Regex;
use serde::Deserialize;

use crate::compare::Answer;

/// All rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// In the order of the file; the first that fits counts.
    pub rule: Vec<Rule>,
}

/// One rule: which differences it explains.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The other runtimes.
    pub references: Vec<Reference>,
    /// The calls, by name; a name that ends with `*` stands for all that begin so.
    pub calls: Vec<String>,
    /// What the arguments look like; without it, they do not matter.
    #[serde(default)]
    arguments: Option<Pattern>,
    /// Our errno is one of these; `error` is any but SUCCESS.
    #[serde(default)]
    ours: Vec<String>,
    /// The other's errno is one of these.
    #[serde(default)]
    theirs: Vec<String>,
    /// The results that differ, where both succeed; `NAME=VALUE` if one of the two has that value.
    #[serde(default)]
    results: Vec<String>,
    /// From here on the two are in different states: the rest of the sequence is not compared.
    #[serde(default)]
    pub ends: bool,
    /// Why it is right that they differ.
    pub reason: String,
}

/// Another runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The Python package `wasmtime`.
    Wasmtime,
    /// The Python package `wasmtime` 19, the last that gives a guest sockets.
    #[serde(rename = "wasmtime-19")]
    #[value(name = "wasmtime-19")]
    Wasmtime19,
    /// The crate `wasmi_wasi`.
    WasmiWasi,
    /// Ours in the virtual machine: nothing may differ.
    Vm,
}

/// A regular expression in a file.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = regex_lite::Error;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Regex::new(&text).map(Self)
    }
}

impl Expectations {
    /// Reads the rules.
    ///
    /// # Errors
    /// If a rule cannot be understood, or would explain every difference.
    pub fn parse(text: &str) -> Result<Self> {
        let all: Self = toml::from_str(text).context("expectations.toml")?;
        for rule in &all.rule {
            let errnos = !rule.ours.is_empty() && !rule.theirs.is_empty();
            ensure!(
                errnos == rule.results.is_empty(),
                "a rule wants either `ours` and `theirs` or `results`: {}",
                rule.reason
            );
            ensure!(!rule.reason.trim().is_empty(), "a rule without a reason");
        }
        Ok(all)
    }
}

impl Rule {
    /// Whether this rule explains that two runtimes answered the same call so.
    #[must_use]
    pub fn explains(&self, ours: &Answer<'_>, theirs: &Answer<'_>) -> bool {
        let named = self.calls.iter().any(|call| match call.strip_suffix('*') {
            Some(beginning) => ours.call.starts_with(beginning),
            None => ours.call == call,
        });
        let fits = self
            .arguments
            .as_ref()
            .is_none_or(|Pattern(pattern)| pattern.is_match(ours.arguments));
        if !named || !fits {
            return false;
        }
        if self.results.is_empty() {
            let among = |errnos: &[String], errno: &str| {
                errnos
                    .iter()
                    .any(|named| named == errno || (named == "error" && errno != "SUCCESS"))
            };
            return among(&self.ours, ours.errno) && among(&self.theirs, theirs.errno);
        }
        ours.errno == theirs.errno && ours.results.len() == theirs.results.len() && {
            let mut pairs = ours.results.iter().zip(&theirs.results);
            pairs.all(|(our, their)| our == their || self.allows(our, their))
        }
    }

    /// Whether two results, `NAME=VALUE` each, may differ.
    fn allows(&self, our: &str, their: &str) -> bool {
        let name = |result: &str| result.split('=').next().unwrap_or_default().to_owned();
        name(our) == name(their)
            && self
                .results
                .iter()
                .any(|allowed| *allowed == name(our) || allowed == our || allowed == their)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rule> {
        let text = format!("[[rule]]\nreferences = [\"wasmtime\"]\nreason = \"x\"\n{text}");
        Ok(Expectations::parse(&text)?.rule.remove(0))
    }

    fn explains(rule: &Rule, ours: &str, theirs: &str) -> bool {
        rule.explains(&Answer::parse(ours).unwrap(), &Answer::parse(theirs).unwrap())
    }

    #[test]
    fn a_rule_of_errnos_wants_call_arguments_and_both_errnos() {
        let rule =
            rule("calls = [\"path_*\"]\nours = [\"error\"]\ntheirs = [\"LOOP\"]\narguments = '^d'").unwrap();
        assert!(explains(&rule, "path_open(d) = NOENT", "path_open(d) = LOOP"));
        assert!(!explains(&rule, "path_open(d) = SUCCESS", "path_open(d) = LOOP"));
        assert!(!explains(&rule, "path_open(d) = NOENT", "path_open(d) = PERM"));
        assert!(!explains(&rule, "path_open(1) = NOENT", "path_open(1) = LOOP"));
        assert!(!explains(&rule, "fd_read(d) = NOENT", "fd_read(d) = LOOP"));
    }

    #[test]
    fn a_rule_of_results_explains_these_and_no_others() {
        let rule = rule("calls = [\"f\"]\nresults = [\"a\", \"b=now\"]").unwrap();
        let same = |ours: &str, theirs: &str| {
            explains(
                &rule,
                &format!("f() = SUCCESS {ours}"),
                &format!("f() = SUCCESS {theirs}"),
            )
        };
        assert!(same("a=1 b=now c=3", "a=2 b=5 c=3"));
        assert!(!same("a=1 b=4 c=3", "a=2 b=5 c=3"));
        assert!(!same("a=1 b=5 c=3", "a=1 b=5 c=4"));
        assert!(!same("a=1", "a=1 b=now"));
    }

    #[test]
    fn a_rule_that_explains_everything_is_refused() {
        assert!(rule("calls = [\"*\"]").is_err());
        assert!(rule("calls = [\"*\"]\nours = [\"error\"]").is_err());
        assert!(rule("calls = [\"f\"]\nresults = [\"a\"]\nours = [\"error\"]\ntheirs = [\"IO\"]").is_err());
    }

    #[test]
    fn the_file_is_understood() {
        Expectations::parse(include_str!("../expectations.toml")).unwrap();
    }
}
