//! Random but reproducible sequences of WASI calls on sockets, one line for each call with its errno and results, so
//! that the lines of two runtimes can be compared.
//!
//! Arguments: SEED SEQUENCES CALLS [FIRST]: so many sequences of so many calls, from the one numbered FIRST (0) on.
//! Descriptor 3 is a listener. The first connection that comes to it is the client's, which does what it is told over
//! it: see `control`. What it has done has arrived when it says so, so nothing depends on time.

#[path = "../differential/area.rs"]
#[allow(dead_code, reason = "it is the other test's too")]
mod area;
#[path = "../differential/sockets/calls.rs"]
mod calls;
#[path = "../differential/sockets/control.rs"]
mod control;
#[path = "../differential/random.rs"]
#[allow(dead_code, reason = "it is the other test's too")]
mod random;
#[path = "../differential/sockets/world.rs"]
mod world;

use std::process::ExitCode;

use control::Control;
use guests::{STDOUT, write_all};
use world::World;

fn main() -> ExitCode {
    let Some(numbers) = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().ok())
        .collect::<Option<Vec<u64>>>()
    else {
        return fail("arguments are numbers: SEED SEQUENCES CALLS [FIRST]");
    };
    let [seed, sequences, calls, rest @ ..] = numbers.as_slice() else {
        return fail("arguments: SEED SEQUENCES CALLS [FIRST]");
    };
    let first = rest.first().copied().unwrap_or(0);
    let mut control = match Control::accept() {
        Ok(control) => control,
        Err(error) => return fail(&error),
    };
    for sequence in first..first.saturating_add(*sequences) {
        let mut world = World::begin(&mut control, *seed, sequence);
        let mut text = String::new();
        for number in 0..*calls {
            match world.any_call() {
                Ok(line) => text += &format!("{sequence}.{number} {line}\n"),
                Err(error) => return fail(&error),
            }
        }
        if let Err(error) = world.end() {
            return fail(&error);
        }
        if let Err(errno) = write_all(STDOUT, text.as_bytes()) {
            return fail(&format!("cannot write the log: {}", errno.name()));
        }
    }
    ExitCode::SUCCESS
}

fn fail(message: &str) -> ExitCode {
    eprintln!("differential-sockets: {message}");
    ExitCode::from(2)
}
