//! Single questions, whose answers are printed as they come. The application's client asks for more than it is asked
//! for and remembers answers, so these are sent by hand.

use boot_protocol::console::client::{Line as _, send};
use boot_protocol::console::{Answer, FrameKind, VERSION, header};

use super::line::Pipes;
use super::{Scenario, end};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("read five", || {
        let mut line = hello();
        let mut buffer = [0; 5];
        let length = line.input(&mut buffer);
        send(&mut line, FrameKind::Stdout, &buffer[..length]);
        leave(line)
    }),
    ("read nothing", || {
        let mut line = hello();
        // Not allowed, and must not look like the end of file either.
        let answer = line.ask_for_input(0, &mut [0; 5]);
        line.show(answer);
        leave(line)
    }),
    ("poll and read", poll_and_read),
    ("time while polling", || {
        let mut line = hello();
        line.write(&header(FrameKind::Poll, 0));
        let time = line.ask(FrameKind::Time, &[], &mut []);
        line.show(time);
        let ready = line.answer(&mut []);
        line.show(ready);
        leave(line)
    }),
];

/// The line, after HELLO.
fn hello() -> Pipes {
    let mut line = Pipes::new();
    send(&mut line, FrameKind::Hello, &[VERSION]);
    line
}

fn leave(mut line: Pipes) -> ! {
    send(&mut line, FrameKind::Exit, &[0]);
    end(0)
}

fn poll_and_read() -> ! {
    let mut line = hello();
    let poll = |line: &mut Pipes| -> Answer { line.ask(FrameKind::Poll, &[], &mut []) };
    for _ in 0..3 {
        let answer = poll(&mut line);
        line.show(answer);
    }
    let mut buffer = [0; 3];
    loop {
        let length = line.input(&mut buffer);
        line.show(&buffer[..length]);
        if length == 0 {
            break;
        }
    }
    let answer = poll(&mut line);
    line.show(answer);
    leave(line)
}
