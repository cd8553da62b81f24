//! `hermit-wasm replay`: a recorded run once more, with the answers that it got.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boot_protocol::exit_code;
use clap::{ArgAction, Args, ValueHint};
use hermit_wasm_vm::host::shown;
use hermit_wasm_vm::host::units::{self, MIB};
use hermit_wasm_vm::vmm::Vmm;
use hermit_wasm_vm::vmm::qemu::Qemu;
use hermit_wasm_vm::vmm::uhyve::Uhyve;
use hermit_wasm_vm::{
    Deadline, Diagnostics, Error, ExitStatus, Figures, Jail, LogLevel, Module, RecordedEnd, Recording,
};

use super::guest::split_preload;
use super::run::{AcceleratorChoice, usage};
use super::values::{ACCELERATORS, JAILS, LOG_LEVELS, one_of};
use crate::{stderr, watchdog};

/// What to replay, and how.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Where a preloaded module is; where it was when it was recorded, by default
    #[arg(long = "preload", value_name = "NAME=MODULE", value_hint = ValueHint::FilePath, action = ArgAction::Append)]
    preload: Vec<std::ffi::OsString>,

    /// Memory of the virtual machine; as recorded, and what the recording takes, by default
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    memory: Option<u64>,

    /// Stop the replay after this time: 10s, 500ms, 2m
    #[arg(long, value_name = "DUR", value_parser = units::parse_duration)]
    timeout: Option<Duration>,

    /// How guest code is executed
    #[arg(long, value_name = "ACCEL", value_parser = one_of(ACCELERATORS), default_value = "auto")]
    accel: AcceleratorChoice,

    /// Show the log of kernel and application on standard error, at this level and above
    #[arg(long, value_name = "LEVEL", value_parser = one_of(LOG_LEVELS))]
    log: Option<LogLevel>,

    /// How much of the jail around the hypervisor is demanded
    #[arg(long, value_name = "LEVEL", value_parser = one_of(JAILS), default_value = Jail::Auto.name())]
    jail: Jail,

    /// Run a .cwasm file that this user's hermit-wasm has not compiled
    #[arg(long)]
    allow_precompiled: bool,

    /// Replay with another image than the recorded one, as another version of hermit-wasm has it
    ///
    /// The guest may do something else there, which ends the replay with exit code 249.
    #[arg(long)]
    allow_other_image: bool,

    /// QEMU program; qemu-system-ARCH in PATH by default
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    qemu: Option<PathBuf>,

    /// Report progress, the QEMU command line and everything the machine prints; -vv also names each frame
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// The recording
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    recording: PathBuf,

    /// The recorded module; where it was when it was recorded, by default
    #[arg(value_name = "MODULE", value_hint = ValueHint::FilePath)]
    module: Option<PathBuf>,
}

/// What translating a module in text form may take.
const MEMORY: u64 = 1024 * MIB;

impl Replay {
    pub(super) fn perform(&self, start: Instant) -> Result<u8, Error> {
        let deadline = Deadline::since(start, self.timeout.unwrap_or(Duration::MAX));
        let deadline = deadline.of(format!("'{}'", shown::path(&self.recording)));
        stderr::init_log(self.verbose, false, deadline.at());
        watchdog::watch(deadline, |deadline| self.replay(deadline))
    }

    fn replay(&self, deadline: &Deadline) -> Result<u8, Error> {
        let recording = Recording::open(&self.recording, deadline)?.allow_other_image(self.allow_other_image);
        let recorded = recording.end().cloned();
        let modules = self.modules(&recording, deadline)?;
        let mut run = recording
            .run(modules, deadline)?
            .deadline(deadline.clone())
            .jail(self.jail)
            .diagnostics(Diagnostics::Stderr)
            .show_machine(self.verbose > 0)
            .allow_precompiled(self.allow_precompiled);
        if let Some(memory) = self.memory {
            run = run.memory(memory);
        }
        if let Some(accelerator) = self.accel {
            run = run.accelerator(accelerator);
        }
        if let Some(level) = self.log {
            run = run.log(level);
        }
        let qemu = Qemu {
            program: self.qemu.clone(),
            virtiofsd: None,
        };
        let run = run.hypervisors([Arc::new(qemu) as Arc<dyn Vmm>, Arc::new(Uhyve::default())]);
        let result = run.run_measured(&mut Figures::begin())?;
        stderr::show(&result.transcript);
        let (code, remark) = conclude(result.status, recorded.as_ref());
        if let Some(remark) = remark {
            stderr::say(&remark);
        }
        Ok(code)
    }

    /// The recorded modules, the program first.
    fn modules(&self, recording: &Recording, deadline: &Deadline) -> Result<Vec<Module>, Error> {
        let open = |path: &Path| Module::open_until(path, MEMORY, deadline);
        let given: Vec<(String, &OsStr)> = self
            .preload
            .iter()
            .map(|value| split_preload(value))
            .collect::<Result<_, _>>()?;
        if let Some((name, _)) = given
            .iter()
            .find(|(name, _)| recording.preloads().all(|(recorded, _)| recorded != name))
        {
            return Err(usage(format!("--preload: the recording has no preload '{name}'")));
        }
        let mut modules = vec![match (&self.module, recording.module_path()) {
            (Some(path), _) => open(path)?,
            (None, Some(path)) => open(path)?,
            (None, None) => Module::greeting(),
        }];
        for (name, path) in recording.preloads() {
            // The last one counts.
            let given = given.iter().rev().find(|(given, _)| given == name);
            modules.push(open(given.map_or(path, |(_, path)| Path::new(path)))?);
        }
        Ok(modules)
    }
}

/// The exit code, and what is to be said where the replay ended otherwise than the recorded run. The status counts: a
/// guest may end with any code.
fn conclude(status: ExitStatus, recorded: Option<&RecordedEnd>) -> (u8, Option<String>) {
    let code = status.code();
    match (status, recorded) {
        // It ends where the recorded run was ended from outside.
        (ExitStatus::ReplayStopped(exit_code::RECORDING_OVER), Some(RecordedEnd { code: ended, how })) => (
            *ended,
            Some(format!(
                "the recorded run was ended there ({how}, exit code {ended})"
            )),
        ),
        // The application has said it.
        (ExitStatus::ReplayStopped(_), _) => (code, None),
        (_, Some(RecordedEnd { code: ended, how })) if code != *ended => (
            code,
            Some(format!(
                "the replay ended with exit code {code}, and the recorded run with {ended} ({how})"
            )),
        ),
        _ => (code, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_own_exit_code_is_no_end_of_the_replay() {
        let end = |code, how: &str| RecordedEnd {
            code,
            how: how.to_string(),
        };
        for own in [exit_code::DIVERGED, exit_code::RECORDING_OVER] {
            assert_eq!(
                conclude(ExitStatus::Exited(own), Some(&end(own, "exit"))),
                (own, None)
            );
            let (code, said) = conclude(ExitStatus::Exited(own), Some(&end(3, "exit")));
            assert_eq!(code, own);
            assert!(said.unwrap().contains("and the recorded run with 3 (exit)"));
            assert_eq!(conclude(ExitStatus::ReplayStopped(own), None), (own, None));
        }
        let over = ExitStatus::ReplayStopped(exit_code::RECORDING_OVER);
        let (code, said) = conclude(over, Some(&end(124, "timeout")));
        assert_eq!(code, 124);
        assert!(said.unwrap().contains("was ended there (timeout, exit code 124)"));
        let diverged = ExitStatus::ReplayStopped(exit_code::DIVERGED);
        assert_eq!(
            conclude(diverged, Some(&end(3, "exit"))),
            (exit_code::DIVERGED, None)
        );
    }
}
