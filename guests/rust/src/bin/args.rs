//! Prints each of its arguments, quoted, on a line.

use std::os::wasi::ffi::OsStringExt;

fn main() {
    for (index, argument) in std::env::args_os().enumerate() {
        println!("{index}: \"{}\"", argument.into_vec().escape_ascii());
    }
}
