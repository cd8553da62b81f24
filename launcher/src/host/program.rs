//! Finds programs as a shell does.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::StartError;

/// The program that a flag names.
///
/// # Errors
/// It is not there or not executable.
pub(crate) fn named(flag: &'static str, path: &Path) -> Result<PathBuf, StartError> {
    search_path(path).ok_or_else(|| StartError::NoProgram {
        flag,
        path: path.to_path_buf(),
    })
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
    fn what_cannot_be_executed_is_not_a_program() {
        assert_eq!(search(Path::new("/etc/passwd"), OsStr::new("")), None);
        assert_eq!(search(Path::new("/bin"), OsStr::new("")), None);
        assert_eq!(search(Path::new("passwd"), OsStr::new("/etc")), None);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = named("qemu", Path::new("/nonexistent/qemu"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "--qemu: '/nonexistent/qemu' is not there, or is not an executable file"
        );
    }
}
