//! The system calls on a process's way to its program that rustix does not have, or not without a promise.
//!
//! Layer: system calls. With `ask` and `worker`, the unsafe code of the jail.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;

use libc::{c_char, c_int, c_long};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::process::{Pid, Resource};

/// `fork` with `flags` and a pidfd: the child's number and that descriptor, or `None` in the child.
///
/// The old call, since sandboxes of containers deny `clone3`, whose flags they cannot see.
///
/// # Safety
/// The child has this thread only: until it executes a program or ends, it may make system calls and nothing else.
pub(super) unsafe fn clone(flags: c_int) -> io::Result<Option<(Pid, OwnedFd)>> {
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

/// No signal is blocked, and a broken pipe ends the program, as programs expect; Rust's own ignore it.
pub(super) fn default_signals() {
    // SAFETY: a set of signals is plain memory, filled by `sigemptyset`; both calls are made for this process, which
    // has one thread, and run no handler.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// `dup2`: a descriptor's copy under the number `place`, which the program inherits.
pub(super) fn duplicate(descriptor: RawFd, place: RawFd) -> Result<(), Errno> {
    // SAFETY: numbers only; this process's standard streams, which are replaced, are in use by nobody.
    match unsafe { libc::dup2(descriptor, place) } {
        -1 => Err(last_error()),
        _ => Ok(()),
    }
}

/// Has the program that a command starts inherit no descriptor besides its streams, whatever others have left open
/// here.
pub(crate) fn close_in_programs(command: &mut Command) -> &mut Command {
    // SAFETY: what runs in the copy of this process makes one system call, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(close_on_exec) }
}

/// All descriptors but the standard streams are closed where a program begins.
fn close_on_exec() -> io::Result<()> {
    let (first, last) = (c_long::from(3), c_long::from(c_int::MAX));
    // Of linux/close_range.h: they stay open here.
    const CLOSE_ON_EXEC: c_long = 1 << 2;
    // SAFETY: numbers only, and no descriptor is closed.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, CLOSE_ON_EXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes the descriptors from `first` to `last`.
pub(super) fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
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

pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Executes a program; returns only if that fails.
pub(super) fn execute(program: &CStr, arguments: &Strings, environment: &Strings) -> Errno {
    // SAFETY: the program's name ends with a null, both lists are null-terminated arrays of such strings, and all live
    // until the call's end.
    unsafe {
        libc::execve(
            program.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_error()
}

/// Strings as `execve` wants them: an array of pointers, with a null at the end.
pub(super) struct Strings {
    pointers: Vec<*const c_char>,
    /// What the pointers point to: never changed, and moving it leaves the strings where they are.
    _strings: Vec<CString>,
}

impl Strings {
    pub(super) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr());
        Self {
            pointers: pointers.chain([ptr::null()]).collect(),
            _strings: strings,
        }
    }
}

/// Ends this process, the copy of a program, without that program's handlers and buffers.
pub(super) fn end(code: c_int) -> ! {
    // SAFETY: runs nothing of this process any more.
    unsafe { libc::_exit(code) }
}

/// Adds attributes to a mount, and to all that is mounted below it if `flags` has AT_RECURSIVE.
pub(super) fn add_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    flags: c_int,
) -> Result<(), Errno> {
    let change = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = c_long::from(libc::AT_EMPTY_PATH | flags);
    // SAFETY: the path is an empty string, the structure is as long as is said, and both live until the call's end.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            c_long::from(mount.as_raw_fd()),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Puts this process under a Landlock ruleset.
pub(super) fn restrict(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    let none: c_long = 0;
    // SAFETY: a descriptor that lives until the call's end, and flags.
    match unsafe {
        libc::syscall(
            libc::SYS_landlock_restrict_self,
            c_long::from(ruleset.as_raw_fd()),
            none,
        )
    } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Landlock's version in this kernel, if it has one.
pub(crate) fn landlock_version() -> Option<u32> {
    /// LANDLOCK_CREATE_RULESET_VERSION.
    const VERSION: c_long = 1;
    let none: c_long = 0;
    // SAFETY: with this flag the call reads no memory, and makes no descriptor.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, none, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}
