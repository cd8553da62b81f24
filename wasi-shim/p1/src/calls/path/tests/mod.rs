//! Tests of the `path_*` calls.
//!
//! The tables are what wasmtime 50.0.1 answers on the same tree, but for the differences that the calls'
//! documentation names; `-` is success.

mod answers;
mod effects;
mod errors;
mod opening;
mod renaming;
mod streams;

use crate::abi::Errno;

/// The name of how a call ended, as the tables have it.
fn outcome(end: Result<(), crate::error::Error>) -> &'static str {
    match end {
        Ok(()) => "-",
        Err(crate::error::Error::Errno(errno)) => name(errno),
        Err(other) => panic!("{other}"),
    }
}

fn name(errno: Errno) -> &'static str {
    let known = Errno::ALL.iter().find(|(known, _)| *known == errno);
    known.expect("every errno has a name").1
}
