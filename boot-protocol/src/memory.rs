//! The least memory of a virtual machine, by architecture: with less the loader refuses to boot, or QEMU to load it, with
//! as much a small module runs. A large one needs more: its file, what it is translated to, and its own memory.
//!
//! Measured; `plain/least-memory` in `tests/vm` fails when the image has grown out of it.

use crate::arch::Arch;

const MIB: u64 = 1 << 20;

/// Bytes that a machine of `arch` has at least; with the image for `native` code, which is smaller, or else with the
/// interpreter's.
#[must_use]
pub const fn least(arch: Arch, native: bool) -> u64 {
    match arch {
        Arch::X86_64 if native => X86_64_NATIVE,
        Arch::X86_64 => X86_64,
        Arch::Aarch64 => AARCH64,
        Arch::Riscv64 => RISCV64,
    }
}

/// Bytes that a machine of x86_64 with the interpreter has at least.
pub const X86_64: u64 = 7 * MIB;
/// Bytes that a machine of x86_64 for native code has at least.
pub const X86_64_NATIVE: u64 = 6 * MIB;
/// Bytes that a machine of aarch64 has at least; the first of them is the hypervisor's device tree's.
pub const AARCH64: u64 = 7 * MIB;
/// Bytes that a machine of riscv64 has at least; the first 2 MiB are the firmware's.
pub const RISCV64: u64 = 9 * MIB;
