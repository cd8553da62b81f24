//! QEMU's command line, by pure functions: one for each machine, and one for what they share.

use std::ffi::OsString;
use std::path::Path;

use boot_protocol::boot_line::quote;
use clap::ValueEnum;

use crate::memory::{self, Ram};
use crate::units::MIB;

/// A machine that QEMU can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Machine {
    /// Minimal and the quickest to boot: no PCI, no legacy devices, a small firmware
    Microvm,
    /// A PC with PCI Express
    Q35,
    /// A PC with PCI, QEMU's default
    Pc,
}

impl Machine {
    /// Its name, for the command line and for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }

    /// The value of `-machine`.
    ///
    /// microvm: the kernel reads its tables from nowhere and wants no ACPI; without `auto-kernel-cmdline=off` QEMU
    /// would add words of its own to the boot line; clock (`rtc`), `pit` and `pic` are what the kernel expects of a
    /// PC, and under KVM the clock is off unless it is asked for.
    const fn machine_option(self) -> &'static str {
        match self {
            Self::Microvm => "microvm,acpi=off,auto-kernel-cmdline=off,rtc=on,pit=on,pic=on,isa-serial=on",
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }

    /// Where its memory lies.
    ///
    /// QEMU 7.2 begins the memory's file at address 0 and goes on without a gap up to 2 GiB (q35 with 2.75 GiB or
    /// more), 2.75 GiB (q35), 3 GiB (microvm and pc with as much or more) or 3.5 GiB (pc): `pc_memory_init` and
    /// `microvm_memory_init`. What does not fit goes above 4 GiB. So below 2 GiB, address and place in the file are
    /// the same everywhere; below 1 MiB, firmware and devices lie over the memory.
    pub(crate) const fn ram(self) -> Ram {
        match self {
            Self::Microvm | Self::Q35 | Self::Pc => Ram {
                base: 0,
                first: MIB,
                end: 2048 * MIB,
            },
        }
    }

    /// The longest boot line in bytes that arrives whole.
    ///
    /// pc and q35: `pvh.bin`, the option ROM that starts a PVH kernel, copies the line, its end included, into a
    /// buffer of 4096 bytes and does not check; what follows the buffer is overwritten. microvm: its firmware
    /// (qboot) allocates what is needed; the limit is Linux's for one argument, 128 KiB with the end. Tried with
    /// QEMU 7.2.
    pub(crate) const fn longest_boot_line(self) -> usize {
        match self {
            Self::Microvm => 128 * 1024 - 1,
            Self::Q35 | Self::Pc => 4096 - 1,
        }
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The processor, through /dev/kvm.
    Kvm,
    /// QEMU, by translation.
    Tcg,
}

impl Accelerator {
    /// QEMU's name for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The most able processor it has: what the host has, or all that QEMU can do (RDRAND among it, which is the
    /// guest's source of random numbers).
    const fn processor(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max",
        }
    }
}

/// All that the command line depends on.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    /// The machine to be.
    pub(crate) machine: Machine,
    /// What executes the guest.
    pub(crate) accelerator: Accelerator,
    /// Memory in bytes; QEMU is given whole MiB, rounded up.
    pub(crate) memory: u64,
    /// The file that is to be the memory, as large; without one QEMU takes memory of its own.
    pub(crate) memory_file: Option<&'a Path>,
    /// The image to boot.
    pub(crate) kernel: &'a Path,
    /// The module; without one the image runs its own.
    pub(crate) initrd: Option<&'a Path>,
    /// The boot line.
    pub(crate) boot_line: &'a str,
}

impl Setup<'_> {
    /// QEMU's arguments, without the program's name. COM1 is QEMU's standard input and output.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));

        let machine = self.machine.machine_option();
        match self.memory_file {
            None => add(&["-machine", machine]),
            Some(file) => {
                let size = memory::rounded(self.memory);
                add(&[
                    "-object",
                    // Shared, so that both sides see what the other writes.
                    &format!(
                        "memory-backend-file,id=ram,mem-path={},size={size},share=on",
                        file.display()
                    ),
                    "-machine",
                    &format!("{machine},memory-backend=ram"),
                ]);
            }
        }
        add(&["-accel", self.accelerator.name()]);
        add(&["-cpu", self.accelerator.processor()]);
        add(&["-smp", "1"]);
        add(&["-m", &format!("{}M", memory::rounded(self.memory) / MIB)]);
        // Nothing that was not asked for: no default devices, no configuration of this host's user, no window.
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        // A triple fault ends the run instead of booting again.
        add(&["-no-reboot"]);
        // Pipes rather than a socket: QEMU writes byte by byte, and a pipe joins the bytes, where a socket keeps a
        // buffer for each. When the pipe is full the serial port reports it and the guest waits: nothing is lost.
        add(&[
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ]);
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);

        arguments.push("-kernel".into());
        arguments.push(self.kernel.into());
        if let Some(initrd) = self.initrd {
            arguments.push("-initrd".into());
            arguments.push(initrd.into());
        }
        arguments.push("-append".into());
        arguments.push(self.boot_line.into());
        arguments
    }
}

/// A command line as one would type it, for people and shells to read.
pub(crate) fn show_command(program: &Path, arguments: &[OsString]) -> String {
    let mut line = quote(&program.to_string_lossy()).into_owned();
    for argument in arguments {
        line.push(' ');
        line.push_str(&quote(&argument.to_string_lossy()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(machine: Machine, accelerator: Accelerator) -> Vec<String> {
        let setup = Setup {
            machine,
            accelerator,
            memory: 256 * MIB,
            memory_file: None,
            kernel: Path::new("/proc/self/fd/5"),
            initrd: Some(Path::new("/proc/self/fd/6")),
            boot_line: "-freq 2400 -- --console=framed -- a 'b c'",
        };
        setup
            .arguments()
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    /// The value that follows a flag.
    fn value<'a>(arguments: &'a [String], flag: &str) -> &'a str {
        let position = arguments.iter().position(|word| word == flag).unwrap();
        assert_eq!(arguments.iter().filter(|word| *word == flag).count(), 1, "{flag}");
        &arguments[position + 1]
    }

    #[test]
    fn microvm_under_tcg_word_for_word() {
        assert_eq!(
            setup(Machine::Microvm, Accelerator::Tcg).join("\n"),
            "-machine\nmicrovm,acpi=off,auto-kernel-cmdline=off,rtc=on,pit=on,pic=on,isa-serial=on\n\
             -accel\ntcg\n-cpu\nmax\n-smp\n1\n-m\n256M\n\
             -nodefaults\n-no-user-config\n-display\nnone\n-no-reboot\n\
             -chardev\nstdio,id=console,signal=off\n-serial\nchardev:console\n\
             -device\nisa-debug-exit,iobase=0xf4,iosize=0x04\n\
             -kernel\n/proc/self/fd/5\n-initrd\n/proc/self/fd/6\n\
             -append\n-freq 2400 -- --console=framed -- a 'b c'"
        );
    }

    #[test]
    fn each_machine_and_accelerator() {
        for (machine, option) in [
            (Machine::Q35, "q35"),
            (Machine::Pc, "pc"),
            (Machine::Microvm, Machine::Microvm.machine_option()),
        ] {
            for (accelerator, name, processor) in [
                (Accelerator::Kvm, "kvm", "host"),
                (Accelerator::Tcg, "tcg", "max"),
            ] {
                let arguments = setup(machine, accelerator);
                assert_eq!(value(&arguments, "-machine"), option);
                assert_eq!(value(&arguments, "-accel"), name);
                assert_eq!(value(&arguments, "-cpu"), processor);
            }
        }
    }

    #[test]
    fn memory_is_rounded_up_to_whole_mebibytes() {
        for (bytes, shown) in [(64 * MIB, "64M"), (64 * MIB + 1, "65M"), (4096 * MIB, "4096M")] {
            let setup = Setup {
                machine: Machine::Microvm,
                accelerator: Accelerator::Tcg,
                memory: bytes,
                memory_file: Some(Path::new("/proc/self/fd/7")),
                kernel: Path::new("k"),
                initrd: None,
                boot_line: "-- --",
            };
            let arguments: Vec<String> = setup
                .arguments()
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            assert_eq!(value(&arguments, "-m"), shown);
            let size = shown.strip_suffix('M').unwrap().parse::<u64>().unwrap() * MIB;
            assert_eq!(
                value(&arguments, "-object"),
                format!("memory-backend-file,id=ram,mem-path=/proc/self/fd/7,size={size},share=on")
            );
            assert!(value(&arguments, "-machine").ends_with(",memory-backend=ram"));
            assert!(!arguments.iter().any(|word| word == "-initrd"));
        }
    }

    #[test]
    fn a_command_is_shown_as_a_shell_reads_it() {
        let arguments = ["-append".into(), "-- --env=A='x y'".into(), "".into()];
        assert_eq!(
            show_command(Path::new("/opt/my qemu"), &arguments),
            r"'/opt/my qemu' -append '-- --env=A='\''x y'\''' ''"
        );
    }
}
