//! The application's course: what to run, with what, and how it ended.
//!
//! Layer: top of what is tested on the host. [`Platform`] is all that it wants of a machine.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Display;
use core::mem;

use boot_protocol::command_line::Console;
use boot_protocol::command_line::words::{self, Words};
use boot_protocol::payload::{MODULE, RECORDING, RUN_SPEC};
use boot_protocol::run_spec::{self, Limit, LogLevel, ModuleSource, MountSource, RunSpec};
use wasi_core::context::{BuildError, WasiCtxBuilder};
use wasi_core::deterministic::{Deterministic, START};
use wasi_core::fs::FileSystem;
use wasi_core::fs::fuse::Transport;
use wasi_core::limits;
use wasi_core::system::Clock;
use wasi_core::{Errno, System, Terminals};

use crate::command_line::{CommandLine, FREQUENCY};
use crate::engine::{Engine, Entry, Job, Preload, Tracing};
use crate::exit_status::{ExitStatus, Outcome};
use crate::mounts::{self, MountSources};
use crate::payload::{Payload, PayloadError};
use crate::uhyve::{self, Host, UhyveFs};
use crate::virtio_fs::Devices;

/// What the application wants of the machine that it is in.
pub trait Platform {
    /// What the guest's calls are about.
    type System: System + 'static;
    /// A virtio-fs device.
    type Device: Transport + 'static;
    /// uhyve's files.
    type Files: Host + 'static;
    /// What runs programs in this machine.
    type Engine: Engine;

    /// Speaks over the serial line in this way from now on. Called once, before anything is said.
    fn open_console(&mut self, console: Console);
    /// Shows messages of this level and of the graver ones from now on.
    fn show_log(&self, level: LogLevel);
    /// What the hypervisor handed over besides the application.
    fn payload(&self) -> Option<&'static [u8]>;
    /// The module in the application's image, which greets; an image that runs native code has none.
    fn embedded(&self) -> Option<&'static [u8]>;
    /// The engine.
    fn engine(&self) -> Self::Engine;
    /// The machine for a guest.
    fn system(&self) -> Self::System;
    /// Connects a machine to the network that `network` describes.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    fn connect(&self, system: &mut Self::System, network: &run_spec::Network) -> Result<(), String>;
    /// A guest on a network has ended: what it has written goes out, for some seconds at most.
    fn finish(&self, system: &mut Self::System);
    /// The virtio-fs device of this name; `number` is its place among those of the run, by which a launcher knows it.
    fn virtio_fs(&self, tag: &str, number: Option<u32>) -> Option<Self::Device>;
    /// The files of uhyve, if it is around this machine.
    fn uhyve(&self) -> Option<Self::Files>;
    /// Ends the machine in so many nanoseconds, whatever it does then, with a message about the module of this name.
    fn set_deadline(&self, nanoseconds: u64, name: &str);
    /// Bytes of memory that are free for what a guest asks for.
    fn free_memory(&self) -> usize;
}

/// Runs what the description says, or the words of the kernel command line. Returns what is to be said and with which
/// code the machine ends.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn run<P: Platform>(platform: &mut P, line: &CommandLine) -> ExitStatus {
    let CommandLine {
        arguments,
        environment,
        of_kernel,
    } = line;
    let payload = platform.payload().map(Payload::new);
    let variables = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let words = match words::parse(arguments.iter().map(String::as_str), variables, payload.is_some()) {
        Ok(words) => words,
        Err(error) => {
            platform.open_console(probable_console(arguments));
            return Outcome::Usage(error.to_string()).exit_status("");
        }
    };
    platform.show_log(words.run.log.unwrap_or(LogLevel::Warn));
    platform.open_console(words.console);
    let platform = &*platform;
    let payload = match payload.transpose() {
        Ok(payload) => payload,
        Err(error @ PayloadError::Archive(_)) => {
            return Outcome::Usage(format!("the payload is damaged: {error}")).exit_status("");
        }
        Err(error) => return Outcome::Refused(error.to_string()).exit_status("the payload"),
    };
    let console = words.console;
    match describe(platform, payload, &words, of_kernel) {
        Ok(spec) => run_spec(platform, payload, spec.as_ref().unwrap_or(&words.run), console),
        Err(outcome) => outcome.exit_status(""),
    }
}

/// Whoever started the machine with wrong words may well have meant to speak the protocol.
fn probable_console(arguments: &[String]) -> Console {
    let framed = arguments
        .iter()
        .any(|word| matches!(word.trim_start_matches("--console="), "framed" | "shared"));
    if framed { Console::Framed } else { Console::Raw }
}

/// The run's description: a file's or the payload's; `None`: what the words say. Nothing moves that: it is large.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn describe<P: Platform>(
    platform: &P,
    payload: Option<Payload>,
    words: &Words<'_>,
    of_kernel: &[&str],
) -> Result<Option<RunSpec>, Outcome> {
    let usage = |text: String| Err(Outcome::Usage(text));
    let member = payload.and_then(|payload| payload.run_spec);
    let (bytes, from): (Cow<'_, [u8]>, &str) = match (&words.spec, member) {
        (_, None) if payload.is_some_and(|payload| payload.is_sealed) => {
            return Err(Outcome::Refused(format!(
                "the payload was packed, but has no member '{RUN_SPEC}', which says what may run"
            )));
        }
        (None, None) => {
            // As of a description: two directories at one place would hide each other.
            return match words.run.check() {
                Ok(()) => Ok(None),
                Err(error) => usage(format!("kernel command line: {error}")),
            };
        }
        (None, Some(bytes)) => (bytes.into(), RUN_SPEC),
        (Some(path), None) => {
            let mut host = platform.uhyve().ok_or_else(|| {
                Outcome::Usage(format!("--spec {path}: only uhyve maps files into the machine"))
            })?;
            match uhyve::read_file(&mut host, path) {
                Ok(bytes) => (bytes.into(), path),
                Err(error) => return usage(format!("--spec {path}: {error}")),
            }
        }
        (Some(path), Some(_)) => {
            return usage(format!(
                "two descriptions of the run: --spec {path}, and {RUN_SPEC} in the payload"
            ));
        }
    };
    let is_ceiling = payload.is_some_and(|payload| payload.is_sealed);
    if let Some(word) = words.run_word.filter(|_| !is_ceiling) {
        return usage(format!(
            "kernel command line: {word}: the run is described by {from}, so only --log and --console can be given"
        ));
    }
    let spec = RunSpec::decode(&bytes)
        .map_err(|error| Outcome::Usage(format!("cannot use the run's description {from}: {error}")))?;
    if let Some(word) = of_kernel.iter().find(|word| is_ceiling && !may_say(&spec, word)) {
        return usage(format!(
            "kernel command line: {word} exceeds what was packed: it does not take this word"
        ));
    }
    let spec = match is_ceiling {
        true => {
            let wrong = |error: &dyn Display| Outcome::Usage(format!("kernel command line: {error}"));
            let spec = spec.narrowed(&words.run).map_err(|error| wrong(&error))?;
            // The two may contradict each other, such as a network and a seed.
            spec.check().map_err(|error| wrong(&error))?;
            spec
        }
        false => spec,
    };
    // What a person says on the command line goes before what a description says.
    if let (None, Some(level)) = (words.run.log, spec.log) {
        platform.show_log(level);
    }
    Ok(Some(spec))
}

/// Whether whoever starts a machine with what was packed may say this word of the kernel's. Its clock is what a time
/// limit counts by, and of networks and other mounts it has none.
fn may_say(ceiling: &RunSpec, word: &str) -> bool {
    ceiling.may_be_widened || word == FREQUENCY && ceiling.limits.get(Limit::Deadline).is_none()
}

/// Runs what `spec` describes.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn run_spec<P: Platform>(
    platform: &P,
    payload: Option<Payload>,
    spec: &RunSpec,
    console: Console,
) -> ExitStatus {
    let name = match spec.argv.first() {
        Some(name) => name,
        None => spec.module.default_name(),
    };
    // Before anything else: what follows may take as long as whoever made the module likes.
    if let Some(nanoseconds) = spec.limits.get(Limit::Deadline) {
        platform.set_deadline(nanoseconds, name);
    }
    let mut devices = Devices::new(|tag: &str| {
        let mut tags = spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::VirtioFs { tag } => Some(tag),
            _ => None,
        });
        let place = tags.position(|known| known == tag);
        platform.virtio_fs(tag, place.and_then(|place| u32::try_from(place).ok()))
    });
    let limits = spec.held_limits();
    if let Err(outcome) = check_memory(platform, spec).and_then(|()| check_descriptors(spec)) {
        return outcome.exit_status(name);
    }
    let outcome = match program(platform, payload, &spec.module, &mut devices) {
        Ok(program) => {
            log::debug!(
                "{}: {} bytes, argv[0] {name:?}, {} arguments in all",
                spec.module.default_name(),
                program.len(),
                spec.argv.len()
            );
            let mut system = platform.system();
            let mut builder = build_wasi_ctx(platform, &mut system, payload, spec, name, &mut devices);
            // In place: nothing of it runs, and nothing moves, without a network.
            if let (Some(network), Ok(given)) = (&spec.network, &mut builder)
                && let Err(outcome) = connect(platform, &mut system, network, given)
            {
                builder = Err(outcome);
            }
            match builder {
                Ok(builder) => match prepare(payload, spec, console) {
                    Ok((preloads, tracing)) => {
                        let job = Job {
                            program: &program,
                            limits,
                            preloads: &preloads,
                            entry: spec.entry.as_deref().map(|name| Entry {
                                name,
                                arguments: spec.argv.get(1..).unwrap_or_default(),
                                warns: spec.invoked,
                            }),
                            tracing,
                        };
                        let (outcome, mut ctx) = platform.engine().run(job, builder.build(system));
                        if spec.network.is_some() {
                            platform.finish(&mut ctx.system);
                        }
                        if let Some(time) = ctx.virtual_time() {
                            let (spent, slept) = (time.spent(), time.slept());
                            log::info!("deterministic run: {spent} units of fuel, {slept} ns asleep");
                        }
                        outcome
                    }
                    Err(outcome) => outcome,
                },
                Err(outcome) => outcome,
            }
        }
        Err(outcome) => outcome,
    };
    outcome.exit_status(name)
}

/// Checks that a deterministic run finds the memory that it may use: how much there is must not be for it to see.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_memory<P: Platform>(platform: &P, spec: &RunSpec) -> Result<(), Outcome> {
    let Some(needed) = spec.memory_to_be_free() else {
        return Ok(());
    };
    let free = u64::try_from(platform.free_memory()).unwrap_or(u64::MAX);
    if free >= needed {
        return Ok(());
    }
    let (needed, free) = (needed.div_ceil(1 << 20), free >> 20);
    Err(Outcome::MachineFailed(format!(
        "the virtual machine has too little memory (a deterministic run needs {needed} MiB free, one and a half times \
         what the guest may use, and has {free} MiB): raise --memory, or lower -W {}",
        Limit::Memory.word()
    )))
}

/// Checks that the guest may have the descriptors that it begins with: the standard streams, a directory each mount,
/// the listeners.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_descriptors(spec: &RunSpec) -> Result<(), Outcome> {
    let listeners = spec.network.as_ref().map_or(0, |network| network.listeners.len());
    let given = spec.mounts.len().saturating_add(listeners);
    let begins_with = u64::try_from(given).map_or(u64::MAX, |given| given.saturating_add(3));
    match spec.limits.get(Limit::Descriptors) {
        Some(limit) if limit < begins_with => Err(Outcome::LimitReached(
            Limit::Descriptors.of(limit),
            format!("it begins with {begins_with}"),
        )),
        _ => Ok(()),
    }
}

/// The program's bytes: a module, or native code made of one.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn program<P: Platform>(
    platform: &P,
    payload: Option<Payload>,
    source: &ModuleSource,
    devices: &mut Devices<impl FnMut(&str) -> Option<P::Device>, P::Device>,
) -> Result<Cow<'static, [u8]>, Outcome> {
    match source {
        ModuleSource::Embedded => platform.embedded().map(Cow::Borrowed).ok_or_else(|| {
            Outcome::Usage(
                "nothing to run: this image runs compiled programs and has none inside; hand one over (QEMU: \
                 -initrd FILE)"
                    .into(),
            )
        }),
        ModuleSource::Path(path) => match platform.uhyve() {
            Some(mut host) => uhyve::read_file(&mut host, path),
            None => devices.read(path).unwrap_or_else(|| {
                Err("no virtio-fs device of this machine has the name that the path begins with".into())
            }),
        }
        .map(Cow::Owned)
        .map_err(Outcome::Unreadable),
        ModuleSource::Payload => match payload.map(|payload| payload.program) {
            Some(Some(module)) => Ok(module.into()),
            None => Err(Outcome::Unreadable(
                "the machine was given no payload (QEMU: -initrd FILE)".into(),
            )),
            Some(None) => Err(Outcome::Unreadable(format!(
                "the payload, a tar archive, has no member '{MODULE}'; name the module so, or say where it is with -f"
            ))),
        },
    }
}

/// What the run takes from the payload besides its program.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn prepare(
    payload: Option<Payload>,
    spec: &RunSpec,
    console: Console,
) -> Result<(Vec<Preload<'_>>, Option<Tracing>), Outcome> {
    let tracing = match spec.tracing {
        None => None,
        Some(run_spec::Tracing::Record) if console == Console::Raw => {
            return Err(Outcome::Usage(
                "the run is to be recorded, and nobody keeps a recording of a machine on a plain console"
                    .into(),
            ));
        }
        Some(run_spec::Tracing::Record) => Some(Tracing::Record),
        Some(run_spec::Tracing::Replay) => {
            let recording = payload.and_then(|payload| payload.member(RECORDING));
            match recording {
                Some(Ok(Some(events))) => Some(Tracing::Replay(events)),
                Some(Err(error)) => return Err(Outcome::Usage(format!("the payload is damaged: {error}"))),
                Some(Ok(None)) | None => {
                    return Err(Outcome::Usage(format!(
                        "the run is to be replayed, but the payload has no member '{RECORDING}'"
                    )));
                }
            }
        }
    };
    Ok((preloads(payload, &spec.preloads)?, tracing))
}

/// The libraries that the program imports from: members of the payload.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn preloads(payload: Option<Payload>, preloads: &[run_spec::Preload]) -> Result<Vec<Preload<'_>>, Outcome> {
    let find = |run_spec::Preload { name, member }: &_| {
        let unreadable = |text: String| Outcome::Unreadable(text).of_preload(name);
        match payload.and_then(|payload| payload.member(member)) {
            Some(Ok(Some(program))) => Ok(program),
            Some(Ok(None)) => Err(unreadable(format!(
                "the payload, a tar archive, has no member {member:?}"
            ))),
            Some(Err(error)) => Err(Outcome::Usage(format!("the payload is damaged: {error}"))),
            None => Err(unreadable(format!(
                "member {member:?}: the machine has no payload that is a tar archive"
            ))),
        }
    };
    preloads
        .iter()
        .map(|preload| {
            Ok(Preload {
                name: &preload.name,
                program: find(preload)?,
            })
        })
        .collect()
}

/// Arguments, environment and directories of the guest.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn build_wasi_ctx<P: Platform>(
    platform: &P,
    system: &mut P::System,
    payload: Option<Payload>,
    spec: &RunSpec,
    name: &str,
    devices: &mut Devices<impl FnMut(&str) -> Option<P::Device>, P::Device>,
) -> Result<WasiCtxBuilder, Outcome> {
    let usage = |error: BuildError| Outcome::Usage(error.to_string());
    let terminals = match spec.deterministic {
        // Where it runs is not for the guest to see.
        Some(_) => Terminals::default(),
        None => Terminals {
            stdin: spec.terminals.stdin,
            stdout: spec.terminals.stdout,
            stderr: spec.terminals.stderr,
        },
    };
    let mut builder = WasiCtxBuilder::new();
    if let Some(seed) = spec.deterministic {
        let fuel = spec.limits.get(Limit::Fuel).unwrap_or(u64::MAX);
        builder = builder.deterministic(Deterministic::new(seed, fuel));
    }
    let builder = builder
        .terminals(terminals)
        .limits(limits::Limits {
            descriptors: spec
                .limits
                .get(Limit::Descriptors)
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            file_bytes: spec.limits.get(Limit::FileBytes),
            output_bytes: spec.limits.get(Limit::OutputBytes),
        })
        .arg(name)
        .and_then(|builder| builder.args(spec.argv.iter().skip(1)))
        .map_err(usage)?;
    let builder = spec
        .env
        .iter()
        .try_fold(builder, |builder, (name, value)| builder.env(name, value))
        .map_err(usage)?;
    if spec.mounts.is_empty() {
        // Time and free memory are asked for only where they are needed: a boot has no time to lose.
        return Ok(builder);
    }
    let (room, now) = match spec.memory_to_be_free() {
        // Two thirds of it are the guest's memory's.
        Some(memory) => (usize::try_from(memory / 3).unwrap_or(usize::MAX), START),
        None => (
            platform.free_memory(),
            system.clock_time(Clock::Realtime).unwrap_or(0),
        ),
    };
    let sources = MountSources {
        payload,
        budget: mounts::limits(room).into(),
        now,
        virtio_fs: &mut |tag| {
            let fs: Box<dyn FileSystem> = Box::new(devices.take(tag)?);
            Ok(fs)
        },
        uhyve: &mut |path| mapped_directory(platform, path),
    };
    mounts::mount_all(builder, &spec.mounts, sources)
}

/// Connects the machine to the network of the run, and opens the listeners that the guest begins with.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn connect<P: Platform>(
    platform: &P,
    system: &mut P::System,
    network: &run_spec::Network,
    builder: &mut WasiCtxBuilder,
) -> Result<(), Outcome> {
    let failed = |text: String| Outcome::NetworkFailed(text);
    platform.connect(system, network).map_err(failed)?;
    for local in &network.listeners {
        let sockets = system.network().ok_or(Errno::NETDOWN);
        match sockets.and_then(|sockets| sockets.listen(*local, usize::MAX)) {
            Ok(id) => *builder = mem::take(builder).listener(id, *local),
            Err(errno) => return Err(failed(format!("it cannot listen at {local}: {errno}"))),
        }
    }
    Ok(())
}

/// A directory that uhyve maps into the machine at `path`.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn mapped_directory<P: Platform>(platform: &P, path: &str) -> Result<Box<dyn FileSystem>, String> {
    let host = platform
        .uhyve()
        .ok_or("only uhyve maps directories into the machine")?;
    match UhyveFs::new(host, path) {
        Ok(fs) => Ok(Box::new(fs)),
        Err(Errno::NOENT) => Err(format!(
            "not mapped into the machine; map it with uhyve's --file-mapping HOST:{path}"
        )),
        Err(Errno::NOTDIR) => Err("it is not a directory".into()),
        Err(Errno::INVAL) => Err("the path must begin with a slash".into()),
        Err(error) => Err(format!("uhyve reports {error}")),
    }
}
