//! Machines that have been taken over: programs in QEMU's place that try what a jail keeps from them, and tell.
//!
//! The same attempts are made without a jail, by root too: they look, and leave nothing changed on the host.

use std::env;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use boot_protocol::console::client::Output;
use rustix::process::Pid;

use super::guests::guest;
use super::{Scenario, leave, sleep_forever, value};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("try to break out", try_to_break_out),
    ("sit in jail", || {
        guest().write(Output::Stdout, b"inside\n");
        sleep_forever()
    }),
];

/// Tries, and writes a line for each: the name, and how it ended.
fn try_to_break_out() -> ! {
    let mut lines = Vec::new();
    let mut line = |name: &str, outcome: String| lines.push(format!("{name}: {outcome}\n"));
    line("environment", env::vars_os().count().to_string());
    for (name, attempt) in ATTEMPTS {
        line(
            name,
            match attempt() {
                Ok(()) => "done".to_string(),
                Err(error) => format!("{:?}", error.kind()),
            },
        );
    }
    let mut guest = guest();
    guest.write(Output::Stdout, lines.concat().as_bytes());
    leave(guest, 0)
}

/// The launcher's number; in a name space of its own, nobody's.
fn launcher() -> io::Result<i32> {
    let launcher = rustix::process::getppid();
    launcher
        .map(|launcher| launcher.as_raw_nonzero().get())
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Makes a file that QEMU is given larger.
fn grow(flag: &str) -> io::Result<()> {
    let name = value(flag).ok_or(io::ErrorKind::NotFound)?;
    let file = fs::File::options().write(true).open(name)?;
    file.set_len(file.metadata()?.len() + 4096)
}

/// What a system call's result says.
fn outcome(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

type Attempt = (&'static str, fn() -> io::Result<()>);

const ATTEMPTS: &[Attempt] = &[
    ("start a program", || Command::new("/bin/true").status().map(drop)),
    ("listen on TCP", || TcpListener::bind("127.0.0.1:0").map(drop)),
    ("make a Unix socket", || UnixDatagram::unbound().map(drop)),
    ("listen on a Unix socket", || {
        let name = "/tmp/hermit-wasm-test-must-not-be";
        UnixListener::bind(name).map(drop)?;
        fs::remove_file(name)
    }),
    ("signal another process", || {
        // Signal 0: whether it could be sent. The launcher, or in a namespace of its own the process itself.
        let launcher = rustix::process::getppid().unwrap_or(Pid::INIT);
        Ok(rustix::process::test_kill_process(launcher)?)
    }),
    ("signal a thread of another process", || {
        let launcher = rustix::process::getppid().map_or(i32::MAX, |pid| pid.as_raw_nonzero().get());
        // SAFETY: numbers only; signal 0 is none.
        outcome(unsafe { libc::syscall(libc::SYS_tgkill, launcher, launcher, 0) })
    }),
    ("make a socket that reaches any other", || {
        UnixDatagram::pair().map(drop)
    }),
    ("use queues of System V", || {
        // One that is not there: whoever may use them is told that.
        // SAFETY: a number and a command that takes no memory.
        match outcome(unsafe { libc::msgctl(i32::MAX, libc::IPC_RMID, std::ptr::null_mut()) }.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            outcome => outcome,
        }
    }),
    ("outlive the launcher", || {
        Ok(rustix::process::set_parent_process_death_signal(None)?)
    }),
    ("have a descriptor signal another process", || {
        let (reader, _writer) = io::pipe()?;
        // SAFETY: numbers only; nothing asks for signals of this pipe.
        outcome(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETOWN, launcher()?) }.into())
    }),
    ("make a file in memory", || {
        let none = rustix::fs::MemfdFlags::empty();
        Ok(rustix::fs::memfd_create(c"prisoner", none).map(drop)?)
    }),
    ("let the image grow", || grow("-kernel")),
    ("let the payload grow", || grow("-initrd")),
    ("share memory that is no file's", || {
        let (rights, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of which nobody makes a reference.
        let place = unsafe { libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0) };
        match place == libc::MAP_FAILED {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }),
    ("read the users", || fs::read("/etc/passwd").map(drop)),
    ("look into /proc", || fs::read_dir("/proc/1/").map(drop)),
    ("look into /sys", || fs::read_dir("/sys/kernel").map(drop)),
    ("look into /tmp", || {
        let mut found = fs::read_dir("/tmp")?;
        found
            .next()
            .map_or(Err(io::ErrorKind::NotFound.into()), |_| Ok(()))
    }),
    ("write into its own directory", || {
        let program = env::args_os().next().unwrap();
        let file = Path::new(&program).with_file_name("written by the prisoner");
        fs::write(&file, "")?;
        fs::remove_file(file)
    }),
    ("write into the root", || {
        fs::write("/hermit-wasm-test-must-not-be", "")?;
        fs::remove_file("/hermit-wasm-test-must-not-be")
    }),
    ("leave for the old root", || {
        rustix::process::chdir("..")?;
        fs::read_dir("../../../../../../home").map(drop)
    }),
    ("mount something", || {
        // Where nothing is: whoever may mount is told that, and nothing is mounted wherever this runs.
        let nothing = rustix::mount::MountFlags::empty();
        let mount = rustix::mount::mount(c"none", c"/nonexistent", c"tmpfs", nothing, None);
        match mount {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            outcome => Ok(outcome?),
        }
    }),
    ("make a namespace", || {
        // SAFETY: a new namespace for users, which shares no resource with other threads.
        Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }?)
    }),
    ("trace the launcher", || {
        let launcher = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
        fs::read(format!("/proc/{launcher}/environ")).map(drop)
    }),
    ("change the user", || {
        Ok(rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(
            12345,
        ))?)
    }),
    ("open a core dump", || {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
        match limit.maximum {
            Some(0 | 1) => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }),
];
