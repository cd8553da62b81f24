//! Runs of the launcher with shared directories, which a test can talk to while they last.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use vm_tests::{environment, virtiofsd};

/// No run takes as long, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(900);

/// What is tested.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    launcher: PathBuf,
    guests: PathBuf,
    /// For every run.
    flags: Vec<String>,
    virtiofsd: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A directory of a test's own, deleted with this value.
pub(crate) struct Scratch(PathBuf);

/// A run that lasts.
pub(crate) struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: mpsc::Receiver<String>,
}

impl Machine {
    pub(crate) fn from_environment() -> Result<Self> {
        Ok(Self {
            launcher: environment::needed(environment::LAUNCHER)?,
            guests: environment::needed(environment::GUESTS)?,
            flags: environment::flags()?,
            virtiofsd: virtiofsd::program(),
        })
    }

    /// The launcher.
    pub(crate) fn launcher(&self) -> &Path {
        &self.launcher
    }

    /// A guest's module.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    /// The command of a run in `directory`; flags, guest and arguments are `words`.
    pub(crate) fn command(&self, directory: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.launcher);
        command
            .arg("run")
            .args(&self.flags)
            .arg("--virtiofsd")
            .arg(&self.virtiofsd)
            .args(words)
            .current_dir(directory);
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, directory: &Path, words: &[&str]) -> Result<Ended> {
        self.start(directory, words)?.end()
    }

    /// Starts a run.
    pub(crate) fn start(&self, directory: &Path, words: &[&str]) -> Result<Running> {
        Running::start(self.command(directory, words))
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start the launcher")?;
        let mut errors = child.stderr.take().context("no standard error")?;
        let (send, stderr) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is missed by whoever looks for it.
            let _ = errors.read_to_end(&mut bytes);
            let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        // A run that hangs is ended, and then its test fails.
        let group = format!("-{}", child.id());
        let id = child.id();
        std::thread::spawn(move || {
            std::thread::sleep(LIMIT);
            if Path::new(&format!("/proc/{id}/exe")).exists() {
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            }
        });
        Ok(Self {
            stdin: child.stdin.take().context("no standard input")?,
            stdout: BufReader::new(child.stdout.take().context("no standard output")?),
            stderr,
            child,
        })
    }

    /// The numbers of the processes called virtiofsd beneath the launcher's.
    pub(crate) fn daemons(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut parents = vec![self.child.id().to_string()];
        while let Some(parent) = parents.pop() {
            // Fails where there are none.
            let output = Command::new("pgrep")
                .args(["-P", &parent])
                .output()
                .context("pgrep")?;
            for child in String::from_utf8_lossy(&output.stdout).lines() {
                let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
                if name.trim() == "virtiofsd" {
                    found.push(child.to_owned());
                }
                parents.push(child.to_owned());
            }
        }
        Ok(found)
    }

    /// Reads lines up to `line`; gives those before.
    pub(crate) fn wait_for(&mut self, line: &str) -> Result<Vec<String>> {
        let mut before = Vec::new();
        loop {
            let mut next = String::new();
            if self.stdout.read_line(&mut next)? == 0 {
                bail!(
                    "it ended without {line:?}, after {before:?}; standard error:\n{}",
                    self.stderr.recv_timeout(LIMIT)?
                );
            }
            if next.trim_end() == line {
                return Ok(before);
            }
            before.push(next.trim_end().to_owned());
        }
    }

    /// Lets the guest go on.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        Ok(self.stdin.write_all(b"go on\n")?)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Result<Ended> {
        drop(self.stdin);
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout)?;
        let status = self.child.wait()?;
        let stderr = self.stderr.recv_timeout(LIMIT)?;
        Ok(Ended {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

impl Ended {
    /// Checks that the guest ended well, having said this.
    pub(crate) fn said(&self, stdout: &str) -> Result<()> {
        ensure!(
            self.code == Some(0) && self.stdout == stdout,
            "ended with {:?} and said {:?}, not {stdout:?}; standard error:\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(())
    }

    /// Checks that the run failed so, and that standard error has these words.
    pub(crate) fn failed(&self, code: i32, words: &[&str]) -> Result<()> {
        ensure!(
            self.code == Some(code) && words.iter().all(|word| self.stderr.contains(word)),
            "ended with {:?}, not {code}, or its standard error misses some of {words:?}:\n{}",
            self.code,
            self.stderr
        );
        Ok(())
    }
}

impl Scratch {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("hermit-wasm-share-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its path with something behind it, as a word.
    pub(crate) fn word(&self, behind: &str) -> String {
        format!("{}{behind}", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
