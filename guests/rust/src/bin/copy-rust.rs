//! Copies a file: `copy-rust FROM TO`. The program of `docs/tutorial.md`, after the one of the WASI tutorial.

use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    let mut args = env::args();
    let name = args.next().unwrap_or_default();
    let (Some(from), Some(to), None) = (args.next(), args.next(), args.next()) else {
        eprintln!("usage: {name} FROM TO");
        return ExitCode::from(2);
    };
    let bytes = match fs::read(&from) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("cannot read {from}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = fs::write(&to, bytes) {
        eprintln!("cannot write {to}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
