//! Finds the virtiofsd program, and tells QEMU's old one from it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::{Error, StartError};
use crate::host::{program, shown, version};
use crate::spec::deadline::Deadline;

/// Where distributions keep theirs, outside of every search path.
const ELSEWHERE: &[&str] = &[
    "/usr/libexec/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/lib/virtiofsd",
];

/// Finds the program: the one that `--virtiofsd` names, or the usual one.
pub(crate) fn find(wanted: Option<&Path>, deadline: &Deadline) -> Result<PathBuf, Error> {
    let Some(name) = wanted else {
        let path = env::var_os("PATH").unwrap_or_default();
        return find_usual(&path, ELSEWHERE, deadline);
    };
    let program = program::named("virtiofsd", name)?;
    if is_qemus_old_one(&program, deadline)? {
        return Err(StartError::NotInstalled(format!(
            "--virtiofsd: '{}' {OLD}; {ADVICE}",
            shown::path(program)
        ))
        .into());
    }
    Ok(program)
}

/// Finds virtiofsd in `path`, or else in one of the other places.
fn find_usual(path: &OsStr, elsewhere: &[&str], deadline: &Deadline) -> Result<PathBuf, Error> {
    let in_path = env::split_paths(path)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join("virtiofsd"));
    let mut old = None;
    for candidate in in_path.chain(elsewhere.iter().map(PathBuf::from)) {
        let Some(program) = program::search_path(&candidate) else {
            continue;
        };
        if !is_qemus_old_one(&program, deadline)? {
            return Ok(program);
        }
        old.get_or_insert(program);
    }
    Err(StartError::NotInstalled(match old {
        Some(old) => format!(
            "--dir: no usable virtiofsd found: '{}' {OLD}\n{ADVICE}",
            shown::path(old)
        ),
        None => format!("--dir: virtiofsd is not installed, or not in PATH\n{ADVICE}"),
    })
    .into())
}

/// Whether a program is the virtiofsd, written in C, that QEMU had up to version 7.2 and that Debian 12 installs with
/// it. It takes other flags, and only root can sandbox it. A program that does not say is none.
fn is_qemus_old_one(program: &Path, deadline: &Deadline) -> Result<bool, Error> {
    // "virtiofsd version 7.2.22 (Debian …)"; its successor says "virtiofsd 1.14.0".
    let said = version::ask(program, &["--version"], deadline, version::LIMIT)?;
    Ok(match said {
        Ok(said) => said.starts_with("virtiofsd version "),
        // Before it looks at its flags it leaves the user's groups, which only root may.
        Err(error) => error.to_string().starts_with("setgroups() failed"),
    })
}

const OLD: &str = "is the old one of QEMU 7, which takes other flags and which only root can sandbox";

const ADVICE: &str = "On Debian 13 and Ubuntu: apt install virtiofsd\n\
    On Fedora:               dnf install virtiofsd\n\
    Elsewhere, with Rust:    cargo install --locked virtiofsd (needs libseccomp-dev and libcap-ng-dev)\n\
    If it is installed elsewhere, pass --virtiofsd PATH. --copy-dir works without it";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    /// A search path with a program that answers --version with `words`, which exits with 0 for all else.
    fn directory_with(words: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("virtiofsd");
        let script = format!("#!/bin/sh\n[ \"$1\" != --version ] || echo '{words}'\n");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    #[test]
    fn qemus_old_virtiofsd_is_passed_over() {
        let old = directory_with("virtiofsd version 7.2.22 (Debian 1:7.2)");
        let new = directory_with("virtiofsd 1.14.0");
        let [old, new] = [old.path(), new.path()];
        let path = |directories: &[&Path]| env::join_paths(directories).unwrap();
        let old_elsewhere = old.join("virtiofsd").to_str().unwrap().to_string();
        let new_elsewhere = new.join("virtiofsd").to_str().unwrap().to_string();

        let found = find_usual(&path(&[old, Path::new(""), new]), &[], &Deadline::never()).unwrap();
        assert_eq!(found, new.join("virtiofsd"));
        let found = find_usual(
            &path(&[old]),
            &["/nonexistent", &old_elsewhere, &new_elsewhere],
            &Deadline::never(),
        )
        .unwrap();
        assert_eq!(found, new.join("virtiofsd"));

        for (path, elsewhere) in [
            (path(&[old]), "/nonexistent"),
            (path(&[new.join("x").as_path()]), &old_elsewhere),
        ] {
            let message = find_usual(&path, &[elsewhere], &Deadline::never())
                .unwrap_err()
                .to_string();
            for part in [
                &old_elsewhere,
                "old one of QEMU 7",
                "cargo install --locked virtiofsd",
                "--copy-dir",
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
        // As an ordinary user sees it.
        let groups = directory_with("");
        let script =
            "#!/bin/sh\necho 'setgroups() failed with error=1:Operation not permitted' >&2\nexit 1\n";
        std::fs::write(groups.path().join("virtiofsd"), script).unwrap();
        let found = find_usual(&path(&[groups.path(), new]), &[], &Deadline::never()).unwrap();
        assert_eq!(found, new.join("virtiofsd"));

        let missing = find_usual(OsStr::new("/nonexistent"), &[], &Deadline::never())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("is not installed") && missing.contains("apt install virtiofsd"));

        let asked_for = find(Some(&old.join("virtiofsd")), &Deadline::never())
            .unwrap_err()
            .to_string();
        assert!(
            asked_for.starts_with("--virtiofsd: ") && asked_for.contains("old one"),
            "{asked_for}"
        );
        assert_eq!(
            find(Some(&new.join("virtiofsd")), &Deadline::never()).unwrap(),
            new.join("virtiofsd")
        );
    }

    #[test]
    fn a_program_that_does_not_say_what_it_is_ends_with_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("virtiofsd");
        std::fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let soon = Deadline::since(Instant::now(), Duration::from_millis(100));
        let error = find(Some(&path), &soon).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    }
}
