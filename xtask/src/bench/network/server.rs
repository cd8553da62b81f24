//! A machine with the server in it, on one of the two wires.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::{Arch, Engine, Qemu};

use super::client::Client;
use super::processes;
use super::{LIMIT, PORT};
use crate::bench::linux::{self, Linux};
use crate::image;
use crate::toolchain::test_cache;

/// The other end of the machine's wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// QEMU's own `user` network.
    Slirp,
    /// The launcher's relay, started as the launcher starts it, but for the jail.
    Relay,
}

impl Wire {
    pub(super) const ALL: [Self; 2] = [Self::Slirp, Self::Relay];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Slirp => "slirp",
            Self::Relay => "relay",
        }
    }
}

/// What the server runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    Linux,
    Ours(Arch, Engine),
}

impl Host {
    pub(super) fn name(self) -> String {
        match self {
            Self::Linux => "Linux, x86_64".to_owned(),
            Self::Ours(arch, engine) => format!("{}, {}", arch.name(), engine.name()),
        }
    }
}

/// How time passes in the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// By instructions, which are counted.
    Instructions,
    /// As it does here.
    Wall,
}

/// What servers are made of.
pub(super) struct Parts {
    pub(super) launcher: PathBuf,
    pub(super) plugin: PathBuf,
    pub(super) work: PathBuf,
    /// The server for our machines.
    pub(super) module: PathBuf,
    pub(super) linux: Option<Linux>,
}

/// A server that runs; ends with the value.
pub(super) struct Server {
    /// QEMU under its limit, or the launcher.
    machine: Ended,
    /// What is left of its output: little, and the pipe takes it.
    _output: ChildStdout,
    relay: Option<Ended>,
    /// The port of this host's that leads to it.
    pub(super) port: u16,
    /// Where the plugin counts.
    live: PathBuf,
}

/// The relay's name, by which the launcher's program knows what it is. See `launcher/src/relay/words.rs`.
const RELAY: &str = "relay-of-a-network";

/// How long QEMU may take until it has connected to its wire.
const CONNECTING: Duration = Duration::from_secs(120);

/// For so long nothing happens in a machine before it is taken to be at rest.
const REST: Duration = Duration::from_millis(50);

impl Server {
    /// Starts a machine, and waits until the server listens.
    pub(super) fn start(parts: &Parts, host: Host, wire: Wire, clock: Clock) -> Result<Self> {
        let arch = match host {
            Host::Linux => Arch::X86_64,
            Host::Ours(arch, _) => arch,
        };
        let (image, boot_module, line);
        let qemu = match host {
            Host::Linux => {
                let linux = parts.linux.as_ref().context("there is no Linux")?;
                Qemu {
                    // It knows nothing of it.
                    exit_device: false,
                    kernel: Some(&linux.kernel),
                    initrd: Some(&linux.archive),
                    append: Some(linux::COMMAND_LINE),
                    ..machine(arch)
                }
            }
            Host::Ours(_, engine) => {
                let file = format!("{}.img", engine.file());
                image = image::default_out().join(arch.name()).join(file);
                boot_module = parts.module_for(arch, engine);
                line = command_line(arch, wire, clock);
                Qemu {
                    kernel: Some(&image),
                    initrd: Some(&boot_module),
                    append: Some(&line),
                    ..machine(arch)
                }
            }
        };
        let port = free_port()?;
        let live = parts.work.join(format!("counts.{port}"));
        let mut command = qemu.limited(LIMIT);
        command.args(["-accel", "tcg", "-smp", "1", "-no-user-config"]);
        if clock == Clock::Instructions {
            command
                .args(["-icount", "shift=0,sleep=on", "-rtc", "base=2026-01-01,clock=vm"])
                .arg("-plugin")
                .arg(format!("{},live={}", parts.plugin.display(), live.display()));
        }
        if arch == Arch::Aarch64 {
            command.args(["-semihosting-config", "enable=on"]);
        }
        command.args(["-device", "virtio-net-pci,netdev=wire", "-netdev"]);
        match wire {
            Wire::Slirp => {
                command.arg(format!(
                    "user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT}"
                ));
                Self::ready(command, None, port, live)
            }
            Wire::Relay => {
                let socket = parts.work.join("wire");
                if socket.exists() {
                    fs::remove_file(&socket)?;
                }
                let wire = UnixListener::bind(&socket)
                    .with_context(|| format!("cannot listen at {}", socket.display()))?;
                command.arg(format!(
                    "stream,id=wire,server=off,addr.type=unix,addr.path={}",
                    socket.display()
                ));
                Self::ready(command, Some((wire, &parts.launcher)), port, live)
            }
        }
    }

    /// Starts the server as a user would: by the launcher, in its jail.
    pub(super) fn launched(parts: &Parts) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&parts.launcher);
        command
            .args(["run", "--engine", Engine::Interp.name(), "--tcplisten"])
            .arg(format!("127.0.0.1:{port}"))
            .arg(&parts.module)
            .env("XDG_CACHE_HOME", test_cache());
        Self::ready(command, None, port, PathBuf::new())
    }

    fn ready(
        mut command: Command,
        relay: Option<(UnixListener, &Path)>,
        port: u16,
        live: PathBuf,
    ) -> Result<Self> {
        let mut machine = Ended(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {}", command.get_program().display()))?,
        );
        let relay = relay
            .map(|(wire, launcher)| start_relay(&wire, launcher, port))
            .transpose()?
            .map(Ended);
        let output = machine.0.stdout.take().context("no standard output")?;
        let mut printed = String::new();
        let mut lines = BufReader::new(output);
        while !printed.lines().any(|line| line.trim_end() == "ready") {
            ensure!(
                lines.read_line(&mut printed)? > 0,
                "the server does not come up: {printed}"
            );
        }
        Ok(Self {
            machine,
            _output: lines.into_inner(),
            relay,
            port,
            live,
        })
    }

    /// The processes that it consists of.
    fn processes(&self) -> Result<Vec<u32>> {
        let mut all = processes::tree(self.machine.0.id())?;
        all.extend(self.relay.as_ref().map(|relay| relay.0.id()));
        Ok(all)
    }

    /// How long its processes have run.
    pub(super) fn ran(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(processes::ran).sum()
    }

    /// Waits until nothing happens any more, in the machine and on the wire, and says how many instructions it has taken until then.
    pub(super) fn at_rest(&self) -> Result<u64> {
        let processes = self.processes()?;
        let begin = Instant::now();
        let (mut last, mut since) = (None, begin);
        loop {
            thread::sleep(Duration::from_millis(2));
            let count = self.count()?;
            let mut sleep = true;
            for process in &processes {
                sleep &= processes::sleeps(*process)?;
            }
            if !sleep || last != Some(count) {
                (last, since) = (Some(count), Instant::now());
            } else if since.elapsed() >= REST {
                return Ok(count);
            }
            if begin.elapsed() > Duration::from_secs(LIMIT.into()) {
                bail!("the machine never rests");
            }
        }
    }

    fn count(&self) -> Result<u64> {
        let bytes = fs::read(&self.live).context("the plugin does not count")?;
        let bytes = bytes.try_into().ok().context("the plugin's file is none")?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Ends the server, which has to be able to.
    pub(super) fn end(mut self) -> Result<()> {
        Client::connect(self.port)?.end();
        self.machine.0.wait()?;
        Ok(())
    }
}

/// A process that ends with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // Not killed at once: `timeout` and the launcher pass the signal on.
            let _ = Command::new("kill").arg(self.0.id().to_string()).status();
            let _ = self.0.wait();
        }
    }
}

/// Starts the relay for the machine that connects to `wire`. It inherits both ends.
fn start_relay(wire: &UnixListener, launcher: &Path, port: u16) -> Result<Child> {
    wire.set_nonblocking(true)?;
    let deadline = Instant::now() + CONNECTING;
    let wire = loop {
        match wire.accept() {
            Ok((wire, _)) => break wire,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error).context("QEMU does not connect to its wire"),
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    // As the launcher hands it over.
    listener.set_nonblocking(true)?;
    // The shell becomes the relay, whose standard input says what it is to do.
    let become_relay = r#"exec -a "$0" "$1" 3<&0 4<&1 1>&2 <<<"$2""#;
    Command::new("bash")
        .args(["-c", become_relay, RELAY])
        .arg(launcher)
        .arg(format!("wire=3\npublished=4:{PORT}/tcp"))
        .stdin(OwnedFd::from(wire))
        .stdout(OwnedFd::from(listener))
        .spawn()
        .context("cannot start the relay")
}

/// One that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The machine that is compared: one with PCI.
const fn machine(arch: Arch) -> Qemu<'static> {
    let usual = Qemu::usual(arch);
    Qemu {
        machine: match arch {
            Arch::X86_64 => "q35",
            Arch::Aarch64 | Arch::Riscv64 => usual.machine,
        },
        memory: "512M",
        ..usual
    }
}

fn command_line(arch: Arch, wire: Wire, clock: Clock) -> String {
    let mut line = String::new();
    if clock == Clock::Instructions && arch == Arch::X86_64 {
        // The clock of a machine with -icount shift=0; the others read theirs.
        line.push_str("-freq 1000 ");
    }
    line.push_str("-- ");
    if wire == Wire::Relay {
        line.push_str("--wire relay ");
    }
    line + &format!("--tcplisten 0.0.0.0:{PORT}")
}

impl Parts {
    /// What an engine runs on an architecture.
    pub(super) fn module_for(&self, arch: Arch, engine: Engine) -> PathBuf {
        match engine {
            Engine::Interp => self.module.clone(),
            Engine::Native => self.module.with_extension(format!("{}.cwasm", arch.name())),
        }
    }
}
