//! One counted run of a machine with a shared directory: virtiofsd, QEMU, and what their logs say.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::{Arch, Qemu, status_of};

use super::{BYTES, Counts};
use crate::image;

/// Seconds that a run may take; the longest takes a minute on a machine with other work.
const LIMIT: u32 = 900;

/// What is compared: q35 with memory that the server maps.
pub(super) const MACHINE: Qemu<'_> = Qemu {
    machine: "q35,memory-backend=ram",
    memory: "512M",
    ..Qemu::usual(Arch::X86_64)
};

/// How long virtiofsd may take until its socket is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// What virtiofsd's log has for each request, and for each of those that separate jobs.
const REQUEST: &str = "Received request: opcode=";
const SEPARATOR: &str = "Received request: opcode=Statfs";

/// Whether waiting for the server is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// The processor stands still until the server has answered: nobody waits.
    AtOnce,
    /// The server takes its time, and the guest waits as it does.
    AsItComes,
}

impl Serving {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::AtOnce => "As if the server answered at once: no waiting",
            Self::AsItComes => {
                "With waiting, as the server took its time here: differs from run to run and between hosts"
            }
        }
    }
}

/// What all runs have in common.
pub(super) struct Machine {
    pub(super) virtiofsd: PathBuf,
    pub(super) plugin: PathBuf,
    pub(super) module: PathBuf,
    /// What is shared.
    pub(super) directory: PathBuf,
    pub(super) work: PathBuf,
}

/// What a run left behind.
pub(super) struct Logs {
    pub(super) status: Option<i32>,
    pub(super) console: String,
    /// The plugin's counts at each mark, and the last at the end; without requests.
    pub(super) counts: Vec<Counts>,
    /// Requests in front of the first separator, then between two each.
    pub(super) requests: Vec<u64>,
}

impl Machine {
    /// Counts a whole run of our machine with these jobs.
    pub(super) fn ours(&self, serving: Serving, words: &[String]) -> Result<Counts> {
        let image = image::default_out().join("x86_64/hermit-wasm.img");
        // The clock of a machine with -icount shift=0.
        let line = format!("-freq 1000 -- --share share::/ -- {}", words.join(" "));
        let logs = self.run(
            serving,
            Qemu {
                kernel: Some(&image),
                initrd: Some(&self.module),
                append: Some(&line),
                ..MACHINE
            },
        )?;
        ensure!(
            logs.status == Some(status_of(Arch::X86_64, 0)),
            "{words:?}: status {:?}: {}",
            logs.status,
            logs.console
        );
        let total = logs.counts.last().context("the plugin counted nothing")?;
        Ok(Counts {
            requests: logs.requests.iter().sum(),
            ..*total
        })
    }

    /// Runs [`MACHINE`] with something to boot, and the shared directory.
    pub(super) fn run(&self, serving: Serving, machine: Qemu<'_>) -> Result<Logs> {
        let data = self.directory.join("data");
        if fs::metadata(&data).map_or(0, |data| data.len()) != BYTES {
            fs::write(&data, vec![0xa5; usize::try_from(BYTES)?])?;
        }
        let mut server = Server::start(self, serving)?;
        let counts = self.work.join("counts.log");
        let holding = match serving {
            Serving::AtOnce => format!(",server={}", server.child.id()),
            Serving::AsItComes => String::new(),
        };
        let memory = format!("memory-backend-memfd,id=ram,size={},share=on", machine.memory);
        let mut qemu = machine.limited(LIMIT);
        qemu.args([
            "-accel",
            "tcg",
            "-smp",
            "1",
            "-no-user-config",
            "-object",
            &memory,
        ])
        .args(["-icount", "shift=0,sleep=on", "-rtc", "base=2026-01-01,clock=vm"])
        .arg("-chardev")
        .arg(format!("socket,id=fs,path={}", server.socket.display()))
        // Linux sends larger requests with more than the 128 places that are the default.
        .args([
            "-device",
            "vhost-user-fs-pci,chardev=fs,tag=share,queue-size=1024",
        ])
        .arg("-plugin")
        .arg(format!("{}{holding}", self.plugin.display()))
        .args(["-d", "plugin", "-D"])
        .arg(&counts)
        .stdin(Stdio::null());
        let output = qemu.output().context("cannot start QEMU")?;
        let log = server.ended()?;
        Ok(Logs {
            status: output.status.code(),
            console: String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
            counts: parse_counts(&fs::read_to_string(&counts)?)?,
            requests: parse_requests(&log),
        })
    }
}

/// A virtiofsd that serves one run.
struct Server {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Server {
    fn start(machine: &Machine, serving: Serving) -> Result<Self> {
        let socket = machine.work.join("socket");
        if socket.exists() {
            fs::remove_file(&socket)?;
        }
        let log = machine.work.join("virtiofsd.log");
        // It serves what was made for this; a sandbox would need rights or namespaces, and changes nothing here.
        let child = Command::new(&machine.virtiofsd)
            .arg("--socket-path")
            .arg(&socket)
            .arg("--shared-dir")
            .arg(&machine.directory)
            .args(["--sandbox", "none", "--log-level"])
            .arg(match serving {
                Serving::AtOnce => "debug",
                Serving::AsItComes => "error",
            })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start virtiofsd")?;
        let mut server = Self { child, socket, log };
        let deadline = Instant::now() + PATIENCE;
        while !server.socket.exists() {
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("virtiofsd does not serve: {}", fs::read_to_string(&server.log)?);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Its log, when it has ended, as it does with QEMU.
    fn ended(&mut self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "virtiofsd does not end with QEMU");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(fs::read_to_string(&self.log)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the plugin's log.
fn parse_counts(log: &str) -> Result<Vec<Counts>> {
    let mut all = Vec::new();
    for line in log.lines().filter(|line| line.starts_with("bench ")) {
        let mut numbers = line.split(' ').skip(2).map(str::parse);
        let mut next = || numbers.next().context("a count is missing");
        all.push(Counts {
            instructions: next()??,
            repeated: next()??,
            requests: 0,
        });
    }
    Ok(all)
}

/// Counts requests in virtiofsd's log, apart where a separator is.
fn parse_requests(log: &str) -> Vec<u64> {
    let mut counts = vec![0];
    for line in log.lines() {
        if line.contains(SEPARATOR) {
            counts.push(0);
        } else if line.contains(REQUEST)
            && let Some(last) = counts.last_mut()
        {
            *last += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let log = "noise\nbench mark 12 3 1\nbench total 40 5 2\n";
        let counts = parse_counts(log).unwrap();
        let numbers: Vec<_> = counts
            .iter()
            .map(|counts| (counts.instructions, counts.repeated))
            .collect();
        assert_eq!(numbers, [(12, 3), (40, 5)]);
        assert!(parse_counts("bench total 40\n").is_err());
        assert!(parse_counts("bench total x 1 1\n").is_err());
    }

    #[test]
    fn requests_are_counted_between_separators() {
        let log = "[1 DEBUG virtiofsd::server] Received request: opcode=Init (26), inode=0\n\
            [1 DEBUG virtiofsd::server] Replying OK\n\
            [1 DEBUG virtiofsd::server] Received request: opcode=Statfs (17), inode=1\n\
            [1 DEBUG virtiofsd::server] Received request: opcode=Read (15), inode=2\n\
            [1 DEBUG virtiofsd::server] Received request: opcode=Read (15), inode=2\n\
            [1 DEBUG virtiofsd::server] Received request: opcode=Statfs (17), inode=1\n";
        assert_eq!(parse_requests(log), [1, 2, 0]);
    }
}
