//! Runs a module several times at once, each in a machine of its own: `pool MODULE COUNT`.

use std::env;
use std::error::Error;
use std::thread;

use hermit_wasm_vm::{Module, Run};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    // Read and checked once; all machines are given the same bytes.
    let module = Module::open(words.next().unwrap_or_default())?;
    let count: usize = words.next().unwrap_or_default().parse()?;
    let results: Vec<_> = thread::scope(|scope| {
        let run = |number: usize| {
            let run = Run::new(module.clone()).arg(number.to_string());
            scope.spawn(|| run.memory(64 << 20).output())
        };
        let threads: Vec<_> = (0..count).map(run).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    for (number, result) in results.into_iter().enumerate() {
        let result = result.map_err(|_| "a thread panicked")??;
        let output = String::from_utf8_lossy(&result.stdout);
        println!(
            "{number}: exit code {}, {}",
            result.status.code(),
            output.trim_end()
        );
    }
    Ok(())
}
