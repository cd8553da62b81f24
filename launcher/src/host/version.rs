//! What a program says of itself: quickly, or not at all.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::jail::{self, Calls, Confinement, Jail};
use crate::spec::deadline::Deadline;

/// How long it may take. Hundredths of a second are usual.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// QEMU's old virtiofsd reads it before it looks at its flags.
const FILE_MAX: &str = "/proc/sys/fs/file-max";

/// Runs a program in a jail: what it writes on its standard output, if it ends well. The outer error is the run's,
/// which is over.
///
/// # Errors
/// As [`jail::output`].
pub(crate) fn ask(
    program: &Path,
    arguments: &[&str],
    deadline: &Deadline,
    limit: Duration,
) -> Result<io::Result<String>, Error> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let said = jail::output(program, &arguments, &[], &confinement(), deadline, limit)?;
    Ok(said.map(|said| String::from_utf8_lossy(&said).into_owned()))
}

/// What a program needs to say its version.
fn confinement() -> Confinement {
    // Many are behind a script.
    let confinement = Confinement::new(Jail::Auto).calls(Calls::Script);
    match Path::new(FILE_MAX).exists() {
        true => confinement.read(FILE_MAX),
        false => confinement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_program_answers_or_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        let shell = |script: &str, limit| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            ask(&program, &[], &Deadline::never(), limit).unwrap()
        };
        assert_eq!(shell("echo version 1", LIMIT).unwrap(), "version 1\n");
        let failed = shell("echo not this way >&2; exit 3", LIMIT).unwrap_err();
        assert_eq!(failed.to_string(), "not this way");
        let short = Duration::from_millis(50);
        // One that says nothing, one that has closed its pipes, one that has left them to another, which may have died
        // with it, and one that says too much.
        for script in ["sleep 1000", "exec >&- 2>&-; sleep 1000"] {
            let error = shell(script, short).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
        let left = shell("echo x; sleep 1000 &", short);
        assert!(left.as_ref().map_or_else(
            |error| error.kind() == io::ErrorKind::TimedOut,
            |said| said == "x\n"
        ));
        let most = 1 << 20;
        let much = shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", short);
        assert!(much.is_err() || much.is_ok_and(|much| much.len() < 2 * most));
        let none = ask(Path::new("/nonexistent"), &[], &Deadline::never(), LIMIT);
        assert!(none.unwrap().is_err());
    }
}
