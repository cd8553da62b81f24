//! Rows of Hermitfiles that are packed, and the files that a Hermitfile copies out of a downloaded program.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Runner;
use crate::compare::show;
use crate::manifest::{Download, Test};
use crate::{download, environment};

impl Runner {
    /// Packs a row's Hermitfile into an executable; the command line that runs it.
    pub(super) fn packed(&self, test: &Test) -> Result<Vec<String>> {
        let directory = self
            .scratch
            .join(format!("{}.packed", test.name.replace('/', "-")));
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let output = directory.join("program");
        let (program, first) = self.command.split_first().context("no command to pack with")?;
        let made = Command::new(program)
            .args(first)
            .args(["pack", "--format", "exe", "--arch", environment::arch()?.name()])
            .args(["--engine", self.engine.name()])
            .arg("-f")
            .arg(self.module(test)?)
            .arg("-o")
            .arg(&output)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {program}"))?;
        ensure!(
            made.status.success(),
            "it cannot be packed ({}): {}",
            made.status,
            show(&made.stderr)
        );
        let output = output
            .to_str()
            .context("the scratch directory's path is not UTF-8")?;
        Ok(std::iter::once(output.to_owned())
            .chain(test.args.iter().cloned())
            .collect())
    }

    /// Takes the files out of a fetched program, if it has some that a Hermitfile copies, and nobody has yet.
    ///
    /// # Errors
    /// If it does not run, or they cannot be unpacked.
    pub fn take_files(&self, program: &Download) -> Result<()> {
        download::unpack_files(program, &self.downloads, |script| {
            let (launcher, first) = self.command.split_first().context("no command to run")?;
            let output = Command::new(launcher)
                .args(first)
                .args(["run", "--memory", "1G"])
                .args(&self.flags)
                .arg(self.downloads.join(format!("{}.wasm", program.name)))
                .stdin(std::fs::File::open(self.source.join(script)).with_context(|| script.to_owned())?)
                .stderr(Stdio::inherit())
                .output()
                .with_context(|| format!("cannot start {launcher}"))?;
            ensure!(output.status.success(), "{script}: {}", output.status);
            Ok(output.stdout)
        })
    }
}
