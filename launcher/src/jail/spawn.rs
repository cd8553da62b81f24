//! The one place where this library starts programs: the child between its beginning and its program.
//!
//! Everything is made before: the words, the limits, the filter. The child of a program with threads may only make
//! system calls; it allocates nothing and takes no lock. What fails is told through a pipe that the program's start
//! closes: the step, and the system's reason.
//!
//! Layer: the child's side of `sys`, `root` and `limits`.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, IntoRawFd as _, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use libc::c_int;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Resource, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;

use super::ask;
use super::child::Child;
use super::filter::signals_to;
use super::limits;
use super::root::Root;
use super::sys::{self, Strings};

/// What the child does on its way to the program, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// Making the process itself.
    Process,
    /// Joining its cgroup.
    Cgroup,
    /// Becoming the one user of its user namespace.
    User,
    /// Its standard streams and the descriptors that it inherits.
    Descriptors,
    /// Its empty root.
    Root,
    /// Its resource limits.
    Limits,
    /// Giving up capabilities.
    Capabilities,
    /// Giving up the way to new privileges.
    NoNewPrivileges,
    /// The tie to the launcher's life.
    Tie,
    /// Landlock's rules.
    Landlock,
    /// The filter of system calls.
    Calls,
    /// The program's start.
    Execute,
}

impl Step {
    const ALL: [Self; 12] = [
        Self::Process,
        Self::Cgroup,
        Self::User,
        Self::Descriptors,
        Self::Root,
        Self::Limits,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Tie,
        Self::Landlock,
        Self::Calls,
        Self::Execute,
    ];

    /// Whether it belongs to namespaces and root, without which the rest of the jail can be had.
    pub(super) fn is_of_walls(self) -> bool {
        matches!(self, Self::Process | Self::User | Self::Root)
    }

    /// The step of that number, as a child has sent it.
    fn from_number(number: u8) -> Self {
        let found = Self::ALL.into_iter().find(|step| *step as u8 == number);
        found.unwrap_or(Self::Process)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "make a process",
            Self::Cgroup => "join its cgroup",
            Self::User => "map its user into a user namespace",
            Self::Descriptors => "hand over descriptors and close the others",
            Self::Root => "make an empty root",
            Self::Limits => "set resource limits",
            Self::Capabilities => "give up capabilities",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::Tie => "tie it to the launcher's life",
            Self::Landlock => "set Landlock's rules",
            Self::Calls => "set the system call filter",
            Self::Execute => "execute the program",
        })
    }
}

/// A process that could not be started: where, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

impl From<Failure> for io::Error {
    /// The system's own error for the program's start, as everywhere; elsewhere one that names the step.
    fn from(failure: Failure) -> Self {
        match failure.step {
            Step::Execute => failure.source,
            step => Self::new(
                failure.source.kind(),
                format!("its jail cannot {step}: {}", failure.source),
            ),
        }
    }
}

/// A process to start, made ready so that the child need not think.
pub(super) struct Plan<'a> {
    /// The program, absolute or from the current directory.
    pub(super) program: CString,
    /// Its arguments, its own name the first.
    pub(super) arguments: Strings,
    /// Its environment, as `NAME=VALUE`.
    pub(super) environment: Strings,
    /// Its standard input, output and error.
    pub(super) streams: [BorrowedFd<'a>; 3],
    /// What else it inherits, under the same numbers.
    pub(super) descriptors: &'a [BorrowedFd<'a>],
    /// Where it starts; `None`: where the launcher is, or in the root of its own.
    pub(super) directory: Option<CString>,
    /// `cgroup.procs` of the cgroup to join.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    /// Namespaces of its own.
    pub(super) namespaces: Option<Namespaces>,
    /// Its limits.
    pub(super) limits: Vec<(Resource, u64)>,
    /// The capabilities that it may keep; `None`: nothing is given up.
    pub(super) capabilities: Option<CapabilitySet>,
    /// Landlock's rules.
    pub(super) landlock: Option<BorrowedFd<'a>>,
    /// Its filters of system calls, to be set one after the other; without any, new privileges can be had.
    pub(super) filters: Vec<&'a BpfProgram>,
    /// Whether it sees other processes and may not signal them.
    pub(super) alone: bool,
    /// The filter of what the launcher is asked about, and where the descriptor of the questions goes.
    pub(super) asks: Option<(&'a BpfProgram, BorrowedFd<'a>)>,
}

/// Namespaces of a process's own: processes, mounts, System V's objects, the host's name, and mostly network.
pub(super) struct Namespaces {
    /// A user namespace too, with this user and this group and no other.
    pub(super) user: Option<User>,
    /// What it sees of the host's files; `None` for a process that makes its other namespaces itself.
    pub(super) root: Option<Root>,
    /// No network.
    pub(super) network: bool,
}

/// The one user of a user namespace: lines for /proc/self/uid_map and gid_map.
pub(super) struct User {
    uid_map: String,
    gid_map: String,
}

impl User {
    /// The user of this process.
    pub(super) fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Self {
            uid_map: format!("{uid} {uid} 1"),
            gid_map: format!("{gid} {gid} 1"),
        }
    }

    /// The same user as the namespace's root: what it makes is this user's, and what it may do is what this user may.
    pub(super) fn root() -> Self {
        Self {
            uid_map: format!("0 {} 1", rustix::process::geteuid().as_raw()),
            gid_map: format!("0 {} 1", rustix::process::getegid().as_raw()),
        }
    }

    /// Becomes it. Its other groups are kept, without names: /dev/kvm may be one's.
    fn map(&self) -> Result<(), Errno> {
        for (file, text) in [
            (c"/proc/self/setgroups", "deny"),
            (c"/proc/self/uid_map", &self.uid_map),
            (c"/proc/self/gid_map", &self.gid_map),
        ] {
            let file = rustix::fs::openat(CWD, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(file, text.as_bytes())?;
        }
        Ok(())
    }
}

impl Namespaces {
    /// As flags of `clone`.
    fn flags(&self) -> c_int {
        let user = if self.user.is_some() {
            libc::CLONE_NEWUSER
        } else {
            0
        };
        let others = match self.root {
            Some(_) => libc::CLONE_NEWPID | libc::CLONE_NEWNS,
            None => 0,
        };
        let network = if self.network { libc::CLONE_NEWNET } else { 0 };
        user | others | network | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS
    }
}

/// A string for the system.
pub(super) fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "a null byte in the program's name or in an argument",
        )
    })
}

/// Starts a process. Call it on the thread that stays until the child's end: the child is killed when that thread ends.
pub(super) fn spawn(plan: &mut Plan<'_>) -> Result<Child, Failure> {
    let before = |source: io::Error| Failure {
        step: Step::Process,
        source,
    };
    if plan
        .descriptors
        .iter()
        .any(|descriptor| descriptor.as_raw_fd() <= 2)
    {
        return Err(before(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a descriptor to inherit has the number of a standard stream",
        )));
    }
    let (reports, report) = io::pipe().map_err(before)?;
    let socket = plan.asks.map(|(_, socket)| socket);
    let own = [Some(report.as_fd()), plan.landlock, socket]
        .into_iter()
        .flatten();
    let kept = sorted(plan.descriptors.iter().copied().chain(own));
    let flags = plan.namespaces.as_ref().map_or(0, Namespaces::flags);
    let mut child = Ready {
        plan,
        kept: &kept,
        report: report.as_fd(),
    };
    // SAFETY: the child goes on with copies of this process's memory and this thread alone; it calls `Ready::go`, which
    // makes system calls only and never returns.
    let (pid, end) = match unsafe { sys::clone(flags) } {
        Ok(Some(parent)) => parent,
        Ok(None) => child.go(),
        Err(error) => return Err(before(error)),
    };
    drop(report);
    // From here on, dropping kills it.
    let child = Child::new(pid, end);
    match told(reports).map_err(before)? {
        None => Ok(child),
        Some(failure) => Err(failure),
    }
}

/// What the child says before its program starts; `None`: the program has started.
fn told(mut reports: io::PipeReader) -> io::Result<Option<Failure>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut reports, &mut bytes)?;
    let Some((step, number)) = bytes.split_first() else {
        return Ok(None);
    };
    let number = number
        .first_chunk()
        .map_or(0, |number| i32::from_ne_bytes(*number));
    Ok(Some(Failure {
        step: Step::from_number(*step),
        source: io::Error::from_raw_os_error(number),
    }))
}

/// The numbers of the descriptors that stay open, in order.
fn sorted<'a>(descriptors: impl Iterator<Item = BorrowedFd<'a>>) -> Vec<RawFd> {
    let mut numbers: Vec<RawFd> = descriptors.map(|descriptor| descriptor.as_raw_fd()).collect();
    numbers.sort_unstable();
    numbers
}

/// A step that failed, in the child.
type Stopped = (Step, Errno);

/// For `map_err`: the step that was under way.
fn at(step: Step) -> impl Fn(Errno) -> Stopped {
    move |error| (step, error)
}

/// All that the child needs, on its own side. Its methods make system calls only.
struct Ready<'a, 'b> {
    plan: &'a mut Plan<'b>,
    /// The descriptors that stay open besides the standard streams, in order.
    kept: &'a [RawFd],
    report: BorrowedFd<'a>,
}

impl Ready<'_, '_> {
    /// Becomes the program, or tells why not.
    fn go(&mut self) -> ! {
        let (step, error) = match self.confine() {
            Ok(()) => {
                let plan = &self.plan;
                (
                    Step::Execute,
                    sys::execute(&plan.program, &plan.arguments, &plan.environment),
                )
            }
            Err(stopped) => stopped,
        };
        let mut words = [step as u8, 0, 0, 0, 0];
        words[1..].copy_from_slice(&error.raw_os_error().to_ne_bytes());
        let _ = rustix::io::write(self.report, &words);
        sys::end(127)
    }

    /// All but the program.
    fn confine(&mut self) -> Result<(), Stopped> {
        // Its own session, and with it its group: what the terminal sends to the launcher's (Ctrl-C, a hang-up that the
        // launcher was told to ignore) is the launcher's to act on, and a script ends together with its program.
        rustix::process::setsid().map_err(at(Step::Process))?;
        if let Some(cgroup) = self.plan.cgroup {
            rustix::io::write(cgroup, b"0").map_err(at(Step::Cgroup))?;
        }
        if let Some(namespaces) = &mut self.plan.namespaces {
            if let Some(user) = &namespaces.user {
                user.map().map_err(at(Step::User))?;
            }
            if let Some(root) = &mut namespaces.root {
                root.enter().map_err(at(Step::Root))?;
            }
            // The host's is nobody's business.
            let _ = rustix::system::sethostname(b"jail");
        }
        let plan = &self.plan;
        // Its name may be that of a descriptor, which is not kept.
        if let Some(directory) = &plan.directory {
            rustix::process::chdir(&**directory).map_err(at(Step::Execute))?;
        }
        self.descriptors().map_err(at(Step::Descriptors))?;
        for (resource, limit) in &plan.limits {
            limits::set(*resource, *limit).map_err(at(Step::Limits))?;
        }
        if let Some(kept) = plan.capabilities {
            give_up(kept).map_err(at(Step::Capabilities))?;
        }
        // After all that changes credentials, since that would undo it.
        self.tie().map_err(at(Step::Tie))?;
        sys::default_signals();
        if plan.asks.is_some() || !plan.filters.is_empty() {
            rustix::thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
        }
        if let Some((filter, socket)) = plan.asks {
            ask::set_and_send(filter, socket).map_err(at(Step::Calls))?;
        }
        if let Some(ruleset) = plan.landlock {
            sys::restrict(ruleset).map_err(at(Step::Landlock))?;
        }
        if plan.alone {
            let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
            seccompiler::apply_filter(&signals_to(own)).map_err(|_| (Step::Calls, sys::last_error()))?;
        }
        for filter in &plan.filters {
            seccompiler::apply_filter(filter).map_err(|_| (Step::Calls, sys::last_error()))?;
        }
        Ok(())
    }

    /// However the launcher ends, by SIGKILL too, this process ends with it.
    fn tie(&self) -> Result<(), Errno> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // Unless it had ended before that call: then nobody reads the reports any more. This process's copy of the
        // reading end is closed by now.
        let mut ends = [PollFd::from_borrowed_fd(self.report, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut ends, Some(&now))?;
        match ends[0].revents().contains(PollFlags::ERR) {
            true => Err(Errno::PIPE),
            false => Ok(()),
        }
    }

    /// Standard streams in their places, what is inherited open, all else closed.
    fn descriptors(&self) -> Result<(), Errno> {
        // Copies above all three first: one of them may have the number of another's place.
        let mut above = [0; 3];
        for (copy, stream) in above.iter_mut().zip(&self.plan.streams) {
            // Closed with all that is not kept.
            let descriptor = rustix::io::fcntl_dupfd_cloexec(stream, 3)?;
            *copy = descriptor.into_raw_fd();
        }
        for (place, copy) in (0..).zip(above) {
            sys::duplicate(copy, place)?;
        }
        for descriptor in self.plan.descriptors {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        let mut first = 3;
        for kept in self.kept {
            sys::close_range(first, kept - 1)?;
            first = kept + 1;
        }
        sys::close_range(first, c_int::MAX)
    }
}

/// Keeps of its capabilities those that are in `kept`, and can get no other.
fn give_up(kept: CapabilitySet) -> Result<(), Errno> {
    // The bounding set. Whoever may not give it up gains nothing by it: no_new_privs follows.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The last one known was the one before; or not allowed.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(error) => return Err(error),
        }
    }
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let kept = rustix::thread::capabilities(None)?.permitted & kept;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}
