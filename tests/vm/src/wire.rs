//! A machine with a network device, the other end of whose wire the test has: each datagram is a frame.
//!
//! Layer: host tests.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use test_qemu::{Arch, Qemu};

/// Seconds after which a machine is ended, and a frame is not awaited any longer. Far more than any takes.
const LIMIT: u32 = 400;

/// A machine to be.
#[derive(Clone, Copy, Debug)]
pub struct Wired<'a> {
    /// Its architecture.
    pub arch: Arch,
    /// The value of `-machine`.
    pub machine: &'a str,
    /// Its network device, as `-device` names it, without a wire.
    pub device: &'a str,
    /// What is booted, and the boot module.
    pub image: &'a Path,
    /// The boot module's content.
    pub module: &'a [u8],
    /// Whether the clock counts instructions, and jumps when the machine sleeps: seconds asleep take no time, and
    /// awake they take minutes.
    pub sleep_is_free: bool,
}

/// A machine that runs.
#[derive(Debug)]
pub struct Wire {
    socket: UnixDatagram,
    /// QEMU's end.
    peer: PathBuf,
    output: ChildStdout,
    /// QEMU under its limit, and its files.
    limited: Child,
    directory: PathBuf,
}

impl Wired<'_> {
    /// Starts it.
    ///
    /// # Errors
    /// If QEMU does not start.
    pub fn start(&self, name: &str) -> Result<Wire> {
        let id = std::process::id();
        let directory =
            std::env::temp_dir().join(format!("hermit-wasm-wire-{id}-{}-{name}", self.arch.name()));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let (ours, peer, module) = (
            directory.join("ours"),
            directory.join("qemu"),
            directory.join("module"),
        );
        fs::write(&module, self.module)?;
        let socket = UnixDatagram::bind(&ours).context("cannot make the wire")?;
        socket.set_read_timeout(Some(Duration::from_secs(LIMIT.into())))?;
        let qemu = Qemu {
            machine: self.machine,
            kernel: Some(self.image),
            initrd: Some(&module),
            ..Qemu::usual(self.arch)
        };
        let wire = format!(
            "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            peer.display(),
            ours.display()
        );
        let mut command = qemu.limited(LIMIT);
        command.args([
            "-netdev",
            &wire,
            "-device",
            &format!("{},netdev=wire", self.device),
        ]);
        command.args(["-global", "virtio-mmio.force-legacy=off"]);
        if self.sleep_is_free {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        if self.arch == Arch::Aarch64 {
            command.args(["-semihosting-config", "enable=on"]);
        }
        let mut limited = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let output = limited.stdout.take().context("no standard output")?;
        Ok(Wire {
            socket,
            peer,
            output,
            limited,
            directory,
        })
    }
}

impl Wire {
    /// Reads what the machine prints up to a line.
    ///
    /// # Errors
    /// If it ends before.
    pub fn wait_for(&mut self, line: &str) -> Result<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        let end = format!("{line}\n");
        while !text.ends_with(end.as_bytes()) {
            let count = self.output.read(&mut byte)?;
            ensure!(
                count == 1,
                "no line '{line}' in {:?}",
                String::from_utf8_lossy(&text)
            );
            if byte != *b"\r" {
                text.extend(byte);
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If QEMU does not take it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = self.socket.send_to(frame, &self.peer)?;
        ensure!(sent == frame.len(), "of {} bytes went {sent}", frame.len());
        Ok(())
    }

    /// The next frame from the machine.
    ///
    /// # Errors
    /// If none comes.
    pub fn receive(&self) -> Result<Vec<u8>> {
        let mut frame = vec![0; 4096];
        let len = self
            .socket
            .recv(&mut frame)
            .context("no frame from the machine")?;
        frame.truncate(len);
        Ok(frame)
    }

    /// Waits for the machine's end; returns the rest of what it prints.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn end(mut self) -> Result<String> {
        let mut text = Vec::new();
        self.output.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).replace('\r', ""))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // To kill `timeout` would leave QEMU alone. A machine that has ended is past it; one that hangs ends in time.
        let _ = self.limited.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
