//! Runs random sequences of calls on sockets on our WASI and on wasmtime 19, and tells where they answer differently.
//!
//! Fails if a difference is not explained by `tests/differential/sockets.toml`, or if a rule there explained nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use differential::client;
use differential::compare::Report;
use differential::expectations::{Expectations, Reference};

#[derive(Parser)]
struct Arguments {
    /// The guest `differential-sockets`.
    #[arg(long)]
    guest: PathBuf,
    /// A Python that has the package wasmtime 19.
    #[arg(long)]
    python: PathBuf,
    /// Determines what is called.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first sequence.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many sequences.
    #[arg(long, default_value_t = 100)]
    sequences: u64,
    /// How many calls each has.
    #[arg(long, default_value_t = 120)]
    calls: u64,
    /// Also fails if a rule explained nothing: for runs long enough that each should.
    #[arg(long)]
    all_rules: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let rules = Expectations::parse(include_str!("../../sockets.toml"))?;
    let host = std::env::current_exe()?;
    let host = host.parent().context("no directory")?.join("wasi-host");
    let numbers = [
        arguments.seed,
        arguments.sequences,
        arguments.calls,
        arguments.first,
    ];
    let ours = log(
        |address| {
            let mut command = Command::new(&host);
            command.args(["--wasi", "shim", "--tcplisten", address]);
            command
        },
        &arguments.guest,
        &numbers,
    )?;
    let theirs = log(
        |address| {
            let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasmtime_listen.py");
            let mut command = Command::new(&arguments.python);
            command.arg(runner).arg(address);
            command
        },
        &arguments.guest,
        &numbers,
    )?;
    let mut report = Report::default();
    report.add(&rules, Reference::Wasmtime19, &ours, &theirs)?;
    let good = report.print(&rules, Reference::Wasmtime19, arguments.seed, arguments.all_rules);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the guest with a listener at a free port, and the client with it; what the guest printed.
fn log(runtime: impl Fn(&str) -> Command, guest: &Path, numbers: &[u64]) -> Result<String> {
    let port = client::free_port()?;
    let mut command = runtime(&format!("127.0.0.1:{port}"));
    command
        .arg(guest)
        .args(numbers.iter().map(ToString::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = Guest(
        command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?,
    );
    let mut output = child.0.stdout.take().context("no output")?;
    // Read while it runs: a full pipe would stop it.
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut output));
    client::serve(port, || matches!(child.0.try_wait(), Ok(None)))?;
    let status = child.0.wait()?;
    ensure!(status.success(), "{status}: {command:?}");
    let text = reader.join().ok().context("nobody has read the log")?;
    text.context("a log that is no UTF-8")
}

/// A guest that does not outlive an error.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended, or is to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
