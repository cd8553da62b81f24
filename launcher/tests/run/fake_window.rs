//! The other side's scenarios with a window: they write into the memory that QEMU is given.

use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::exit;

use boot_protocol::console::{Answer, FrameKind, Halves, Span, Window, header};

use crate::fake_qemu::{answer, frame, leave, raw, read, send};

/// The variable with the frames of the scenario "hostile", each `KIND:PAYLOAD` in hexadecimal digits, separated by
/// spaces.
pub(crate) const FRAMES: &str = "HERMIT_WASM_FAKE_FRAMES";

/// Where the window is: like that of the real application, not at the beginning of the memory.
pub(crate) const WINDOW: Window = Window {
    address: 0x0020_1000,
    output: 8192,
    input: 4096,
};

/// Plays one.
pub(crate) fn play(scenario: &str) {
    raw(&frame(FrameKind::Hello, &[2]));
    match scenario {
        "window" => {
            let memory = named(WINDOW);
            memory
                .write_all_at(b"outerr", WINDOW.address)
                .expect("the memory is writable");
            let end = WINDOW.address + u64::from(WINDOW.output) - 4;
            memory.write_all_at(b"last", end).expect("the memory is writable");
            show(FrameKind::StdoutWindow, 0, 3);
            send(FrameKind::Stdout, b" inline ");
            show(FrameKind::StdoutWindow, 5, 0);
            show(FrameKind::StderrWindow, 3, 3);
            show(FrameKind::StdoutWindow, WINDOW.output - 4, 4);
            raw(&header(FrameKind::Sync, 0));
            assert_eq!(answer(&mut []), Answer::Synced);
            // It has been read, so this changes nothing.
            memory
                .write_all_at(b"xxxxxx", WINDOW.address)
                .expect("the memory is writable");
            leave(0);
        }
        "window cat" => copy(),
        "window not named" => {
            // Version 2 without a window: input comes over the line.
            let mut buffer = [0; 100];
            let length = read(&mut buffer);
            send(FrameKind::Stdout, &buffer[..length]);
            leave(0);
        }
        "input without room" => {
            named(Window { input: 20, ..WINDOW });
            for max in [20, 21, 11] {
                raw(&frame(FrameKind::Read, &u32::to_le_bytes(max)));
                let mut buffer = [0; 100];
                let answer = answer(&mut buffer);
                send(FrameKind::Stdout, format!("{answer:?}\n").as_bytes());
            }
            leave(0);
        }
        "read ahead" => {
            let mut buffer = [0; 100];
            let length = read(&mut buffer);
            let used = length.min(5);
            send(FrameKind::Stdout, &buffer[..used]);
            let unread = u32::try_from(length - used).expect("at most 100");
            raw(&frame(FrameKind::Unread, &unread.to_le_bytes()));
            leave(0);
        }
        "give back too much" => {
            let mut buffer = [0; 4];
            let length = u32::try_from(read(&mut buffer)).expect("at most 4");
            raw(&frame(FrameKind::Unread, &(length + 1).to_le_bytes()));
            leave(0);
        }
        "hostile" => {
            let frames = env::var(FRAMES).expect("the test names the frames");
            for word in frames.split_whitespace() {
                let (kind, payload) = word.split_once(':').expect("KIND:PAYLOAD");
                let kind = u8::from_str_radix(kind, 16).expect("hexadecimal digits");
                let kind = FrameKind::from_byte(kind).expect("a kind");
                let payload: Vec<u8> = payload
                    .as_bytes()
                    .chunks(2)
                    .map(|pair| {
                        let pair = std::str::from_utf8(pair).expect("digits");
                        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
                    })
                    .collect();
                raw(&frame(kind, &payload));
            }
            leave(0);
        }
        other => panic!("there is no scenario '{other}'"),
    }
}

/// Names the window; returns the memory.
fn named(window: Window) -> File {
    raw(&frame(FrameKind::Window, &window.to_bytes()));
    memory()
}

/// The memory, opened as QEMU does it.
fn memory() -> File {
    let words: Vec<String> = env::args().collect();
    let object = words
        .iter()
        .skip_while(|word| *word != "-object")
        .nth(1)
        .expect("there is a memory object");
    let path = object
        .split(',')
        .find_map(|part| part.strip_prefix("mem-path="))
        .expect("it has a path");
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("it can be opened")
}

fn show(kind: FrameKind, offset: u32, length: u32) {
    raw(&frame(kind, &Span { offset, length }.to_bytes()));
}

/// Copies standard input, both ways through the window, as the application does it.
fn copy() -> ! {
    let memory = named(WINDOW);
    let input_at = WINDOW.address + u64::from(WINDOW.output);
    let mut halves = Halves::new(WINDOW.output);
    let mut buffer = [0; 4096];
    loop {
        raw(&frame(FrameKind::Read, &WINDOW.input.to_le_bytes()));
        let length = match answer(&mut buffer) {
            Answer::Data { length } => length,
            Answer::DataWindow { length } => {
                let length = usize::try_from(length).expect("a length");
                memory
                    .read_exact_at(&mut buffer[..length], input_at)
                    .expect("the memory is readable");
                length
            }
            other => panic!("{other:?} is no answer to READ"),
        };
        if length == 0 {
            leave(0);
        }
        // What came is no longer needed there.
        memory.write_all_at(&[0xEE; 4096], input_at).expect("writable");
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let Some(span) = halves.place(rest.len()) else {
                raw(&header(FrameKind::Sync, 0));
                halves.turn();
                while halves.must_wait() {
                    assert_eq!(answer(&mut []), Answer::Synced);
                    assert!(halves.synced());
                }
                continue;
            };
            let (piece, tail) = rest.split_at(usize::try_from(span.length).expect("a length"));
            memory
                .write_all_at(piece, WINDOW.address + u64::from(span.offset))
                .expect("the memory is writable");
            show(FrameKind::StdoutWindow, span.offset, span.length);
            rest = tail;
        }
        // A last answer may be under way; it belongs to nobody.
        while halves.synced() {
            if answer(&mut []) != Answer::Synced {
                exit(1);
            }
        }
    }
}
