//! Guests that break the console's rules, byte by byte.

use std::process::exit;

use boot_protocol::console::client::{Line as _, send};
use boot_protocol::console::{FrameKind, VERSION, VERSION_SHARED};

use super::line::{Pipes, frame};
use super::{Scenario, argument, end, sleep_forever};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("one write", || {
        // Everything in one piece, EXIT and what must not count any more included.
        let all = [
            frame(FrameKind::Hello, &[VERSION]),
            frame(FrameKind::Stdout, b""),
            frame(FrameKind::Stdout, b"x"),
            frame(FrameKind::Stdout, b""),
            frame(FrameKind::Exit, &[7]),
            frame(FrameKind::Stdout, b"too late"),
            frame(FrameKind::Exit, &[8]),
        ];
        Pipes::new().write(&all.concat());
        exit(1)
    }),
    ("stubborn", || {
        let mut line = hello(VERSION);
        send(&mut line, FrameKind::Stdout, b"started\n");
        // Reads nothing, answers nothing, and floods.
        loop {
            send(&mut line, FrameKind::Time, b"");
        }
    }),
    ("greedy", || {
        let mut line = hello(VERSION);
        for _ in 0..1000 {
            send(&mut line, FrameKind::Read, &1u32.to_le_bytes());
        }
        sleep_forever()
    }),
    ("other version", || {
        hello(99);
        sleep_forever()
    }),
    ("give back too much", || {
        let mut line = hello(VERSION_SHARED);
        let length = u32::try_from(line.input(&mut [0; 4])).unwrap();
        send(&mut line, FrameKind::Unread, &(length + 1).to_le_bytes());
        send(&mut line, FrameKind::Exit, &[0]);
        end(0)
    }),
    ("frames", || {
        let mut line = hello(VERSION_SHARED);
        for word in argument().split_whitespace() {
            let (kind, payload) = parse(word);
            send(&mut line, kind, &payload);
        }
        send(&mut line, FrameKind::Exit, &[0]);
        end(0)
    }),
];

/// The line, after HELLO.
fn hello(version: u8) -> Pipes {
    let mut line = Pipes::new();
    send(&mut line, FrameKind::Hello, &[version]);
    line
}

/// A frame of the scenario "frames": `KIND/PAYLOAD` in hexadecimal digits.
fn parse(word: &str) -> (FrameKind, Vec<u8>) {
    let (kind, payload) = word.split_once('/').expect("KIND/PAYLOAD");
    let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("hexadecimal digits");
    let payload = payload.as_bytes().chunks(2);
    (
        FrameKind::from_byte(byte(kind)).expect("a kind"),
        payload
            .map(|pair| byte(str::from_utf8(pair).expect("digits")))
            .collect(),
    )
}
