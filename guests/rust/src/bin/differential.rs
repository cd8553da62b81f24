//! Random but reproducible sequences of WASI calls in the directory that descriptor 3 is, one line for each call with its
//! errno and results, so that the lines of two runtimes can be compared.
//!
//! Arguments: SEED SEQUENCES CALLS [FIRST]: so many sequences of so many calls, from the one numbered FIRST (0) on. What is
//! called depends on these, and on which descriptors are open, but on nothing else that a call answered. Results are printed so that they depend on what the calls
//! did and not on where: times of the present as `now`, names sorted, inode numbers compared and not shown.

#[path = "../differential/area.rs"]
mod area;
#[path = "../differential/descriptors.rs"]
mod descriptors;
#[path = "../differential/files.rs"]
mod files;
#[path = "../differential/others.rs"]
mod others;
#[path = "../differential/paths.rs"]
mod paths;
#[path = "../differential/random.rs"]
mod random;
#[path = "../differential/times.rs"]
mod times;
#[path = "../differential/tree.rs"]
mod tree;
#[path = "../differential/world.rs"]
mod world;

use std::process::ExitCode;

use area::Area;
use guests::{STDOUT, write_all};
use world::World;

/// With how many calls a sequence builds what the others work on.
const BUILDING: u64 = 16;

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
    let area = Area::new();
    for sequence in first..first.saturating_add(*sequences) {
        let mut world = match World::begin(area, *seed, sequence) {
            Ok(world) => world,
            Err(error) => return fail(&error),
        };
        let mut text = String::new();
        for number in 0..*calls {
            let line = if number < BUILDING {
                world.building_call()
            } else {
                world.any_call()
            };
            text += &format!("{sequence}.{number} {line}\n");
        }
        for line in world.end() {
            text += &format!("{sequence}.end {line}\n");
        }
        if let Err(errno) = write_all(STDOUT, text.as_bytes()) {
            return fail(&format!("cannot write the log: {}", errno.name()));
        }
    }
    ExitCode::SUCCESS
}

fn fail(message: &str) -> ExitCode {
    eprintln!("differential: {message}");
    ExitCode::from(2)
}
