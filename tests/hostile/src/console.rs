//! The line to the launcher, and attacks on it: frames as `docs/console.md` has them, and everything else that can be
//! sent.

use crate::machine::{self, Machine, in8, out8};

/// Kinds of frames.
mod kind {
    pub(super) const STDOUT: u8 = 0x01;
    pub(super) const DIAGNOSTIC: u8 = 0x03;
    pub(super) const READ: u8 = 0x04;
    pub(super) const EXIT: u8 = 0x06;
    pub(super) const HELLO: u8 = 0x07;
    pub(super) const TIME: u8 = 0x08;
    pub(super) const WINDOW: u8 = 0x09;
    pub(super) const STDOUT_WINDOW: u8 = 0x0a;
    pub(super) const UNREAD: u8 = 0x0d;
    pub(super) const SHARE: u8 = 0x0e;
    pub(super) const RECORDING: u8 = 0x0f;
    pub(super) const RECORDING_WINDOW: u8 = 0x10;
}

/// What a terminal would obey, and what would deceive a reader: colours, title, clipboard, reset, bell, a line that is
/// overwritten, C1 controls, reversed text.
const COMMANDS: &str = "\u{1b}[31m\u{1b}]0;owned\u{7}\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}c\rhermit-wasm: all is well\u{8}\u{7f}\u{9b}2J\u{202e}dlrow\u{2066}\u{2028}";

/// Sends bytes, waiting until the line takes them.
pub(crate) fn send(bytes: &[u8]) {
    const DATA: u16 = 0x3f8;
    const STATUS: u16 = DATA + 5;
    const EMPTY: u8 = 1 << 5;
    for byte in bytes {
        while in8(STATUS) & EMPTY == 0 {
            core::hint::spin_loop();
        }
        out8(DATA, *byte);
    }
}

/// Sends a frame of any kind.
fn frame(kind: u8, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_le_bytes();
    send(&[0xff, kind, length[0], length[1]]);
    send(content);
}

/// The first frame.
pub(crate) fn hello(version: u8) {
    frame(kind::HELLO, &[version]);
}

/// What the guest prints.
pub(crate) fn standard_output(text: &str) {
    frame(kind::STDOUT, text.as_bytes());
}

/// The last frame.
pub(crate) fn exit(code: u8) {
    frame(kind::EXIT, &[code]);
}

fn window(address: u64, output: u32, input: u32) {
    let mut content = [0; 16];
    content[..8].copy_from_slice(&address.to_le_bytes());
    content[8..12].copy_from_slice(&output.to_le_bytes());
    content[12..].copy_from_slice(&input.to_le_bytes());
    frame(kind::WINDOW, &content);
}

/// Prints what lies in the window.
fn span(offset: u32, length: u32) {
    let mut content = [0; 8];
    content[..4].copy_from_slice(&offset.to_le_bytes());
    content[4..].copy_from_slice(&length.to_le_bytes());
    frame(kind::STDOUT_WINDOW, &content);
}

/// Every kind that does not exist, and every length that a kind never has: text, which changes nothing.
pub(crate) fn wrong_frames(_: &Machine) {
    for kind in (0x11..=0xff).chain([0]) {
        send(&[0xff, kind, 0xff, 0xff]);
    }
    for kind in [
        kind::READ,
        kind::EXIT,
        kind::HELLO,
        kind::TIME,
        kind::WINDOW,
        kind::STDOUT_WINDOW,
        kind::UNREAD,
        kind::SHARE,
        kind::RECORDING_WINDOW,
    ] {
        for length in [2_u16, 5, 7, 9, 15, 17, 0x100, u16::MAX] {
            let [low, high] = length.to_le_bytes();
            send(&[0xff, kind, low, high]);
        }
    }
}

/// Bytes without sense, many of which begin a frame. None is of the guest's standard error, which is its own, or the
/// end.
pub(crate) fn noise(_: &Machine) {
    const KINDS: [u8; 8] = [
        kind::STDOUT,
        kind::DIAGNOSTIC,
        kind::READ,
        kind::TIME,
        kind::WINDOW,
        kind::STDOUT_WINDOW,
        kind::UNREAD,
        0x11,
    ];
    let mut state = 1_u64;
    for _ in 0..100_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let [.., first, second] = state.to_le_bytes();
        match first % 4 {
            0 => send(&[0xff, KINDS[usize::from(second) % KINDS.len()], first / 8, 0]),
            1 => send(&[second % 4, 0]),
            // Not the beginning of any other frame.
            _ => send(&[second & 0x7f]),
        }
    }
}

/// HELLO in a version that does not exist.
pub(crate) fn strange_version(_: &Machine) {
    hello(255);
}

/// A window where there is no memory.
pub(crate) fn window_outside(_: &Machine) {
    window(1 << 40, 4096, 4096);
}

/// A window whose end wraps around.
pub(crate) fn window_that_wraps(_: &Machine) {
    window(u64::MAX - 4095, 4096, 4096);
}

/// A window over firmware and devices.
pub(crate) fn window_on_devices(_: &Machine) {
    window(0xa_0000, 4096, 4096);
}

/// A window larger than any.
pub(crate) fn window_too_large(_: &Machine) {
    window(1 << 20, u32::MAX, u32::MAX);
}

/// A window that moves.
pub(crate) fn window_that_moves(_: &Machine) {
    window(1 << 20, 4096, 4096);
    window(2 << 20, 8192, 4096);
}

/// Output outside of the window.
pub(crate) fn span_outside(_: &Machine) {
    window(1 << 20, 4096, 4096);
    span(4095, 2);
}

/// Output whose end wraps around.
pub(crate) fn span_that_wraps(_: &Machine) {
    window(1 << 20, 4096, 4096);
    span(u32::MAX, u32::MAX);
}

/// Output from a window that was never named.
pub(crate) fn span_without_window(_: &Machine) {
    span(0, 1);
}

/// More input given back than was read.
pub(crate) fn unread_too_much(_: &Machine) {
    frame(kind::UNREAD, &u32::MAX.to_le_bytes());
}

/// A question about a directory that does not exist.
pub(crate) fn share_of_nothing(_: &Machine) {
    frame(kind::SHARE, &u32::MAX.to_le_bytes());
}

/// Requests for input whose answers nobody reads.
pub(crate) fn reads_without_end(_: &Machine) {
    loop {
        frame(kind::READ, &u32::from(u16::MAX).to_le_bytes());
    }
}

/// Questions that are answered at once, by answers that nobody reads.
pub(crate) fn questions_without_end(_: &Machine) {
    loop {
        frame(kind::TIME, &[]);
    }
}

/// EXIT, and then everything that must not happen any more.
pub(crate) fn exit_twice(_: &Machine) {
    exit(crate::DONE);
    standard_output("after the end\n");
    send(b"text after the end\n");
    window(1 << 40, 1, 1);
    exit(7);
}

/// Output as fast as it goes, through the window and in frames.
pub(crate) fn output_without_end(_: &Machine) {
    const SIZE: u32 = 1 << 20;
    window(4 << 20, SIZE, 0);
    loop {
        for _ in 0..64 {
            span(0, SIZE);
        }
        standard_output("more\n");
    }
}

/// Messages of the application's that command the reader's terminal, more of them than anybody reads.
pub(crate) fn diagnostics(_: &Machine) {
    for _ in 0..1000 {
        frame(kind::DIAGNOSTIC, COMMANDS.as_bytes());
        frame(kind::DIAGNOSTIC, &[0x1b, 0x9b, 0xff, 0x80, 0x08, b'\n']);
    }
}

/// The same as the kernel's text, with the words that make the launcher show it, and an end without EXIT.
pub(crate) fn text_and_panic(_: &Machine) {
    for _ in 0..1000 {
        send(COMMANDS.as_bytes());
        send(b"\n[0][PANIC]: \x1b[2J\x1b[31m panicked\n");
    }
    machine::power_off();
}

/// Nothing, for ever.
pub(crate) fn silence(_: &Machine) {
    loop {
        core::hint::spin_loop();
    }
}

/// A recording, where the run has not asked for one.
pub(crate) fn recording_unasked(_: &Machine) {
    frame(kind::RECORDING, &[0; 64]);
}
