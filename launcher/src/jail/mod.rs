//! The jail: what a process that works for a machine can reach of the host when the machine has taken it over.
//!
//! Whoever starts a hypervisor or a daemon describes what the process needs, as a [`Confinement`]; the jail takes away
//! all else, in layers that do not depend on each other:
//!
//! 1. no environment variables, and only the descriptors that the process is given;
//! 2. resource limits;
//! 3. no capabilities, or only those of the description, and no way to new ones (`no_new_privs`);
//! 4. a filter of system calls.
//!
//! [`Jail::Auto`] demands those. What each process got is its [`Report`], which -v prints.
//!
//! To start a process: `Confinement::new(level)`, its fields where the process needs more than nothing, and
//! [`start`], which is given the program, its words, its streams, and the descriptors that it inherits under their numbers.
//! The [`Child`] dies with the thread that starts it, and with its value.
//!
//! - `filter`: the system calls that are denied, as data.
//! - `limits`: resource limits, and the cgroup to join.
//! - `report`: which layers hold.
//! - `spawn`: the child's way to its program; all unsafe code.
//! - `worker`: a child without a program, which only computes.

mod filter;
mod limits;
mod report;
mod spawn;
pub(crate) mod worker;

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::thread::CapabilitySet;

use crate::error::Error;
use crate::spec::deadline::Deadline;

pub use filter::Calls;
pub use limits::Limits;
pub use report::{Layer, Missing, Report};
pub(crate) use spawn::Child;
use spawn::{Plan, c_string};

/// How much of the jail a run demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jail {
    /// What every Linux has, and all else that this host has
    #[default]
    Auto,
    /// Nothing: hypervisor and daemons run with all rights, and the environment, of this user
    Off,
}

impl Jail {
    /// All of them, the usual one first.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Off];

    /// Its name, for the command line and for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

/// What one process needs of the host. All else is taken from it.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// How much of the jail is demanded.
    pub level: Jail,
    /// Which system calls it may make.
    pub calls: Calls,
    /// What it may use.
    pub limits: Limits,
    /// Capabilities that it keeps, if the launcher has them, as bits of capability(7)'s numbers. 0 for a hypervisor.
    pub capabilities: u64,
}

impl Confinement {
    /// A process that needs nothing but its program and its descriptors.
    #[must_use]
    pub fn new(level: Jail) -> Self {
        Self {
            level,
            ..Self::default()
        }
    }

    /// Sets which system calls the process may make.
    #[must_use]
    pub fn calls(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Sets what the process may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets the process keep these capabilities, if the launcher has them.
    #[must_use]
    pub fn keeping(mut self, capabilities: u64) -> Self {
        self.capabilities = capabilities;
        self
    }
}

/// A program to start.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// Its arguments, without its own name.
    pub(crate) arguments: &'a [OsString],
    /// Its standard input, output and error.
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// What else it inherits, under the same numbers.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
}

/// Starts a program in its jail. Call it on the thread that stays until its end: the child is killed when that thread
/// ends.
///
/// # Errors
/// The system's own error where the program cannot be executed; one that names the step where its jail cannot be made.
pub(crate) fn start(program: &Program<'_>, confinement: &Confinement) -> io::Result<(Child, Report)> {
    let off = confinement.level == Jail::Off;
    let filter = match off {
        true => None,
        false => Some(calls(program.path, confinement.calls).program().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "its jail has no system call filter for this architecture",
            )
        })?),
    };
    let names = std::iter::once(program.path.as_os_str());
    let words = names.chain(program.arguments.iter().map(OsString::as_os_str));
    let plan = Plan {
        program: c_string(program.path.as_os_str())?,
        arguments: words.map(c_string).collect::<io::Result<_>>()?,
        environment: if off { environment()? } else { Vec::new() },
        streams: program.streams,
        descriptors: program.descriptors,
        cgroup: confinement.limits.cgroup.as_deref().map(|file| file.as_fd()),
        limits: if off {
            Limits::default()
        } else {
            confinement.limits.clone()
        }
        .list(false),
        capabilities: (!off).then(|| CapabilitySet::from_bits_retain(confinement.capabilities)),
        filter: filter.as_ref(),
    };
    let child = spawn::spawn(&plan)?;
    Ok((child, report(confinement)))
}

/// How long a program may take to say something about itself.
const ANSWER: Duration = Duration::from_secs(30);

/// The most that it has to say.
const LONGEST_ANSWER: usize = 1 << 20;

/// Starts a program in its jail, with nothing on its standard input, and returns what it writes on its standard output
/// until its end. The outer error is the run's, which is over.
///
/// # Errors
/// As [`start`]; or it has failed, or has not ended in time.
pub(crate) fn output(
    path: &Path,
    arguments: &[OsString],
    descriptors: &[BorrowedFd<'_>],
    confinement: &Confinement,
    deadline: &Deadline,
) -> Result<io::Result<Vec<u8>>, Error> {
    let begin = || {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let (output, stdout) = io::pipe()?;
        let program = Program {
            path,
            arguments,
            streams: [null.as_fd(), stdout.as_fd(), null.as_fd()],
            descriptors,
        };
        Ok((start(&program, confinement)?.0, output))
    };
    let (mut child, mut output) = match begin() {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    let until = Some(Instant::now() + ANSWER);
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while deadline.wait(Some((output.as_fd(), PollFlags::IN)), until)? {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(ended(&mut child, bytes)),
            Ok(length) => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
        if bytes.len() > LONGEST_ANSWER {
            return Ok(Err(io::Error::other("it does not stop")));
        }
    }
    Ok(Err(io::ErrorKind::TimedOut.into()))
}

/// What a program has written that has closed its standard output, if it then succeeds.
fn ended(child: &mut Child, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(bytes),
            Some(status) => return Err(io::Error::other(format!("it failed: {status}"))),
            None if start.elapsed() > LAST => return Err(io::ErrorKind::TimedOut.into()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// How long a program may run on that has nothing more to say.
const LAST: Duration = Duration::from_secs(2);

/// The calls of a program: one that is a script needs those of the programs that it starts.
fn calls(path: &Path, calls: Calls) -> Calls {
    let mut start = [0; 2];
    let is_script = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    match calls {
        Calls::Hypervisor if is_script.is_ok() && start == *b"#!" => Calls::Script,
        calls => calls,
    }
}

/// This process's own environment.
fn environment() -> io::Result<Vec<CString>> {
    let join = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(&name)
    };
    std::env::vars_os().map(join).collect()
}

/// The layers that hold for a process that was started.
fn report(confinement: &Confinement) -> Report {
    let mut report = Report::default();
    if confinement.level == Jail::Off {
        return report;
    }
    report
        .holds
        .extend([Layer::Environment, Layer::Descriptors, Layer::Limits]);
    match confinement.capabilities {
        0 => report.holds.push(Layer::Capabilities),
        _ => report.missing.push(Missing {
            layer: Layer::Capabilities,
            reason: "it gives up itself what it does not need".to_string(),
            advice: "run as an ordinary user",
        }),
    }
    report.holds.extend([Layer::NoNewPrivileges, Layer::Calls]);
    report
}
