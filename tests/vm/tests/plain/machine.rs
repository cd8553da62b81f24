//! What the tests start: machines, and what serves them directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::{Arch, Engine, Qemu, status_of};
use vm_tests::{environment, program, virtiofsd};

use super::LIMIT;

/// Runs to the end.
pub(super) fn finish(qemu: &mut Command) -> Result<Output> {
    qemu.stdin(Stdio::null()).output().context("cannot start QEMU")
}

/// An architecture's QEMU and images.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) arch: Arch,
    pub(super) engine: Engine,
    images: PathBuf,
    guests: PathBuf,
}

impl Machine {
    pub(super) fn from_environment() -> Result<Self> {
        let arch = environment::arch()?;
        Ok(Self {
            images: environment::needed(environment::IMAGES)?.join(arch.name()),
            guests: environment::needed(environment::GUESTS)?,
            engine: environment::engine()?,
            arch,
        })
    }

    pub(super) fn image(&self, name: &str) -> PathBuf {
        self.images.join(program::image_name(self.engine, name))
    }

    /// A guest as the engine takes it.
    pub(super) fn guest(&self, name: &str) -> Result<PathBuf> {
        self.guest_for(name, None)
    }

    /// The same, compiled for a processor.
    pub(super) fn guest_for(&self, name: &str, level: Option<&str>) -> Result<PathBuf> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("native")
            .join(level.unwrap_or(self.arch.name()));
        let module = self.guests.join(format!("{name}.wasm"));
        program::of(&module, self.arch, level, self.engine, &directory)
    }

    /// The usual machine with one of the images.
    pub(super) fn qemu<'a>(&self, kernel: &'a Path) -> Qemu<'a> {
        Qemu {
            kernel: Some(kernel),
            ..Qemu::usual(self.arch)
        }
    }

    /// Boots the usual machine to its end.
    pub(super) fn run(
        &self,
        flags: &[&str],
        kernel: &str,
        initrd: Option<&Path>,
        line: &str,
    ) -> Result<Output> {
        let kernel = self.image(kernel);
        let append = Some(line);
        let qemu = Qemu {
            initrd,
            append,
            ..self.qemu(&kernel)
        };
        finish(qemu.limited(LIMIT).args(flags))
    }

    /// QEMU's status when the guest ends with `code`.
    pub(super) fn status_of(&self, code: u8) -> i32 {
        status_of(self.arch, code)
    }

    /// What the guest has printed: all, but for what riscv64's firmware prints before.
    pub(super) fn guests_output(&self, output: &Output) -> Result<String> {
        let text = str::from_utf8(&output.stdout).context("the output is not text")?;
        if self.arch != Arch::Riscv64 {
            return Ok(text.to_owned());
        }
        let last = text.rfind("Boot HART MEDELEG").context("no firmware's text")?;
        let (_, guests) = text[last..]
            .split_once('\n')
            .context("no end of the firmware's text")?;
        Ok(guests.to_owned())
    }

    pub(super) fn check(&self, output: &Output, expected: &str, status: i32) -> Result<()> {
        let text = self.guests_output(output)?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(
            text == expected,
            "it printed {text:?} instead of {expected:?}; QEMU says {message:?}"
        );
        ensure!(
            output.status.code() == Some(status),
            "QEMU ended with {} instead of {status}; it says {message:?}",
            output.status
        );
        Ok(())
    }
}

/// A directory of a test, removed at its end.
pub(super) struct Work(PathBuf);

impl Work {
    pub(super) fn new(machine: &Machine, name: &str) -> Result<Self> {
        let id = std::process::id();
        let path =
            std::env::temp_dir().join(format!("hermit-wasm-plain-{id}-{}-{name}", machine.arch.name()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn tar(&self, arguments: &[&str]) -> Result<()> {
        let status = Command::new("tar")
            .args(arguments)
            .current_dir(&self.0)
            .status()
            .context("cannot start tar")?;
        ensure!(status.success(), "tar {arguments:?}: {status}");
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A virtiofsd, ended with its value.
pub(super) struct Daemon(Child);

impl Daemon {
    pub(super) fn start(socket: &Path, directory: &Path) -> Result<Self> {
        let child = Command::new(virtiofsd::program())
            .arg("--socket-path")
            .arg(socket)
            .arg("--shared-dir")
            .arg(directory)
            // The tests run as root or not; what confinement there is, is the launcher's tests' to see.
            .args(["--sandbox", "none"])
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start virtiofsd")?;
        let mut daemon = Self(child);
        let begun = Instant::now();
        while !socket.exists() {
            if let Some(status) = daemon.0.try_wait()? {
                bail!("virtiofsd ended with {status}");
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "virtiofsd makes no socket"
            );
            sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
