//! What a server costs: instructions of each request, connection and byte, of our machines and of a small Linux, on
//! the same wire and with the same client.
//!
//! The server is `xtask/bench/serve-cost.c`: a guest here, the only process there. The wire is QEMU's own `user`
//! network, the client this process. Each figure is a difference, the work done many times against a few: so boot and
//! end cancel. It is not exact: how often a guest is woken depends on when frames come.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use test_qemu::{Arch, Engine, Qemu};

use super::counter::{plugin, total};
use super::linux::{self, Linux};
use super::{compute, grouped, table, work};
use crate::toolchain::{root, run};
use crate::{compiler, image};

/// Seconds after which a machine is ended, and an answer not awaited any longer.
const LIMIT: u32 = 600;

/// The port in the machine.
const PORT: u16 = 8080;

/// Bytes of a request and its answer: `serve-cost.c`.
const REQUEST: usize = 100;
const ANSWER: usize = 200;

/// The modules that a network device on PCI needs, in the order in which they need each other.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// What the client does, a number of times.
#[derive(Clone, Copy)]
enum Job {
    /// Requests on one connection.
    Requests,
    /// Connections with a request each.
    Connections,
    /// KiB to the server.
    In,
    /// KiB from it.
    Out,
}

impl Job {
    const ALL: [Self; 4] = [Self::Requests, Self::Connections, Self::In, Self::Out];

    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "a request of 100 bytes and its answer of 200",
            Self::Connections => "a connection with one of these",
            Self::In => "a KiB received",
            Self::Out => "a KiB sent",
        }
    }

    /// How often it is done, once with few and once with many.
    const fn times(self) -> [u32; 2] {
        match self {
            Self::Requests => [100, 2100],
            Self::Connections => [50, 550],
            Self::In | Self::Out => [1 << 10, 33 << 10],
        }
    }

    /// Does it so many times.
    fn run(self, port: u16, times: u32) -> Result<()> {
        let connect = || Client::connect(port);
        match self {
            Self::Requests => {
                let mut client = connect()?;
                (0..times).try_for_each(|_| client.ask(b'r', 0))
            }
            Self::Connections => (0..times).try_for_each(|_| connect()?.ask(b'r', 0)),
            Self::In => connect()?.ask(b'i', times << 10),
            Self::Out => connect()?.ask(b'o', times << 10),
        }
    }
}

/// A connection to the server.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let limit = Some(Duration::from_secs(LIMIT.into()));
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        Ok(Self(stream))
    }

    /// Asks for something, and takes the answer.
    fn ask(&mut self, what: u8, number: u32) -> Result<()> {
        let mut request = [0; REQUEST];
        request[0] = what;
        request[1..5].copy_from_slice(&number.to_le_bytes());
        self.0.write_all(&request)?;
        let number = usize::try_from(number)?;
        if what == b'i' {
            self.0.write_all(&vec![0x5a; number])?;
        }
        let mut answer = vec![0; ANSWER + if what == b'o' { number } else { 0 }];
        self.0
            .read_exact(&mut answer)
            .context("the server does not answer")
    }
}

/// A machine with the server in it.
struct Server<'a> {
    qemu: Qemu<'a>,
    plugin: &'a Path,
    log: PathBuf,
}

impl Server<'_> {
    /// What doing it once costs.
    fn cost(&self, job: Job) -> Result<u64> {
        let [few, many] = job.times();
        let (few_cost, many_cost) = (self.count(job, few)?, self.count(job, many)?);
        let all = many_cost
            .checked_sub(few_cost)
            .context("many take less than a few")?;
        Ok(all / u64::from(many - few))
    }

    /// All instructions of a run in which it is done so many times.
    fn count(&self, job: Job, times: u32) -> Result<u64> {
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = self.qemu.limited(LIMIT);
        command
            .args(["-accel", "tcg", "-smp", "1", "-no-user-config"])
            .args(["-icount", "shift=0,sleep=on", "-rtc", "base=2026-01-01,clock=vm"])
            .arg("-netdev")
            .arg(format!(
                "user,id=wire,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT}"
            ))
            .args(["-device", "virtio-net-pci,netdev=wire"])
            .arg("-plugin")
            .arg(self.plugin)
            .args(["-d", "plugin", "-D"])
            .arg(&self.log);
        if self.qemu.arch == Arch::Aarch64 {
            command.args(["-semihosting-config", "enable=on"]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let mut machine = Machine(child);
        machine.wait_until_ready()?;
        job.run(port, times)?;
        // Linux does not wait until its answer has gone.
        let _ = Client::connect(port)?.ask(b'e', 0);
        machine.0.wait()?;
        total(&fs::read_to_string(&self.log)?)
    }
}

/// QEMU under its limit; ends with the value.
struct Machine(Child);

impl Machine {
    fn wait_until_ready(&mut self) -> Result<()> {
        let output = self.0.stdout.take().context("no standard output")?;
        let mut printed = String::new();
        let mut lines = BufReader::new(output);
        // The rest of the output goes nowhere: there is little, and the pipe takes it.
        while !printed.lines().any(|line| line.trim_end() == "ready") {
            ensure!(
                lines.read_line(&mut printed)? > 0,
                "the server does not come up: {printed}"
            );
        }
        self.0.stdout = Some(lines.into_inner());
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // `timeout` passes the signal on to QEMU.
            let _ = Command::new("kill").arg(self.0.id().to_string()).status();
            let _ = self.0.wait();
        }
    }
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

/// Measures and prints the table.
pub(super) fn run_all() -> Result<()> {
    let launcher = image::build_launcher(&Arch::ALL)?;
    compiler::build()?;
    let work = work()?.join("network");
    fs::create_dir_all(&work)?;
    let module = work.join("serve-cost.wasm");
    compute::compile(
        &root().join("xtask/bench/serve-cost.c"),
        &module,
        &["-nostartfiles"],
    )?;
    let plugin = plugin()?;
    let log = work.join("counts.log");

    let mut columns = Vec::new();
    let mut costs = Vec::new();
    match Linux::prepare(&work, "serve-cost.c", &MODULES, &[]) {
        Ok(linux) => {
            let server = Server {
                qemu: Qemu {
                    // It knows nothing of it.
                    exit_device: false,
                    kernel: Some(&linux.kernel),
                    initrd: Some(&linux.archive),
                    append: Some(linux::COMMAND_LINE),
                    ..machine(Arch::X86_64)
                },
                plugin: &plugin,
                log: log.clone(),
            };
            columns.push("Linux, x86_64".to_owned());
            costs.push(measure(&server)?);
        }
        Err(reason) => println!("Linux: not measured: {reason}\n"),
    }
    for arch in Arch::ALL {
        for engine in Engine::ALL {
            let boot_module = match engine {
                Engine::Interp => module.clone(),
                Engine::Native => compiled(&launcher, arch, &module)?,
            };
            let image = image::default_out()
                .join(arch.name())
                .join(format!("{}.img", engine.file()));
            let words = format!("-- --tcplisten 0.0.0.0:{PORT}");
            // The clock of a machine with -icount shift=0.
            let line = match arch {
                Arch::X86_64 => format!("-freq 1000 {words}"),
                Arch::Aarch64 | Arch::Riscv64 => words,
            };
            let server = Server {
                qemu: Qemu {
                    kernel: Some(&image),
                    initrd: Some(&boot_module),
                    append: Some(&line),
                    ..machine(arch)
                },
                plugin: &plugin,
                log: log.clone(),
            };
            columns.push(format!("{}, {}", arch.name(), engine.name()));
            costs.push(measure(&server)?);
        }
    }
    let rows = Job::ALL.iter().enumerate().map(|(index, job)| {
        let cells = costs
            .iter()
            .map(|costs| costs.get(index).copied().map_or_else(String::new, grouped));
        (job.name().to_owned(), cells.collect())
    });
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    println!("What a server costs: guest instructions (QEMU TCG, -icount shift=0, its `user` network)\n");
    println!("{}", table(&columns, rows));
    Ok(())
}

fn measure(server: &Server<'_>) -> Result<Vec<u64>> {
    Job::ALL
        .iter()
        .map(|job| server.cost(*job).with_context(|| job.name()))
        .collect()
}

/// The module as native code; its path.
fn compiled(launcher: &Path, arch: Arch, module: &Path) -> Result<PathBuf> {
    let code = module.with_extension(format!("{}.cwasm", arch.name()));
    run(Command::new(launcher)
        .args(["compile", "--arch", arch.name(), "-o"])
        .arg(&code)
        .arg(module))?;
    Ok(code)
}
