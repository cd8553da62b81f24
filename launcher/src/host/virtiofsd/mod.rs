//! virtiofsd: the process on the host that serves one mounted directory to the machine.
//!
//! It gets a listening socket that has no name any more, and QEMU the connection to it: nobody else can connect,
//! nothing has to be waited for by name, and nothing is left behind. Before QEMU gets the connection, the daemon has
//! answered on it, so a daemon that cannot start is seen here, with its own words.

mod filter;
mod find;
pub(crate) mod greet;
mod keeper;
mod quota;
mod wall;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use boot_protocol::run_spec::Access;
use boot_protocol::shown::piece;
use rustix::fs::{AtFlags, CWD, OFlags};

use self::keeper::Keeper;
use self::quota::Quota;
use super::privileges::{self, Capability};
use super::units::{MIB, show_size};
use crate::error::{Error, StartError};
use crate::host::beneath::Beneath;
use crate::host::shown;
use crate::jail::ask::Questions;
use crate::jail::{self, Calls, Child, Confinement, Jail, Limits, Program};
use crate::spec::mounts::MountError;

pub(crate) use find::find;
pub(crate) use wall::{Own, Wall};

/// How long a daemon that has closed its connection may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Most descriptors that it may hold: two for each file that the guest has open, one for each other that it knows. What
/// is beyond is answered with ENFILE.
const MOST_DESCRIPTORS: u64 = 8192;

/// Most private memory that it may use, in bytes. It takes 4 MiB, two thirds of a KiB for each file that the guest has
/// open, and its buffers; without memory it would die.
pub(crate) const MOST_DATA: u64 = 12 * MIB;

/// Its processes and threads, where they can be counted: itself, a helper, the one in its namespaces, and its threads.
const PROCESSES: u64 = 16;

/// A directory to serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    /// Where it is, in the user's words.
    pub(crate) host: &'a Path,
    /// Whether the guest may change it.
    pub(crate) access: Access,
    /// By how many bytes it may grow.
    pub(crate) quota: Option<u64>,
    /// Whether this process is in a container that has nothing but the directory and the programs that serve it.
    pub(crate) contained: bool,
}

/// A running virtiofsd. Dropping it kills it, as its child is then dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// The directory that it serves.
    pub(crate) host: PathBuf,
    /// What keeps it inside of the directory.
    pub(crate) wall: Wall,
    /// QEMU's connection to it, until QEMU has it.
    connection: Option<UnixStream>,
    /// What it has to say, as far as that fits into a pipe.
    log: PipeReader,
    /// The size by which the directory may grow, and whether it would have grown by more.
    quota: Option<(u64, Arc<AtomicBool>)>,
}

/// Starts a daemon for a directory, confined as well as it can be. Where that takes long, `go_on` is asked now and
/// then, and its error is returned.
pub(crate) fn start(
    program: &Path,
    share: Share<'_>,
    level: Jail,
    go_on: &dyn Fn() -> Result<(), Error>,
) -> Result<Daemon, Error> {
    let host = share.host;
    let unusable = |reason: String| MountError::Unusable {
        flag: "dir",
        host: host.to_path_buf(),
        reason,
    };
    // In a container, names are no way to it: another user of a volume may put a link there at any time.
    let held = match share.contained {
        true => Some(hold(host).map_err(|error| unusable(error.to_string()))?),
        false => None,
    };
    // virtiofsd opens the directory itself and follows no link then.
    let real = match &held {
        Some(held) => PathBuf::from(format!("/dev/fd/{}", held.as_raw_fd())),
        None => host.canonicalize().map_err(|error| unusable(error.to_string()))?,
    };
    if !real.is_dir() {
        return Err(unusable("it is not a directory".to_string()).into());
    }
    // Each wall would fail, with words of its own. The guest's accesses are virtiofsd's, so searching is enough.
    rustix::fs::accessat(CWD, &real, rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|error| unusable(io::Error::from(error).to_string()))?;
    let capabilities = privileges::of_roots_children();
    let mut reasons = Vec::new();
    // libcap-ng up to 0.8.3 at least reports a missing SETPCAP by a system call that virtiofsd's filter kills for.
    let killed = capabilities.is_some_and(|held| !held.has(Capability::Setpcap));
    // As this user would start it.
    let off = [
        Wall::Unmapped(Own::Namespace),
        Wall::Unmapped(Own::Chroot),
        Wall::None,
    ];
    let walls = match level {
        Jail::Off => off.as_slice(),
        Jail::Auto if share.contained => &Wall::CONTAINED,
        Jail::Auto => &Wall::ALL,
        Jail::Strict => &Wall::ALL[..1],
    };
    // It has root's rights over files as far as the container has them: its files are the container's.
    let rights = match share.contained {
        true => wall::rights(capabilities),
        false => 0,
    };
    for own_filter in if killed { [true, false].as_slice() } else { &[true] } {
        for wall in walls
            .iter()
            .filter(|wall| !share.contained || wall.is_possible(capabilities))
        {
            let start = Start {
                program,
                share,
                real: &real,
                held: held.is_some(),
                wall: *wall,
                own_filter: *own_filter,
                level,
                rights,
            };
            let daemon = start.daemon(go_on);
            go_on()?;
            match daemon {
                Ok(daemon) => {
                    if !*own_filter {
                        // In a container that is how things are.
                        let loud = if share.contained {
                            log::Level::Info
                        } else {
                            log::Level::Warn
                        };
                        log::log!(
                            loud,
                            "--dir: without CAP_SETPCAP, virtiofsd serves '{}' without its own system call filter",
                            shown::path(host)
                        );
                    }
                    return Ok(daemon);
                }
                Err(reason) if *own_filter => reasons.push(format!("{}: {reason}", wall.name())),
                Err(_) => {}
            }
        }
    }
    Err(StartError::Virtiofsd(format!(
        "--dir: virtiofsd, '{}', does not serve '{}' behind {} ({}){}\n--copy-dir does without it; {}",
        shown::path(program),
        shown::path(host),
        match level {
            Jail::Strict => "the wall that --jail strict demands",
            Jail::Auto | Jail::Off => "any wall",
        },
        reasons.join("; "),
        match share.contained {
            true => hint(host, capabilities),
            false => hint(&real, capabilities),
        },
        match level {
            Jail::Strict => "--jail auto takes another wall where there is one",
            Jail::Auto | Jail::Off => "--jail off lets it run without a wall, with all rights of this user",
        }
    ))
    .into())
}

/// Opens a directory of a container's, to which no link may lead: it was looked at, and had none on the way.
fn hold(host: &Path) -> io::Result<File> {
    Beneath::new(Path::new("/"))?.look(host.strip_prefix("/").unwrap_or(host))
}

/// What root may not expect: the likely reason where no wall works.
fn hint(real: &Path, held: Option<privileges::Capabilities>) -> String {
    let Some(held) = held else { return String::new() };
    let closed = real.ancestors().find(|directory| {
        directory.metadata().is_ok_and(|status| {
            let search = match (status.uid(), status.gid()) {
                (0, _) => 0o100,
                (_, 0) => 0o010,
                _ => 0o001,
            };
            status.mode() & search == 0
        })
    });
    if let Some(closed) = closed {
        return format!(
            "; virtiofsd has none of root's privileges, and '{}' does not let root in without them: run as its owner",
            shown::path(closed)
        );
    }
    match held.has(Capability::Setgid) {
        true => String::new(),
        // It leaves its supplementary groups, whatever its flags.
        false => "; as root, it needs CAP_SETGID, or a process without supplementary groups".to_string(),
    }
}

/// One way to start a daemon.
struct Start<'a> {
    program: &'a Path,
    share: Share<'a>,
    /// The directory's real path; in a container, the name of a descriptor.
    real: &'a Path,
    /// Whether the daemon serves the directory that it starts in, and is told no name. It does not get the descriptor,
    /// which would be a way out of its namespaces.
    held: bool,
    wall: Wall,
    /// Whether virtiofsd sets its own filter of system calls too.
    own_filter: bool,
    level: Jail,
    /// The capabilities over files that it keeps.
    rights: u64,
}

impl Start<'_> {
    /// Starts it, and waits for its first answer.
    fn daemon(&self, go_on: &dyn Fn() -> Result<(), Error>) -> Result<Daemon, String> {
        let text = |error: io::Error| error.to_string();
        let (listener, connection) = greet::socket().map_err(text)?;
        let (log, errors) = log().map_err(text)?;
        let mut arguments = wall::arguments(
            listener.as_raw_fd(),
            if self.held { Path::new(".") } else { self.real },
            self.share.access,
            self.wall,
            self.rights,
        );
        if !self.own_filter {
            arguments.extend(["--seccomp", "none"].map(OsString::from));
        }
        let null = File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(text)?;
        let quota = self
            .quota()
            .map_err(|error| format!("cannot measure it for its quota: {error}"))?;
        let (questions, answers) = UnixStream::pair().map_err(text)?;
        let openat2 = match self.level {
            Jail::Off => quota.is_some(),
            _ => self.wall.resolves_beneath(),
        };
        let watched = filter::watched(openat2, quota.is_some()).map_err(|error| error.to_string())?;
        let command = Program {
            path: self.program,
            name: None,
            arguments: &arguments,
            streams: [null.as_fd(), null.as_fd(), errors.as_fd()],
            descriptors: &[listener.as_fd()],
            asks: watched.as_ref().map(|watched| (watched, answers.as_fd())),
        };
        let (child, layers) = jail::start(&command, &self.confinement()?).map_err(text)?;
        log::info!("the jail of virtiofsd: {layers}");
        // From here on, dropping kills it.
        let mut daemon = Daemon {
            child,
            host: self.share.host.to_path_buf(),
            wall: self.wall,
            connection: Some(connection),
            log,
            quota: None,
        };
        daemon.quota = self.share.quota.zip(quota.as_ref().map(Quota::met));
        if watched.is_some() {
            let questions = Questions::receive(&questions).map_err(text)?;
            Keeper { quota }.watch(questions).map_err(text)?;
        }
        // The daemon has these now; while they were open here too, the daemon's end could not be seen.
        drop((listener, errors));
        match daemon
            .connection
            .as_ref()
            .map(|connection| greet::greet(connection, go_on))
        {
            Some(Ok(())) => Ok(daemon),
            Some(Err(error)) => Err(daemon.why_not(&error)),
            None => Err("it has no connection".to_string()),
        }
    }

    fn quota(&self) -> io::Result<Option<Quota>> {
        let size = self.share.quota;
        size.map(|size| Quota::new(self.real, size)).transpose()
    }

    fn confinement(&self) -> Result<Confinement, String> {
        // What may be changed may not be executed there.
        let within =
            |program: PathBuf| program.starts_with(self.real) || program.starts_with(self.share.host);
        if self.wall == Wall::Landlock
            && self.share.access == Access::ReadWrite
            && self.program.canonicalize().is_ok_and(within)
        {
            return Err(
                "the guest could change virtiofsd, which lies in the directory; install it elsewhere"
                    .to_string(),
            );
        }
        let limits = Limits {
            files: Some(MOST_DESCRIPTORS),
            data: Some(MOST_DATA),
            processes: Some(PROCESSES),
            ..Limits::default()
        };
        let confinement = Confinement::new(self.level).calls(Calls::Daemon).limits(limits);
        let mut confinement = self.wall.confine(confinement, self.real, self.share.access)?;
        if self.held {
            confinement.directory = Some(self.real.to_path_buf());
        }
        confinement.capabilities |= self.rights;
        confinement.filters = filter::programs(self.wall).map_err(|error| error.to_string())?;
        Ok(confinement)
    }
}

/// A pipe for what the daemon has to say. What does not fit is lost: it may say as much as the machine makes it say.
fn log() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    for end in [reader.as_fd(), writer.as_fd()] {
        let flags = rustix::fs::fcntl_getfl(end)?;
        rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
    }
    Ok((reader, writer))
}

impl Daemon {
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

    /// Whether its directory would have grown by more than its quota.
    pub(crate) fn quota_met(&self) -> bool {
        let met = self.quota.as_ref().map(|(_, met)| met);
        met.is_some_and(|met| met.load(Ordering::Relaxed))
    }

    /// What to say of a daemon at the run's end: that it met its quota, and that it ended by itself.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        let quota = self.quota_complaint();
        quota.into_iter().chain(self.end_complaint()).collect()
    }

    fn quota_complaint(&self) -> Option<String> {
        let (size, _) = self.quota.as_ref()?;
        self.quota_met().then(|| {
            format!(
                "--dir: '{}' would have grown by more than its quota of {}; what the guest wrote beyond it failed",
                shown::path(&self.host),
                show_size(*size)
            )
        })
    }

    /// When QEMU has ended, a daemon ends too, and successfully.
    fn end_complaint(&mut self) -> Option<String> {
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

    /// The last line that the daemon has written, of those that fit into the pipe.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        // What is there comes before the error that there is no more.
        let _ = self.log.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        // Rust's advice to its programmers, below a panic, says nothing.
        let says = |line: &&str| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE");
        let line = text.lines().map(str::trim).rfind(says)?;
        // "[2026-01-01T00:00:00Z ERROR virtiofsd] text"
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        Some(piece(text))
    }
}

#[cfg(test)]
mod tests;
