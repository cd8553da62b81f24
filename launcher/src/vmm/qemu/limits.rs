//! What QEMU may use of the host: `docs/performance.md` ("What a run may use at most") adds it up.
//!
//! Layer: arithmetic. Memory is what an attacker who owns the machine can make QEMU take: translated code and what it
//! notes of each piece, tables of address translations, maps of devices. All of it is private memory, which RLIMIT_DATA
//! bounds by its size, used or not. The machine's own memory is a file, and does not count; neither does QEMU's code.
//!
//! Where QEMU's table of translations does not get what it asks for, it makes do with less. Anything else ends it, and
//! the run with it.

use boot_protocol::arch::Arch;

use super::config::{MachineKind, MemoryBackend, QemuConfig};
use crate::host::memory;
use crate::host::units::MIB;
use crate::jail::Limits;

/// Room for translated code, in MiB, where QEMU's default is 1024. All that CPython executes in a run from start to end
/// becomes 11 MiB; when the room is full, QEMU forgets all of it and begins anew, which with 8 MiB was not to be
/// measured.
pub(super) const TRANSLATED_MIB: u64 = 16;

/// Stack of each thread of QEMU's: the size of the mapping counts, not what is used of it. Its default is 8 MiB.
const STACK: u64 = 2 * MIB;

/// What QEMU may use of this host.
pub(super) fn limits(config: &QemuConfig<'_>) -> Limits {
    Limits {
        // A dozen for the machine, a few for each mounted directory, and those that its thread pool may open.
        files: Some(1024),
        // It makes the file of the machine's memory as long as it is already, and no other.
        file_size: Some(memory::rounded(config.memory)),
        locked: Some(0),
        data: Some(data(config)),
        stack: Some(STACK),
        // One processor, one main loop, and up to 64 threads that read files.
        processes: Some(256),
        ..Limits::default()
    }
}

/// Most memory in all, for a cgroup: also what no limit of a process counts. More than a run can reach of what is
/// counted: the last wall, not the first.
pub(super) fn most(config: &QemuConfig<'_>) -> u64 {
    // QEMU's program and libraries, pipes, sockets; page tables take a 512th of what they map, in two processes at
    // most.
    let other = 40 * MIB;
    let machine = match config.backend {
        MemoryBackend::Private => 0,
        MemoryBackend::File(_) | MemoryBackend::Memfd => memory::rounded(config.memory),
    };
    [machine, config.memory / 128, config.payload, other]
        .into_iter()
        .fold(data(config), u64::saturating_add)
}

/// Most private memory in bytes.
fn data(config: &QemuConfig<'_>) -> u64 {
    let devices = config.mounts.len().saturating_add(config.network.iter().count());
    let devices = u64::try_from(devices).unwrap_or(u64::MAX);
    let own = match (config.machine, config.arch) {
        // A run takes 38, of which 16 are room for translated code.
        (MachineKind::Microvm, _) => 54 * MIB,
        // Each device on a PCI bus sees a map of memory of its own, and firmware changes the map dozens of times before
        // QEMU drops the old ones. A run takes 50; 59 with two directories, 136 with eight.
        (MachineKind::Q35 | MachineKind::Pc, _) => {
            (64 * MIB).saturating_add(devices.saturating_mul(16 * MIB))
        }
        // Two memories for firmware of 64 MiB each, empty and not used, and of 32 MiB each. A run takes 58 and 40
        // besides.
        (MachineKind::Virt, Arch::Aarch64) => (72 + 128) * MIB,
        (MachineKind::Virt, _) => (54 + 64) * MIB,
    };
    // On these, QEMU reads the payload into memory of its own; a PC's firmware reads it from the file.
    let payload = match config.machine {
        MachineKind::Virt => config.payload,
        MachineKind::Microvm | MachineKind::Q35 | MachineKind::Pc => 0,
    };
    let machine = match config.backend {
        MemoryBackend::Private => memory::rounded(config.memory),
        MemoryBackend::File(_) | MemoryBackend::Memfd => 0,
    };
    // Three bitmaps with a bit for each page: a 10,923rd of the memory, which counts from some gigabytes on.
    let bitmaps = config.memory / 8192;
    [payload, machine, bitmaps]
        .into_iter()
        .fold(own, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::capabilities::Accelerator;
    use crate::vmm::qemu::config::Told;
    use std::path::Path;

    fn config(arch: Arch, machine: MachineKind) -> QemuConfig<'static> {
        QemuConfig {
            arch,
            machine,
            accelerator: Accelerator::Tcg,
            memory: 256 * MIB,
            backend: MemoryBackend::File(Path::new("/proc/self/fd/5")),
            kernel: Path::new("k"),
            initrd: None,
            payload: 10 * MIB,
            mounts: &[],
            network: None,
            command_line: "-- --",
            sandbox: true,
            told: Told::NOTHING,
        }
    }

    #[test]
    fn the_usual_machine_keeps_a_run_below_a_hundred_megabytes() {
        // Measured, of one that runs alone: the launcher, QEMU's code and constants, virtiofsd's.
        let (launcher, code, daemon) = (5 * MIB, 21 * MIB, 3 * MIB);
        let own = data(&config(Arch::X86_64, MachineKind::Microvm));
        assert!(launcher + code + daemon + own + crate::host::virtiofsd::MOST_DATA <= 100_000_000);
    }

    #[test]
    fn what_counts_besides() {
        let microvm = config(Arch::X86_64, MachineKind::Microvm);
        let private = QemuConfig {
            backend: MemoryBackend::Private,
            ..microvm.clone()
        };
        assert_eq!(data(&private), data(&microvm) + 256 * MIB);
        let virt = config(Arch::Riscv64, MachineKind::Virt);
        let larger = QemuConfig {
            payload: 30 * MIB,
            ..virt.clone()
        };
        assert_eq!(data(&larger), data(&virt) + 20 * MIB);
        let huge = QemuConfig {
            memory: 512 << 30,
            ..microvm.clone()
        };
        assert!(data(&huge) >= data(&microvm) + 3 * (huge.memory / 4096 / 8) - MIB);
        assert_eq!(most(&microvm), data(&microvm) + (256 + 2 + 10 + 40) * MIB);
        assert_eq!(most(&private), data(&private) + (2 + 10 + 40) * MIB);
        let limits = limits(&microvm);
        assert_eq!((limits.data, limits.stack), (Some(data(&microvm)), Some(STACK)));
    }
}
