//! QEMU's command line, by pure functions: one for each machine, and one for what they share.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::Path;

use boot_protocol::boot_line::quote;
use clap::ValueEnum;

use crate::arch::Arch;
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
    /// The only machine of aarch64 and riscv64
    Virt,
}

impl Machine {
    /// Its name, for the command line and for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Virt => "virt",
        }
    }

    /// Whether there is such a machine of that architecture.
    pub(crate) const fn is_of(self, arch: Arch) -> bool {
        matches!(self, Self::Virt) != matches!(arch, Arch::X86_64)
    }

    /// The value of `-machine`.
    ///
    /// microvm: the kernel reads its tables from nowhere and wants no ACPI; without `auto-kernel-cmdline=off` QEMU
    /// would add words of its own to the boot line; clock (`rtc`), `pit` and `pic` are what the kernel expects of a
    /// PC, and under KVM the clock is off unless it is asked for.
    /// virt on Arm: the kernel drives GICv3 and no other.
    const fn machine_option(self, arch: Arch) -> &'static str {
        match self {
            Self::Virt if matches!(arch, Arch::Aarch64) => "virt,gic-version=3",
            Self::Virt => "virt",
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
    /// virt: all of it in one piece, from 1 GiB (`hw/arm/virt.c`) or 2 GiB on (`hw/riscv/virt.c`), the first 2 MiB of
    /// which are the firmware's.
    pub(crate) const fn ram(self, arch: Arch) -> Ram {
        match self {
            Self::Virt => {
                let (base, first) = match arch {
                    Arch::Riscv64 => (2048 * MIB, 2050 * MIB),
                    _ => (1024 * MIB, 1024 * MIB),
                };
                Ram {
                    base,
                    first,
                    end: base + (128 << 10) * MIB,
                }
            }
            Self::Microvm | Self::Q35 | Self::Pc => Ram {
                base: 0,
                first: MIB,
                end: 2048 * MIB,
            },
        }
    }

    /// QEMU's name for a shared directory's device.
    const fn share_device(self, arch: Arch) -> &'static str {
        if self.shares_by_mmio(arch) {
            "vhost-user-fs-device"
        } else {
            "vhost-user-fs-pci"
        }
    }

    /// Whether devices of shared directories have memory-mapped registers: microvm has no PCI, and for that of
    /// riscv64 the kernel has no driver.
    const fn shares_by_mmio(self, arch: Arch) -> bool {
        matches!((self, arch), (Self::Microvm, _) | (Self::Virt, Arch::Riscv64))
    }

    /// How many shared directories fit: virtio-mmio places (microvm's without ACPI), or places on the one PCI bus that
    /// nothing else has. Tried with QEMU 7.2.
    pub(crate) const fn most_shares(self, arch: Arch) -> usize {
        if self.shares_by_mmio(arch) { 8 } else { 24 }
    }

    /// The longest boot line in bytes that arrives whole.
    ///
    /// pc and q35: `pvh.bin`, the option ROM that starts a PVH kernel, copies the line, its end included, into a
    /// buffer of 4096 bytes and does not check; what follows the buffer is overwritten. microvm: its firmware
    /// (qboot) allocates what is needed; the limit is Linux's for one argument, 128 KiB with the end. Tried with
    /// QEMU 7.2.
    pub(crate) const fn longest_boot_line(self) -> usize {
        match self {
            Self::Microvm | Self::Virt => 128 * 1024 - 1,
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
    const fn processor(self, arch: Arch) -> &'static str {
        match (self, arch) {
            (Self::Kvm, _) => "host",
            // QEMU 7.2 has no "max" there.
            (Self::Tcg, Arch::Riscv64) => "rv64",
            (Self::Tcg, _) => "max",
        }
    }
}

/// A shared directory, as QEMU is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The number of the inherited connection to its virtiofsd.
    pub(crate) connection: RawFd,
    /// The device's tag, 36 bytes at most.
    pub(crate) tag: String,
}

/// All that the command line depends on.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    /// Its architecture.
    pub(crate) arch: Arch,
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
    /// Shared directories. They need a memory file: their daemons read and write the machine's memory.
    pub(crate) shares: &'a [Share],
    /// The boot line.
    pub(crate) boot_line: &'a str,
}

impl Setup<'_> {
    /// QEMU's arguments, without the program's name. COM1 is QEMU's standard input and output.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));

        let machine = self.machine.machine_option(self.arch);
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
        add(&["-cpu", self.accelerator.processor(self.arch)]);
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
        if self.arch == Arch::X86_64 {
            add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        }
        if !self.shares.is_empty() && self.machine.shares_by_mmio(self.arch) {
            // What virtio 1.0 says; QEMU's default on these is what was before it.
            add(&["-global", "virtio-mmio.force-legacy=off"]);
        }
        for Share { connection, tag } in self.shares {
            let device = self.machine.share_device(self.arch);
            add(&["-chardev", &format!("socket,id={tag},fd={connection}")]);
            add(&["-device", &format!("{device},chardev={tag},tag={tag}")]);
        }

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

    fn setup(arch: Arch, machine: Machine, accelerator: Accelerator) -> Vec<String> {
        let setup = Setup {
            arch,
            machine,
            accelerator,
            memory: 256 * MIB,
            memory_file: None,
            kernel: Path::new("/proc/self/fd/5"),
            initrd: Some(Path::new("/proc/self/fd/6")),
            shares: &[],
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
            setup(Arch::X86_64, Machine::Microvm, Accelerator::Tcg).join("\n"),
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
        let microvm = Machine::Microvm.machine_option(Arch::X86_64);
        for (arch, machine, option, most) in [
            (Arch::X86_64, Machine::Q35, "q35", "max"),
            (Arch::X86_64, Machine::Pc, "pc", "max"),
            (Arch::X86_64, Machine::Microvm, microvm, "max"),
            (Arch::Aarch64, Machine::Virt, "virt,gic-version=3", "max"),
            (Arch::Riscv64, Machine::Virt, "virt", "rv64"),
        ] {
            for (accelerator, name, processor) in
                [(Accelerator::Kvm, "kvm", "host"), (Accelerator::Tcg, "tcg", most)]
            {
                let arguments = setup(arch, machine, accelerator);
                assert!(machine.is_of(arch));
                assert_eq!(
                    arguments.iter().any(|word| word.starts_with("isa-debug-exit")),
                    arch == Arch::X86_64
                );
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
                arch: Arch::X86_64,
                machine: Machine::Microvm,
                accelerator: Accelerator::Tcg,
                memory: bytes,
                memory_file: Some(Path::new("/proc/self/fd/7")),
                kernel: Path::new("k"),
                initrd: None,
                shares: &[],
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
    fn each_shared_directory_is_a_device() {
        let shares = [3, 7].map(|connection| Share {
            connection,
            tag: format!("share-{connection}"),
        });
        for (machine, device) in [
            (Machine::Microvm, "vhost-user-fs-device"),
            (Machine::Q35, "vhost-user-fs-pci"),
            (Machine::Pc, "vhost-user-fs-pci"),
        ] {
            let setup = Setup {
                arch: Arch::X86_64,
                machine,
                accelerator: Accelerator::Tcg,
                memory: 64 * MIB,
                memory_file: Some(Path::new("/proc/self/fd/9")),
                kernel: Path::new("k"),
                initrd: None,
                shares: &shares,
                boot_line: "-- --",
            };
            let words: Vec<String> = setup
                .arguments()
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            let line = words.join(" ");
            for number in [3, 7] {
                let pair = format!(
                    "-chardev socket,id=share-{number},fd={number} -device {device},chardev=share-{number},tag=share-{number}"
                );
                assert!(line.contains(&pair), "{line}");
            }
            assert_eq!(line.contains("force-legacy=off"), machine == Machine::Microvm);
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
