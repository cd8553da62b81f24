//! QEMU's command line, by pure functions: one for each machine, and one for what they share.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::Path;

use boot_protocol::arch::Arch;

use super::limits::TRANSLATED_MIB;
use crate::host::memory::{self, Ram};
use crate::host::units::MIB;
use crate::relay::GUEST_LINK;
use crate::vmm::capabilities::Accelerator;

/// A machine that QEMU can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineKind {
    /// Minimal and the quickest to boot: no PCI, no legacy devices, a small firmware
    Microvm,
    /// A PC with PCI Express
    Q35,
    /// A PC with PCI, QEMU's default
    Pc,
    /// The only machine of aarch64 and riscv64
    Virt,
}

impl MachineKind {
    /// All of them, the usual one first.
    pub const ALL: [Self; 4] = [Self::Microvm, Self::Q35, Self::Pc, Self::Virt];

    /// The machine of that architecture unless another is asked for.
    #[must_use]
    pub const fn usual(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::Microvm,
            Arch::Aarch64 | Arch::Riscv64 => Self::Virt,
        }
    }

    /// Its name, for the command line and for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm",
            Self::Q35 => "q35",
            Self::Pc => "pc",
            Self::Virt => "virt",
        }
    }

    /// Whether machines of that architecture can be this one.
    pub(crate) const fn is_of(self, arch: Arch) -> bool {
        matches!(self, Self::Virt) != matches!(arch, Arch::X86_64)
    }

    /// The value of `-machine`.
    ///
    /// Devices that nobody uses are left out where a machine can do without: what is not there has no bugs for a guest
    /// that has taken over its kernel. `docs/machines.md` lists what remains.
    ///
    /// microvm: the kernel reads its tables from nowhere and wants no ACPI; without `auto-kernel-cmdline=off` QEMU
    /// would add words of its own to the kernel command line. It reads the wall clock from `rtc`, and measures the
    /// frequency with `pit`, whose interrupts come through `pic`; nothing else uses these.
    /// virt on Arm: the kernel drives GICv3 and no other.
    fn machine_option(self, arch: Arch, told: Told) -> String {
        let switch = |on| if on { "on" } else { "off" };
        match self {
            Self::Virt if matches!(arch, Arch::Aarch64) => "virt,gic-version=3,its=off".into(),
            Self::Virt => "virt".into(),
            Self::Microvm => {
                let (clock, timer) = (switch(!told.wall_clock), switch(!told.frequency));
                format!(
                    "microvm,acpi=off,auto-kernel-cmdline=off,rtc={clock},pit={timer},pic={timer},isa-serial=on"
                )
            }
            Self::Q35 => "q35,hpet=off,sata=off,smbus=off,vmport=off".into(),
            Self::Pc => "pc,hpet=off,vmport=off".into(),
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

    /// QEMU's name for a mounted directory's device.
    const fn mount_device(self, arch: Arch) -> &'static str {
        if self.is_mmio(arch) {
            "vhost-user-fs-device"
        } else {
            "vhost-user-fs-pci"
        }
    }

    /// QEMU's name for the network device, with what else there is to say of it. On PCI: no registers of the protocol
    /// before version 1, and no program for firmware to start from the network.
    const fn network_device(self, arch: Arch) -> &'static str {
        if self.is_mmio(arch) {
            "virtio-net-device"
        } else {
            "virtio-net-pci,disable-legacy=on,romfile="
        }
    }

    /// Whether virtio devices have memory-mapped registers: microvm has no PCI, and for that of riscv64 the kernel has
    /// no driver.
    const fn is_mmio(self, arch: Arch) -> bool {
        matches!((self, arch), (Self::Microvm, _) | (Self::Virt, Arch::Riscv64))
    }

    /// How many virtio devices fit, mounted directories and the network: virtio-mmio places (microvm's without ACPI),
    /// or places on the one PCI bus that nothing else has. Tried with QEMU 7.2.
    pub(crate) const fn most_devices(self, arch: Arch) -> usize {
        if self.is_mmio(arch) { 8 } else { 24 }
    }

    /// The longest kernel command line in bytes that arrives whole.
    ///
    /// pc and q35: `pvh.bin`, the option ROM that starts a PVH kernel, copies the line, its end included, into a
    /// buffer of 4096 bytes and does not check; what follows the buffer is overwritten. microvm: its firmware
    /// (qboot) allocates what is needed; the limit is Linux's for one argument, 128 KiB with the end. Tried with
    /// QEMU 7.2.
    pub(crate) const fn longest_command_line(self) -> usize {
        match self {
            Self::Microvm | Self::Virt => 128 * 1024 - 1,
            Self::Q35 | Self::Pc => 4096 - 1,
        }
    }
}

/// QEMU's own filter of system calls, all of it. Once the machine is made, QEMU starts no program, gets no privilege
/// and changes no limit.
pub(super) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The most able processor that an accelerator has: what the host has, or all that QEMU can do (RDRAND among it, which
/// is the guest's source of random numbers).
const fn processor(accelerator: Accelerator, arch: Arch) -> &'static str {
    match (accelerator, arch) {
        (Accelerator::Kvm, _) => "host",
        // QEMU 7.2 has no "max" there, no vectors unless they are asked for, and a remark if their version is not said.
        (Accelerator::Tcg, Arch::Riscv64) => "rv64,v=true,vext_spec=v1.0",
        (Accelerator::Tcg, _) => "max",
    }
}

/// A mounted directory, as QEMU is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountDevice {
    /// The connection to its virtiofsd.
    pub(crate) connection: Connection,
    /// The device's tag, 36 bytes at most.
    pub(crate) tag: String,
}

/// A connection to virtiofsd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// One that QEMU inherits under this number.
    Inherited(RawFd),
    /// One that QEMU makes, to the socket of this name.
    Socket(String),
}

impl Connection {
    /// As a property of QEMU's `-chardev socket`.
    fn property(&self) -> String {
        match self {
            Self::Inherited(number) => format!("fd={number}"),
            Self::Socket(path) => format!("path={path}"),
        }
    }
}

/// Where the machine's network device leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire<'a> {
    /// To whoever has the other end of the stream socket that QEMU inherits under this number.
    Inherited(RawFd),
    /// To QEMU's own network, slirp, with these options.
    User(&'a str),
}

impl Wire<'_> {
    /// The value of `-netdev`. `socket` and not `stream`, which is the same on this wire, and which QEMU has from 7.2
    /// on.
    fn netdev(self) -> String {
        match self {
            Self::Inherited(number) => format!("socket,id=net,fd={number}"),
            Self::User(options) => format!("user,id=net{options}"),
        }
    }
}

/// The machine's memory, as QEMU is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryBackend<'a> {
    /// QEMU's own, which nobody else sees.
    Private,
    /// This file, as large.
    File(&'a Path),
    /// QEMU's own, which daemons may map.
    Memfd,
}

/// What the machine is told by the launcher, so that it needs no device for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The time of day, which the guest asks for over the console.
    pub(crate) wall_clock: bool,
    /// The frequency of the time stamp counter, on the kernel command line.
    pub(crate) frequency: bool,
}

impl Told {
    /// What nobody tells anything has to have it all.
    pub(crate) const NOTHING: Self = Self {
        wall_clock: false,
        frequency: false,
    };
}

/// All that the command line depends on.
#[derive(Clone, Debug)]
pub(crate) struct QemuConfig<'a> {
    /// Its architecture.
    pub(crate) arch: Arch,
    /// The machine to be.
    pub(crate) machine: MachineKind,
    /// What executes the guest.
    pub(crate) accelerator: Accelerator,
    /// Memory in bytes; QEMU is given whole MiB, rounded up.
    pub(crate) memory: u64,
    /// Whose the memory is.
    pub(crate) backend: MemoryBackend<'a>,
    /// The image to boot.
    pub(crate) kernel: &'a Path,
    /// The module; without one the image runs its own.
    pub(crate) initrd: Option<&'a Path>,
    /// Its size in bytes.
    pub(crate) payload: u64,
    /// Mounted directories. They need a memory file: their daemons read and write the machine's memory.
    pub(crate) mounts: &'a [MountDevice],
    /// The wire of the network device, if there is one.
    pub(crate) network: Option<Wire<'a>>,
    /// The kernel command line.
    pub(crate) command_line: &'a str,
    /// Whether QEMU is to confine itself.
    pub(crate) sandbox: bool,
    /// What the machine need not find out.
    pub(crate) told: Told,
}

impl QemuConfig<'_> {
    /// QEMU's arguments, without the program's name. COM1 is QEMU's standard input and output.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));

        let machine = self.machine.machine_option(self.arch, self.told);
        let size = memory::rounded(self.memory);
        // Shared, so that both sides see what the other writes.
        let object = match self.backend {
            MemoryBackend::Private => None,
            MemoryBackend::File(file) => Some(format!(
                "memory-backend-file,id=ram,mem-path={},size={size},share=on",
                file.display()
            )),
            MemoryBackend::Memfd => Some(format!("memory-backend-memfd,id=ram,size={size},share=on")),
        };
        match object {
            None => add(&["-machine", &machine]),
            Some(object) => {
                let machine = format!("{machine},memory-backend=ram");
                add(&["-object", &object, "-machine", &machine]);
            }
        }
        match self.accelerator {
            Accelerator::Tcg => add(&["-accel", &format!("tcg,tb-size={TRANSLATED_MIB}")]),
            Accelerator::Kvm => add(&["-accel", "kvm"]),
        }
        add(&["-cpu", processor(self.accelerator, self.arch)]);
        add(&["-smp", "1"]);
        add(&["-m", &format!("{}M", size / MIB)]);
        // Nothing that was not asked for: no default devices, no configuration of this host's user, no window.
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        if self.sandbox {
            add(&["-sandbox", SANDBOX]);
        }
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
        let has_devices = !self.mounts.is_empty() || self.network.is_some();
        if has_devices && self.machine.is_mmio(self.arch) {
            // What virtio 1.0 says; QEMU's default on these is what was before it.
            add(&["-global", "virtio-mmio.force-legacy=off"]);
        }
        for MountDevice { connection, tag } in self.mounts {
            let device = self.machine.mount_device(self.arch);
            let connection = connection.property();
            add(&["-chardev", &format!("socket,id={tag},{connection}")]);
            add(&["-device", &format!("{device},chardev={tag},tag={tag}")]);
        }
        if let Some(wire) = self.network {
            let device = self.machine.network_device(self.arch);
            add(&["-netdev", &wire.netdev()]);
            let link = GUEST_LINK.map(|byte| format!("{byte:02x}")).join(":");
            add(&["-device", &format!("{device},netdev=net,mac={link}")]);
        }

        arguments.push("-kernel".into());
        arguments.push(self.kernel.into());
        if let Some(initrd) = self.initrd {
            arguments.push("-initrd".into());
            arguments.push(initrd.into());
        }
        arguments.push("-append".into());
        arguments.push(self.command_line.into());
        arguments
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
