//! Guests with a shared buffer: they write into the memory that QEMU is given.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use boot_protocol::console::client::{Client, Output, SharedMemory, send};
use boot_protocol::console::{Answer, FrameKind, Span, VERSION_SHARED, Window};

use super::line::Pipes;
use super::{Scenario, end, leave, value};

/// Where the buffer is: like that of the real application, not at the beginning of the memory.
pub(crate) const BUFFER: Window = Window {
    address: 0x0020_1000,
    output: 8192,
    input: 4096,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("shared cat", shared_cat),
    ("shared buffer not named", || {
        // Version 2 without a buffer: input comes over the line.
        let mut guest: Client<Pipes, Memory> = Client::shared(Pipes::new(), None);
        let mut buffer = [0; 100];
        let length = guest.read(&mut buffer).unwrap();
        guest.write(Output::Stdout, &buffer[..length]);
        leave(guest, 0)
    }),
    ("read ahead", || {
        let mut guest: Client<Pipes, Memory> = Client::shared(Pipes::new(), None);
        let mut buffer = [0; 5];
        let length = guest.read(&mut buffer).unwrap();
        guest.write(Output::Stdout, &buffer[..length]);
        // Nothing may be given back too; the client has no reason to say so.
        guest.send(FrameKind::Unread, &0u32.to_le_bytes());
        leave(guest, 0)
    }),
    ("spans", spans),
    ("input without room", input_without_room),
];

/// The machine's memory, as far as the launcher sees it too.
struct Memory {
    file: File,
    window: Window,
}

impl Memory {
    /// The memory, opened as QEMU does it.
    fn open(window: Window) -> Self {
        let object = value("-object").expect("there is a memory object");
        let path = object
            .split(',')
            .find_map(|part| part.strip_prefix("mem-path="))
            .expect("it has a path");
        let file = File::options().read(true).write(true).open(path);
        Self {
            file: file.expect("it can be opened"),
            window,
        }
    }

    /// Where the input is.
    fn input(&self) -> u64 {
        self.window.address + u64::from(self.window.output)
    }
}

impl SharedMemory for Memory {
    fn window(&self) -> Window {
        self.window
    }

    fn put(&mut self, span: Span, bytes: &[u8]) {
        let length = usize::try_from(span.length).expect("a length");
        self.file
            .write_all_at(&bytes[..length], self.window.address + u64::from(span.offset))
            .expect("the memory is writable");
    }

    fn get(&mut self, buf: &mut [u8]) {
        self.file
            .read_exact_at(buf, self.input())
            .expect("the memory is readable");
        // What came is no longer needed there, and nobody may find it a second time.
        let used = vec![0xEE; usize::try_from(self.window.input).expect("a length")];
        self.file
            .write_all_at(&used, self.input())
            .expect("the memory is writable");
    }
}

/// Copies standard input, both ways through the buffer.
fn shared_cat() -> ! {
    let mut guest = Client::shared(Pipes::new(), Some(Memory::open(BUFFER)));
    let mut buffer = [0; 4096];
    loop {
        match guest.read(&mut buffer).unwrap() {
            0 => leave(guest, 0),
            length => guest.write(Output::Stdout, &buffer[..length]),
        }
    }
}

/// The line of a guest that has named its buffer, and the memory. What follows is sent by hand, for its exact places.
fn named(window: Window) -> (Pipes, Memory) {
    let mut line = Pipes::new();
    send(&mut line, FrameKind::Hello, &[VERSION_SHARED]);
    send(&mut line, FrameKind::Window, &window.to_bytes());
    (line, Memory::open(window))
}

/// Output from all over the buffer, in another order than it lies there, and between output over the line.
fn spans() -> ! {
    let (mut line, mut memory) = named(BUFFER);
    let at = |offset, length| Span { offset, length };
    let last = at(BUFFER.output - 4, 4);
    memory.put(at(0, 6), b"outerr");
    memory.put(last, b"last");
    send(&mut line, FrameKind::StdoutWindow, &at(0, 3).to_bytes());
    send(&mut line, FrameKind::Stdout, b" inline ");
    send(&mut line, FrameKind::StdoutWindow, &at(5, 0).to_bytes());
    send(&mut line, FrameKind::StderrWindow, &at(3, 3).to_bytes());
    send(&mut line, FrameKind::StdoutWindow, &last.to_bytes());
    assert_eq!(line.ask(FrameKind::Sync, &[], &mut []), Answer::Synced);
    // It has been read, so this changes nothing.
    memory.put(at(0, 6), b"xxxxxx");
    send(&mut line, FrameKind::Exit, &[0]);
    end(0)
}

/// Reads as much as the buffer's input holds, more, and what the line takes at once.
fn input_without_room() -> ! {
    let (mut line, _) = named(Window { input: 20, ..BUFFER });
    for max in [20, 21, 11] {
        let answer = line.ask_for_input(max, &mut [0; 100]);
        line.show(answer);
    }
    send(&mut line, FrameKind::Exit, &[0]);
    end(0)
}
