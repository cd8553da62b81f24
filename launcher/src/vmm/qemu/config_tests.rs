//! QEMU's command lines, word for word where it matters.

use super::*;

const TOLD: Told = Told {
    wall_clock: true,
    frequency: true,
};

fn config(arch: Arch, machine: MachineKind, accelerator: Accelerator) -> QemuConfig<'static> {
    QemuConfig {
        arch,
        machine,
        accelerator,
        memory: 256 * MIB,
        backend: MemoryBackend::Private,
        kernel: Path::new("/proc/self/fd/5"),
        initrd: Some(Path::new("/proc/self/fd/6")),
        payload: 0,
        mounts: &[],
        network: None,
        command_line: "-freq 2400 -- --console=framed -- a 'b c'",
        sandbox: true,
        told: TOLD,
    }
}

fn words(config: &QemuConfig<'_>) -> Vec<String> {
    let words = config.arguments().into_iter();
    words.map(|word| word.into_string().unwrap()).collect()
}

fn setup(arch: Arch, machine: MachineKind, accelerator: Accelerator) -> Vec<String> {
    words(&config(arch, machine, accelerator))
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
        setup(Arch::X86_64, MachineKind::Microvm, Accelerator::Tcg).join("\n"),
        "-machine\nmicrovm,acpi=off,auto-kernel-cmdline=off,rtc=off,pit=off,pic=off,isa-serial=on\n\
         -accel\ntcg,tb-size=16\n-cpu\nmax\n-smp\n1\n-m\n256M\n\
         -nodefaults\n-no-user-config\n-display\nnone\n\
         -sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n-no-reboot\n\
         -chardev\nstdio,id=console,signal=off\n-serial\nchardev:console\n\
         -device\nisa-debug-exit,iobase=0xf4,iosize=0x04\n\
         -kernel\n/proc/self/fd/5\n-initrd\n/proc/self/fd/6\n\
         -append\n-freq 2400 -- --console=framed -- a 'b c'"
    );
}

#[test]
fn each_machine_and_accelerator() {
    for (arch, machine, most) in [
        (Arch::X86_64, MachineKind::Q35, "max"),
        (Arch::X86_64, MachineKind::Pc, "max"),
        (Arch::X86_64, MachineKind::Microvm, "max"),
        (Arch::Aarch64, MachineKind::Virt, "max"),
        (Arch::Riscv64, MachineKind::Virt, "rv64,v=true,vext_spec=v1.0"),
    ] {
        let option = machine.machine_option(arch, TOLD);
        assert_eq!(option.split(',').next(), Some(machine.name()));
        for (accelerator, name, processor) in [
            (Accelerator::Kvm, "kvm", "host"),
            (Accelerator::Tcg, "tcg,tb-size=16", most),
        ] {
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
fn a_machine_has_devices_for_what_it_is_not_told() {
    let microvm = |told| MachineKind::Microvm.machine_option(Arch::X86_64, told);
    for (told, devices) in [
        (TOLD, "rtc=off,pit=off,pic=off"),
        (Told::NOTHING, "rtc=on,pit=on,pic=on"),
        (
            Told {
                frequency: false,
                ..TOLD
            },
            "rtc=off,pit=on,pic=on",
        ),
    ] {
        assert!(microvm(told).contains(devices), "{told:?}: {}", microvm(told));
    }
}

#[test]
fn memory_is_rounded_up_to_whole_mebibytes() {
    for (bytes, shown) in [(64 * MIB, "64M"), (64 * MIB + 1, "65M"), (4096 * MIB, "4096M")] {
        let setup = QemuConfig {
            arch: Arch::X86_64,
            machine: MachineKind::Microvm,
            accelerator: Accelerator::Tcg,
            memory: bytes,
            backend: MemoryBackend::File(Path::new("/proc/self/fd/7")),
            kernel: Path::new("k"),
            initrd: None,
            payload: 0,
            mounts: &[],
            network: None,
            command_line: "-- --",
            sandbox: true,
            told: TOLD,
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
fn each_mounted_directory_is_a_device() {
    let mounts = [3, 7].map(|connection| MountDevice {
        connection: Connection::Inherited(connection),
        tag: format!("mount-{connection}"),
    });
    for (machine, device) in [
        (MachineKind::Microvm, "vhost-user-fs-device"),
        (MachineKind::Q35, "vhost-user-fs-pci"),
        (MachineKind::Pc, "vhost-user-fs-pci"),
    ] {
        let setup = QemuConfig {
            arch: Arch::X86_64,
            machine,
            accelerator: Accelerator::Tcg,
            memory: 64 * MIB,
            backend: MemoryBackend::File(Path::new("/proc/self/fd/9")),
            kernel: Path::new("k"),
            initrd: None,
            payload: 0,
            mounts: &mounts,
            network: None,
            command_line: "-- --",
            sandbox: true,
            told: TOLD,
        };
        let words: Vec<String> = setup
            .arguments()
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        let line = words.join(" ");
        for number in [3, 7] {
            let pair = format!(
                "-chardev socket,id=mount-{number},fd={number} -device {device},chardev=mount-{number},tag=mount-{number}"
            );
            assert!(line.contains(&pair), "{line}");
        }
        assert_eq!(line.contains("force-legacy=off"), machine == MachineKind::Microvm);
    }
}

#[test]
fn the_network_is_one_device_behind_a_wire() {
    let mmio = "virtio-net-device";
    let pci = "virtio-net-pci,disable-legacy=on,romfile=";
    for (arch, machine, device) in [
        (Arch::X86_64, MachineKind::Microvm, mmio),
        (Arch::X86_64, MachineKind::Q35, pci),
        (Arch::X86_64, MachineKind::Pc, pci),
        (Arch::Aarch64, MachineKind::Virt, pci),
        (Arch::Riscv64, MachineKind::Virt, mmio),
    ] {
        let config = QemuConfig {
            network: Some(Wire::Inherited(11)),
            ..config(arch, machine, Accelerator::Tcg)
        };
        let words = words(&config);
        assert_eq!(value(&words, "-netdev"), "socket,id=net,fd=11");
        let expected = format!("{device},netdev=net,mac=52:54:00:12:34:56");
        let devices: Vec<_> = words.iter().filter(|word| word.contains("net,mac=")).collect();
        assert_eq!(devices, [&expected]);
        let line = words.join(" ");
        assert_eq!(line.contains("force-legacy=off"), device == mmio, "{line}");
        let without = setup(arch, machine, Accelerator::Tcg).join(" ");
        assert!(!without.contains("net"), "{without}");
    }
}
