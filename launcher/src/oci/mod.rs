//! Containers: this program as an OCI runtime, in front of one that the node has.
//!
//! `create` and `run` rewrite a bundle's configuration, so that the container *is* launcher, hypervisor and
//! file server in a read-only root of their own (the *monitor*), with all that the container was to see behind
//! one directory, which the guest has as `/`. Then runc, crun or youki (the *delegate*) does what it always does:
//! namespaces, cgroups, seccomp, hooks, console, state. All other calls go to it as they are; `exec` is refused, since a
//! machine has one program. In the container, the launcher reads what it was left, and it becomes a
//! [`Run`](crate::Run) like any other.
//!
//! - `annotations`: what an OCI configuration has no field for.
//! - `calls`: `exec`, `state` and `features`.
//! - `config`: what the node's administrator says.
//! - `entry`: a container's program, found in the image.
//! - `image_root`: paths in an image.
//! - `inside`: the launcher in the container.
//! - `monitor`: its root.
//! - `mounts`: the guest's mounts.
//! - `native`: native code for its module.
//! - `refusal`: errors, and where they are said.
//! - `request`: what `create` leaves for the launcher.
//! - `resources`: limits.
//! - `rewrite`: the configuration.
//! - `unknown`: fields that nobody here knows.
//! - `update`: new limits.
//! - `users`: a container's users, outside of its user namespace.
//! - `verify`: the last look at a container's mounts.
//! - `view`: what a container sees: its image and its mounts.
//! - `words`: the command line.

mod annotations;
mod calls;
mod config;
mod entry;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod image_root;
mod inside;
mod kvm;
mod monitor;
mod mounts;
mod native;
mod refusal;
mod request;
mod resources;
mod rewrite;
mod unknown;
mod update;
mod users;
mod verify;
mod view;
mod words;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use boot_protocol::arch::Arch;
use oci_spec::runtime::Spec;
use serde_json::Value;

use self::config::Config;
use self::monitor::Programs;
use self::mounts::cannot;
use self::refusal::{Level, Log, Refusal, refuse};
use self::request::Request;
use self::rewrite::{Container, Fate, Machine};
use self::words::Call;
use crate::compile::Code;
use crate::host::files;
use crate::vmm::capabilities::Accelerator;
pub use inside::Inside;

/// What the program is called where it is installed as a runtime.
pub const NAME: &str = "hermit-oci";

/// Where a node keeps things whose engine has no home, with `hermit-wasm` behind it.
const CACHE: &str = "/var/cache";

/// Whether these words, behind `oci`, are those of the launcher in a container.
#[must_use]
pub fn is_inside(words: &[OsString]) -> bool {
    matches!(words, [word] if word == request::INSIDE)
}

/// Does what an engine asks for: becomes the delegate, or prints and returns.
///
/// # Errors
/// One sentence, which stands in the log of `--log` already.
pub fn perform(words: Vec<OsString>) -> Result<Option<String>, String> {
    if let Some((word, words)) = words.split_first()
        && word == verify::WORD
    {
        return verify::perform(words).map(|()| None);
    }
    let call = Call::parse(words);
    let log = Log {
        file: call.log.as_deref(),
        json: call.json,
    };
    answer(&call, log).map_err(|refusal| {
        let sentence = refusal.to_string();
        log.say(Level::Error, &sentence);
        sentence
    })
}

fn answer(call: &Call, log: Log<'_>) -> Result<Option<String>, Refusal> {
    let config = Config::read()?;
    let delegate = config.delegate(call.delegate.as_deref())?;
    let words = match call.command.as_deref() {
        _ if call.is_for_help() => call.words.clone(),
        Some("create" | "run") => {
            have_a_cache(call);
            prepare(call, &config, &delegate, log)?
        }
        Some("exec") => {
            calls::refuse_exec(call, &delegate)?;
            calls::fit_exec(call, log)?;
            call.words.clone()
        }
        Some("update") => update::words(call, &config, &delegate)?,
        Some("state") => match calls::state_of_ours(call, &delegate)? {
            Some(text) => return Ok(Some(text)),
            None => call.words.clone(),
        },
        Some("features") => return calls::features(call, &delegate).map(Some),
        _ => call.words.clone(),
    };
    let error = Command::new(&delegate).args(words).exec();
    Err(cannot("execute the delegate", &delegate)(error))
}

/// Services are started without a home, and then there is no place for what is kept between containers: whether KVM
/// works, and native code. This program is executed once more, with such a place.
fn have_a_cache(call: &Call) {
    if files::cache_directory().is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Returns only if it cannot be executed: then nothing is kept.
        let _ = Command::new(program)
            .arg0(NAME)
            .args(&call.given)
            .env("XDG_CACHE_HOME", CACHE)
            .exec();
    }
}

/// Makes ready what the delegate is to make a container of; its words.
fn prepare(call: &Call, config: &Config, delegate: &Path, log: Log<'_>) -> Result<Vec<OsString>, Refusal> {
    let Some(id) = call.id.as_deref() else {
        return refuse!("the container's name is missing");
    };
    let bundle = call.bundle.as_deref().unwrap_or(Path::new("."));
    let bundle = bundle.canonicalize().map_err(cannot("find the bundle", bundle))?;
    let own = monitor::bundle(&bundle, id)?;
    // A container that there is must not lose its root by an attempt to make it again.
    if own.exists() && calls::is_there(call, delegate)? {
        return Ok(call.with_bundle(&own));
    }
    let file = call.config.clone().unwrap_or_else(|| bundle.join("config.json"));
    let text = std::fs::read(&file).map_err(cannot("read", &file))?;
    let (asked, spec) = Asked::read(&file, &text)?;
    let mut container = Container {
        bundle: &bundle,
        id: Some(id),
        spec,
    };
    let engines_root = container
        .spec
        .root()
        .as_ref()
        .map(|root| bundle.join(root.path()));
    let fate = container.fate(config)?;
    let dropped = container.fit();
    for what in &dropped {
        log.say(Level::Warning, what);
    }
    match fate {
        Fate::AsItIs if dropped.is_empty() => return Ok(call.words.clone()),
        Fate::AsItIs => {
            container.make_absolute();
            monitor::directory(&own)?;
        }
        Fate::Machine(machine) => {
            let programs = Programs::find(config, Arch::host().name())?;
            let accelerator = kvm::choose(machine.annotations.accelerator, config, &programs, log)?;
            make(
                &mut container,
                &machine,
                config,
                &programs,
                accelerator,
                &own,
                |request| native::code(&machine.entry, request, &machine.annotations, config),
            )?;
        }
    }
    monitor::note_engines_root(&own, engines_root.as_deref())?;
    let file = own.join("config.json");
    let written = asked.written(&container.spec)?.to_string();
    std::fs::write(&file, written).map_err(cannot("write", &file))?;
    Ok(call.with_bundle(&own))
}

/// Makes the delegate's bundle of a machine, and rewrites its container; `code` compiles what it runs.
fn make(
    container: &mut Container<'_>,
    machine: &Machine,
    config: &Config,
    programs: &Programs,
    accelerator: Option<Accelerator>,
    own: &Path,
    code: impl FnOnce(&Request) -> Result<Option<Code>, Refusal>,
) -> Result<(), Refusal> {
    let before = container.spec.clone();
    let mut request = container.rewrite(machine, config, programs, accelerator)?;
    let code = code(&request)?;
    request.code = code.as_ref().map(|_| request::CODE.into());
    let mounts = container.spec.mounts().as_deref().unwrap_or_default();
    let root = monitor::make(own, config, &request, mounts, container.owner(&machine.users)?)?;
    if let Some(code) = code {
        native::keep(&code, &root)?;
    }
    container.set_root(root, &programs.launcher)?;
    // Compiling may have taken long, and volumes have other users.
    let again = Container {
        spec: before,
        ..*container
    };
    if !again.is_still(machine, config)? {
        return refuse!("a volume of the container was changed while it was made");
    }
    Ok(())
}

/// A configuration as it was given, and as far as it is understood.
struct Asked {
    given: Value,
    known: Value,
}

impl Asked {
    fn read(file: &Path, text: &[u8]) -> Result<(Self, Spec), Refusal> {
        let wrong =
            |error: serde_json::Error| Refusal::new(format!("cannot understand {}: {error}", file.display()));
        let spec: Spec = serde_json::from_slice(text).map_err(wrong)?;
        let given = serde_json::from_slice(text).map_err(wrong)?;
        let known = value_of(&spec)?;
        Ok((Self { given, known }, spec))
    }

    /// `spec`, which was made of it, with the fields that are not understood.
    fn written(&self, spec: &Spec) -> Result<Value, Refusal> {
        let mut all = value_of(spec)?;
        unknown::keep(&self.given, &self.known, &mut all);
        Ok(all)
    }
}

fn value_of(spec: &Spec) -> Result<Value, Refusal> {
    serde_json::to_value(spec)
        .map_err(|error| Refusal::new(format!("cannot write the container's configuration: {error}")))
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
