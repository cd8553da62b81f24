//! The application's course: boot line, module, run, end.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::RefCell;

use kernel_app::boot_file::BootFile;
use kernel_app::config::{self, Config};
use kernel_app::directories::{self, Sources};
use kernel_app::engine;
use kernel_app::exit_status::{ExitStatus, Outcome};
use kernel_app::module_source::ModuleSource;
use kernel_app::shares::Shares;
use kernel_app::uhyve::{self, UhyveFs};
use wasi_shim::Errno;
use wasi_shim::context::{BuildError, WasiCtxBuilder};
use wasi_shim::fs::FileSystem;
use wasi_shim::system::{Clock, System as _};

use boot_protocol::boot_line::Directory;

use crate::hermit::console::Console;
use crate::hermit::machine::Machine;
use crate::hermit::uhyve::Uhyve;
use crate::hermit::{allocator, boot_file, exit, fuse, log};

/// The module that runs when no other is given: it greets and shows what it was given.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/embedded.wasm"));

/// The devices of this machine.
type HostShares = Shares<Box<dyn FnMut(&str) -> Option<fuse::Share>>, fuse::Share>;

/// The one console, which the guest's standard streams use, and devices that have a question for the host.
type SharedConsole = Rc<RefCell<Console>>;

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
            let mut console = if framed {
                Console::framed()
            } else {
                Console::plain()
            };
            end(&mut console, &Outcome::Usage(error.to_string()).exit_status(""));
        }
    };
    log::init(config.log);
    let console = match config.console {
        config::Console::Plain => Console::plain(),
        config::Console::Framed => Console::framed(),
        config::Console::Shared => Console::shared(),
    };
    let console: SharedConsole = Rc::new(RefCell::new(console));
    let end = |status: &ExitStatus| -> ! { end(&mut console.borrow_mut(), status) };

    let boot_file = boot_file().map(BootFile::new);
    let boot_module = match boot_file.map_or(Ok(None), BootFile::module) {
        Ok(module) => module,
        Err(error) => {
            let text = format!("cannot use the boot file: {error}");
            end(&Outcome::Usage(text).exit_status(""));
        }
    };
    let source = ModuleSource::choose(&config, boot_module.is_some());
    let name = source.argv0(&config);
    let mut shares = shares(&console, &config);
    let wasm: Cow<'static, [u8]> = match source {
        ModuleSource::File(path) => match read_file(path, &mut shares) {
            Ok(bytes) => bytes.into(),
            Err(reason) => end(&Outcome::Unreadable(reason).exit_status(path)),
        },
        ModuleSource::BootModule => boot_module.unwrap_or_default().into(),
        ModuleSource::Embedded => EMBEDDED.into(),
    };
    ::log::debug!(
        "{source:?}: {} bytes, argv[0] {name:?}, {} arguments",
        wasm.len(),
        config.args.len()
    );

    let outcome = run(&wasm, &console, &name, config, boot_file, shares);
    end(&outcome.exit_status(&name));
}

/// The devices, which ask the host about those that the boot line names, by their place there.
fn shares(console: &SharedConsole, config: &Config) -> HostShares {
    let console = Rc::clone(console);
    let tags = config.directories.iter().filter_map(|directory| match directory {
        Directory::Share { tag, .. } => Some(tag.clone()),
        _ => None,
    });
    let tags: Vec<String> = tags.collect();
    Shares::new(Box::new(move |tag: &str| {
        let place = tags.iter().position(|known| known == tag);
        let place = place.and_then(|place| u32::try_from(place).ok());
        fuse::Share::find(tag, place.map(|place| (Rc::clone(&console), place)))
    }))
}

/// Runs the module.
fn run(
    wasm: &[u8],
    console: &SharedConsole,
    name: &str,
    config: Config,
    boot_file: Option<BootFile>,
    mut shares: HostShares,
) -> Outcome {
    let mut machine = Machine::new(Rc::clone(console));
    match world(&mut machine, name, config, boot_file, &mut shares) {
        Ok(builder) => engine::run(wasm, builder.build(machine)).0,
        Err(outcome) => outcome,
    }
}

/// Arguments, environment and directories of the guest.
fn world(
    machine: &mut Machine,
    name: &str,
    config: Config,
    boot_file: Option<BootFile>,
    shares: &mut HostShares,
) -> Result<WasiCtxBuilder, Outcome> {
    let usage = |error: BuildError| Outcome::Usage(error.to_string());
    let builder = WasiCtxBuilder::new()
        .terminals(config.terminals())
        .arg(name)
        .and_then(|builder| builder.args(config.args))
        .map_err(usage)?;
    let builder = config
        .env
        .into_iter()
        .try_fold(builder, |builder, (name, value)| builder.env(name, value))
        .map_err(usage)?;
    if config.directories.is_empty() {
        // Time and free memory are asked for only where they are needed: a boot has no time to lose.
        return Ok(builder);
    }
    let now = machine.clock_time(Clock::Realtime).unwrap_or(0);
    let sources = Sources {
        boot_file,
        budget: directories::limits(allocator::largest_free_block()).into(),
        now,
        share: &mut |tag| {
            let fs: Box<dyn FileSystem> = Box::new(shares.take(tag)?);
            Ok(fs)
        },
        map: &mut mapped_directory,
    };
    directories::give(builder, &config.directories, sources)
}

/// Reads a file of the host: one that uhyve maps, or one below a device's name.
fn read_file(path: &str, shares: &mut HostShares) -> Result<Vec<u8>, String> {
    if let Some(mut host) = Uhyve::find() {
        return uhyve::read_file(&mut host, path);
    }
    shares.read(path).unwrap_or_else(|| {
        Err("no virtio-fs device of this machine has the name that the path begins with".into())
    })
}

/// A directory that uhyve maps into the machine at `path`.
fn mapped_directory(path: &str) -> Result<Box<dyn FileSystem>, String> {
    let host = Uhyve::find().ok_or("only uhyve maps directories into the machine")?;
    match UhyveFs::new(host, path) {
        Ok(fs) => Ok(Box::new(fs)),
        Err(Errno::NOENT) => Err(format!(
            "there is no such directory; give it to the machine with uhyve's --file-mapping HOST:{path}"
        )),
        Err(Errno::NOTDIR) => Err("it is no directory".into()),
        Err(Errno::INVAL) => Err("the path must begin with a slash".into()),
        Err(error) => Err(format!("cannot be had ({error})")),
    }
}

/// Says what is to be said and ends the machine.
fn end(console: &mut Console, status: &ExitStatus) -> ! {
    if let Some(message) = &status.message {
        console.diagnostic(message);
    }
    console.exit(status.code);
    exit(status.code)
}
