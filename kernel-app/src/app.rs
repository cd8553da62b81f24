//! The application's course: boot line, module, run, end.

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};

use kernel_app::config::{self, Config};
use kernel_app::engine;
use kernel_app::exit_status::{ExitStatus, Outcome};
use kernel_app::module_source::ModuleSource;
use wasi_shim::context::{BuildError, WasiCtxBuilder};

use crate::hermit::console::Console;
use crate::hermit::machine::Machine;
use crate::hermit::{boot_module, exit, file, log};

/// The module that runs when no other is given: it greets and shows what it was given.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/embedded.wasm"));

/// Runs what the boot line asks for; `arguments` are its words behind the program's name. Ends the machine.
pub(crate) fn main(arguments: &[String], environment: &[(String, String)]) -> ! {
    let words = arguments.iter().map(String::as_str);
    let variables = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let config = match Config::parse(words, variables) {
        Ok(config) => config,
        Err(error) => {
            // Whoever started the machine with a wrong boot line may well have meant to speak the protocol.
            let framed = arguments
                .iter()
                .any(|word| matches!(word.trim_start_matches("--console="), "framed" | "shared"));
            let console = if framed {
                Console::framed()
            } else {
                Console::plain()
            };
            end(console, &Outcome::Usage(error.to_string()).exit_status(""));
        }
    };
    log::init(config.log);
    let console = match config.console {
        config::Console::Plain => Console::plain(),
        config::Console::Framed => Console::framed(),
        config::Console::Shared => Console::shared(),
    };

    let boot_module = boot_module();
    let source = ModuleSource::choose(&config, boot_module.is_some());
    let name = source.argv0(&config);
    let wasm: Cow<'static, [u8]> = match source {
        ModuleSource::File(path) => match file::read(path) {
            Ok(bytes) => bytes.into(),
            Err(reason) => end(console, &Outcome::Unreadable(reason).exit_status(path)),
        },
        ModuleSource::BootModule => boot_module.unwrap_or_default().into(),
        ModuleSource::Embedded => EMBEDDED.into(),
    };
    ::log::debug!(
        "{source:?}: {} bytes, argv[0] {name:?}, {} arguments",
        wasm.len(),
        config.args.len()
    );

    let (console, outcome) = run(&wasm, console, &name, config);
    end(console, &outcome.exit_status(&name));
}

/// Runs the module and gives the console back.
fn run(wasm: &[u8], console: Console, name: &str, config: Config) -> (Console, Outcome) {
    let builder = match world(name, config) {
        Ok(builder) => builder,
        Err(error) => return (console, Outcome::Usage(error.to_string())),
    };
    let (outcome, context) = engine::run(wasm, builder.build(Machine::new(console)));
    (context.system.into_console(), outcome)
}

/// Arguments and environment of the guest.
fn world(name: &str, config: Config) -> Result<WasiCtxBuilder, BuildError> {
    let builder = WasiCtxBuilder::new()
        .terminals(config.terminals())
        .arg(name)?
        .args(config.args)?;
    config
        .env
        .into_iter()
        .try_fold(builder, |builder, (name, value)| builder.env(name, value))
}

/// Says what is to be said and ends the machine.
fn end(mut console: Console, status: &ExitStatus) -> ! {
    if let Some(message) = &status.message {
        console.diagnostic(message);
    }
    console.exit(status.code);
    exit(status.code)
}
