//! The words that flags take for values which the library defines.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use hermit_wasm_vm::compile::CpuLevel;
use hermit_wasm_vm::pack::{Format, OciImage, OciKind};
use hermit_wasm_vm::vmm::capabilities::Accelerator;
use hermit_wasm_vm::vmm::qemu::MachineKind;
use hermit_wasm_vm::{Arch, Engine, Jail, LogLevel};

/// A word, what it means, and what help says of it.
type Word<T> = (&'static str, T, &'static str);

/// The architectures.
pub(super) const ARCHITECTURES: &[Word<Arch>] = &[
    (Arch::X86_64.name(), Arch::X86_64, "x86-64"),
    (Arch::Aarch64.name(), Arch::Aarch64, "Arm, 64 bits"),
    (Arch::Riscv64.name(), Arch::Riscv64, "RISC-V, 64 bits"),
];

/// The processors that native code is made for.
pub(super) const CPU_LEVELS: &[Word<CpuLevel>] = &[
    (
        CpuLevel::X86_64V1.name(),
        CpuLevel::X86_64V1,
        "x86-64 as it began",
    ),
    (
        CpuLevel::X86_64V2.name(),
        CpuLevel::X86_64V2,
        "With SSE4.2 and POPCNT; x86_64's default",
    ),
    (
        CpuLevel::X86_64V3.name(),
        CpuLevel::X86_64V3,
        "With AVX2, BMI, FMA and LZCNT besides",
    ),
    (CpuLevel::Armv8A.name(), CpuLevel::Armv8A, "aarch64's default"),
    (
        CpuLevel::Armv81A.name(),
        CpuLevel::Armv81A,
        "With atomic instructions besides",
    ),
    (CpuLevel::Rv64gc.name(), CpuLevel::Rv64gc, "Without SIMD"),
    (
        CpuLevel::Rv64gcv.name(),
        CpuLevel::Rv64gcv,
        "With vectors; riscv64's default",
    ),
];

/// What is made of a payload.
pub(super) const FORMATS: &[Word<Format>] = &[
    (
        Format::Initrd.name(),
        Format::Initrd,
        "The payload alone, a tar archive: for QEMU's -initrd, and for 'run'",
    ),
    (
        Format::App.name(),
        Format::App,
        "A Hermit application with the payload inside: for uhyve, and for any Hermit loader",
    ),
    (
        Format::Image.name(),
        Format::Image,
        "An image with the payload inside, which boots by itself: for QEMU's -kernel",
    ),
    (
        Format::Exe.name(),
        Format::Exe,
        "An executable for this host: this program with the payload behind it",
    ),
    (
        "oci",
        Format::Oci(OciImage::DEFAULT),
        "A container image: an OCI image layout, as a directory, or as an archive if FILE ends with .tar",
    ),
];

/// What a container image holds.
pub(super) const OCI_KINDS: &[Word<OciKind>] = &[
    (
        OciKind::Plain.name(),
        OciKind::Plain,
        "The module and copied files, for linux: its user may give it more",
    ),
    (
        OciKind::Sealed.name(),
        OciKind::Sealed,
        "The payload, for linux: what is packed is the most that its containers can do",
    ),
    (
        OciKind::Wasi.name(),
        OciKind::Wasi,
        "As plain, for the platform wasi/wasm",
    ),
    (
        OciKind::Artifact.name(),
        OciKind::Artifact,
        "The module alone, as a CNCF Wasm artifact",
    ),
];

/// The accelerators.
pub(super) const ACCELERATORS: &[Word<Option<Accelerator>>] = &[
    ("auto", None, "KVM if a trial boot succeeds, otherwise TCG"),
    (
        Accelerator::Kvm.name(),
        Some(Accelerator::Kvm),
        "Hardware virtualisation through /dev/kvm",
    ),
    (
        Accelerator::Tcg.name(),
        Some(Accelerator::Tcg),
        "QEMU's emulation: slower, works on every host",
    ),
];

/// The engines.
pub(super) const ENGINES: &[Word<Option<Engine>>] = &[
    (
        "auto",
        None,
        "Native code that is there, or is compiled in no time; otherwise the interpreter, and compiled for the next run",
    ),
    (
        Engine::Native.name(),
        Some(Engine::Native),
        "Native code: compiled first, if it is not there",
    ),
    (
        Engine::Interp.name(),
        Some(Engine::Interp),
        "The interpreter: nothing is compiled",
    ),
];

/// QEMU's machines.
pub(super) const MACHINES: &[Word<MachineKind>] = &[
    (
        MachineKind::Microvm.name(),
        MachineKind::Microvm,
        "Minimal and the quickest to boot: no PCI, no legacy devices, a small firmware",
    ),
    (MachineKind::Q35.name(), MachineKind::Q35, "A PC with PCI Express"),
    (
        MachineKind::Pc.name(),
        MachineKind::Pc,
        "A PC with PCI, QEMU's default",
    ),
    (
        MachineKind::Virt.name(),
        MachineKind::Virt,
        "The machine of aarch64 and riscv64",
    ),
];

/// How much of the jail is demanded.
pub(super) const JAILS: &[Word<Jail>] = &[
    (
        Jail::Auto.name(),
        Jail::Auto,
        "What every Linux has, and all else that this host has",
    ),
    (
        Jail::Strict.name(),
        Jail::Strict,
        "Every layer: without one of them, nothing runs",
    ),
    (Jail::Off.name(), Jail::Off, "Nothing"),
];

/// The log's levels.
pub(super) const LOG_LEVELS: &[Word<LogLevel>] = &[
    (LogLevel::Off.name(), LogLevel::Off, "No log"),
    (LogLevel::Error.name(), LogLevel::Error, "Errors"),
    (LogLevel::Warn.name(), LogLevel::Warn, "Errors and warnings"),
    (LogLevel::Info.name(), LogLevel::Info, "Progress too"),
    (
        LogLevel::Debug.name(),
        LogLevel::Debug,
        "Details for debugging too",
    ),
    (LogLevel::Trace.name(), LogLevel::Trace, "Everything"),
];

/// A parser that takes one of `words`.
pub(super) fn one_of<T: Clone + Send + Sync + 'static>(
    words: &'static [Word<T>],
) -> impl TypedValueParser<Value = T> {
    let values = words
        .iter()
        .map(|(word, _, help)| PossibleValue::new(*word).help(*help));
    PossibleValuesParser::new(values).try_map(|given| {
        let found = words.iter().find(|(word, ..)| *word == given);
        found.map(|(_, value, _)| value.clone()).ok_or("an unknown word")
    })
}
