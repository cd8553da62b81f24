//! What to do where QEMU is not installed.

use boot_protocol::arch::Arch;

/// The usual name of the QEMU program.
pub(super) const fn usual_program(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Aarch64 => "qemu-system-aarch64",
        Arch::Riscv64 => "qemu-system-riscv64",
    }
}

pub(super) fn missing(arch: Arch) -> String {
    let program = usual_program(arch);
    // Of Debian and Ubuntu, Fedora, and Arch Linux.
    let [debian, fedora, arch_linux] = match arch {
        Arch::X86_64 => ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"],
        Arch::Aarch64 => [
            "qemu-system-arm",
            "qemu-system-aarch64-core",
            "qemu-system-aarch64",
        ],
        Arch::Riscv64 => ["qemu-system-misc", "qemu-system-riscv-core", "qemu-system-riscv"],
    };
    format!(
        "QEMU is not installed: '{program}', which runs {} machines, is not in PATH\n\
         On Debian and Ubuntu: apt install {debian}\n\
         On Fedora:            dnf install {fedora}\n\
         On Arch Linux:        pacman -S {arch_linux}\n\
         If it is installed elsewhere, pass --qemu PATH",
        arch.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmm::Vmm as _;
    use crate::vmm::qemu::Qemu;

    #[test]
    fn a_missing_qemu_says_what_to_install() {
        assert!(missing(Arch::X86_64).contains("apt install qemu-system-x86\n"));
        assert!(missing(Arch::Riscv64).contains("'qemu-system-riscv64', which"));
        let qemu = Qemu {
            program: Some("/nonexistent/qemu".into()),
            ..Qemu::default()
        };
        let error = qemu.program(Arch::host()).unwrap_err().to_string();
        assert!(
            error.contains("--qemu") && error.contains("/nonexistent/qemu"),
            "{error}"
        );
    }
}
