//! Runs a module in a virtual machine and keeps what it writes: `capture MODULE [ARGS]`.

use std::env;
use std::time::Duration;

use hermit_wasm_vm::{Error, Module, Run};

fn main() -> Result<(), Error> {
    let mut words = env::args().skip(1);
    let module = Module::open(words.next().unwrap_or_default())?;
    let result = Run::new(module)
        .args(words)
        .env("GREETING", "hello")
        .tmpfs("/tmp")
        .timeout(Duration::from_secs(60))
        .output()?;
    println!("exit code: {}", result.status.code());
    println!("standard output: {}", String::from_utf8_lossy(&result.stdout));
    println!("standard error: {}", String::from_utf8_lossy(&result.stderr));
    Ok(())
}
