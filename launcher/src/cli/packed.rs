//! Runs of what was packed, among them of this program itself.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use hermit_wasm_vm::pack::{self, Packed};
use hermit_wasm_vm::{self as vm, Arch, Deadline, Error, ModuleError};

use super::run::{Run, usage};

/// Whether `--arch` was said, or is this host's by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArchSaid(pub(super) bool);

impl FromArgMatches for ArchSaid {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let source = matches.value_source("arch");
        Ok(Self(source == Some(ValueSource::CommandLine)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ArchSaid {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl Run {
    /// The run of this program itself, where something was packed behind it: all words are the guest's.
    pub(super) fn of_itself(words: &[OsString]) -> Result<Option<Self>, Error> {
        let Some(path) = pack::own()? else {
            return Ok(None);
        };
        let words = words.iter().skip(1).cloned();
        let line = ["run", "--allow-precompiled", "--"]
            .map(OsString::from)
            .into_iter();
        let line = line.chain([path.into()]).chain(words);
        let run = Self::parse(line).ok_or_else(|| usage("the words of the command line cannot be read"))?;
        Ok(Some(Self {
            is_itself: true,
            ..run
        }))
    }

    /// The run of a command line.
    fn parse(line: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut matches = Self::augment_args(Command::new("run"))
            .try_get_matches_from(line)
            .ok()?;
        Self::from_arg_matches_mut(&mut matches).ok()
    }

    /// What was packed, if the file `path` was. What cannot be looked at is no such file: its own message says why.
    pub(super) fn packed(&self, path: &Path, deadline: &Deadline) -> Result<Option<Packed>, Error> {
        match Packed::open_until(path, deadline) {
            Err(Error::Module(ModuleError::Unreadable { .. })) => Ok(None),
            result => result,
        }
    }

    /// A run of what was packed: what flags say goes before what it says of its machine.
    pub(super) fn of_packed(&self, packed: Packed) -> Result<vm::Run, Error> {
        if let Some(warning) = self.seen_by_others() {
            log::warn!("{warning}");
        }
        let arch = self.machines_arch(packed.arch()?)?;
        let run = vm::Run::packed(match self.is_itself {
            true => packed.as_program(),
            false => packed,
        })?;
        let run = match self.memory {
            Some(memory) => run.memory(memory),
            None => run,
        };
        Ok(run.arch(arch))
    }

    /// The machine's architecture, for a file that was `packed` for one or for all.
    fn machines_arch(&self, packed: Option<Arch>) -> Result<Arch, Error> {
        match packed {
            Some(arch) if self.arch_said.0 && self.arch != arch => Err(usage(format!(
                "--arch {}: it was packed for {}",
                self.arch.name(),
                arch.name()
            ))),
            Some(arch) => Ok(arch),
            None => Ok(self.arch),
        }
    }

    /// What to say where values are given beside a packed file: they are words on the hypervisor's command line.
    fn seen_by_others(&self) -> Option<String> {
        let flag = match (self.env.is_empty(), self.inherits_env()) {
            (false, _) => "--env",
            (true, true) => "-S inherit-env",
            (true, false) => return None,
        };
        Some(format!(
            "{flag}: with a packed file, values and arguments are on the hypervisor's command line, where other users \
             of this host can read them"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Run {
        Run::parse(["run"].iter().chain(words).map(OsString::from)).unwrap()
    }

    #[test]
    fn values_that_other_users_can_read_are_announced() {
        let flag = |words: &[&str]| {
            let warning = run(words).seen_by_others()?;
            Some(warning.split(':').next().unwrap_or_default().to_string())
        };
        assert_eq!(flag(&["packed", "--env", "A=1"]), None);
        assert_eq!(flag(&["--env", "A=1", "packed"]).as_deref(), Some("--env"));
        assert_eq!(
            flag(&["-S", "inherit-env", "packed"]).as_deref(),
            Some("-S inherit-env")
        );
        assert_eq!(flag(&["-S", "inherit-env,inherit-env=n", "packed"]), None);
    }

    #[test]
    fn another_architecture_than_the_packed_one_is_refused_if_it_was_said() {
        let other = |arch: &Arch| *arch != Arch::host();
        let other = Arch::ALL.into_iter().find(other).unwrap();
        let silent = run(&["packed"]);
        assert_eq!(silent.machines_arch(Some(other)).unwrap(), other);
        assert_eq!(silent.machines_arch(None).unwrap(), Arch::host());
        // This host's as any other.
        for (said, packed) in [(Arch::host(), other), (other, Arch::host())] {
            let run = run(&["--arch", said.name(), "packed"]);
            assert_eq!(run.arch, said);
            assert_eq!(run.machines_arch(Some(said)).unwrap(), said);
            assert_eq!(run.machines_arch(None).unwrap(), said);
            let error = run.machines_arch(Some(packed)).unwrap_err().to_string();
            assert!(
                error.contains(&format!("--arch {}: it was packed for", said.name())),
                "{error}"
            );
        }
    }
}
