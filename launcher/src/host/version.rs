//! What a program says of itself: quickly, or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::jail::{self, Calls, Confinement, Jail, Program};

/// How long it may take. Hundredths of a second are usual.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// QEMU's old virtiofsd reads it before it looks at its flags.
const FILE_MAX: &str = "/proc/sys/fs/file-max";

/// How much it may say.
const MOST: u64 = 1 << 16;

/// Runs a program in a jail with nothing on its standard input: what it writes on its standard output, if it ends well.
///
/// # Errors
/// It cannot be started, has failed (the message has its first words on standard error), or has not ended within `limit`.
pub(crate) fn ask(program: &Path, arguments: &[&str], limit: Duration) -> io::Result<String> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let (output, stdout) = io::pipe()?;
    let (errors, stderr) = io::pipe()?;
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let command = Program {
        path: program,
        arguments: &arguments,
        streams: [null.as_fd(), stdout.as_fd(), stderr.as_fd()],
        descriptors: &[],
        asks: None,
    };
    let (mut child, _) = jail::start(&command, &confinement())?;
    drop((stdout, stderr));
    let deadline = Instant::now() + limit;
    let said = read(&output, deadline)?;
    let complaint = read(&errors, deadline)?;
    // It has closed both.
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= deadline => return Err(too_long()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if status.success() {
        return Ok(said);
    }
    Err(io::Error::other(match complaint.lines().next() {
        Some(line) => line.to_string(),
        None => format!("it failed: {status}"),
    }))
}

/// What a program needs to say its version.
pub(crate) fn confinement() -> Confinement {
    // Many are behind a script.
    let confinement = Confinement::new(Jail::Auto).calls(Calls::Script);
    match Path::new(FILE_MAX).exists() {
        true => confinement.read(FILE_MAX),
        false => confinement,
    }
}

/// All that comes until the end, as far as it is looked at.
fn read(mut pipe: &io::PipeReader, deadline: Instant) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut events = [PollFd::new(pipe, PollFlags::IN)];
        match rustix::event::poll(&mut events, Some(&left)) {
            Ok(0) => return Err(too_long()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let count = pipe.read(&mut buffer)?;
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count == 0 || u64::try_from(bytes.len()).unwrap_or(u64::MAX) >= MOST {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
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
            ask(&program, &[], limit)
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
        let most = usize::try_from(MOST).unwrap();
        let much = shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", short);
        assert!(much.is_err() || much.is_ok_and(|much| much.len() < 2 * most));
        assert!(ask(Path::new("/nonexistent"), &[], LIMIT).is_err());
    }
}
