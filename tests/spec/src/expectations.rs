//! What is expected to fail, and why: `expectations.toml`.

use anyhow::{Result, anyhow, ensure};
use serde::Deserialize;
use test_qemu::Engine;

/// Checks that an engine rightly fails.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// On this one only; on both if not given.
    engine: Option<String>,
    /// `proposal/file.wast`, or `proposal/` for all of it.
    file: String,
    /// The lines; all if not given.
    #[serde(default)]
    lines: Vec<usize>,
    /// Only modules that are refused, and what follows from that.
    #[serde(default)]
    refused: bool,
    /// Why.
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "rule", default)]
    rules: Vec<Rule>,
}

/// The rules for one engine, and how often each has explained a failure.
pub(crate) struct Expectations(Vec<(Rule, usize)>);

impl Expectations {
    /// Those of the repository.
    pub(crate) fn read(engine: Engine) -> Result<Self> {
        Self::parse(include_str!("../expectations.toml"), engine)
    }

    fn parse(text: &str, engine: Engine) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        for rule in &file.rules {
            ensure!(!rule.reason.is_empty(), "{}: say why", rule.file);
            let named = rule.engine.as_deref().map(str::parse::<Engine>).transpose();
            named.map_err(|error| anyhow!("{}: {error}", rule.file))?;
        }
        let own = file
            .rules
            .into_iter()
            .filter(|rule| rule.engine.as_deref().is_none_or(|name| name == engine.name()));
        Ok(Self(own.map(|rule| (rule, 0)).collect()))
    }

    /// Whether a failure is expected; `refused`: it is a refusal, or follows from one.
    pub(crate) fn explains(&mut self, file: &str, line: usize, refused: bool) -> bool {
        let rule = self.0.iter_mut().find(|(rule, _)| {
            let named = rule.file == file || (rule.file.ends_with('/') && file.starts_with(&rule.file));
            named && (rule.lines.is_empty() || rule.lines.contains(&line)) && (refused || !rule.refused)
        });
        match rule {
            Some((_, used)) => {
                *used += 1;
                true
            }
            None => false,
        }
    }

    /// Rules that explained nothing among the files that were run.
    pub(crate) fn idle(&self, ran: impl Fn(&str) -> bool) -> Vec<String> {
        let idle = self.0.iter().filter(|(rule, used)| *used == 0 && ran(&rule.file));
        idle.map(|(rule, _)| format!("{} {:?}: {}", rule.file, rule.lines, rule.reason))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "[[rule]]\nengine = \"interp\"\nfile = \"gc/\"\nreason = \"it has none\"\n\
                         [[rule]]\nfile = \"a/b.wast\"\nlines = [3]\nreason = \"x\"\n\
                         [[rule]]\nfile = \"a/d.wast\"\nrefused = true\nreason = \"x\"\n";

    #[test]
    fn a_rule_explains_what_it_names_and_nothing_else() {
        let mut rules = Expectations::parse(RULES, Engine::Interp).unwrap();
        assert!(rules.explains("gc/array.wast", 1, false));
        assert!(!rules.explains("a/b.wast", 4, true));
        assert!(!rules.explains("a/c.wast", 3, true));
        assert!(!rules.explains("a/d.wast", 3, false));
        assert!(rules.explains("a/d.wast", 3, true));
        assert_eq!(rules.idle(|_| true).len(), 1);
        assert!(rules.explains("a/b.wast", 3, false));
        assert!(rules.idle(|_| true).is_empty());
        assert!(
            !Expectations::parse(RULES, Engine::Native)
                .unwrap()
                .explains("gc/array.wast", 1, false)
        );
    }
}
