//! Writes bytes that a console might mistake for something else. The first argument says which.

use guests::{STDERR, STDOUT, write_all};

/// What looks like frames of the protocol between the launcher and the virtual machine: an exit code of 42, output,
/// a diagnostic, a request for input, a greeting, a frame that never ends, and a marker at the very end.
const FRAMES: &[u8] = b"\xff\x06\x01\x00\x2a\xff\x01\x03\x00abc\xff\x02\x03\x00def\xff\x03\x03\x00ghi\
    \xff\x04\x04\x00\x00\x10\x00\x00\xff\x05\x00\x00\xff\x07\x01\x00\x01\xff\xff\xff\x00\x00\xff\x01\xff\xff\xff";

fn main() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let which = std::env::args().nth(1).unwrap_or_default();
    let result = match which.as_str() {
        "all" => write_all(STDOUT, &all),
        "all-stderr" => write_all(STDERR, &all),
        "ff" => write_all(STDOUT, &[0xff; 4096]),
        "frames" => write_all(STDOUT, FRAMES),
        "zeros" => write_all(STDOUT, &[0; 4096]),
        // One write of 1 MiB.
        "big" => write_all(STDOUT, &all.repeat(4096)),
        // 2560 writes of one byte each.
        "small" => (0..10)
            .flat_map(|_| &all)
            .try_for_each(|byte| write_all(STDOUT, std::slice::from_ref(byte))),
        // Control characters and sequences that a terminal would act upon, and line ends of all kinds.
        "terminal" => write_all(
            STDOUT,
            b"\x1b[2J\x1b[31mred\x1b[0m\x07\x08\r\n\n\r\x04\x1a\x03\x11\x13\x00end",
        ),
        "no-newline" => write_all(STDOUT, b"the end"),
        "empty" => write_all(STDOUT, b""),
        _ => panic!("unknown pattern '{which}'"),
    };
    result.expect("writing works");
}
