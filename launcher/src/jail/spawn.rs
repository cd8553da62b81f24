//! The one place where this library starts processes: the child between its beginning and its program.
//!
//! Everything is made before: the words, the limits, the filter. The child of a program with threads may only make system
//! calls; it allocates nothing and takes no lock. What fails is told through a pipe that the program's start closes: the
//! step, and the system's reason.
//!
//! Layer: system calls; all unsafe code of the jail.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::ptr;

use libc::{c_char, c_int, c_long};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, Resource, Signal, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;

use super::limits;

/// What the child does on its way to the program, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// Making the process itself.
    Process,
    /// Joining its cgroup.
    Cgroup,
    /// Its standard streams and the descriptors that it inherits.
    Descriptors,
    /// Its resource limits.
    Limits,
    /// Giving up capabilities.
    Capabilities,
    /// Giving up the way to new privileges.
    NoNewPrivileges,
    /// The tie to the launcher's life.
    Tie,
    /// The filter of system calls.
    Calls,
    /// The program's start.
    Execute,
}

impl Step {
    const ALL: [Self; 9] = [
        Self::Process,
        Self::Cgroup,
        Self::Descriptors,
        Self::Limits,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Tie,
        Self::Calls,
        Self::Execute,
    ];

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
            Self::Descriptors => "hand over descriptors and close the others",
            Self::Limits => "set resource limits",
            Self::Capabilities => "give up capabilities",
            Self::NoNewPrivileges => "set no_new_privs",
            Self::Tie => "tie it to the launcher's life",
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
    pub(super) arguments: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub(super) environment: Vec<CString>,
    /// Its standard input, output and error.
    pub(super) streams: [BorrowedFd<'a>; 3],
    /// What else it inherits, under the same numbers.
    pub(super) descriptors: &'a [BorrowedFd<'a>],
    /// `cgroup.procs` of the cgroup to join.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    /// Its limits.
    pub(super) limits: Vec<(Resource, u64)>,
    /// The capabilities that it may keep; `None`: nothing is given up.
    pub(super) capabilities: Option<CapabilitySet>,
    /// Its filter of system calls; `None`: nothing is filtered, and new privileges can be had.
    pub(super) filter: Option<&'a BpfProgram>,
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

/// A child of this process, in a process group of its own. Dropping it kills it with its group.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    /// Readable when the process has ended (a pidfd).
    end: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Child {
    /// Its process id, which is its own until its end was seen.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends. Without it the end is seen when its pipes are closed.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(|end| end.as_fd())
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.reap(WaitOptions::empty()) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none()
            && let Some((_, status)) = rustix::process::waitpid(Some(self.pid), options)?
        {
            self.status = Some(ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.status)
    }

    /// Kills it with its group and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Until `wait`, its number belongs to no other process, nor to another group.
        if let Ok(None) = self.try_wait() {
            // Fails only if it has not made its group yet, or if all of it has ended.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
        let _ = self.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a process. Call it on the thread that stays until the child's end: the child is killed when that thread ends.
pub(super) fn spawn(plan: &Plan<'_>) -> Result<Child, Failure> {
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
    let kept = sorted(plan.descriptors, report.as_raw_fd());
    let (arguments, environment) = (pointers(&plan.arguments), pointers(&plan.environment));
    let child = Ready {
        plan,
        arguments: &arguments,
        environment: &environment,
        kept: &kept,
        report: report.as_fd(),
    };
    // SAFETY: the child goes on with copies of this process's memory and this thread alone; it calls `Ready::go`, which
    // makes system calls only and never returns.
    let (pid, end) = match unsafe { clone(0) } {
        Ok(Some(parent)) => parent,
        Ok(None) => child.go(),
        Err(error) => return Err(before(error)),
    };
    drop(report);
    // From here on, dropping kills it.
    let child = Child {
        pid,
        end: Some(end),
        status: None,
    };
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
fn sorted(descriptors: &[BorrowedFd<'_>], report: RawFd) -> Vec<RawFd> {
    let numbers = descriptors.iter().map(|descriptor| descriptor.as_raw_fd());
    let mut numbers: Vec<RawFd> = numbers.chain([report]).collect();
    numbers.sort_unstable();
    numbers
}

/// The strings as `execve` wants them, with a null at the end. They point into `strings`.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

/// `fork` with `flags` and a pidfd: the child's number and that descriptor, or `None` in the child.
///
/// The old call, since sandboxes of containers deny `clone3`, whose flags they cannot see.
///
/// # Safety
/// The child has this thread only: until it executes a program or ends, it may make system calls and nothing else.
unsafe fn clone(flags: c_int) -> io::Result<Option<(Pid, OwnedFd)>> {
    let mut pidfd: c_int = -1;
    let flags = c_long::from(flags | libc::CLONE_PIDFD | libc::SIGCHLD);
    let none: c_long = 0;
    // SAFETY: without CLONE_VM the child has a copy of this stack, which is meant by the null as its stack. Where the
    // pidfd goes lives until the call's end. On every architecture the third argument is that place, and the last two
    // are not looked at with these flags.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
    match c_int::try_from(result) {
        Ok(0) => Ok(None),
        Ok(number) if number > 0 => {
            let pid = Pid::from_raw(number).ok_or(io::ErrorKind::InvalidData)?;
            // SAFETY: the call has succeeded, so the number is that of a new descriptor, which nobody else has.
            Ok(Some((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// A step that failed, in the child.
type Stopped = (Step, Errno);

/// For `map_err`: the step that was under way.
fn at(step: Step) -> impl Fn(Errno) -> Stopped {
    move |error| (step, error)
}

/// All that the child needs, on its own side. Its methods make system calls only.
struct Ready<'a> {
    plan: &'a Plan<'a>,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    /// The descriptors that stay open besides the standard streams, in order.
    kept: &'a [RawFd],
    report: BorrowedFd<'a>,
}

impl Ready<'_> {
    /// Becomes the program, or tells why not.
    fn go(&self) -> ! {
        let (step, error) = match self.confine() {
            Ok(()) => (Step::Execute, self.execute()),
            Err(stopped) => stopped,
        };
        let mut words = [step as u8, 0, 0, 0, 0];
        words[1..].copy_from_slice(&error.raw_os_error().to_ne_bytes());
        let _ = rustix::io::write(self.report, &words);
        // SAFETY: ends this process, without the handlers and buffers of the launcher, of which it is a copy.
        unsafe { libc::_exit(127) }
    }

    /// All but the program.
    fn confine(&self) -> Result<(), Stopped> {
        let plan = self.plan;
        // Its own session, and with it its group: what the terminal sends to the launcher's (Ctrl-C, a hang-up that the
        // launcher was told to ignore) is the launcher's to act on, and a script ends together with its program.
        rustix::process::setsid().map_err(at(Step::Process))?;
        if let Some(cgroup) = plan.cgroup {
            rustix::io::write(cgroup, b"0").map_err(at(Step::Cgroup))?;
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
        default_signals();
        if let Some(filter) = plan.filter {
            rustix::thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
            seccompiler::apply_filter(filter).map_err(|_| (Step::Calls, last_error()))?;
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
            *copy = std::os::fd::IntoRawFd::into_raw_fd(descriptor);
        }
        for (place, copy) in (0..).zip(above) {
            duplicate(copy, place)?;
        }
        for descriptor in self.plan.descriptors {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        let mut first = 3;
        for kept in self.kept {
            close_range(first, kept - 1)?;
            first = kept + 1;
        }
        close_range(first, c_int::MAX)
    }

    fn execute(&self) -> Errno {
        // SAFETY: the program's name and both lists end with a null, and live until the call's end.
        unsafe {
            libc::execve(
                self.plan.program.as_ptr(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
            )
        };
        last_error()
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

/// No signal is blocked, and a broken pipe ends the program, as programs expect; Rust's own ignore it.
fn default_signals() {
    // SAFETY: a set of signals is plain memory, filled by `sigemptyset`; both calls are made for this process, which has
    // one thread, and run no handler.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// `dup2`: a descriptor's copy under the number `place`, which the program inherits.
fn duplicate(descriptor: RawFd, place: RawFd) -> Result<(), Errno> {
    // SAFETY: numbers only; this process's standard streams, which are replaced, are in use by nobody.
    match unsafe { libc::dup2(descriptor, place) } {
        -1 => Err(last_error()),
        _ => Ok(()),
    }
}

/// Closes the descriptors from `first` to `last`.
fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    let (from, to) = (c_long::from(first), c_long::from(last));
    let none: c_long = 0;
    // SAFETY: numbers only; nothing in this process, a copy that is about to execute a program, uses them.
    if unsafe { libc::syscall(libc::SYS_close_range, from, to, none) } == 0 {
        return Ok(());
    }
    match last_error() {
        // Linux before 5.9, and sandboxes as old.
        Errno::NOSYS | Errno::PERM => {}
        error => return Err(error),
    }
    // None has a higher number than the limit, unless the limit was lowered; the library's users know if they did.
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let most = most.map_or(MOST, |most| c_int::try_from(most).unwrap_or(MOST));
    for number in first..=last.min(most) {
        // SAFETY: as above; a number without a descriptor is no harm.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// As many descriptors are looked at one by one where there is neither `close_range` nor a limit.
const MOST: c_int = 1 << 20;

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
