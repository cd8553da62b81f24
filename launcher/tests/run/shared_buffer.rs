//! The shared buffer in the machine's memory, input that is given back, and terminals.

use std::io::{Read as _, Seek as _};
use std::process::Stdio;

use boot_protocol::console::{FrameKind, Span, Window};
use libtest_mimic::Trial;

use crate::fake_qemu::BUFFER;
use crate::harness::{Scratch, expect_no_qemu, feed, finish, tcg, test, wait};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "shared_buffer::output_is_fetched_in_its_order",
            output_is_fetched_in_its_order,
        ),
        test("shared_buffer::both_ways_unchanged", both_ways_unchanged),
        test(
            "shared_buffer::without_one_input_comes_inline",
            without_one_input_comes_inline,
        ),
        test(
            "shared_buffer::input_takes_the_room_there_is",
            input_takes_the_room_there_is,
        ),
        test(
            "shared_buffer::hostile_guests_end_the_run",
            hostile_guests_end_the_run,
        ),
        test(
            "shared_buffer::unread_input_goes_back_to_a_file",
            unread_input_goes_back_to_a_file,
        ),
        test(
            "shared_buffer::unread_input_of_a_pipe_is_lost",
            unread_input_of_a_pipe_is_lost,
        ),
        test(
            "shared_buffer::nobody_gives_back_what_was_not_given",
            nobody_gives_back_what_was_not_given,
        ),
        test("shared_buffer::terminals_are_named", terminals_are_named),
    ]
}

fn output_is_fetched_in_its_order() {
    let done = finish(&mut tcg(&Scratch::new(), "spans"))
        .expect_code(0)
        .expect_output("out inline last");
    assert_eq!(done.stderr, "err");
    finish(tcg(&Scratch::new(), "spans").arg("-vv"))
        .expect_code(0)
        .expect_message(&[
            "frame WINDOW, 8192 and 4096 bytes at 0x201000",
            "frame STDOUT_WINDOW, 3 bytes at 0",
            "frame STDERR_WINDOW, 3 bytes at 3",
            "frame SYNC",
        ]);
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u32;
    let byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(byte).take(length).collect()
}

fn both_ways_unchanged() {
    // Around the sizes of what goes inline, of the buffer's parts, and more.
    for length in [0, 1, 11, 12, 31, 32, 4095, 4096, 4097, 8192, 12_345, 3 << 20] {
        let bytes = noise(length);
        let scratch = Scratch::new();
        let file = std::fs::File::open(scratch.file("input", &bytes)).unwrap();
        let done = wait(tcg(&scratch, "shared cat").stdin(file).spawn().unwrap())
            .expect_code(0)
            .expect_silence();
        assert!(
            done.stdout == bytes,
            "{length}: {} bytes came back",
            done.stdout.len()
        );
    }
    let bytes = noise(1 << 20);
    let done = feed(&mut tcg(&Scratch::new(), "shared cat"), &bytes).expect_code(0);
    assert!(done.stdout == bytes, "{} bytes came back", done.stdout.len());
}

fn without_one_input_comes_inline() {
    let text = "more than eleven bytes";
    feed(
        &mut tcg(&Scratch::new(), "shared buffer not named"),
        text.as_bytes(),
    )
    .expect_code(0)
    .expect_output(text);
}

fn input_takes_the_room_there_is() {
    let scratch = Scratch::new();
    let file = std::fs::File::open(scratch.file("input", &[b'x'; 1000])).unwrap();
    wait(tcg(&scratch, "input without room").stdin(file).spawn().unwrap())
        .expect_code(0)
        .expect_output("DataWindow { length: 20 }\nData { length: 21 }\nData { length: 11 }\n");
}

/// A frame for the scenario "frames".
fn word(kind: FrameKind, payload: &[u8]) -> String {
    let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{:02x}/{digits} ", kind.byte())
}

fn buffer_word(address: u64, output: u32, input: u32) -> String {
    let buffer = Window {
        address,
        output,
        input,
    };
    word(FrameKind::Window, &buffer.to_bytes())
}

fn span_word(kind: FrameKind, offset: u32, length: u32) -> String {
    word(kind, &Span { offset, length }.to_bytes())
}

fn hostile_guests_end_the_run() {
    let good = word(FrameKind::Window, &BUFFER.to_bytes());
    let nowhere = "is outside of its memory";
    let outside = "outside of its shared buffer";
    // The memory is 64 MiB.
    let mut cases = vec![
        (buffer_word(0, 4096, 4096), nowhere),
        (buffer_word(0xF_FFFF, 1, 1), nowhere),
        (buffer_word(64 << 20, 1, 0), nowhere),
        (buffer_word((64 << 20) - 1, 1, 1), nowhere),
        (buffer_word(1 << 32, 4096, 4096), nowhere),
        (buffer_word(u64::MAX, 4096, 4096), nowhere),
        (buffer_word(2 << 20, u32::MAX, u32::MAX), nowhere),
        (good.clone() + &good, "twice"),
        (word(FrameKind::Hello, &[1]) + &good, "shares no memory"),
        (word(FrameKind::Hello, &[3]), "version 3"),
        (word(FrameKind::Hello, &[0]), "version 0"),
    ];
    for kind in [FrameKind::StdoutWindow, FrameKind::StderrWindow] {
        cases.push((span_word(kind, 0, 1), "before it has named one"));
        for (offset, length) in [
            (0, 8193),
            (8192, 1),
            (8193, 0),
            (1, u32::MAX),
            (u32::MAX, u32::MAX),
        ] {
            cases.push((good.clone() + &span_word(kind, offset, length), outside));
        }
    }
    for (frames, message) in cases {
        let scratch = Scratch::new();
        finish(tcg(&scratch, &format!("frames:{frames}")).args(["--memory", "64M"]))
            .expect_code(125)
            .expect_output("")
            .expect_message(&["violates the console protocol", message]);
        expect_no_qemu(&scratch, 1);
    }
    // The largest that are right.
    let frames =
        good + &span_word(FrameKind::StdoutWindow, 0, 8192) + &span_word(FrameKind::StdoutWindow, 8192, 0);
    let done = finish(&mut tcg(&Scratch::new(), &format!("frames:{frames}"))).expect_code(0);
    assert_eq!(done.stdout, [0; 8192]);
}

fn unread_input_goes_back_to_a_file() {
    let scratch = Scratch::new();
    for (input, rest) in [
        ("<0123456789\n", "56789\n"),
        ("<01234", ""),
        ("<012", ""),
        ("<", ""),
    ] {
        let mut file = std::fs::File::open(scratch.file("input", input.as_bytes())).unwrap();
        // Not from its beginning: what goes back is counted from where the guest stopped.
        file.seek(std::io::SeekFrom::Start(1)).unwrap();
        let stdin = file.try_clone().unwrap();
        let printed = &input[1..input.len().min(6)];
        wait(tcg(&scratch, "read ahead").stdin(stdin).spawn().unwrap())
            .expect_code(0)
            .expect_output(printed);
        let mut left = String::new();
        file.read_to_string(&mut left).unwrap();
        assert_eq!(left, rest, "{input:?}");
    }
}

fn unread_input_of_a_pipe_is_lost() {
    feed(&mut tcg(&Scratch::new(), "read ahead"), b"0123456789")
        .expect_code(0)
        .expect_output("01234")
        .expect_silence();
}

fn nobody_gives_back_what_was_not_given() {
    let scratch = Scratch::new();
    let mut file = std::fs::File::open(scratch.file("input", b"0123456789")).unwrap();
    let stdin = file.try_clone().unwrap();
    wait(tcg(&scratch, "give back too much").stdin(stdin).spawn().unwrap())
        .expect_code(125)
        .expect_message(&["gives back more input than it got"]);
    assert_eq!(file.stream_position().unwrap(), 4);
}

fn terminals_are_named() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
    };
    let line = |done: crate::harness::Done| {
        let output = String::from_utf8(done.expect_code(0).stdout).unwrap();
        output.split_once("\nrun ").unwrap().1.to_string()
    };
    let scratch = Scratch::new();
    let none = line(finish(&mut tcg(&scratch, "arguments")));
    assert!(!none.contains("--terminals"), "{none}");
    let stdin = line(wait(
        tcg(&scratch, "arguments").stdin(terminal()).spawn().unwrap(),
    ));
    assert!(stdin.starts_with("--terminals=stdin "), "{stdin}");
    let both = tcg(&scratch, "arguments")
        .stdin(terminal())
        .stderr(Stdio::from(terminal()))
        .spawn();
    let both = line(wait(both.unwrap()));
    assert!(both.contains("--terminals=stdin,stderr "), "{both}");
}
