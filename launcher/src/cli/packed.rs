//! Runs of what was packed, among them of this program itself.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args as _, FromArgMatches as _};
use hermit_wasm_vm::pack::{self, Packed};
use hermit_wasm_vm::{self as vm, Arch, Deadline, Error, ModuleError};

use super::run::{Run, usage};

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
        let mut matches = Self::augment_args(clap::Command::new("run"))
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
        let arch = packed.arch()?;
        let run = vm::Run::packed(match self.is_itself {
            true => packed.as_program(),
            false => packed,
        })?;
        let run = match self.memory {
            Some(memory) => run.memory(memory),
            None => run,
        };
        match arch {
            Some(arch) if self.arch != Arch::host() && self.arch != arch => Err(usage(format!(
                "--arch {}: it was packed for {}",
                self.arch.name(),
                arch.name()
            ))),
            Some(_) => Ok(run),
            None => Ok(run.arch(self.arch)),
        }
    }

    /// What to say where values are given beside a packed file: they are words on the hypervisor's command line.
    fn seen_by_others(&self) -> Option<String> {
        let inherits = self.wasi.last().is_some_and(|inherit| *inherit);
        let flag = match (self.env.is_empty(), inherits) {
            (false, _) => "--env",
            (true, true) => "-S inherit-env",
            (true, false) => return None,
        };
        Some(format!(
            "{flag}: with a packed file, values and arguments are on the hypervisor's command line, where other users of \
             this host can read them"
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
}
