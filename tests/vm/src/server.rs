//! A guest that is talked to while it runs: started in a machine with a network, by the launcher, by QEMU alone or by
//! another runtime; its output as it comes, connections to it, its end.
//!
//! Layer: host tests.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use boot_protocol::arch::Arch;
use test_qemu::{Engine, Qemu};

use crate::memory::Memory;
use crate::process::{self, Collected};
use crate::{environment, program};

/// How long anything may take before a test gives up. Far longer than it takes.
const LIMIT: Duration = Duration::from_secs(400);

/// How long outputs may stay open after the end.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(200);

/// Who starts the machine.
#[derive(Clone, Debug)]
pub enum Starter {
    /// `hermit-wasm run`, with these flags.
    Launcher(Vec<String>),
    /// QEMU, with its own network behind it.
    Plain,
    /// QEMU, on a tap of this host, which [`TAP`] has made.
    Tap,
    /// Another runtime with the launcher's command line: these are its first words.
    Reference(Vec<String>),
}

/// Makes a host with a tap, at whose other end the machine is, and with an address of its own behind that.
pub const TAP: &str = "set -e
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip tuntap add dev tap0 mode tap
ip address add 10.77.0.1/24 dev tap0
ip link set tap0 up";

/// The machine's address there.
const AT_TAP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// What guests are started with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Who starts them.
    pub starter: Starter,
    /// The machine's architecture.
    pub arch: Arch,
    /// What runs the modules.
    pub engine: Engine,
    /// Where the built guests are.
    pub guests: PathBuf,
    /// For what a test makes.
    pub scratch: PathBuf,
}

/// A guest to start.
#[derive(Clone, Debug, Default)]
pub struct Guest<'a> {
    /// Its module: a built guest's name, or the path of a module.
    pub module: &'a str,
    /// Its arguments. `{port}` in one is the port at which it is to be reached.
    pub args: &'a [&'a str],
    /// Its environment, `NAME=value` each.
    pub env: &'a [&'a str],
    /// What it may connect to: `NAME:PORT`, and the port on this host that is meant.
    pub grants: &'a [(&'a str, u16)],
    /// Directories to copy for it: `HOST::GUEST`.
    pub copies: &'a [&'a str],
    /// Directories to share with it, for which the launcher is needed: `HOST::GUEST`.
    pub shares: &'a [&'a str],
    /// The machine's memory, if it needs more than the usual.
    pub memory: Option<&'a str>,
    /// Whether it gets a UDP port instead of a listener.
    pub datagrams: bool,
    /// Whether the machine asks for its address by DHCP. Only by QEMU alone, with its own network.
    pub dhcp: bool,
}

/// A guest that runs. All that was started for it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Collected,
    errors: Collected,
    /// Where the guest is reached.
    address: SocketAddr,
}

/// How a guest ended.
#[derive(Debug)]
pub struct End {
    /// The starter's status.
    pub status: ExitStatus,
    /// All that it printed, to both outputs.
    pub said: String,
}

impl Setting {
    /// What the variables say, for a starter.
    ///
    /// # Errors
    /// If one is not set that must be, or is wrong.
    pub fn from_environment(starter: Starter) -> Result<Self> {
        let arch = environment::arch()?;
        let engine = environment::engine()?;
        let scratch = std::env::temp_dir().join(format!("hermit-wasm-network-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        Ok(Self {
            starter,
            arch,
            engine,
            guests: environment::needed(environment::GUESTS)?,
            scratch,
        })
    }

    /// What the tests' names begin with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.starter {
            Starter::Launcher(_) => "launcher",
            Starter::Plain => "plain",
            Starter::Tap => "tap",
            Starter::Reference(_) => "reference",
        }
    }

    /// The status at the end of a guest that ends with `code`.
    #[must_use]
    pub fn status_of(&self, code: u8) -> i32 {
        match self.starter {
            Starter::Plain | Starter::Tap => test_qemu::status_of(self.arch, code),
            Starter::Launcher(_) | Starter::Reference(_) => code.into(),
        }
    }

    /// Starts a guest.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn start(&self, guest: &Guest<'_>) -> Result<Server> {
        let port = free_port()?;
        let mut command = match &self.starter {
            Starter::Launcher(flags) => self.launcher(flags, guest, port)?,
            Starter::Plain | Starter::Tap => self.plain(guest, port)?,
            Starter::Reference(words) => self.reference(words, guest, port)?,
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // To end all of it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let errors = child.stderr.take().context("no standard error")?;
        Ok(Server {
            input: child.stdin.take(),
            output: Collected::from(output),
            errors: Collected::from(errors),
            child,
            address: (self.guest(), port).into(),
        })
    }

    /// Where this host reaches the guest.
    const fn guest(&self) -> Ipv4Addr {
        match self.starter {
            Starter::Tap => AT_TAP,
            Starter::Launcher(_) | Starter::Plain | Starter::Reference(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// The address of this host's to listen at, for what a guest is granted.
    #[must_use]
    pub const fn host(&self) -> Ipv4Addr {
        match self.starter {
            Starter::Tap => Ipv4Addr::new(192, 0, 2, 1),
            Starter::Launcher(_) | Starter::Plain | Starter::Reference(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// Where a guest's module is.
    fn module(&self, guest: &Guest<'_>) -> PathBuf {
        if guest.module.contains('/') {
            return PathBuf::from(guest.module);
        }
        self.guests.join(guest.module).with_extension("wasm")
    }

    /// The flags that the launcher and other runtimes share.
    fn shared(&self, command: &mut Command, guest: &Guest<'_>, port: u16) {
        if !guest.datagrams {
            command.args(["--tcplisten", &format!("{}:{port}", Ipv4Addr::LOCALHOST)]);
        }
        for pair in guest.env {
            command.args(["--env", pair]);
        }
        for directory in guest.copies {
            command.args(["--copy-dir", directory]);
        }
        command.arg(self.module(guest)).args(arguments(guest, port));
    }

    fn launcher(&self, flags: &[String], guest: &Guest<'_>, port: u16) -> Result<Command> {
        let mut command = Command::new(environment::needed(environment::LAUNCHER)?);
        command.arg("run").args(flags);
        for (name, target) in guest.grants {
            command.args(["--net", &format!("{name}={}:{target}", Ipv4Addr::LOCALHOST)]);
        }
        if guest.datagrams {
            command.args(["--publish", &format!("{port}:{port}/udp")]);
        }
        if let Some(memory) = guest.memory {
            command.args(["--memory", memory]);
        }
        for directory in guest.shares {
            command.args(["--dir", directory]);
        }
        self.shared(&mut command, guest, port);
        Ok(command)
    }

    fn reference(&self, words: &[String], guest: &Guest<'_>, port: u16) -> Result<Command> {
        let [program, first @ ..] = words else {
            bail!("no other runtime is named");
        };
        // From the root, where relative paths start.
        let mut command = Command::new(crate::root().join(program));
        command.args(first).arg("run").current_dir(crate::root());
        self.shared(&mut command, guest, port);
        Ok(command)
    }

    /// QEMU with its own network, in which this host is 10.0.2.2, or with the tap.
    fn plain(&self, guest: &Guest<'_>, port: u16) -> Result<Command> {
        ensure!(guest.shares.is_empty(), "QEMU alone shares no directories");
        let images = environment::needed(environment::IMAGES)?.join(self.arch.name());
        let image = images.join(program::image_name(self.engine, "hermit-wasm.img"));
        let module = program::of(&self.module(guest), self.arch, None, self.engine, &self.scratch)?;
        let (initrd, copies) = self.payload(&module, guest.copies, port)?;
        let mut words = vec!["--".to_owned()];
        words.extend(copies);
        let protocol = if guest.datagrams {
            words.extend(["--publish".into(), format!("{port}/udp")]);
            "udp"
        } else {
            words.extend(["--tcplisten".into(), format!("0.0.0.0:{port}")]);
            "tcp"
        };
        let (netdev, ip, host) = match self.starter {
            Starter::Tap => (
                "tap,id=net,ifname=tap0,script=no,downscript=no".to_owned(),
                Some("10.77.0.2/24,10.77.0.1"),
                self.host(),
            ),
            Starter::Plain | Starter::Launcher(_) | Starter::Reference(_) => (
                // Who asks for an address gets another than who knows it.
                {
                    let at = if guest.dhcp { "10.0.2.77" } else { "10.0.2.15" };
                    let forward = format!("hostfwd={protocol}:127.0.0.1:{port}-{at}:{port}");
                    format!("user,id=net,dhcpstart=10.0.2.77,{forward}")
                },
                None,
                Ipv4Addr::new(10, 0, 2, 2),
            ),
        };
        for (name, target) in guest.grants {
            words.extend(["--net".into(), format!("{name}={host}:{target}")]);
        }
        let ip = if guest.dhcp { Some("dhcp") } else { ip };
        words.extend(ip.into_iter().flat_map(|ip| ["--ip".into(), ip.into()]));
        words.extend(
            guest
                .env
                .iter()
                .flat_map(|pair| ["--env".to_owned(), (*pair).to_owned()]),
        );
        words.push("--".into());
        words.extend(arguments(guest, port));
        let append = words.join(" ");
        let usual = Qemu::usual(self.arch);
        let qemu = Qemu {
            kernel: Some(&image),
            initrd: Some(&initrd),
            append: Some(&append),
            memory: guest.memory.unwrap_or("128M"),
            ..usual
        };
        let limit = u32::try_from(LIMIT.as_secs()).unwrap_or(u32::MAX);
        let mut command = qemu.limited(limit);
        command.args(network_flags(self.arch));
        command.args(["-netdev", &netdev]);
        Ok(command)
    }

    /// What QEMU boots with, and the words for it: a module, or an archive of it and of what is copied, each an archive
    /// too.
    fn payload(&self, module: &Path, copies: &[&str], port: u16) -> Result<(PathBuf, Vec<String>)> {
        if copies.is_empty() {
            return Ok((module.to_owned(), Vec::new()));
        }
        let directory = fresh(&self.scratch, &format!("payload-{port}"))?;
        let member = format!("module.{}", program::extension(self.engine));
        std::fs::copy(module, directory.join(&member))?;
        let (mut members, mut words) = (vec![member], Vec::new());
        for (number, copy) in copies.iter().enumerate() {
            let (host, inside) = copy.split_once("::").context("a copy without a place")?;
            let member = format!("{number}.tar");
            tar(&directory, &["-C", host, "-cf", &member, "."])?;
            words.extend(["--copy-dir".into(), format!("{member}::{inside}")]);
            members.push(member);
        }
        let mut line = vec!["-cf", "boot.tar"];
        line.extend(members.iter().map(String::as_str));
        tar(&directory, &line)?;
        Ok((directory.join("boot.tar"), words))
    }
}

/// A guest's arguments, at that port.
fn arguments(guest: &Guest<'_>, port: u16) -> impl Iterator<Item = String> {
    guest
        .args
        .iter()
        .map(move |word| word.replace("{port}", &port.to_string()))
}

/// Makes an archive in a directory.
fn tar(directory: &Path, words: &[&str]) -> Result<()> {
    let status = Command::new("tar").args(words).current_dir(directory).status();
    let status = status.context("cannot start tar")?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

/// QEMU's flags for the network device of the usual machine, on the network `net`.
#[must_use]
pub const fn network_flags(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 | Arch::Riscv64 => &[
            "-global",
            "virtio-mmio.force-legacy=off",
            "-device",
            "virtio-net-device,netdev=net",
        ],
        Arch::Aarch64 => &["-device", "virtio-net-pci,netdev=net,romfile="],
    }
}

impl Server {
    /// Where the guest is reached.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the guest has printed `text`, to either output.
    ///
    /// # Errors
    /// If it ends without, or does not in time; with what it said.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        loop {
            // Two outputs, and which of them it will be is not known.
            let step = Duration::from_millis(20);
            let (output, errors) = (self.output.wait_for(step, has), self.errors.wait_for(step, has));
            if has(&output) || has(&errors) {
                return Ok(());
            }
            let ended = self.output.ended() && self.errors.ended();
            ensure!(
                !ended && Instant::now() < deadline,
                "the guest {} without {text:?}; it said: {}{}",
                if ended { "ended" } else { "ran on" },
                String::from_utf8_lossy(&output),
                String::from_utf8_lossy(&errors)
            );
        }
    }

    /// Gives the guest input.
    ///
    /// # Errors
    /// If that is closed.
    pub fn input(&mut self, text: &str) -> Result<()> {
        let input = self.input.as_mut().context("input is closed")?;
        input.write_all(text.as_bytes())?;
        Ok(input.flush()?)
    }

    /// Connects to the guest.
    ///
    /// # Errors
    /// If that is refused.
    pub fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address()).context("cannot connect to the guest")?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(stream)
    }

    /// What the machine takes of this host's memory now, with all that belongs to it.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::of(self.child.id())
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// If it does not come in time.
    pub fn end(mut self) -> Result<End> {
        let (status, late) = process::wait(&mut self.child, Instant::now() + LIMIT)?;
        let said = self.said_in(AFTERWARDS);
        ensure!(!late, "the guest did not end; it said: {said}");
        Ok(End { status, said })
    }

    /// All that was printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said_in(Duration::ZERO)
    }

    /// The same, of outputs that end within this time.
    fn said_in(&self, time: Duration) -> String {
        let output = self.output.wait_for(time, |_| false);
        let errors = self.errors.wait_for(time, |_| false);
        String::from_utf8_lossy(&output).into_owned() + &String::from_utf8_lossy(&errors)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // With all that it has started.
            let _ = process::wait(&mut self.child, Instant::now());
        }
    }
}

/// A port that nobody has, for TCP and for UDP. Not of those that the system hands out by itself.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// Waits until somebody listens.
///
/// # Errors
/// If nobody does in time.
pub fn wait_for_listener(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A directory of the scratch, made anew.
///
/// # Errors
/// If it cannot be made.
pub fn fresh(scratch: &Path, name: &str) -> Result<PathBuf> {
    let directory = scratch.join(name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}
