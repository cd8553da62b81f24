//! Machines that have been taken over: programs in QEMU's place that try what a jail keeps from them, and tell.

use std::env;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use boot_protocol::console::client::Output;
use rustix::process::Pid;

use super::guests::guest;
use super::{Scenario, leave, sleep_forever};

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
        // Signal 0: whether it could be sent. The launcher, or in a name space of its own the process itself.
        let launcher = rustix::process::getppid().unwrap_or(Pid::INIT);
        Ok(rustix::process::test_kill_process(launcher)?)
    }),
    ("change the user", || {
        Ok(rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(
            12345,
        ))?)
    }),
    ("open a core dump", || {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
        match limit.maximum {
            Some(0) => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }),
];
