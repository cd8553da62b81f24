//! The other side: a program that is started as QEMU is, and plays a scenario on the console.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use boot_protocol::command_line::{Console, join, words};
use boot_protocol::console::{Answer, AnswerParser, FrameKind, MAX_PAYLOAD, chunks, header};
use boot_protocol::file_kind::FileKind;
use boot_protocol::payload;
use boot_protocol::run_spec::RunSpec;

/// The variable that names the scenario; without it the program is the test.
pub(crate) const SCENARIO: &str = "HERMIT_WASM_FAKE_QEMU";

/// The argument before a scenario, for those who start the program themselves.
pub(crate) const PLAY: &str = "--play";

/// The variable that names a file to which each start, and each stop of note, is appended as a line.
pub(crate) const JOURNAL: &str = "HERMIT_WASM_FAKE_JOURNAL";

/// QEMU's exit status when the application exited with 0, through isa-debug-exit.
const DEBUG_EXIT_SUCCESS: i32 = 3;

/// Plays one.
pub(crate) fn play(scenario: &str) {
    note(&format!(
        "start {} {}",
        std::process::id(),
        env::args().skip(1).collect::<Vec<_>>().join(" ")
    ));
    let kvm = env::args().any(|word| word == "kvm");
    match scenario {
        "hello" => {
            hello();
            send(FrameKind::Stdout, b"out\n");
            send(FrameKind::Stderr, b"err\n");
            leave(0);
        }
        "exit" => {
            hello();
            leave(env::var("CODE").unwrap().parse().unwrap());
        }
        "arguments" => arguments(),
        "trap" => {
            hello();
            send(FrameKind::Diagnostic, b"error: it trapped\n");
            leave(134);
        }
        "refused" => {
            hello();
            send(FrameKind::Diagnostic, b"error: no module\n");
            leave(126);
        }
        "echo" => {
            hello();
            send(FrameKind::Stdout, env::args().next_back().unwrap().as_bytes());
            leave(0);
        }
        "pid and hang" => {
            hello();
            let words = env::args().next_back().unwrap();
            let (_, file) = words.split_once(' ').unwrap();
            fs::write(file, std::process::id().to_string()).unwrap();
            sleep_forever();
        }
        "cat" => {
            hello();
            let mut buffer = vec![0; MAX_PAYLOAD];
            loop {
                let length = read(&mut buffer);
                if length == 0 {
                    break;
                }
                send(FrameKind::Stdout, &buffer[..length]);
            }
            leave(0);
        }
        "read five" => {
            hello();
            let mut buffer = [0; 5];
            let length = read(&mut buffer);
            send(FrameKind::Stdout, &buffer[..length]);
            leave(0);
        }
        "read nothing" => {
            hello();
            // Not allowed, and must not look like the end of file either.
            raw(&frame(FrameKind::Read, &0u32.to_le_bytes()));
            let mut buffer = [0; 5];
            let answer = answer(&mut buffer);
            send(FrameKind::Stdout, format!("{answer:?}").as_bytes());
            leave(0);
        }
        "poll and read" => {
            hello();
            for _ in 0..3 {
                send(
                    FrameKind::Stdout,
                    format!("{:?}\n", ask(FrameKind::Poll)).as_bytes(),
                );
            }
            let mut buffer = [0; 3];
            loop {
                let length = read(&mut buffer);
                send(FrameKind::Stdout, format!("{:?}\n", &buffer[..length]).as_bytes());
                if length == 0 {
                    break;
                }
            }
            send(
                FrameKind::Stdout,
                format!("{:?}\n", ask(FrameKind::Poll)).as_bytes(),
            );
            leave(0);
        }
        "time while polling" => {
            hello();
            raw(&header(FrameKind::Poll, 0));
            raw(&header(FrameKind::Time, 0));
            let first = answer(&mut []);
            send(FrameKind::Stdout, format!("{first:?}\n").as_bytes());
            let second = answer(&mut []);
            send(FrameKind::Stdout, format!("{second:?}\n").as_bytes());
            leave(0);
        }
        "interleave" => {
            hello();
            for (kind, text) in [
                (FrameKind::Stdout, "a"),
                (FrameKind::Stderr, "b"),
                (FrameKind::Stdout, ""),
                (FrameKind::Diagnostic, "c"),
                (FrameKind::Stdout, "d"),
            ] {
                raw(&frame(kind, text.as_bytes()));
            }
            leave(0);
        }
        "noise" => {
            raw(b"SeaBIOS\r\n\x1b[31mBooting\x1b[0m\r\n\xff\x00\xff\xff");
            hello();
            send(FrameKind::Stdout, b"one ");
            raw(b"kernel says ");
            send(FrameKind::Stdout, b"two");
            raw(b"something\n");
            leave(0);
        }
        "bytes" => {
            hello();
            let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
            send(FrameKind::Stdout, &bytes);
            leave(0);
        }
        "one write" => {
            // Everything in one piece, EXIT and what must not count any more included.
            let mut all = Vec::new();
            all.extend(frame(FrameKind::Hello, &[1]));
            all.extend(frame(FrameKind::Stdout, b""));
            all.extend(frame(FrameKind::Stdout, b"x"));
            all.extend(frame(FrameKind::Stdout, b""));
            all.extend(frame(FrameKind::Exit, &[7]));
            all.extend(frame(FrameKind::Stdout, b"too late"));
            all.extend(frame(FrameKind::Exit, &[8]));
            raw(&all);
            exit(1);
        }
        "exit and stay" => {
            hello();
            send(FrameKind::Stdout, b"done\n");
            raw(&frame(FrameKind::Exit, &[5]));
            sleep_forever();
        }
        "panic" => {
            hello();
            send(FrameKind::Stdout, b"before ");
            raw(b"[0][PANIC] panicked at src/mm.rs:1:\r\nout of memory\r\n");
            exit(1);
        }
        "panic after exit" => {
            hello();
            raw(b"kernel panicked while it shut down\n");
            leave(0);
        }
        "cut" => {
            hello();
            raw(&header(FrameKind::Stdout, 1000));
            raw(b"last words");
            exit(1);
        }
        "refuse" => {
            eprintln!("qemu-system-x86_64: -machine microvm: unsupported machine type");
            eprintln!("Use -machine help to list supported machines");
            exit(1);
        }
        "one line" => {
            raw(b"hermit-loader: too little memory\r\n");
            exit(1);
        }
        "qemu's line" => {
            eprintln!("qemu-system-x86_64: no guest memory");
            exit(1);
        }
        "silent end" => exit(0),
        "hang" => sleep_forever(),
        "hang after hello" => {
            hello();
            send(FrameKind::Stdout, b"started\n");
            sleep_forever();
        }
        "stubborn" => {
            hello();
            send(FrameKind::Stdout, b"started\n");
            // Reads nothing, answers nothing, and floods.
            loop {
                raw(&frame(FrameKind::Time, b""));
            }
        }
        "flood" => {
            hello();
            loop {
                send(FrameKind::Stdout, &[b'x'; 60_000]);
            }
        }
        "flood stderr" => {
            hello();
            loop {
                send(FrameKind::Stderr, &[b'x'; 60_000]);
            }
        }
        "greedy" => {
            hello();
            for _ in 0..1000 {
                raw(&frame(FrameKind::Read, &1u32.to_le_bytes()));
            }
            sleep_forever();
        }
        "other version" => {
            raw(&frame(FrameKind::Hello, &[99]));
            sleep_forever();
        }
        "leave a child" => {
            // A child holds the pipes open after the end.
            let child = Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            note(&format!("child {}", child.id()));
            hello();
            send(FrameKind::Stdout, b"gone\n");
            exit(1);
        }
        "kvm works" => {
            hello();
            send(FrameKind::Stdout, if kvm { b"kvm\n" } else { b"tcg\n" });
            leave(0);
        }
        "kvm stops" => {
            if kvm {
                eprintln!("KVM internal error. Suberror: 1\nemulation failure\nRAX=0000000000000000");
                sleep_forever();
            }
            hello();
            send(FrameKind::Stdout, b"tcg\n");
            leave(0);
        }
        "kvm aborts" => {
            if kvm {
                eprintln!("qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69");
                exit(134);
            }
            hello();
            send(FrameKind::Stdout, b"tcg\n");
            leave(0);
        }
        other => crate::fake_window::play(other),
    }
}

/// Prints what the machine was given, a line each: memory, image, module, kernel command line, and the description of
/// the run as words.
fn arguments() {
    let words: Vec<String> = env::args().skip(1).collect();
    let value = |flag: &str| {
        words
            .iter()
            .position(|word| word == flag)
            .and_then(|position| words.get(position + 1))
            .cloned()
    };
    let kernel = value("-kernel").unwrap();
    // A command that was printed names the image as the build calls it.
    let kernel = fs::read(&kernel).map_or(kernel, |bytes| format!("{} bytes", bytes.len()));
    let initrd = value("-initrd").map(|name| fs::read(name).unwrap());
    let (spec, module) = match &initrd {
        Some(bytes) if FileKind::of(bytes) == FileKind::Tar => {
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
        _ => (None, initrd),
    };
    let run = spec.map(|bytes| {
        let spec = RunSpec::decode(&bytes).unwrap();
        join(words::write(&spec, Console::Framed).unwrap())
    });
    hello();
    let text = format!(
        "memory {}\nkernel {kernel}\nmodule {:?}\ncommand line {}\nrun {}\n",
        value("-m").unwrap(),
        module.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        value("-append").unwrap(),
        run.unwrap_or_default(),
    );
    send(FrameKind::Stdout, text.as_bytes());
    leave(0);
}

fn note(line: &str) {
    if let Ok(path) = env::var(JOURNAL) {
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

fn sleep_forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}

pub(crate) fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, payload.len().try_into().unwrap()).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn raw(bytes: &[u8]) {
    let mut stdout = io::stdout();
    // The launcher may be gone, which ends a QEMU by a signal.
    if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
        sleep_forever();
    }
}

pub(crate) fn send(kind: FrameKind, bytes: &[u8]) {
    for (header, payload) in chunks(kind, bytes) {
        raw(&header);
        raw(payload);
    }
}

fn hello() {
    raw(&frame(FrameKind::Hello, &[1]));
}

/// EXIT, and QEMU's end through isa-debug-exit.
pub(crate) fn leave(code: u8) -> ! {
    raw(&frame(FrameKind::Exit, &[code]));
    exit(if code == 0 { DEBUG_EXIT_SUCCESS } else { 1 });
}

pub(crate) fn answer(data: &mut [u8]) -> Answer {
    let mut parser = AnswerParser::new();
    let mut stdin = io::stdin().lock();
    loop {
        let mut bytes = vec![0; parser.wanted()];
        if stdin.read_exact(&mut bytes).is_err() {
            sleep_forever();
        }
        if let Some(answer) = parser.feed(&bytes, data).unwrap().answer {
            return answer;
        }
    }
}

fn ask(kind: FrameKind) -> Answer {
    raw(&header(kind, 0));
    answer(&mut [])
}

pub(crate) fn read(buffer: &mut [u8]) -> usize {
    let max = u32::try_from(buffer.len()).unwrap();
    raw(&frame(FrameKind::Read, &max.to_le_bytes()));
    match answer(buffer) {
        Answer::Data { length } => length,
        other => panic!("{other:?} is no answer to READ"),
    }
}
