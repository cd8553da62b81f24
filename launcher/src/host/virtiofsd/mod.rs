//! virtiofsd: the process on the host that serves one mounted directory to the machine.
//!
//! It gets a listening socket that has no name any more, and QEMU the connection to it: nobody else can connect, nothing
//! has to be waited for by name, and nothing is left behind. Before QEMU gets the connection, the daemon has answered on
//! it, so a daemon that cannot start is seen here, with its own words.

mod find;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use boot_protocol::run_spec::Access;
use boot_protocol::shown::piece;

use super::files::HostFile;
use super::privileges::{self, Capabilities, Capability};
use super::units::MIB;
use crate::error::{Error, StartError};
use crate::host::shown;
use crate::jail::{self, Calls, Child, Confinement, Jail, Limits, Program};
use crate::spec::mounts::MountError;

pub(crate) use find::find;

/// How long the daemon may take to its first answer; a fraction of a second is usual.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked meanwhile whether to go on waiting.
const ASK: Duration = Duration::from_millis(100);

/// How long a daemon that has closed its connection may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Most descriptors that it may hold: two for each file that the guest has open, one for each other that it knows. What
/// is beyond is answered with ENFILE.
const MOST_DESCRIPTORS: &str = "8192";

/// Most private memory that it may use, in bytes. It takes 4 MiB, two thirds of a KiB for each file that the guest has open,
/// and its buffers; without memory it would die.
pub(crate) const MOST_DATA: u64 = 12 * MIB;

/// How the daemon confines itself, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// Name spaces of its own, with nothing in them but the directory.
    Namespace,
    /// The directory as its root; only root can do it.
    Chroot,
    /// Nothing but its system call filter.
    None,
}

impl Sandbox {
    const ALL: [Self; 3] = [Self::Namespace, Self::Chroot, Self::None];

    /// virtiofsd's word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Chroot => "chroot",
            Self::None => "none",
        }
    }
}

/// A running virtiofsd. Dropping it kills it, as its child is then dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// The directory that it serves.
    pub(crate) host: PathBuf,
    /// How it has confined itself.
    pub(crate) sandbox: Sandbox,
    /// QEMU's connection to it, until QEMU has it.
    connection: Option<UnixStream>,
    /// What it has to say.
    log: HostFile,
}

/// Starts a daemon for the directory `host`, confined as well as it can be. Where that takes long, `go_on` is asked now
/// and then, and its error is returned.
pub(crate) fn start(
    program: &Path,
    host: &Path,
    access: Access,
    level: Jail,
    go_on: &dyn Fn() -> Result<(), Error>,
) -> Result<Daemon, Error> {
    let unusable = |reason: String| MountError::Unusable {
        flag: "dir",
        host: host.to_path_buf(),
        reason,
    };
    // virtiofsd opens the directory itself and follows no link then.
    let real = host.canonicalize().map_err(|error| unusable(error.to_string()))?;
    if !real.is_dir() {
        return Err(unusable("it is not a directory".to_string()).into());
    }
    let held = privileges::of_roots_children();
    let mut flags = held.map(fitting).unwrap_or_default();
    let mut reasons = Vec::new();
    for sandbox in Sandbox::ALL {
        let daemon = Daemon::start(program, host, &real, access, sandbox, &flags, level, go_on);
        go_on()?;
        match daemon {
            Ok(daemon) => return Ok(daemon),
            Err(reason) => reasons.push(format!("{}: {reason}", sandbox.name())),
        }
    }
    // libcap-ng up to 0.8.3 at least reports a missing SETPCAP by a system call that virtiofsd's filter kills for.
    if held.is_some_and(|held| !held.has(Capability::Setpcap)) {
        flags.extend(["--seccomp".to_string(), "none".to_string()]);
        for sandbox in Sandbox::ALL {
            let daemon = Daemon::start(program, host, &real, access, sandbox, &flags, level, go_on);
            go_on()?;
            if let Ok(daemon) = daemon {
                log::warn!(
                    "--dir: without CAP_SETPCAP, virtiofsd serves '{}' without its system call filter",
                    shown::path(host)
                );
                return Ok(daemon);
            }
        }
    }
    Err(StartError::Virtiofsd(format!(
        "--dir: virtiofsd, '{}', does not serve '{}' in any of its sandboxes ({}){}",
        shown::path(program),
        shown::path(host),
        reasons.join("; "),
        match held {
            // It leaves its supplementary groups, whatever its flags.
            Some(held) if !held.has(Capability::Setgid) =>
                "; as root, it needs CAP_SETGID, or a process without supplementary groups",
            _ => "",
        }
    ))
    .into())
}

/// The flags that make virtiofsd, run by root, do without the capabilities that it would like and does not get, as in a
/// container. For any other user it changes none.
fn fitting(held: Capabilities) -> Vec<String> {
    /// What virtiofsd 1.14 keeps of root's, and fails if it cannot.
    const KEPT: [Capability; 8] = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Setgid,
        Capability::Setuid,
        Capability::Mknod,
        Capability::Setfcap,
    ];
    let missing: Vec<String> = KEPT
        .into_iter()
        .filter(|capability| !held.has(*capability))
        .map(|capability| format!("-{}", capability.name()))
        .collect();
    let mut flags = Vec::new();
    if !missing.is_empty() {
        flags.push(format!("--modcaps={}", missing.join(":")));
    }
    if !held.has(Capability::DacReadSearch) {
        flags.push("--inode-file-handles=never".to_string());
    }
    flags
}

impl Daemon {
    /// Serves the directory `real`, which the user has called `host`.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of its own, known to one caller"
    )]
    fn start(
        program: &Path,
        host: &Path,
        real: &Path,
        access: Access,
        sandbox: Sandbox,
        flags: &[String],
        level: Jail,
        go_on: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let (listener, connection) = socket().map_err(text)?;
        let log = HostFile::empty("virtiofsd.log").map_err(text)?;
        let errors: File = log.file().try_clone().map_err(text)?;
        let socket = listener.as_raw_fd().to_string();
        let mut arguments: Vec<OsString> =
            vec!["--fd".into(), socket.into(), "--shared-dir".into(), real.into()];
        arguments.extend(["--sandbox", sandbox.name(), "--log-level", "error"].map(OsString::from));
        arguments.extend(["--rlimit-nofile", MOST_DESCRIPTORS].map(OsString::from));
        arguments.extend(flags.iter().map(OsString::from));
        if access == Access::ReadOnly {
            arguments.push("--readonly".into());
        }
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(text)?;
        let command = Program {
            path: program,
            arguments: &arguments,
            streams: [null.as_fd(), null.as_fd(), errors.as_fd()],
            descriptors: &[listener.as_fd()],
        };
        // It gives up itself what it does not need of root's capabilities.
        let confinement = Confinement::new(level)
            .calls(Calls::Daemon)
            .keeping(u64::MAX)
            .limits(Limits {
                data: Some(MOST_DATA),
                ..Limits::default()
            })
            .confines_itself();
        let (child, report) = jail::start(&command, &confinement).map_err(text)?;
        log::info!("the jail of virtiofsd: {report}");
        // From here on, dropping kills it.
        let mut daemon = Self {
            child,
            host: host.to_path_buf(),
            sandbox,
            connection: Some(connection),
            log,
        };
        // The daemon has it now; while it were open here too, the daemon's end could not be seen.
        drop(listener);
        match daemon
            .connection
            .as_ref()
            .map(|connection| greet(connection, go_on))
        {
            Some(Ok(())) => Ok(daemon),
            Some(Err(error)) => Err(daemon.why_not(&error)),
            None => Err("it has no connection".to_string()),
        }
    }

    /// Why it does not serve: in its own words, if it has any.
    fn why_not(&mut self, error: &io::Error) -> String {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            // It closes the connection before it says why.
            let start = Instant::now();
            while self.ended().is_none() && start.elapsed() < LAST_WORDS {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.last_words().unwrap_or_else(|| error.to_string())
    }

    /// The connection, for QEMU to inherit; `None` once QEMU has it.
    pub(crate) fn connection(&self) -> Option<BorrowedFd<'_>> {
        self.connection.as_ref().map(|connection| connection.as_fd())
    }

    /// QEMU has the connection: were it open here too, the daemon would not see QEMU's end.
    pub(crate) fn handed_over(&mut self) {
        self.connection = None;
    }

    /// How the daemon ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What to say of a daemon that has ended by itself. When QEMU has ended, it ends too, and successfully.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let status = self.ended().filter(|status| !status.success())?;
        let words = self
            .last_words()
            .map(|words| format!(" ({words})"))
            .unwrap_or_default();
        Some(format!(
            "--dir: virtiofsd, which served '{}', ended during the run: {status}{words}; after that, the guest's accesses failed \
             with I/O errors",
            shown::path(&self.host)
        ))
    }

    /// The last line that the daemon has written.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.log.name())
            .ok()?
            .take(1 << 16)
            .read_to_end(&mut bytes)
            .ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        // "[2026-01-01T00:00:00Z ERROR virtiofsd] text"
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        Some(piece(text))
    }
}

/// A listening socket without a name, and a connection to it.
fn socket() -> io::Result<(UnixListener, UnixStream)> {
    // A directory that only this user can enter: between `bind` and `remove_file` nobody else connects.
    let directory = tempfile::Builder::new().prefix("hermit-wasm-").tempdir()?;
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path)?;
    let connection = UnixStream::connect(&path)?;
    directory.close()?;
    Ok((listener, connection))
}

/// Asks the daemon for its features, as every vhost-user connection begins: whoever answers is ready. QEMU asks again.
fn greet(mut connection: &UnixStream, go_on: &dyn Fn() -> Result<(), Error>) -> io::Result<()> {
    /// VHOST_USER_GET_FEATURES.
    const GET_FEATURES: u32 = 1;
    /// Flags: version 1.
    const VERSION: u32 = 1;
    /// Request, flags and size of the payload, and 64 bits of features.
    const REPLY: usize = 12 + 8;
    let mut request = Vec::new();
    for word in [GET_FEATURES, VERSION, 0] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    connection.set_read_timeout(Some(ASK))?;
    let mut reply = [0; REPLY];
    connection
        .write_all(&request)
        .and_then(|()| read_patiently(connection, &mut reply, go_on))
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once")
            }
            io::ErrorKind::WouldBlock => io::Error::other("it does not answer"),
            _ => error,
        })?;
    connection.set_read_timeout(None)?;
    match reply.first_chunk().map(|request| u32::from_ne_bytes(*request)) {
        Some(GET_FEATURES) => Ok(()),
        _ => Err(io::Error::other("it does not speak vhost-user")),
    }
}

/// Fills `buffer`, as long as there is time and `go_on` has nothing against it.
fn read_patiently(
    mut connection: &UnixStream,
    buffer: &mut [u8],
    go_on: &dyn Fn() -> Result<(), Error>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut done = 0usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match connection.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => done = done.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start.elapsed() >= PATIENCE || go_on().is_err() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that nobody stops.
    fn start(program: &Path, host: &Path, access: Access) -> Result<Daemon, Error> {
        super::start(program, host, access, Jail::Auto, &|| Ok(()))
    }
    use std::os::unix::fs::PermissionsExt as _;

    /// A program of this test's own, in a directory that goes with it.
    fn program(script: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("virtiofsd");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_daemon_that_fails_is_quoted_for_each_sandbox() {
        let (_directory, path) = program("echo \"[2026 ERROR virtiofsd] cannot do it\" >&2; exit 1");
        let error = start(&path, Path::new("/"), Access::ReadWrite).unwrap_err();
        assert_eq!(error.exit_code(), boot_protocol::exit_code::VM_FAILED);
        let message = error.to_string();
        for word in [
            "namespace: cannot do it",
            "chroot: cannot do it",
            "none: cannot do it",
        ] {
            assert!(message.contains(word), "{}", message);
        }
    }

    #[test]
    fn the_first_sandbox_that_works_is_taken() {
        // Answers as a daemon would, but not in namespaces. `$2` is the number after --fd.
        let script = r#"case "$*" in *"--sandbox namespace"*) exit 1;; esac
            exec python3 -c 'import socket, sys, time
s, _ = socket.socket(fileno=int(sys.argv[1])).accept()
assert s.recv(12)[:4] == b"\1\0\0\0"
s.sendall(b"\1\0\0\0\5\0\0\0\10\0\0\0" + bytes(8))
s.recv(1)' "$2""#;
        let (_directory, path) = program(script);
        let mut daemon = start(&path, Path::new("/"), Access::ReadOnly).unwrap();
        assert_eq!(daemon.sandbox, Sandbox::Chroot);
        assert!(daemon.connection().is_some());
        assert!(daemon.ended().is_none());
        // It sees the end of the connection.
        daemon.handed_over();
        assert!(daemon.child.wait().unwrap().success());
        assert!(daemon.ended().is_some());
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_not_waited_for_when_the_run_is_stopped() {
        let (_directory, path) = program("exec sleep 1000");
        let asked = std::cell::Cell::new(0);
        let go_on = || {
            asked.set(asked.get() + 1);
            // Not at once: the daemon has begun by then.
            if asked.get() < 3 {
                Ok(())
            } else {
                Err(Error::Stopped(crate::host::interrupt::Stop::Asked))
            }
        };
        let error = super::start(&path, Path::new("/"), Access::ReadWrite, Jail::Auto, &go_on).unwrap_err();
        assert!(matches!(error, Error::Stopped(_)), "{error}");
        // One sandbox is tried, not all of them.
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn one_that_does_not_speak_the_protocol_is_refused() {
        let (_directory, path) = program(
            "exec python3 -c 'import socket, sys
s, _ = socket.socket(fileno=int(sys.argv[1])).accept()
s.sendall(b\"HTTP/1.1 400 Bad Request\")' \"$2\"",
        );
        let message = start(&path, Path::new("/"), Access::ReadWrite)
            .unwrap_err()
            .to_string();
        assert!(message.contains("does not speak vhost-user"), "{}", message);
    }

    #[test]
    fn a_daemon_that_hangs_up_before_it_complains_is_quoted() {
        // `$2` is the number after --fd. Not in the shell itself, where a number of two digits cannot be closed.
        let script = "exec python3 -c 'import os, sys, time
os.close(int(sys.argv[1])); time.sleep(0.1); sys.exit(\"late words\")' \"$2\"";
        let (_directory, path) = program(script);
        let message = start(&path, Path::new("/"), Access::ReadWrite)
            .unwrap_err()
            .to_string();
        assert!(message.contains("namespace: late words"), "{}", message);
    }

    #[test]
    fn flags_fit_the_capabilities() {
        let all = Capabilities::from_bits(u64::MAX);
        let none = Capabilities::from_bits(0);
        // Docker's and Podman's defaults.
        let docker = Capabilities::from_bits(0xa804_25fb);
        let podman = Capabilities::from_bits(0x8000_05fb);
        for (held, flags) in [
            (all, [].as_slice()),
            (docker, &["--inode-file-handles=never"]),
            (podman, &["--modcaps=-mknod", "--inode-file-handles=never"]),
            (
                none,
                &[
                    "--modcaps=-chown:-dac_override:-fowner:-fsetid:-setgid:-setuid:-mknod:-setfcap",
                    "--inode-file-handles=never",
                ],
            ),
        ] {
            assert_eq!(fitting(held), flags);
        }
    }

    #[test]
    fn what_is_no_directory_is_not_shared() {
        for (path, reason) in [
            ("/nonexistent", "No such file"),
            ("/etc/passwd", "not a directory"),
        ] {
            let error = start(Path::new("/bin/true"), Path::new(path), Access::ReadWrite).unwrap_err();
            assert_eq!(error.exit_code(), boot_protocol::exit_code::USAGE);
            let message = error.to_string();
            assert!(message.contains(reason), "{}", message);
        }
    }
}
