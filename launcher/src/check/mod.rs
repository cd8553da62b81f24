//! What this host has for running machines: what is there, what that means for a run, and how to get what is not.
//!
//! Nothing is booted, and nothing is changed, but that the cache for native code is made: files are looked at, programs
//! are asked for their versions, and one process is started in a jail to see of what it is made.

mod system;

use std::fmt;
use std::path::Path;

use boot_protocol::arch::Arch;
use boot_protocol::shown::piece;

use crate::compile;
use crate::host::{shown, version, virtiofsd};
use crate::spec::deadline::Deadline;
use crate::vmm::qemu::{self, Known};
use crate::vmm::{self, Vmm as _, uhyve};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it can be used.
    Ok,
    /// Some of it can be used.
    Limited,
    /// It cannot be used.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        })
    }
}

/// One thing that a run may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for people and for programs.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What that means for a run.
    pub meaning: String,
    /// How to get all of it; lines.
    pub advice: Option<String>,
}

impl Finding {
    fn new(
        name: impl Into<String>,
        state: State,
        seen: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            state,
            // Programs' own words among it.
            seen: piece(seen.into()),
            meaning: meaning.into(),
            advice: None,
        }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In the order in which it is read.
    pub findings: Vec<Finding>,
    /// Why a module cannot be run here, if it cannot; lines.
    pub obstacle: Option<String>,
}

impl Host {
    /// Looks at this host. It takes some tenths of a second, and some seconds where a program does not answer.
    #[must_use]
    pub fn look() -> Self {
        let (processes, jailed) = system::jail();
        let known = qemu::kvm(None);
        let mut findings = vec![kvm(&known), processes];
        findings.extend([system::landlock(), system::seccomp(), system::cgroup()]);
        findings.extend(Arch::ALL.into_iter().map(emulator));
        findings.extend([compiler(), cache()]);
        findings.extend([shares(), alternative(&known)]);
        let obstacle = match jailed {
            Err(reason) => Some(format!(
                "processes cannot be jailed as --jail auto demands: {reason}"
            )),
            Ok(()) => no_hypervisor(),
        };
        Self { findings, obstacle }
    }
}

/// Why no hypervisor runs this host's own machines, if none does.
fn no_hypervisor() -> Option<String> {
    let own = Arch::ALL
        .into_iter()
        .find(|arch| arch.is_hosts())
        .unwrap_or(Arch::X86_64);
    let mut reasons = Vec::new();
    for vmm in vmm::all()
        .iter()
        .filter(|vmm| vmm.capabilities().architectures.contains(&own))
    {
        match vmm.program(own) {
            Ok(_) => return None,
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    reasons.into_iter().next()
}

/// The first line is what is missing, the others are how to get it.
fn split(error: &dyn std::error::Error) -> (String, String) {
    let text = error.to_string();
    let text = text.strip_prefix("--dir: ").unwrap_or(&text);
    match text.split_once('\n') {
        Some((first, rest)) => (first.to_string(), rest.to_string()),
        None => (text.to_string(), String::new()),
    }
}

/// The processor's own virtualisation.
fn kvm(known: &Known) -> Finding {
    const NAME: &str = "KVM";
    const SLOW: &str =
        "QEMU translates the machine's instructions (TCG), several times slower; no --vmm uhyve";
    match known {
        Known::Works => Finding::new(
            NAME,
            State::Ok,
            "a trial boot has succeeded",
            "machines of this host's architecture run at full speed",
        ),
        Known::Untried => Finding::new(
            NAME,
            State::Limited,
            "/dev/kvm can be opened, and nothing was booted yet",
            "the first run tries it, and runs at full speed if that succeeds",
        )
        .advice("hermit-wasm run --greet -v"),
        Known::Not { reason, advice } => Finding::new(NAME, State::Missing, reason, SLOW).advice(*advice),
    }
}

/// What a program says of itself; nothing stops the run of `check` meanwhile.
fn ask(program: &Path, arguments: &[&str]) -> Result<String, String> {
    match version::ask(program, arguments, &Deadline::never(), version::LIMIT) {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// QEMU for an architecture.
fn emulator(arch: Arch) -> Finding {
    let name = format!("QEMU {}", arch.name());
    let program = match qemu::program(arch) {
        Ok(program) => program,
        Err(error) => {
            let (seen, advice) = split(&error);
            let meaning = format!("no run with --arch {}", arch.name());
            return Finding::new(name, State::Missing, seen, meaning).advice(advice);
        }
    };
    let confined: Vec<&str> = qemu::CONFINED.into_iter().chain(["-version"]).collect();
    match ask(&program, &confined) {
        Ok(answer) => Finding::new(
            name,
            State::Ok,
            seen(&program, &answer),
            format!("runs with --arch {}", arch.name()),
        ),
        Err(reason) => match ask(&program, &["-version"]) {
            Ok(answer) => Finding::new(
                name,
                State::Limited,
                format!("{}; without -sandbox: {reason}", seen(&program, &answer)),
                "runs only with --jail off",
            )
            .advice("a QEMU that was built with seccomp, as those of distributions are"),
            Err(reason) => Finding::new(
                name,
                State::Missing,
                format!("{} does not say its version: {reason}", shown::path(&program)),
                format!("no run with --arch {}", arch.name()),
            ),
        },
    }
}

/// A program and the first line of what it says of itself.
fn seen(program: &Path, answer: &str) -> String {
    format!(
        "{} ({})",
        answer.lines().next().unwrap_or_default().trim(),
        shown::path(program)
    )
}

/// What makes native code.
fn compiler() -> Finding {
    const NAME: &str = "compiler";
    match compile::compiler() {
        Ok(program) => Finding::new(
            NAME,
            State::Ok,
            shown::path(&program),
            "modules can be compiled to native code",
        ),
        Err(error) => Finding::new(
            NAME,
            State::Missing,
            error.to_string(),
            "modules are interpreted, unless they were compiled before",
        ),
    }
}

/// Where native code is kept.
fn cache() -> Finding {
    const NAME: &str = "code cache";
    match compile::cache() {
        Ok(path) => Finding::new(
            NAME,
            State::Ok,
            shown::path(&path),
            "what is compiled once runs natively from then on",
        ),
        Err(reason) => Finding::new(
            NAME,
            State::Missing,
            reason,
            "modules are interpreted; --engine native compiles them anew for each run",
        ),
    }
}

/// What serves `--dir`.
fn shares() -> Finding {
    const NAME: &str = "virtiofsd";
    let program = match virtiofsd::find(None, &Deadline::never()) {
        Ok(program) => program,
        Err(error) => {
            let (seen, advice) = split(&error);
            let meaning = "no --dir; --copy-dir and --tmpfs work";
            return Finding::new(NAME, State::Missing, seen, meaning).advice(advice);
        }
    };
    match ask(&program, &["--version"]) {
        Ok(answer) => Finding::new(NAME, State::Ok, seen(&program, &answer), "--dir works"),
        Err(reason) => Finding::new(
            NAME,
            State::Limited,
            format!("{} does not say its version: {reason}", shown::path(&program)),
            "--dir may not work",
        ),
    }
}

/// uhyve, which needs KVM.
fn alternative(kvm: &Known) -> Finding {
    let uhyve = uhyve::Uhyve::default();
    let name = uhyve.name();
    let program = match uhyve.program(Arch::X86_64) {
        Ok(program) => program,
        Err(error) => {
            let (seen, advice) = split(&error);
            let finding = Finding::new(
                name,
                State::Missing,
                seen,
                format!("no --vmm {name}; QEMU does all that it does"),
            );
            return if advice.is_empty() {
                finding
            } else {
                finding.advice(advice)
            };
        }
    };
    let answer = ask(&program, &["--version"]);
    let answer = answer.unwrap_or_else(|reason| format!("it does not say its version: {reason}"));
    let (state, meaning) = match kvm {
        Known::Works => (State::Ok, format!("--vmm {name} works")),
        _ => (State::Limited, format!("--vmm {name} works where KVM does")),
    };
    Finding::new(name, state, seen(&program, &answer), meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_ok_only_after_it_has_booted_something() {
        let not = Known::Not {
            reason: "no permission".to_string(),
            advice: "join its group",
        };
        for (known, state) in [
            (Known::Works, State::Ok),
            (Known::Untried, State::Limited),
            (not, State::Missing),
        ] {
            assert_eq!(kvm(&known).state, state, "{known:?}");
        }
    }

    #[test]
    fn every_finding_says_what_it_means() {
        let host = Host::look();
        let names: Vec<&str> = host
            .findings
            .iter()
            .map(|finding| finding.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "KVM",
                "jail",
                "Landlock",
                "seccomp",
                "cgroup",
                "QEMU x86_64",
                "QEMU aarch64",
                "QEMU riscv64",
                "compiler",
                "code cache",
                "virtiofsd",
                "uhyve"
            ]
        );
        for finding in &host.findings {
            assert!(
                !finding.seen.is_empty() && !finding.meaning.is_empty(),
                "{finding:?}"
            );
        }
    }
}
