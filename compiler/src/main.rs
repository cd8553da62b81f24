//! `hermit-wasm-compiler`: a module on standard input, native code on standard output.
//!
//! The launcher starts it in a jail and gives it nothing but its streams. On standard error it says line by line what
//! it is, how far it is, and why it has failed: [`aot_config::protocol`] has the words. Equal modules and flags give
//! equal code.
//!
//! - [`arguments`]: the command line.
//! - [`progress`]: how many functions are compiled.
//! - [`refusal`]: why a module cannot be compiled.
//! - [`settings`]: what the compiler sets and the runtime does not.

mod arguments;
mod progress;
mod refusal;
mod settings;

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use aot_config::protocol::{Message, Refusal, identity};

use crate::arguments::{Arguments, USAGE};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Arguments::parse(&words) {
        Some(Arguments::Version) => match writeln!(io::stdout(), "{}", identity()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Some(Arguments::Compile(job)) => {
            say(&Message::Identity(identity()));
            match compile(&job) {
                Ok(()) => ExitCode::SUCCESS,
                Err(refusal) => {
                    say(&Message::Refused(refusal));
                    ExitCode::FAILURE
                }
            }
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Writes one line to standard error. Whoever has gone does not want to know.
fn say(message: &Message) {
    let _ = writeln!(io::stderr(), "{message}");
}

fn compile(job: &settings::Job) -> Result<(), Refusal> {
    let hindered = |attempt: &str, error: &dyn std::fmt::Display| {
        Refusal::Hindered(format!("cannot {attempt}: {error}"))
    };
    let mut module = Vec::new();
    io::stdin()
        .read_to_end(&mut module)
        .map_err(|error| hindered("read the module", &error))?;
    if let Some(refusal) = refusal::before(&module, job.level) {
        return Err(refusal);
    }
    progress::on_each_thread(job.threads).map_err(|error| hindered("start threads", &error))?;
    let engine = settings::engine(job)
        .map_err(|error| Refusal::Failed(format!("cannot use its settings: {error}")))?;
    progress::report(progress::functions(&module));
    let code = refusal::of_panic(job.level, || engine.precompile_module(&module))?
        .map_err(|error| refusal::of(&error, &module))?;
    let mut out = io::stdout();
    out.write_all(&code)
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            // Its own limit: so long is the module's code.
            io::ErrorKind::FileTooLarge => Refusal::Failed(format!("cannot write the code: {error}")),
            _ => hindered("write the code", &error),
        })
}
