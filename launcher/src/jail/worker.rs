//! Work that a stranger's bytes decide about, in a child that can do nothing but compute.
//!
//! The child is a copy of this process, so it needs no program of its own, and whoever embeds the library has it too.
//! It sees what this process has read, and answers over a pipe. Before it looks at the bytes it has lost: all
//! descriptors but the pipe, memory beyond a budget, core dumps, new privileges, and all system calls but those for
//! memory and for the answer. The parent waits for the answer as long as the run may last, then ends the child.
//!
//! Layer: system calls. All unsafe code is in the few functions below [`compute`].

use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::limits;
use super::sys::end;
use crate::error::Error;
use crate::spec::deadline::Deadline;

/// What the work may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bytes of memory, besides what this process has already.
    pub(crate) memory: u64,
    /// Bytes of the answer.
    pub(crate) answer: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The run is over.
    Over(Error),
    /// The work needs more memory than the budget has.
    Memory,
    /// The answer is longer than the budget has it.
    TooLong,
    /// The work failed in a way that it should not; how.
    Crashed(String),
    /// The child cannot be made or confined; why.
    Unable(String),
}

/// What the child ends with, besides 0.
const CANNOT_CONFINE: i32 = 1;
const PANICKED: i32 = 2;
const NO_MEMORY: i32 = 3;
const NOBODY_LISTENS: i32 = 4;

/// The child says so when it is confined and begins.
const READY: u8 = b'r';

/// How long the child may take to its beginning, which is a fraction of a millisecond. It is longer only if another
/// thread held a lock that the child needs, which the copy of this process then never gets.
const BEGINNING: Duration = Duration::from_secs(10);

/// Length of an answer's head: its kind, and the length of the rest.
const HEAD: usize = 1 + 8;

/// Does `work` in a child, and returns what it returns. `work` must neither print nor wait for another thread.
///
/// # Errors
/// [`Failure`].
pub(crate) fn compute(
    budget: Budget,
    deadline: &Deadline,
    work: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Result<Vec<u8>, String>, Failure> {
    let unable =
        |attempt: &'static str| move |error: io::Error| Failure::Unable(format!("{attempt}: {error}"));
    let (mut reader, writer) = io::pipe().map_err(unable("cannot make a pipe"))?;
    let number = writer.as_raw_fd();
    let parent = rustix::process::getpid();
    // SAFETY: the child calls `child` and nothing else, and that function never returns; what it may do in a copy of a
    // process with several threads stands there. In the parent, `fork` is a call like any other.
    let id = match unsafe { libc::fork() } {
        0 => child(number, parent, budget, work),
        -1 => return Err(unable("cannot start a process")(io::Error::last_os_error())),
        id => id,
    };
    drop(writer);
    let mut child = Child::new(id);
    match receive(&mut reader, deadline, budget) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(child.why()),
        Err(failure) => Err(failure),
    }
}

/// The answer; `None` if the child ended before it was complete.
fn receive(
    reader: &mut PipeReader,
    deadline: &Deadline,
    budget: Budget,
) -> Result<Option<Result<Vec<u8>, String>>, Failure> {
    let beginning = Some(Instant::now() + BEGINNING);
    let Some([READY]) = take(reader, deadline, beginning)? else {
        return Ok(None);
    };
    let Some(head) = take::<HEAD>(reader, deadline, None)? else {
        return Ok(None);
    };
    let (kind, length) = match head.split_first() {
        Some((kind, length)) => (*kind, length.try_into().map_or(u64::MAX, u64::from_ne_bytes)),
        None => return Ok(None),
    };
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= budget.answer) else {
        return Err(Failure::TooLong);
    };
    let mut bytes = vec![0; length];
    if !fill(reader, deadline, None, &mut bytes)? {
        return Ok(None);
    }
    Ok(Some(match kind {
        0 => Ok(bytes),
        _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
    }))
}

fn take<const LENGTH: usize>(
    reader: &mut PipeReader,
    deadline: &Deadline,
    until: Option<Instant>,
) -> Result<Option<[u8; LENGTH]>, Failure> {
    let mut bytes = [0; LENGTH];
    Ok(fill(reader, deadline, until, &mut bytes)?.then_some(bytes))
}

/// Fills `bytes`; `false` if the pipe ends before.
fn fill(
    reader: &mut PipeReader,
    deadline: &Deadline,
    until: Option<Instant>,
    bytes: &mut [u8],
) -> Result<bool, Failure> {
    let mut done = 0usize;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let event = Some((reader.as_fd(), PollFlags::IN));
        if !deadline.wait(event, until).map_err(Failure::Over)? {
            return Err(Failure::Unable("the process does not begin".to_string()));
        }
        // Nobody else reads this pipe: what `poll` promises is there.
        match reader.read(rest) {
            Ok(0) => return Ok(false),
            Ok(length) => done = done.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Unable(format!("cannot read its answer: {error}"))),
        }
    }
    Ok(true)
}

/// The child as the parent knows it. Dropping it kills it and waits until it is gone.
struct Child {
    /// `None` once it has been waited for.
    id: Option<Pid>,
}

impl Child {
    fn new(id: i32) -> Self {
        Self {
            id: Pid::from_raw(id),
        }
    }

    fn wait(&mut self) -> Option<WaitStatus> {
        let id = self.id.take()?;
        loop {
            match rustix::process::waitpid(Some(id), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                // Somebody else has waited for it.
                Err(_) => return None,
                Ok(status) => return status.map(|(_, status)| status),
            }
        }
    }

    /// Why it has ended without an answer.
    fn why(&mut self) -> Failure {
        let Some(status) = self.wait() else {
            return Failure::Crashed("it ended".to_string());
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(NO_MEMORY), _) => Failure::Memory,
            // An allocation that fails aborts; the system kills who takes memory that it does not have.
            (_, Some(libc::SIGABRT | libc::SIGKILL)) => Failure::Memory,
            (Some(CANNOT_CONFINE), _) => {
                Failure::Unable("this system does not confine it (seccomp, resource limits)".to_string())
            }
            (Some(PANICKED), _) => Failure::Crashed("it panicked".to_string()),
            (_, Some(signal)) => Failure::Crashed(format!("signal {signal}")),
            (code, None) => Failure::Crashed(format!("exit code {}", code.unwrap_or_default())),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // It has not been waited for, so the number is still its own.
            let _ = rustix::process::kill_process(id, Signal::KILL);
            self.wait();
        }
    }
}

/// The child's whole life: it is confined, works, and answers through the descriptor `pipe`.
///
/// It is a copy of a process that may have had other threads, which might have held locks at that moment: these stay
/// locked for ever here. So the code below takes no locks but those of
///
/// - the allocator, which `fork` of glibc and of musl leaves in order for the child;
/// - the panic hook. Should another thread just have been panicking, the child hangs before it has said that it begins,
///   and the parent gives up ([`BEGINNING`]).
///
/// It prints nothing (standard streams have locks), starts nothing, and ends by `_exit`: neither destructors of
/// statics, nor what C functions have registered, nor buffers that are written twice. What this process owns by a
/// descriptor is not touched either: no value of the parent's is dropped here.
fn child(pipe: RawFd, parent: Pid, budget: Budget, work: impl FnOnce() -> Result<Vec<u8>, String>) -> ! {
    let result = catch_unwind(AssertUnwindSafe(|| {
        confine(pipe, parent, budget).map_err(|_| CANNOT_CONFINE)?;
        send(&[READY])?;
        let (kind, bytes) = match work() {
            Ok(bytes) => (0, bytes),
            Err(text) => (1, text.into_bytes()),
        };
        let mut head = [kind; HEAD];
        if let Some(length) = head.last_chunk_mut() {
            *length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_ne_bytes();
        }
        send(&head)?;
        send(&bytes)
    }));
    end(match result {
        Ok(Ok(())) => 0,
        Ok(Err(code)) => code,
        Err(_) => PANICKED,
    })
}

/// Writes to the pipe, which is the descriptor 0 now.
fn send(bytes: &[u8]) -> Result<(), i32> {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a slice, which the system reads.
        let length = unsafe { libc::write(0, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(length) {
            Ok(length) => rest = rest.get(length..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(NOBODY_LISTENS),
        }
    }
    Ok(())
}

/// Takes everything away from the child that it does not need.
fn confine(pipe: RawFd, parent: Pid, budget: Budget) -> Result<(), Errno> {
    keep_signals_away();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        return Err(Errno::SRCH);
    }
    keep_only(pipe)?;
    // Neither a dump, whatever the system does with dumps, nor another process of this user that looks in here.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    for resource in [Resource::Core, Resource::Nofile, Resource::Fsize] {
        limits::set(resource, 0)?;
    }
    // A panic is the end, and nobody prints it. The hook of whoever embeds this library is not dropped: it is theirs.
    std::mem::forget(std::panic::take_hook());
    std::panic::set_hook(Box::new(|panic| {
        // The words of `bumpalo`, which the translator of text allocates by.
        let words = panic.payload().downcast_ref::<&str>();
        end(if words == Some(&"out of memory") {
            NO_MEMORY
        } else {
            PANICKED
        })
    }));
    let program = filter().ok_or(Errno::NOSYS)?;
    // What is mapped and never written, as allocators do with their reserves, costs next to nothing.
    limits::set(
        Resource::As,
        used(Resource::As)?
            .saturating_add(budget.memory)
            .saturating_add(RESERVES),
    )?;
    limits::set(
        Resource::Data,
        used(Resource::Data)?.saturating_add(budget.memory),
    )?;
    // Sets no_new_privs first.
    seccompiler::apply_filter(&program).map_err(|_| Errno::NOSYS)
}

/// glibc maps 128 MiB for each new heap of a thread, of which it uses what it needs.
const RESERVES: u64 = 256 << 20;

/// No handler of this process's runs in the child, but SIGABRT still ends it.
fn keep_signals_away() {
    // SAFETY: the set is plain data, which `sigfillset` fills before it is used; the calls are given pointers to it.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::sigdelset(&raw mut set, libc::SIGABRT);
        libc::signal(libc::SIGABRT, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Makes `pipe` the descriptor 0, and closes all others.
fn keep_only(pipe: RawFd) -> Result<(), Errno> {
    // SAFETY: the numbers are of this process's copies of descriptors. Values of the parent's that own them are never
    // used or dropped in the child, which ends by `_exit`.
    let done = unsafe {
        libc::dup2(pipe, 0) == 0 && libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) == 0
    };
    match done {
        true => Ok(()),
        false => Err(Errno::NOSYS),
    }
}

/// How much of a resource of memory is used, as the system counts it: the least limit under which a page can still be
/// had. So /proc need not be there.
fn used(resource: Resource) -> Result<u64, Errno> {
    const PAGE: usize = 1 << 16;
    let old = rustix::process::getrlimit(resource);
    let (mut least, mut enough) = (0u64, 1u64 << 47);
    while enough.saturating_sub(least) > 1 << 16 {
        let middle = least.midpoint(enough);
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(old.maximum.map_or(middle, |most| most.min(middle))),
                maximum: old.maximum,
            },
        )?;
        // SAFETY: a new private mapping at a place that the system chooses is taken away at once; nobody has used it.
        let had = unsafe {
            let place = libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            place != libc::MAP_FAILED && libc::munmap(place, PAGE) == 0
        };
        match had {
            true => enough = middle,
            false => least = middle,
        }
    }
    rustix::process::setrlimit(resource, old)?;
    Ok(enough)
}

/// The child's system calls: memory that is its own and not to be executed, the answer, and its end. All others fail.
fn filter() -> Option<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let own = u64::try_from(rustix::process::getpid().as_raw_nonzero().get()).ok()?;
    let masked = |mask: i32| Some(SeccompCmpOp::MaskedEq(u64::try_from(mask).ok()?));
    let condition = |argument, operation, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value).ok()
    };
    let not_executable = || condition(2, masked(libc::PROT_EXEC)?, 0);
    let private = u64::try_from(libc::MAP_PRIVATE).ok()?;
    let own_mapping = || condition(3, masked(libc::MAP_PRIVATE | libc::MAP_SHARED)?, private);
    let only = |conditions: Vec<SeccompCondition>| Some(vec![SeccompRule::new(conditions).ok()?]);
    let mut rules = vec![
        (libc::SYS_mmap, only(vec![not_executable()?, own_mapping()?])?),
        (libc::SYS_mprotect, only(vec![not_executable()?])?),
        (libc::SYS_write, only(vec![condition(0, SeccompCmpOp::Eq, 0)?])?),
        // `abort` of glibc and of musl.
        (
            libc::SYS_tgkill,
            only(vec![condition(0, SeccompCmpOp::Eq, own)?])?,
        ),
        (libc::SYS_tkill, only(vec![condition(0, SeccompCmpOp::Eq, own)?])?),
    ];
    let always = [
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigaction,
    ];
    rules.extend(always.map(|call| (call, Vec::new())));
    let deny = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let rules = rules.into_iter().collect();
    SeccompFilter::new(rules, deny, SeccompAction::Allow, arch)
        .ok()?
        .try_into()
        .ok()
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
