//! Machines that do not start, break down, or never end.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio, exit};

use boot_protocol::console::client::{Line as _, Output};
use boot_protocol::console::{Cause, Ending, FrameKind, header};

use super::guests::guest;
use super::line::Pipes;
use super::{Scenario, argument, end, note, sleep_forever};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("panic", || {
        let mut guest = guest();
        guest.write(Output::Stdout, b"before ");
        guest
            .line()
            .write(b"[0][PANIC] panicked at src/mm.rs:1:\r\nout of memory\r\n");
        exit(1)
    }),
    ("panic after exit", || {
        let mut guest = guest();
        guest.line().write(b"kernel panicked while it shut down\n");
        guest.exit(Ending::new(Cause::Guest, 0));
        end(0)
    }),
    ("cut", || {
        let mut guest = guest();
        guest.line().write(&header(FrameKind::Stdout, 1000));
        guest.line().write(b"last words");
        exit(1)
    }),
    ("refuse", || {
        eprintln!("qemu-system-x86_64: -machine microvm: unsupported machine type");
        eprintln!("Use -machine help to list supported machines");
        exit(1)
    }),
    ("one line", || {
        Pipes::new().write(b"hermit-loader: too little memory\r\n");
        exit(1)
    }),
    ("qemu's line", || {
        eprintln!("qemu-system-x86_64: no guest memory");
        exit(1)
    }),
    ("say on the line", || {
        Pipes::new().write(argument().as_bytes());
        exit(1)
    }),
    ("say on the line and exit", || {
        let mut guest = guest();
        guest.line().write(argument().as_bytes());
        guest.exit(Ending::new(Cause::Guest, 0));
        end(0)
    }),
    ("say as QEMU", || {
        eprint!("{}", argument());
        exit(1)
    }),
    ("silent end", || exit(0)),
    ("hang", || sleep_forever()),
    ("leave a child", || {
        // A child holds the pipes open after the end, in a group of its own, which nobody kills.
        let child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        note(&format!("child {}", child.id()));
        guest().write(Output::Stdout, b"gone\n");
        exit(1)
    }),
];
