//! Runs a program: what every engine does, and the messages that they share.
//!
//! Layer: above the calls of WASI, below the application's course. `wasmi` interprets modules, `wasmtime` runs what was
//! compiled before; an image has one of them, by a feature of this crate. Each is alone in naming its engine.
//! Which engine a program is for shows in its first bytes. Why each setting is as it is: `docs/rationale.md`,
//! `docs/engines.md`.

mod decimal;
mod invoke;
#[cfg(feature = "spec-tests")]
mod script;
#[cfg(feature = "interp")]
pub mod wasmi;
#[cfg(feature = "native")]
pub mod wasmtime;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use boot_protocol::run_spec::{Limit, Limits};
use boot_protocol::shown::{self, Layout};
use wasi_core::System;
use wasi_core::context::WasiCtx;
use wasi_core::limits;
use wasi_p1::linker::{Bounds, Growth, Host, Resource, is_wasi};

use crate::exit_status::Outcome;
use crate::origin;

/// What runs programs.
pub trait Engine {
    /// Runs `job` with the world that `ctx` describes until it ends.
    ///
    /// Gives `ctx` back, so that its console can say how it ended.
    fn run<S: System + 'static>(&self, job: Job<'_>, ctx: WasiCtx<S>) -> (Outcome, WasiCtx<S>);
}

/// What an engine is to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Job<'a> {
    /// The program: a module, or native code made of one.
    pub program: &'a [u8],
    /// Libraries that are instantiated before it, in this order. Those behind them, and the program, import what they
    /// export by their names.
    pub preloads: &'a [Preload<'a>],
    /// The exported function to call in place of `_start`.
    pub entry: Option<Entry<'a>>,
    /// What it may use up.
    pub limits: Limits,
    /// What is done with what the guest's calls answer.
    pub tracing: Option<Tracing>,
}

/// What is done with what the guest's calls answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// It is recorded.
    Record,
    /// It comes from these events of a recording.
    Replay(&'static [u8]),
}

/// What the store of a job holds.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn host<S: System, M>(job: &Job<'_>, context: WasiCtx<S>) -> Host<S, M> {
    let bounds = bounds(&job.limits, context.virtual_time().is_some());
    let mut host = match job.tracing {
        None => Host::new(context),
        Some(Tracing::Record) => Host::new(context).recorded(),
        Some(Tracing::Replay(recording)) => Host::new(context).replayed(recording),
    };
    if !job.preloads.is_empty() {
        host = host.for_several();
    }
    host.growth.bounds = bounds;
    host
}

/// The end of a run that has come to `outcome` with what its store held, a limit of `stack` bytes among the others.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn conclude<S: System, M>(
    mut host: Host<S, M>,
    outcome: Outcome,
    limits: &Limits,
    stack: Option<usize>,
) -> (Outcome, WasiCtx<S>) {
    let failed = host.growth.failed;
    let outcome = of_machine(outcome, host.growth.bounds.fixed, failed);
    let outcome = match host.context.core.exceeded() {
        Some(limit) => limit_reached(limit, limits),
        None => of_limits(
            of_objects(outcome, &host.growth),
            limits,
            stack,
            host.growth.reached,
        ),
    };
    let outcome = finished(&mut host, outcome).of_refused_memory(failed);
    (outcome, host.context.core)
}

/// The end of a guest that has come to `outcome`, unless its recording has another.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn finished<S: System, M>(host: &mut Host<S, M>, outcome: Outcome) -> Outcome {
    match (host.finish(), &outcome) {
        (Err(stop), Outcome::Exit(_) | Outcome::Trap(_)) => Outcome::ReplayStopped(stop),
        _ => outcome,
    }
}

impl<'a> Job<'a> {
    /// A program alone, from its `_start` on.
    #[must_use]
    pub fn of(program: &'a [u8]) -> Self {
        Self {
            program,
            ..Self::default()
        }
    }

    /// What is wrong with it before anything is loaded.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn check(&self) -> Result<(), Outcome> {
        match self.preloads.iter().find(|preload| is_wasi(preload.name)) {
            Some(preload) => Err(Outcome::Usage(format!(
                "preload `{0}`: {0} is WASI itself; give the module another name",
                preload.name
            ))),
            None => Ok(()),
        }
    }
}

/// A library: a module that others import from, or native code made of one.
#[derive(Clone, Copy, Debug)]
pub struct Preload<'a> {
    /// The name that imports give.
    pub name: &'a str,
    /// The module, or its native code.
    pub program: &'a [u8],
}

/// A function to call.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The export's name.
    pub name: &'a str,
    /// Its arguments as text. What the function does not take is not looked at, as by wasmtime.
    pub arguments: &'a [String],
    /// Whether wasmtime's warnings about such a call are printed.
    pub warns: bool,
}

/// What a trap is called that the lack of stack ends in, by both engines.
const STACK_EXHAUSTED: &str = "call stack exhausted";
/// What the end of a guest is called whose fuel is used up, by both engines.
const FUEL_CONSUMED: &str = "all fuel consumed by WebAssembly";

/// How far memories and tables may grow; `fixed`: in a run that is the same each time.
fn bounds(limits: &Limits, fixed: bool) -> Bounds {
    let bound = |limit| {
        let value = limits.get(limit)?;
        Some(usize::try_from(value).unwrap_or(usize::MAX))
    };
    Bounds {
        memory: bound(Limit::Memory),
        table: bound(Limit::TableElements),
        trap: limits.trap_on_grow_failure,
        fixed,
    }
}

/// This end; `fixed`: of a run that is the same each time, which ends where the machine lacks memory, if it `failed` so.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn of_machine(outcome: Outcome, fixed: bool, failed: bool) -> Outcome {
    match outcome {
        Outcome::Trap(_) if fixed && failed => Outcome::MachineFailed(too_little_memory(
            "a memory or table could not grow, which a deterministic run must not see",
        )),
        outcome => outcome,
    }
}

/// This end; a trap if objects that are collected found no room for them, because their growth was refused by a limit:
/// the engine does not tell that from a machine without memory.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn of_objects(outcome: Outcome, growth: &Growth) -> Outcome {
    match outcome {
        Outcome::MachineFailed(_) if !growth.failed && growth.reached == Some(Resource::Memory) => {
            Outcome::Trap("there is no room for an object".into())
        }
        outcome => outcome,
    }
}

/// The stack's limit in bytes, if it is lower than what the engine has.
fn stack(limits: &Limits, most: usize) -> Option<usize> {
    let limit = usize::try_from(limits.get(Limit::Stack)?).ok()?;
    (limit < most).then_some(limit)
}

/// The end of a guest that a call of WASI's has ended for a limit.
fn limit_reached(limit: limits::Limit, limits: &Limits) -> Outcome {
    let limit = match limit {
        limits::Limit::Descriptors => Limit::Descriptors,
        limits::Limit::FileBytes => Limit::FileBytes,
        limits::Limit::OutputBytes => Limit::OutputBytes,
    };
    Outcome::LimitReached(limit.of(limits.get(limit).unwrap_or_default()), String::new())
}

/// This end, where a limit has made it: of a guest that trapped without fuel, without stack or after it was `refused`
/// memory or elements of a table.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn of_limits(outcome: Outcome, limits: &Limits, stack: Option<usize>, refused: Option<Resource>) -> Outcome {
    let Outcome::Trap(text) = &outcome else {
        return outcome;
    };
    let limit = match refused {
        _ if text.starts_with(FUEL_CONSUMED) => Limit::Fuel,
        _ if text.starts_with(STACK_EXHAUSTED) && stack.is_some() => Limit::Stack,
        Some(Resource::Memory) => Limit::Memory,
        Some(Resource::Table) => Limit::TableElements,
        None => return outcome,
    };
    match (limits.get(limit), outcome) {
        (Some(value), Outcome::Trap(text)) => Outcome::LimitReached(limit.of(value), text),
        (_, outcome) => outcome,
    }
}

/// Most missing imports that a message names.
const MAX_NAMED_IMPORTS: usize = 20;
/// Longest name of an import in a message, in bytes.
const LONGEST_NAME: usize = 200;

/// Why a module cannot run: the reason, and what to do unless its imports show something better.
struct Problem {
    reason: String,
    advice: Option<&'static str>,
}

impl Problem {
    /// The refusal of a module with this problem that imports what `imports` names (module and name of each).
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn refusal<'a>(self, imports: impl Iterator<Item = (&'a str, &'a str)>) -> Outcome {
        let imports: Vec<_> = imports.collect();
        let Self { reason, advice } = self;
        Outcome::Refused(match origin::advice(imports.iter().copied()).or(advice) {
            Some(advice) => format!("{reason}; {advice}"),
            None => reason,
        })
    }
}

/// What a library exports to be called before anything else.
const INITIALIZE: &str = "_initialize";

/// The end of a module whose `_initialize` is another function.
fn initialize_has_another_type() -> Outcome {
    Outcome::Refused(
        "its `_initialize` takes parameters or returns results, which a library's does not".into(),
    )
}

/// What a module exports as `_start`.
enum Start {
    /// A function without parameters and results.
    Command,
    /// Another function.
    OtherType,
    /// No function.
    NoFunction,
    /// Nothing.
    Missing {
        /// Whether it exports `_initialize`.
        is_reactor: bool,
    },
}

/// Checks that a module is a library, which others import from.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_library(start: &Start) -> Result<(), Outcome> {
    match start {
        Start::Missing { .. } => Ok(()),
        _ => Err(Outcome::Refused(
            "it exports `_start`, so it is a program, and others can import from libraries only; build it as a library \
             (in Rust: crate-type cdylib)"
                .into(),
        )),
    }
}

/// Checks that a module is a command.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_start(start: &Start) -> Result<(), Problem> {
    let (reason, advice) = match start {
        Start::Command => return Ok(()),
        Start::OtherType => (
            "its `_start` takes parameters or returns results, which a command's does not",
            None,
        ),
        Start::NoFunction => ("its export `_start` is not a function", None),
        Start::Missing { is_reactor: true } => (
            "it exports `_initialize` and no `_start`, so it is a library (a reactor)",
            Some("build it as a program with a `main`"),
        ),
        Start::Missing { is_reactor: false } => (
            "it exports no function `_start`",
            Some("build it as a program (a WASI command) with a `main`"),
        ),
    };
    Err(Problem {
        reason: reason.into(),
        advice,
    })
}

/// The imports of a module that nothing here provides.
#[derive(Default)]
struct MissingImports {
    named: Vec<String>,
    unnamed: usize,
}

impl MissingImports {
    /// Notes an import; `kind` says what it is, unless it is a function: " (a memory)".
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn add(&mut self, from: &str, name: &str, kind: &str) {
        if self.has_room() {
            self.named
                .push(format!("{}::{}{kind}", quoted(from), quoted(name)));
        }
    }

    /// Notes a function that is imported with another type than it has.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn add_mismatch(&mut self, mismatch: &dyn fmt::Display) {
        if self.has_room() {
            self.named.push(mismatch.to_string());
        }
    }

    /// Whether one more may be named; the rest is only counted: a module can import a million things, by names of
    /// 100,000 bytes.
    fn has_room(&mut self) -> bool {
        let has_room = self.named.len() < MAX_NAMED_IMPORTS;
        if !has_room {
            self.unnamed = self.unnamed.saturating_add(1);
        }
        has_room
    }

    /// The problem that they are together, if there are any, where these modules provide something.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn check<'a>(mut self, preloads: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
        if self.named.is_empty() {
            return Ok(());
        }
        if self.unnamed > 0 {
            self.named.push(format!("and {} more", self.unnamed));
        }
        let names: Vec<_> = preloads
            .take(MAX_NAMED_IMPORTS)
            .map(|name| format!("`{}`", quoted(name)))
            .collect();
        let known = match names.is_empty() {
            true => String::from("wasi_snapshot_preview1 and wasi_unstable are"),
            false => format!(
                "wasi_snapshot_preview1, wasi_unstable and what is preloaded before, {}, are",
                names.join(", ")
            ),
        };
        Err(Problem {
            reason: format!(
                "it imports what nothing here provides (only {known}): {}",
                self.named.join(", ")
            ),
            advice: None,
        })
    }
}

/// A module's name for something, as a message quotes it.
fn quoted(name: &str) -> String {
    shown::bounded(name.as_bytes(), Layout::Line, LONGEST_NAME)
}

/// What to say where the machine is too small.
pub(crate) fn too_little_memory(detail: &str) -> String {
    format!("the virtual machine has too little memory ({detail}): raise it with --memory SIZE")
}
