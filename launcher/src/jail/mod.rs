//! The jail: what a process that works for a machine can reach of the host when the machine has taken it over.
//!
//! Whoever starts a hypervisor or a daemon describes what the process needs, as a [`Confinement`]; the jail takes away
//! all else, in layers that do not depend on each other:
//!
//! 1. no environment variables, and only the descriptors that the process is given;
//! 2. resource limits;
//! 3. no capabilities, or only those of the description, and no way to new ones (`no_new_privs`);
//! 4. a filter of system calls;
//! 5. namespaces of its own: no other process, no network (unless it is there for that), no other user;
//! 6. a root of its own, with libraries, the program, its data and what the description names, read-only;
//! 7. Landlock's rules for the same files.
//!
//! [`Jail::Auto`] demands the first four, and takes of the others what this host has: namespaces and root are made
//! together or not at all. [`Jail::Strict`] demands all. What each process got is its [`Layers`], which -v prints.
//!
//! To start a process: `Confinement::new(level)`, what the process needs more than nothing, and [`start`], which is
//! given the program, its words, its streams, and the descriptors that it inherits under their numbers. The [`Child`]
//! dies with the thread that starts it, and with its value. A daemon that confines itself, for which it needs
//! capabilities and calls that these layers take away, says so: [`Confinement::confines_itself`].
//!
//! - `ask`: system calls that the kernel asks the launcher about.
//! - `child`: a process that was started.
//! - `confinement`: what a process needs, as data.
//! - `filter`: the system calls that are denied, as data.
//! - `landlock`: Landlock's rules.
//! - `layers`: which layers hold.
//! - `limits`: resource limits, and the cgroup to join.
//! - `root`: the root of the process's own.
//! - `spawn`: the child's way to its program.
//! - `sys`: system calls that rustix does not have.
//! - `view`: what of the host's files a process is to see.
//! - `worker`: a child without a program, which only computes.

pub(crate) mod ask;
mod child;
mod confinement;
mod filter;
mod landlock;
mod layers;
mod limits;
mod root;
mod spawn;
mod sys;
mod view;
pub(crate) mod worker;

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::thread::CapabilitySet;
use seccompiler::BpfProgram;

use crate::error::Error;
use crate::spec::deadline::Deadline;

pub(crate) use child::Child;
pub use confinement::{Confinement, Jail, Network};
pub use filter::Calls;
#[cfg(test)]
pub(crate) use filter::tests::errno_of;
pub use layers::{Layer, Layers, Missing, NotStrict};
pub use limits::Limits;
use root::Root;
use spawn::{Failure, Namespaces, Plan, Step, User, c_string};
use sys::Strings;
pub(crate) use sys::{close_in_programs, landlock_version};
use view::View;

/// A program to start.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Where it is.
    pub(crate) path: &'a Path,
    /// What it is called, if not by its path: the first word of its command line, which is no argument.
    pub(crate) name: Option<&'a OsStr>,
    /// Its arguments, without its own name.
    pub(crate) arguments: &'a [OsString],
    /// Its standard input, output and error.
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// What else it inherits, under the same numbers.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// The filter of the calls that the launcher is asked about, and the socket that gets the descriptor of the
    /// [questions](ask::Questions).
    pub(crate) asks: Option<(&'a BpfProgram, BorrowedFd<'a>)>,
}

/// Starts a program in its jail. Call it on the thread that stays until its end: the child is killed when that thread
/// ends.
///
/// # Errors
/// The system's own error where the program cannot be executed; one that names the step where its jail cannot be made;
/// a [`NotStrict`] where a layer is missing that is demanded.
pub(crate) fn start(program: &Program<'_>, confinement: &Confinement) -> io::Result<(Child, Layers)> {
    if confinement.level == Jail::Off {
        let mut plan = plan(program, confinement, None)?;
        plan.environment = Strings::new(environment()?);
        return Ok((spawn::spawn(&mut plan)?, Layers::default()));
    }
    let view = View::new(program.path, confinement)?;
    let calls = match (confinement.calls, view.script) {
        (Calls::Hypervisor, true) => Calls::Script,
        (calls, _) => calls,
    };
    let filter = calls.program().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "its jail has no system call filter for this architecture",
        )
    })?;
    let (landlock, no_landlock) = match landlock::ruleset(&view, &confinement.network) {
        _ if confinement.confines_itself => (None, String::new()),
        Ok(Some(ruleset)) => (Some(ruleset), String::new()),
        Ok(None) => (None, "this kernel has none, or it is not enabled".to_string()),
        Err(error) => (None, error.to_string()),
    };
    let mut demanded = Layers::demanded(confinement.capabilities == 0);
    if confinement.confines_itself {
        demanded
            .itself
            .extend([Layer::Namespaces, Layer::Root, Layer::Landlock]);
    }
    let mut reasons = Vec::new();
    if confinement.landlock_alone {
        reasons.push("those that it makes itself were tried before".to_string());
    }
    for walls in walls(confinement) {
        let mut plan = plan(program, confinement, Some(&filter))?;
        plan.program = c_string(view.program.as_os_str())?;
        plan.landlock = landlock.as_ref().map(|ruleset| ruleset.as_fd());
        // In namespaces of its own it sees no other.
        plan.alone = calls.is_alone() && !matches!(walls, Walls::Namespaces(_));
        plan.namespaces = match walls {
            Walls::None => None,
            Walls::User => Some(Namespaces {
                user: Some(User::root()),
                root: None,
                network: false,
            }),
            Walls::Namespaces(user) => Some(Namespaces {
                user: user.then(User::current),
                root: Some(Root::new(&view)?),
                network: confinement.network == Network::None,
            }),
        };
        let counted = matches!(walls, Walls::User | Walls::Namespaces(true));
        plan.limits = confinement.limits.list(counted);
        let mut layers = demanded.clone();
        if !confinement.confines_itself {
            let namespaces = match confinement.network {
                Network::None => Layer::Namespaces,
                Network::Ports(_) | Network::All => Layer::OtherNamespaces,
            };
            for layer in [namespaces, Layer::Root] {
                layers.add(layer, walls != Walls::None, reasons.join("; "));
            }
            layers.add(Layer::Landlock, landlock.is_some(), no_landlock.clone());
        }
        if confinement.level == Jail::Strict && !layers.missing.is_empty() {
            return Err(NotStrict(layers.missing).into());
        }
        match spawn::spawn(&mut plan) {
            Ok(child) => return Ok((child, layers)),
            Err(failure) if matches!(walls, Walls::Namespaces(_)) && failure.step.is_of_walls() => {
                reasons.push(walls.reason(&failure));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    Err(io::Error::other("its jail was tried in no way"))
}

/// A way to wall a process in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walls {
    /// Namespaces and a root; whether with a user namespace.
    Namespaces(bool),
    /// A user namespace, in which the process makes the others.
    User,
    None,
}

impl Walls {
    fn reason(self, failure: &Failure) -> String {
        let with = match self {
            Self::Namespaces(true) | Self::User => "with a user namespace",
            _ => "without a user namespace",
        };
        let why = match (failure.step, failure.source.raw_os_error()) {
            // Its words, of a device that is full, would lead astray.
            (Step::Process, Some(libc::ENOSPC)) => "the system allows no more of them".to_string(),
            _ => failure.source.to_string(),
        };
        format!("{with}: cannot {}: {why}", failure.step)
    }
}

/// The ways to try, best first. Without a user namespace, only root can make the others.
fn walls(confinement: &Confinement) -> Vec<Walls> {
    let mut ways = Vec::new();
    if confinement.as_root {
        return vec![Walls::User];
    }
    if !confinement.confines_itself && !confinement.landlock_alone {
        ways.push(Walls::Namespaces(true));
        let held = rustix::thread::capabilities(None);
        if held.is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_ADMIN)) {
            ways.push(Walls::Namespaces(false));
        }
    }
    ways.push(Walls::None);
    ways
}

/// What all ways of starting a program share.
fn plan<'a>(
    program: &'a Program<'a>,
    confinement: &'a Confinement,
    filter: Option<&'a BpfProgram>,
) -> io::Result<Plan<'a>> {
    // The same file whatever the current directory is.
    let path = std::path::absolute(program.path)?;
    let name = program.name.unwrap_or(path.as_os_str());
    let words = std::iter::once(name).chain(program.arguments.iter().map(OsString::as_os_str));
    Ok(Plan {
        program: c_string(path.as_os_str())?,
        arguments: Strings::new(words.map(c_string).collect::<io::Result<_>>()?),
        environment: Strings::new(Vec::new()),
        streams: program.streams,
        descriptors: program.descriptors,
        directory: match &confinement.directory {
            Some(directory) => Some(c_string(directory.as_os_str())?),
            None => None,
        },
        cgroup: confinement.limits.cgroup.as_deref().map(|file| file.as_fd()),
        namespaces: None,
        limits: Limits::default().list(false),
        capabilities: filter.map(|_| CapabilitySet::from_bits_retain(confinement.capabilities)),
        landlock: None,
        filters: match filter {
            Some(filter) => std::iter::once(filter).chain(&confinement.filters).collect(),
            None => Vec::new(),
        },
        alone: false,
        asks: program.asks,
    })
}

/// The most that a program has to say about itself, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// Starts a program in its jail, with nothing on its standard input: what it writes on its standard output until its
/// end, as far as it is looked at. The outer error is the run's, which is over.
///
/// # Errors
/// As [`start`]; or it has failed (the message has its first words on standard error), or has not ended within `limit`.
pub(crate) fn output(
    path: &Path,
    arguments: &[OsString],
    descriptors: &[BorrowedFd<'_>],
    confinement: &Confinement,
    deadline: &Deadline,
    limit: Duration,
) -> Result<io::Result<Vec<u8>>, Error> {
    let begin = || {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let (output, stdout) = pipe()?;
        let (errors, stderr) = pipe()?;
        let program = Program {
            path,
            name: None,
            arguments,
            streams: [null.as_fd(), stdout.as_fd(), stderr.as_fd()],
            descriptors,
            asks: None,
        };
        Ok((start(&program, confinement)?.0, output, errors))
    };
    let (mut child, output, errors) = match begin() {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    let until = Instant::now() + limit;
    let mut all = [Vec::new(), Vec::new()];
    for (bytes, pipe) in all.iter_mut().zip([output, errors]) {
        match until_its_end(&pipe, deadline, until)? {
            Ok(said) => *bytes = said,
            Err(error) => return Ok(Err(error)),
        }
    }
    let [said, complaint] = all;
    Ok(
        ended(&mut child, until).and_then(|status| match status.success() {
            true => Ok(said),
            false => Err(io::Error::other(
                match String::from_utf8_lossy(&complaint).lines().next() {
                    Some(line) => line.to_string(),
                    None => format!("it failed: {status}"),
                },
            )),
        }),
    )
}

/// A pipe for a program's words, whose reading end never waits: whoever has the other end can read what is in it, too
/// (/proc/self/fd), so that nothing may be left of what `poll` has promised.
pub(crate) fn pipe() -> io::Result<(io::PipeReader, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

/// Whether a read is to be tried again, after a wait: nothing is there, or a signal came.
pub(crate) fn is_again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// All that comes out of a pipe until its end, as far as it is looked at.
fn until_its_end(
    mut pipe: &io::PipeReader,
    deadline: &Deadline,
    until: Instant,
) -> Result<io::Result<Vec<u8>>, Error> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while deadline.wait(Some((pipe.as_fd(), PollFlags::IN)), Some(until))? {
        match pipe.read(&mut buffer) {
            Ok(length) => {
                bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
                if length == 0 || bytes.len() >= LONGEST_ANSWER {
                    return Ok(Ok(bytes));
                }
            }
            Err(error) if is_again(&error) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(too_long()))
}

/// How a program ends that has closed its pipes.
fn ended(child: &mut Child, until: Instant) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() >= until => return Err(too_long()),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
}

/// From now on this process starts no program: for one that this library wrote, and that is in its jail.
///
/// # Errors
/// The system's.
pub(crate) fn start_no_program() -> io::Result<()> {
    let cannot = |why: String| io::Error::other(format!("it cannot give up starting programs: {why}"));
    let filter = filter::no_program().ok_or_else(|| cannot("this architecture has no filter".to_string()))?;
    seccompiler::apply_filter(&filter).map_err(|error| cannot(error.to_string()))
}

/// The layers that a program gets here: it is started, and ended at once.
///
/// # Errors
/// As [`start`].
pub(crate) fn layers(path: &Path, confinement: &Confinement) -> io::Result<Layers> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let program = Program {
        path,
        name: None,
        arguments: &["--version".into()],
        streams: [null.as_fd(), null.as_fd(), null.as_fd()],
        descriptors: &[],
        asks: None,
    };
    let (_ended, layers) = start(&program, confinement)?;
    Ok(layers)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What a script prints in its jail.
    fn script(text: &str, confinement: Confinement) -> String {
        let arguments = ["-c", text].map(OsString::from);
        let confinement = confinement.calls(Calls::Script);
        let output = output(
            Path::new("/bin/sh"),
            &arguments,
            &[],
            &confinement,
            &Deadline::never(),
            Duration::from_secs(60),
        );
        String::from_utf8(output.unwrap().unwrap()).unwrap()
    }

    #[test]
    fn only_what_is_named_for_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, others) = (directory.path().join("ours"), directory.path().join("others"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&others).unwrap();
        fs::write(others.join("file"), "theirs").unwrap();
        let text = format!(
            "read -r line <{others}/file; echo $line; echo x >{ours}/made && echo made; \
             for place in {others}/file {others}/new /new /tmp/new; do echo x 2>&- >$place || echo no; done",
            ours = ours.display(),
            others = others.display(),
        );
        let said = script(&text, Confinement::default().write(&ours).read(&others));
        assert_eq!(said, "theirs\nmade\nno\nno\nno\nno\n");
        assert_eq!(fs::read_to_string(ours.join("made")).unwrap(), "x\n");
    }

    #[test]
    fn a_program_that_reads_its_own_words_keeps_nobody_waiting() {
        let (mut reader, writer) = pipe().unwrap();
        let error = reader.read(&mut [0]).unwrap_err();
        assert!(is_again(&error), "{error}");
        // Whoever writes waits for room as always.
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn a_device_that_is_named_can_be_used() {
        let text = "test -e /dev/full && echo there; echo x 2>&- >/dev/full || echo full";
        assert_eq!(
            script("test -e /dev/full || echo none", Confinement::default()),
            "none\n"
        );
        assert!(script(text, Confinement::default().device("/dev/full")) == "there\nfull\n");
    }

    #[test]
    fn what_cannot_be_started_is_the_system_s_own_error() {
        for (path, number) in [("/nonexistent", libc::ENOENT), ("/etc/ld.so.cache", libc::EACCES)] {
            let confinement = Confinement::default();
            let (never, limit) = (Deadline::never(), Duration::from_secs(60));
            let output = output(Path::new(path), &[], &[], &confinement, &never, limit);
            let error = output.unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(number), "{path}: {error}");
        }
    }

    #[test]
    fn limits_hold_and_are_one_s_own() {
        let limits = Limits {
            files: Some(33),
            ..Limits::default()
        };
        let said = script("ulimit -n; ulimit -c", Confinement::default().limits(limits));
        assert_eq!(said, "33\n0\n");
    }
}
