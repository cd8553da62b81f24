//! `native-host compile MODULE CODE` compiles a module for this host; `native-host run CODE [ARGUMENTS…]` runs that on
//! wasmtime's own runtime, in a process. `cargo xtask bench` counts the instructions of the latter.

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use aot_config::Options;
use kernel_app::exit_status::Outcome;
use native_host::{compile, level, run};
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

const USAGE: &str = "usage: native-host compile MODULE CODE\n       native-host run CODE [ARGUMENTS…]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["compile", module, code] => compile_file(module, code),
        ["run", code, arguments @ ..] => run_file(code, arguments),
        _ => Err(anyhow!("{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("native-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compile_file(module: &str, code: &str) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {module}"))?;
    let level = level().context("no native code is made for this architecture")?;
    let made = compile(&bytes, level, Options::default())
        .map_err(|error| anyhow!("cannot compile {module}: {error:#}"))?;
    fs::write(code, made).with_context(|| format!("cannot write {code}"))
}

fn run_file(code: &str, arguments: &[&str]) -> Result<()> {
    let bytes = fs::read(code).with_context(|| format!("cannot read {code}"))?;
    let mut context = WasiCtxBuilder::new();
    for argument in [code].iter().chain(arguments) {
        context = context
            .arg(*argument)
            .map_err(|error| anyhow!("cannot pass the argument {argument}: {error:?}"))?;
    }
    let (outcome, context) = run(&bytes, context.build(TestSystem::default()));
    std::io::stdout().write_all(&context.system.stdout)?;
    match outcome {
        Outcome::Exit(0) => Ok(()),
        other => bail!("{code} ended with {other:?}"),
    }
}
