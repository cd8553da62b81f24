//! Runs that are recorded, and runs that replay a recording.

use std::fs::File;
use std::iter;
use std::sync::Arc;

use boot_protocol::arch::Arch;
use boot_protocol::run_spec::{Limit, RunSpec, Terminals};

use super::module::Module;
use super::program::Program;
use super::request::Request;
use super::run::Run;
use crate::compile;
use crate::error::{Error, StartError};
use crate::host::units::MIB;
use crate::recording::{Header, Recorded, RecordedEnd, Recording, Tape};
use crate::report::{Figures, Report};
use crate::result::RunResult;
use crate::session::streams::Input;

impl Run {
    /// Records what the guest's calls answer in `file`, a regular file whose content is replaced: [`Recording`] replays
    /// it. It holds what the guest has read, secrets included.
    #[must_use]
    pub fn record(mut self, file: File) -> Self {
        self.record = Some(Arc::new(file));
        self
    }

    /// A run that replays `recording` with these modules, the program first.
    pub(crate) fn replaying(recording: Recording, modules: Vec<Module>) -> Result<Self, Error> {
        let header = recording.header();
        let mut modules = modules.into_iter();
        let Some(program) = modules.next() else {
            return Err(Error::Invalid(
                "a recording is of one module at least".to_string(),
            ));
        };
        let recorded = header.modules.iter().skip(1);
        let names: Vec<_> = recorded.map(|module| module.name.clone()).collect();
        // The recording lies in the machine, too.
        let room = recording.length().next_multiple_of(MIB);
        let unused = match header.arch {
            Arch::X86_64 => 0,
            // QEMU puts what it hands over behind the first half of memory, or behind 128 MiB if that is less.
            Arch::Aarch64 | Arch::Riscv64 => room.min(128 * MIB),
        };
        let memory = [room, unused]
            .into_iter()
            .fold(header.memory, u64::saturating_add);
        let mut this = Self::new(program)
            .stdin(Input::Null)
            .arch(header.arch)
            .engine(header.engine)
            .memory(memory);
        this.spec = header.spec.clone();
        // It goes by a clock, and nothing here does.
        this.spec.limits.set(Limit::Deadline, None);
        this.engines.level = header.level;
        this.preloads = names.into_iter().zip(modules).collect();
        this.replay = Some(Arc::new(recording));
        Ok(this)
    }

    /// Begins the run's recording, if it is recorded.
    pub(super) fn begin_recording(&self, request: &Request<'_>) -> Result<Option<Tape>, Error> {
        let Some(file) = &self.record else {
            return Ok(None);
        };
        if self.packed.is_some() {
            return Err(Error::Invalid(format!(
                "--record: {} is a packed file; take it apart with 'hermit-wasm unpack', and record the module",
                self.module
            )));
        }
        // Its digest would be of the code, which no other host has.
        if self.is_precompiled() {
            return Err(Error::Invalid(
                "--record: compiled code cannot be recorded; name the module that it was compiled from, with --engine \
                 native"
                    .to_string(),
            ));
        }
        let header = self.header(request)?;
        let tape = Tape::begin(file, &header).map_err(StartError::file("write the recording"))?;
        Ok(Some(tape))
    }

    /// What the run's recording begins with.
    fn header(&self, request: &Request<'_>) -> Result<Header, Error> {
        let names = iter::once("").chain(self.preloads.iter().map(|(name, _)| name.as_str()));
        let modules = request.modules().zip(names).map(|(module, name)| {
            let (digest, path) = match module.is_greeting() {
                true => Default::default(),
                false => (
                    compile::digest(module, request.deadline())?,
                    module.name().to_path_buf(),
                ),
            };
            Ok(Recorded {
                digest,
                name: name.to_string(),
                path: std::path::absolute(&path).unwrap_or(path),
            })
        });
        let level = match request.program() {
            Program::Module(_) | Program::Packed(_) => None,
            Program::Code(code) => Some(code.target().level),
        };
        Ok(Header {
            program: env!("CARGO_PKG_VERSION").to_string(),
            image: request.named_image()?.fingerprint,
            arch: request.arch(),
            engine: request.engine(),
            level,
            memory: request.memory(),
            modules: modules.collect::<Result<_, Error>>()?,
            spec: RunSpec {
                // What the guest has asked of these, its calls have answered.
                env: Vec::new(),
                mounts: Vec::new(),
                terminals: Terminals::NONE,
                log: None,
                tracing: None,
                ..request.described().clone()
            },
        })
    }
}

/// Notes how a recorded run ended.
pub(super) fn end_recording(tape: &Tape, result: &Result<RunResult, Error>, figures: &Figures) {
    let report = Report::new(result, figures);
    let end = RecordedEnd {
        code: report.exit_code,
        how: report.end.name().to_string(),
    };
    if let Err(error) = tape.end(&end) {
        log::warn!("the recording does not say how the run ended: {error}");
    }
}
