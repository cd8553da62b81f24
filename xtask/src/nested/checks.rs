//! The checks: `xtask/nested/checks.toml`, read, and compared with what came.
//!
//! A check is a piece of shell script, run in an empty directory. `$FILES` is where the images and the guests lie;
//! `uhyve`, `hermit-wasm` and `qemu-system-x86_64` are in PATH. Input and expectations are written as in
//! `guests/tests/*.toml`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use vm_tests::bytes::{Expected, Stdin};

use super::job::Outcome;
use crate::toolchain::root;

/// Most seconds that a check may take.
const LIMIT: u64 = 120;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "check")]
    checks: Vec<Check>,
}

/// One check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// The name to filter by; unique.
    pub(super) name: String,
    /// One sentence: what this shows. For readers of the file.
    #[expect(dead_code, reason = "it has to be there, and is read by people")]
    shows: String,
    /// The script.
    pub(super) run: String,
    /// The guests that it runs, without `.wasm`.
    #[serde(default)]
    pub(super) guests: Vec<String>,
    #[serde(default)]
    stdin: Stdin,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    stdout: Expected,
    #[serde(default)]
    stderr: Expected,
    /// Most seconds that it may take.
    #[serde(default = "limit")]
    pub(super) limit: u64,
}

const fn limit() -> u64 {
    LIMIT
}

impl Check {
    /// Reads the checks whose names contain one of `only`, or all.
    pub(super) fn read_all(path: &Path, only: &[String]) -> Result<Vec<Self>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut checks = toml::from_str::<File>(&text)
            .with_context(|| format!("{}", path.display()))?
            .checks;
        for (index, check) in checks.iter().enumerate() {
            let earlier = checks.get(..index).unwrap_or_default();
            ensure!(
                earlier.iter().all(|other| other.file_name() != check.file_name()),
                "{}: the name is there twice",
                check.name
            );
            check.stdin.check()?;
            check.stdout.check()?;
            check.stderr.check()?;
            ensure!(
                !check.stdin.open && check.stdin.dialogue.is_empty(),
                "{}: input that stays open is not possible here",
                check.name
            );
        }
        checks.retain(|check| only.is_empty() || only.iter().any(|word| check.name.contains(word)));
        Ok(checks)
    }

    /// The name as a directory's.
    pub(super) fn file_name(&self) -> String {
        self.name.replace('/', ".")
    }

    /// What standard input holds.
    pub(super) fn input(&self) -> Result<Vec<u8>> {
        self.stdin.produce(&root().join("guests"))
    }

    /// How `outcome` differs from what is expected, if it does.
    pub(super) fn complaint(&self, outcome: &Outcome) -> Result<Option<String>> {
        let input = self.input()?;
        let guests = root().join("guests");
        let mut complaints = Vec::new();
        for (what, expected, got) in [
            ("standard output", &self.stdout, &outcome.stdout),
            ("standard error", &self.stderr, &outcome.stderr),
        ] {
            if let Some(difference) = expected.mismatch(got, &input, &guests)? {
                complaints.push(format!("  {what} {difference}"));
            }
        }
        if outcome.status != self.exit {
            complaints.push(format!(
                "  exit status {} instead of {}\n  standard error: {}",
                outcome.status,
                self.exit,
                String::from_utf8_lossy(&outcome.stderr)
            ));
        }
        Ok((!complaints.is_empty()).then(|| complaints.join("\n")))
    }
}
