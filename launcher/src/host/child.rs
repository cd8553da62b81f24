//! Children that never outlive the run.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::io::FdFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Starts a child that is killed when the thread that starts it ends, has a process group of its own, and inherits
/// `descriptors` under their numbers, besides its standard streams. Call it on the thread that stays until the child's end.
pub(crate) fn spawn_tied(command: &mut Command, descriptors: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let launcher = rustix::process::getpid();
    let numbers: Vec<RawFd> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    // A group of its own: what the terminal sends to the launcher's (Ctrl-C, a hang-up that the launcher was told to
    // ignore) is the launcher's to act on, and a wrapper script ends together with its program.
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes only system calls, through rustix, which wraps them
    // without locks and without allocating, as is demanded of that moment. The numbers are those of `descriptors`, which
    // are borrowed until `spawn` has returned, and of which the child has a copy each.
    unsafe {
        command.pre_exec(move || {
            // However this process ends, by SIGKILL too, the child ends with it...
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // ... unless it had ended before that call.
            if rustix::process::getppid() != Some(launcher) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            for number in &numbers {
                let descriptor = BorrowedFd::borrow_raw(*number);
                rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
            }
            // One that aborts, as some QEMUs do where KVM is broken, leaves no dump in the user's directory.
            let _ = rustix::process::setrlimit(
                Resource::Core,
                Rlimit {
                    current: Some(0),
                    maximum: Some(0),
                },
            );
            Ok(())
        });
    }
    command.spawn()
}

/// Kills a tied child with its group and waits until it is gone.
pub(crate) fn kill(child: &mut Child) {
    // Fails only if all of it has ended already. Until `wait`, its number belongs to no other process.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(group), Ok(None)) = (group, child.try_wait()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
