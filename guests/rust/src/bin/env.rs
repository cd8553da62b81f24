//! Prints the environment, sorted, quoted.

use std::os::wasi::ffi::OsStringExt;

fn main() {
    let mut variables: Vec<_> = std::env::vars_os()
        .map(|(k, v)| (k.into_vec(), v.into_vec()))
        .collect();
    variables.sort();
    for (name, value) in variables {
        println!("\"{}\" = \"{}\"", name.escape_ascii(), value.escape_ascii());
    }
}
