//! The devices of a machine are those that were packed and given, and no others.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use test_qemu::Arch;
use vm_tests::environment;

use super::Work;

/// How long QEMU may take for an answer; not for ever, so that a test that fails ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is given no directory has no device but the board's.
pub(super) fn none(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "devices-none")?;
    let devices = devices(arch, &work, &[], &[])?;
    let others = granted(&devices);
    ensure!(others.is_empty(), "{others:?} among {devices:?}");
    Ok(())
}

/// One directory of the host is one device.
pub(super) fn directory(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "devices-directory")?;
    let share = work.path("share");
    fs::create_dir(&share)?;
    let share = format!("{}::/share", share.display());
    let devices = devices(arch, &work, &["--dir", "share::/share"], &["--dir", &share])?;
    expect_one(&devices, "vhost-user-fs", "vhost-user-fs-device")
}

/// A network is one device.
pub(super) fn network(arch: Arch) -> Result<()> {
    let work = Work::new(arch, "devices-network")?;
    let devices = devices(arch, &work, &["--net", "redis:6379"], &[])?;
    expect_one(&devices, "virtio-net", "virtio-net-device")
}

/// Besides the board's there is this one device, and the way in which it is attached, whose names begin alike.
fn expect_one(devices: &[String], beginning: &str, device: &str) -> Result<()> {
    let others = granted(devices);
    ensure!(
        !others.is_empty() && others.iter().all(|other| other.starts_with(beginning)),
        "{others:?} among {devices:?}"
    );
    let count = devices.iter().filter(|other| *other == device).count();
    ensure!(count == 1, "{count} times {device} among {devices:?}");
    Ok(())
}

/// What the boards that the launcher takes have by themselves: interrupts, timers, the serial line, the way to the end,
/// and places for devices, by their names in QEMU.
const BOARDS: [&str; 31] = [
    "acpi-ged-x86",
    "arm-gicv2m",
    "arm-gicv3",
    "arm_gic",
    "cfi.pflash01",
    "fw_cfg_io",
    "fw_cfg_mem",
    "goldfish_rtc",
    "gpex-pcihost",
    "gpex-root",
    "gpio-key",
    "ioapic",
    "isa-debug-exit",
    "isa-i8259",
    "isa-pit",
    "isa-serial",
    "isabus-bridge",
    "kvmvapic",
    "mc146818rtc",
    "pl011",
    "pl031",
    "pl061",
    "platform-bus-device",
    "riscv.aclint.mtimer",
    "riscv.aclint.swi",
    "riscv.hart_array",
    "riscv.sifive.plic",
    "riscv.sifive.test",
    "serial-mm",
    "virtio-mmio",
    "virtio-mmio-bus",
];

/// What of these devices no board has.
fn granted(devices: &[String]) -> Vec<&String> {
    let of_board = |device: &&String| BOARDS.contains(&device.as_str());
    devices.iter().filter(|device| !of_board(device)).collect()
}

/// The devices of a machine that runs what was packed, as QEMU lists them.
fn devices(arch: Arch, work: &Work, packed: &[&str], flags: &[&str]) -> Result<Vec<String>> {
    let payload = work.pack(arch, "guest.tar", packed)?;
    let socket = work.path("monitor");
    let program = work.path("qemu");
    let qemu = format!("qemu-system-{}", arch.name());
    fs::write(
        &program,
        format!(
            "#!/bin/sh\nexec {qemu} -qmp unix:{},server=on,wait=off \"$@\"\n",
            socket.display()
        ),
    )?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut run = Command::new(environment::needed(environment::LAUNCHER)?)
        // The monitor's socket is no thing for a jail.
        .args([
            "run",
            "--allow-precompiled",
            "--jail",
            "off",
            "--accel",
            "tcg",
            "--arch",
            arch.name(),
            "--qemu",
        ])
        .arg(&program)
        .args(flags)
        .arg(&payload)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let input = run.stdin.take();
    let mut listed = || -> Result<Vec<String>> {
        // It runs.
        let mut line = String::new();
        BufReader::new(run.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "guest.wat\n", "it printed {line:?}");
        tree(&socket)
    };
    let devices = listed();
    drop(input);
    let _ = run.kill();
    let _ = run.wait();
    devices
}

/// Asks QEMU for its tree of devices. By its protocol for programs, in which an answer is one line: of what the monitor
/// for people prints, nobody can tell where it ends, and a long tree comes in pieces.
fn tree(socket: &Path) -> Result<Vec<String>> {
    let begun = Instant::now();
    let mut monitor = loop {
        match UnixStream::connect(socket) {
            Ok(monitor) => break monitor,
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    };
    monitor.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(monitor.try_clone()?).lines();
    let mut ask = |question: &str| -> Result<String> {
        monitor.write_all(question.as_bytes())?;
        loop {
            let line = answers.next().context("QEMU said nothing")??;
            ensure!(!line.starts_with(r#"{"error""#), "{question}: {line}");
            if line.starts_with(r#"{"return""#) {
                return Ok(line);
            }
        }
    };
    ask("{\"execute\":\"qmp_capabilities\"}\n")?;
    let tree =
        ask("{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info qtree\"}}\n")?;
    // A string of JSON, in which lines end as this says.
    let devices: Vec<String> = tree
        .split("\\r\\n")
        .filter_map(|line| {
            let device = line.rsplit("\"return\": \"").next()?.trim_start();
            Some(device.strip_prefix("dev: ")?.split(',').next()?.to_string())
        })
        .collect();
    ensure!(!devices.is_empty(), "the monitor said {tree:?}");
    Ok(devices)
}
