//! Talks to a module while it runs, through pipes: `stream MODULE` sends it three lines and shows what comes back.

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};

use hermit_wasm_vm::{Input, Module, Output, Run};

fn main() -> Result<(), Box<dyn Error>> {
    let module = Module::open(env::args().nth(1).unwrap_or_default())?;
    let mut running = Run::new(module).stdin(Input::Pipe).stdout(Output::Pipe).start()?;
    let mut stdin = running.stdin.take().ok_or("no pipe to the guest")?;
    let stdout = running.stdout.take().ok_or("no pipe from the guest")?;
    let mut lines = BufReader::new(stdout).lines();
    for line in ["one", "two", "three"] {
        writeln!(stdin, "{line}")?;
        if let Some(answer) = lines.next() {
            println!("sent {line}, got {}", answer?);
        }
    }
    drop(stdin);
    println!("exit code: {}", running.wait()?.status.code());
    Ok(())
}
