//! QEMU's command lines without the launcher: what the tests of loader, image and hypervisors and the measurements
//! start machines with; and which engine runs a module there.
//!
//! They are the lines that `docs/boot.md` tells a user to type, which a test here sees to. The launcher's own are in
//! `launcher/src/vmm/qemu/config.rs`. Layer: host tests; only they and `xtask` use it.

mod engine;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

pub use boot_protocol::arch::Arch;
pub use engine::Engine;

/// QEMU's device for an exit status, on a PC.
pub const EXIT_DEVICE: &str = "isa-debug-exit,iobase=0xf4,iosize=0x04";

/// A machine to be. Standard output is the serial line.
///
/// ```
/// use test_qemu::{Arch, Qemu};
/// let line = Qemu { machine: "q35", ..Qemu::usual(Arch::X86_64) }.arguments();
/// assert_eq!(line[..4], ["-machine", "q35", "-cpu", "max"]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Qemu<'a> {
    /// Its architecture.
    pub arch: Arch,
    /// The value of `-machine`.
    pub machine: &'a str,
    /// The value of `-cpu`.
    pub processor: &'a str,
    /// The value of `-m`.
    pub memory: &'a str,
    /// The value of each `-serial`.
    pub serial: &'a [&'a str],
    /// Whether a reset ends QEMU, as a triple fault is one.
    pub no_reboot: bool,
    /// Whether the guest can end QEMU with a status. Only a PC has a device for that.
    pub exit_device: bool,
    /// What is booted.
    pub kernel: Option<&'a Path>,
    /// The boot module.
    pub initrd: Option<&'a Path>,
    /// The kernel command line.
    pub append: Option<&'a str>,
}

impl<'a> Qemu<'a> {
    /// The usual machine of an architecture, with 64 MiB; what it boots is still to come.
    #[must_use]
    pub const fn usual(arch: Arch) -> Self {
        let (machine, processor) = match arch {
            Arch::X86_64 => ("microvm", "max"),
            Arch::Aarch64 => ("virt,gic-version=3", "max"),
            Arch::Riscv64 => ("virt", "rv64,v=true,vext_spec=v1.0"),
        };
        Self {
            arch,
            machine,
            processor,
            memory: "64M",
            serial: &["stdio"],
            no_reboot: true,
            exit_device: matches!(arch, Arch::X86_64),
            kernel: None,
            initrd: None,
            append: None,
        }
    }

    /// The program's name.
    #[must_use]
    pub fn program(&self) -> String {
        format!("qemu-system-{}", self.arch.name())
    }

    /// The arguments, without the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |flags: &[&str]| words.extend(flags.iter().map(OsString::from));
        add(&["-machine", self.machine, "-cpu", self.processor]);
        add(&["-m", self.memory, "-nodefaults", "-display", "none"]);
        for serial in self.serial {
            add(&["-serial", serial]);
        }
        if self.no_reboot {
            add(&["-no-reboot"]);
        }
        if self.exit_device {
            add(&["-device", EXIT_DEVICE]);
        }
        let files = [("-kernel", self.kernel), ("-initrd", self.initrd)];
        for (flag, file) in files {
            words.extend(file.into_iter().flat_map(|file| [flag.into(), file.into()]));
        }
        let append = self.append.into_iter();
        words.extend(append.flat_map(|line| ["-append".into(), line.into()]));
        words
    }

    /// QEMU, ended with status 124 after so many seconds. They are far more than any machine takes: only what hangs is
    /// ended.
    #[must_use]
    pub fn limited(&self, seconds: u32) -> Command {
        let mut command = Command::new("timeout");
        // QEMU under translation may not heed the first signal.
        command.args(["--kill-after=5", &seconds.to_string(), &self.program()]);
        command.args(self.arguments());
        command
    }
}

/// QEMU's status when a guest on [the usual machine](Qemu::usual) ends with `code`: only riscv64's has all of it.
#[must_use]
pub const fn status_of(arch: Arch, code: u8) -> i32 {
    match arch {
        // isa-debug-exit makes 2n + 1 of a number n; 1 is for success.
        Arch::X86_64 if code == 0 => 3,
        Arch::X86_64 => 1,
        Arch::Aarch64 => 0,
        Arch::Riscv64 => code as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command lines of `docs/boot.md`, each on one line with single spaces.
    fn documented() -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/boot.md");
        let text = std::fs::read_to_string(file).unwrap().replace("\\\n", " ");
        let lines = text.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.join(" ")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_documents_tell_users_what_the_tests_run() {
        let documented = documented();
        let mut machines: Vec<_> = Arch::ALL.map(Qemu::usual).to_vec();
        machines.push(Qemu {
            machine: "q35",
            ..Qemu::usual(Arch::X86_64)
        });
        for machine in machines {
            let words: Vec<_> = machine
                .arguments()
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            let line = format!("{} {} -kernel ", machine.program(), words.join(" "));
            assert!(documented.contains(&line), "docs/boot.md lacks: {line}");
        }
    }

    #[test]
    fn what_a_machine_boots_comes_last() {
        let machine = Qemu {
            serial: &["file:log", "stdio"],
            no_reboot: false,
            exit_device: false,
            kernel: Some(Path::new("a b")),
            initrd: Some(Path::new("m")),
            append: Some("-- -- x y"),
            ..Qemu::usual(Arch::X86_64)
        };
        let words = machine.arguments();
        assert_eq!(
            words[9..],
            [
                "-serial",
                "file:log",
                "-serial",
                "stdio",
                "-kernel",
                "a b",
                "-initrd",
                "m",
                "-append",
                "-- -- x y"
            ]
        );
    }
}
