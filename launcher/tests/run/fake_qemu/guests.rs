//! Guests that behave: programs that print, read, wait and exit, through the application's own client.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Read as _;

use boot_protocol::command_line::{Console, join, words};
use boot_protocol::console::client::{Client, Line as _, NoMemory, Output};
use boot_protocol::console::{Cause, Ending, FrameKind, MAX_PAYLOAD};
use boot_protocol::file_kind::FileKind;
use boot_protocol::payload;
use boot_protocol::run_spec::RunSpec;

use super::line::Pipes;
use super::{Scenario, argument, leave, leave_by, sleep_forever, value};

/// A guest that speaks version 1.
pub(super) type Guest = Client<Pipes, NoMemory>;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("hello", || {
        let mut guest = guest();
        guest.write(Output::Stdout, b"out\n");
        guest.write(Output::Stderr, b"err\n");
        leave(guest, 0)
    }),
    ("exit", || leave(guest(), argument().parse().unwrap())),
    ("arguments", arguments),
    ("given", || given(Given::Runs)),
    ("refuse code", || given(Given::Code(Cause::CodeRefused))),
    ("no room for code", || given(Given::Code(Cause::CodeDoesNotFit))),
    ("refuse code late", || given(Given::CodeLate)),
    ("lack a proposal", || given(Given::Module)),
    ("trap", || {
        say_and_leave(b"error: it trapped\n", Ending::new(Cause::Trap, 134))
    }),
    ("refused", || {
        say_and_leave(b"error: no module\n", Ending::new(Cause::Refused, 126))
    }),
    ("out of memory", || {
        let ending = Ending::new(Cause::Failed, 125).with_memory_refused(true);
        say_and_leave(b"error: too little memory\n", ending)
    }),
    ("starved", || {
        let ending = Ending::new(Cause::Guest, 3).with_memory_refused(true);
        say_and_leave(b"error: memory.grow failed\n", ending)
    }),
    // What a guest can do to look like a trap: it prints what would be said of one, and exits with its code.
    ("forge", || {
        let mut guest = guest();
        guest.write(
            Output::Stderr,
            b"hermit-wasm: failed to run `m.wasm`: wasm trap: unreachable\n",
        );
        leave(guest, 134)
    }),
    // The same, and the application had something to say about it too.
    ("forge and be starved", || {
        let ending = Ending::new(Cause::Guest, 134).with_memory_refused(true);
        say_and_leave(b"error: memory.grow failed\n", ending)
    }),
    ("trap in an old image", || {
        say_and_leave(b"error: it trapped\n", Ending::old(134))
    }),
    ("exit in an old image", || leave_by(guest(), Ending::old(134))),
    ("echo", || {
        let mut guest = guest();
        guest.write(Output::Stdout, env::args().next_back().unwrap().as_bytes());
        leave(guest, 0)
    }),
    ("pid and hang", || {
        let _guest = guest();
        let words = env::args().next_back().unwrap();
        let (_, file) = words.split_once(' ').unwrap();
        fs::write(file, std::process::id().to_string()).unwrap();
        sleep_forever()
    }),
    ("cat", cat),
    ("poll", poll),
    ("interleave", interleave),
    ("noise", noise),
    ("bytes", || {
        let mut guest = guest();
        let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        guest.write(Output::Stdout, &bytes);
        leave(guest, 0)
    }),
    ("exit and stay", || {
        let mut guest = guest();
        guest.write(Output::Stdout, b"done\n");
        guest.exit(Ending::new(Cause::Guest, 5));
        sleep_forever()
    }),
    ("hang after hello", || {
        guest().write(Output::Stdout, b"started\n");
        sleep_forever()
    }),
    ("flood", || flood(Output::Stdout)),
    ("flood stderr", || flood(Output::Stderr)),
];

/// One that has begun.
pub(super) fn guest() -> Guest {
    Client::framed(Pipes::new())
}

/// The application's own message, and the end.
fn say_and_leave(message: &[u8], ending: Ending) -> ! {
    let mut guest = guest();
    guest.send(FrameKind::Diagnostic, message);
    leave_by(guest, ending)
}

fn cat() -> ! {
    let mut guest = guest();
    let mut buffer = vec![0; MAX_PAYLOAD];
    loop {
        match guest.read(&mut buffer).unwrap() {
            0 => leave(guest, 0),
            length => guest.write(Output::Stdout, &buffer[..length]),
        }
    }
}

/// Waits for input with a time limit and without one, asks for the time meanwhile, and reads.
fn poll() -> ! {
    let mut guest = guest();
    let show = |guest: &mut Guest, text: String| guest.write(Output::Stdout, text.as_bytes());
    for _ in 0..2 {
        let state = guest.poll(Some(0)).unwrap();
        show(&mut guest, format!("{state:?}\n"));
    }
    assert!(guest.host_time().is_some());
    let state = guest.poll(None).unwrap();
    show(&mut guest, format!("{state:?}\n"));
    let mut buffer = [0; 2];
    for _ in 0..2 {
        let length = guest.read(&mut buffer).unwrap();
        show(&mut guest, format!("{:?}\n", &buffer[..length]));
    }
    let state = guest.poll(None).unwrap();
    show(&mut guest, format!("{state:?}\n"));
    leave(guest, 0)
}

fn interleave() -> ! {
    let mut guest = guest();
    guest.write(Output::Stdout, b"a");
    guest.write(Output::Stderr, b"b");
    guest.write(Output::Stdout, b"");
    guest.send(FrameKind::Diagnostic, b"c");
    guest.write(Output::Stdout, b"d");
    leave(guest, 0)
}

/// Firmware and kernel write text on the same line.
fn noise() -> ! {
    let mut pipes = Pipes::new();
    pipes.write(b"SeaBIOS\r\n\x1b[31mBooting\x1b[0m\r\n\xff\x00\xff\xff");
    let mut guest: Guest = Client::framed(pipes);
    guest.write(Output::Stdout, b"one ");
    guest.line().write(b"kernel says ");
    guest.write(Output::Stdout, b"two");
    guest.line().write(b"something\n");
    leave(guest, 0)
}

fn flood(stream: Output) -> ! {
    let mut guest = guest();
    loop {
        guest.write(stream, &[b'x'; 60_000]);
    }
}

/// Prints what the machine was given, a line each: memory, image, module, kernel command line, and the description of
/// the run as words.
fn arguments() -> ! {
    let kernel = value("-kernel").unwrap();
    // A command that was printed names the image as the build calls it.
    let kernel = fs::read(&kernel).map_or(kernel, |bytes| format!("{} bytes", bytes.len()));
    let (spec, module) = members(value("-initrd").map(|name| fs::read(name).unwrap()));
    let run = spec.map(|bytes| {
        let spec = RunSpec::decode(&bytes).unwrap();
        join(words::write(&spec, Console::Framed).unwrap())
    });
    let text = format!(
        "memory {}\nkernel {kernel}\nmodule {:?}\ncommand line {}\nrun {}\n",
        value("-m").unwrap(),
        module.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        value("-append").unwrap(),
        run.unwrap_or_default(),
    );
    let mut guest = guest();
    guest.write(Output::Stdout, text.as_bytes());
    leave(guest, 0)
}

/// What becomes of what the machine is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    /// It runs.
    Runs,
    /// Native code is refused so.
    Code(Cause),
    /// Native code is refused, but has said something.
    CodeLate,
    /// A module is refused, for want of a proposal.
    Module,
}

/// Prints what the machine was given to run, or refuses it.
fn given(given: Given) -> ! {
    let payload = fs::read(value("-initrd").unwrap()).unwrap();
    let mut archive = tar::Archive::new(payload.as_slice());
    let members: BTreeMap<String, u64> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_string();
            (name, entry.raw_file_position())
        })
        .collect();
    if let (Given::Code(cause), Some(_)) = (given, members.get(payload::CODE)) {
        say_and_leave(b"hermit-wasm: cannot load the code\n", Ending::new(cause, 126));
    }
    let text = match (members.get(payload::MODULE), members.get(payload::CODE)) {
        (Some(_), None) if given == Given::Module => {
            let ending = Ending::new(Cause::ProposalMissing, 126);
            say_and_leave(b"hermit-wasm: the interpreter lacks a proposal\n", ending)
        }
        (Some(_), None) => "module\n".to_string(),
        (None, Some(_)) if given == Given::CodeLate => {
            let mut guest = guest();
            guest.write(Output::Stdout, b"effects\n");
            leave_by(guest, Ending::new(Cause::CodeRefused, 126))
        }
        (None, Some(at)) if at % payload::ALIGNMENT == 0 => {
            format!("code at a multiple of {}\n", payload::ALIGNMENT)
        }
        other => format!("{other:?}\n"),
    };
    let preloads = members.iter().filter(|(name, _)| name.starts_with("preload-"));
    let preloads =
        preloads.map(
            |(name, at)| match name.ends_with(".cwasm") && at % payload::ALIGNMENT == 0 {
                true => format!("{name} at a multiple of {}\n", payload::ALIGNMENT),
                false => format!("{name}\n"),
            },
        );
    let text: String = std::iter::once(text).chain(preloads).collect();
    let mut guest = guest();
    guest.write(Output::Stdout, text.as_bytes());
    leave(guest, 0)
}

/// The description of the run and the module, from what the machine was given as its payload.
fn members(initrd: Option<Vec<u8>>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    match initrd {
        Some(bytes) if FileKind::of(&bytes) == FileKind::Tar => {
            let mut members: BTreeMap<String, Vec<u8>> = tar::Archive::new(bytes.as_slice())
                .entries()
                .unwrap()
                .map(|entry| {
                    let mut entry = entry.unwrap();
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    (entry.path().unwrap().to_str().unwrap().to_string(), bytes)
                })
                .collect();
            (members.remove(payload::RUN_SPEC), members.remove(payload::MODULE))
        }
        module => (None, module),
    }
}
