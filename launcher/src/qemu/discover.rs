//! Finds the QEMU program.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::failure::Failure;

/// Where Red Hat's distributions keep theirs for the host's architecture, outside of every search path.
const ELSEWHERE: &[&str] = &["/usr/libexec/qemu-kvm"];

/// The program to start: the one that `--qemu` names, or the usual one of that architecture.
pub(crate) fn find(wanted: Option<&Path>, arch: Arch) -> Result<PathBuf, Failure> {
    let path = env::var_os("PATH").unwrap_or_default();
    match wanted {
        Some(name) => search(name, &path).ok_or_else(|| {
            Failure::machine(format!(
                "--qemu: there is no program '{}' that can be executed",
                name.display()
            ))
        }),
        None => search(Path::new(arch.qemu()), &path)
            .or_else(|| {
                let mut elsewhere = ELSEWHERE.iter().map(PathBuf::from);
                elsewhere.find(|path| arch.is_hosts() && is_program(path))
            })
            .ok_or_else(|| Failure::machine(missing(arch))),
    }
}

fn missing(arch: Arch) -> String {
    let (program, [debian, fedora, arch_linux]) = (arch.qemu(), arch.packages());
    format!(
        "QEMU is not installed: '{program}', which runs machines of {}, is not found in PATH\n\
         On Debian and Ubuntu: apt install {debian}\n\
         On Fedora:            dnf install {fedora}\n\
         On Arch Linux:        pacman -S {arch_linux}\n\
         If it is installed elsewhere, say where: --qemu PATH",
        arch.name()
    )
}

/// Finds a program as a shell does, with this process's PATH.
pub(crate) fn search_path(name: &Path) -> Option<PathBuf> {
    search(name, &env::var_os("PATH").unwrap_or_default())
}

/// Finds `name` as a shell does: as a path if it has a slash, else in the directories of `path`.
fn search(name: &Path, path: &OsStr) -> Option<PathBuf> {
    if name.as_os_str().as_encoded_bytes().contains(&b'/') {
        return is_program(name).then(|| name.to_path_buf());
    }
    env::split_paths(path)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_searched_and_a_path_is_taken() {
        let shell = search(Path::new("sh"), OsStr::new("/nonexistent::/bin")).unwrap();
        assert_eq!(shell, Path::new("/bin/sh"));
        assert_eq!(
            search(Path::new("/bin/sh"), OsStr::new("")).unwrap(),
            Path::new("/bin/sh")
        );
        assert_eq!(search(Path::new("sh"), OsStr::new("/nonexistent")), None);
    }

    #[test]
    fn what_cannot_be_executed_is_no_program() {
        assert_eq!(search(Path::new("/etc/passwd"), OsStr::new("")), None);
        assert_eq!(search(Path::new("/bin"), OsStr::new("")), None);
        assert_eq!(search(Path::new("passwd"), OsStr::new("/etc")), None);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let failure = find(Some(Path::new("/nonexistent/qemu")), Arch::host()).unwrap_err();
        assert_eq!(failure.code, boot_protocol::exit_code::VM_FAILED);
        assert!(failure.message.contains("--qemu") && failure.message.contains("/nonexistent/qemu"));
        assert!(missing(Arch::X86_64).contains("apt install qemu-system-x86\n"));
        assert!(missing(Arch::Riscv64).contains("'qemu-system-riscv64', which"));
    }
}
