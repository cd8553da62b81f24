//! A small Linux under QEMU's translation, of Debian's packages, in which KVM works.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use test_qemu::{Arch, Qemu};

use super::job::{self, Outcome};
use super::{Tools, initramfs};
use crate::toolchain::root;

/// Most time for the boot and all checks together; each check has a limit of its own.
const LIMIT: Duration = Duration::from_secs(1200);

/// Memory of the small Linux: the archive, its unpacked files, and the machines that run in it.
const MEMORY: &str = "2G";

/// Debian's packages, as `scripts/setup` has unpacked them.
pub(super) struct Packages {
    kernel: PathBuf,
    pub(super) modules: PathBuf,
    pub(super) busybox: PathBuf,
}

impl Packages {
    /// Finds them; or says why there are none.
    pub(super) fn find() -> Result<Self, String> {
        let unpacked = root().join("target/nested/debian");
        let missing = || {
            format!(
                "KVM does not work here, and the packages of a Linux to emulate are not below {}; scripts/setup \
                 downloads them with apt",
                unpacked.display()
            )
        };
        let kernel = fs::read_dir(unpacked.join("boot"))
            .map_err(|_| missing())?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
            })
            .ok_or_else(missing)?;
        let busybox = ["bin/busybox", "usr/bin/busybox"]
            .map(|place| unpacked.join(place))
            .into_iter()
            .find(|path| path.exists())
            .ok_or_else(missing)?;
        let modules = ["lib/modules", "usr/lib/modules"]
            .map(|place| unpacked.join(place))
            .into_iter()
            .find(|path| path.exists())
            .ok_or_else(missing)?;
        Ok(Self {
            kernel,
            modules,
            busybox,
        })
    }
}

/// A QEMU that does not outlive this program's interest in it.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots the small Linux, which runs the job.
pub(super) fn run(packages: &Packages, work: &Path, tools: &Tools) -> Result<Vec<Outcome>> {
    let out = root().join("target/nested");
    let archive = initramfs::build(packages, work, tools, &out)?;
    let console = out.join("console");
    let linux = Qemu {
        machine: "q35",
        memory: MEMORY,
        // What Linux says, and the report.
        serial: &[&format!("file:{}", console.display()), "stdio"],
        exit_device: false,
        kernel: Some(&packages.kernel),
        initrd: Some(&archive),
        append: Some("console=ttyS0 panic=-1 quiet"),
        ..Qemu::usual(Arch::X86_64)
    };
    let mut machine = Machine(
        Command::new(&tools.qemu)
            .args(["-accel", "tcg", "-no-user-config"])
            .args(linux.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?,
    );
    let report = machine.0.stdout.take().context("no output")?;
    let done = AtomicBool::new(false);
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| watch(&mut machine, &done));
        let outcomes = job::report(BufReader::new(report));
        done.store(true, Ordering::Relaxed);
        outcomes
    })?;
    // What the Linux itself says matters only if it did not get as far as it should.
    if outcomes.is_empty() {
        println!(
            "the console of the emulated Linux:\n{}",
            String::from_utf8_lossy(&fs::read(&console).unwrap_or_default())
        );
    }
    Ok(outcomes)
}

/// Ends the machine when its time is over or its report is done.
fn watch(machine: &mut Machine, done: &AtomicBool) {
    let deadline = Instant::now() + LIMIT;
    while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
        if matches!(machine.0.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = machine.0.kill();
}
