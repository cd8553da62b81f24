//! A recording's header: what ran, so that the same can run again.
//!
//! ```text
//! fields, each once unless it says otherwise:
//! 0  1  kind
//! 1  4  length of the value, little-endian
//! 5     value
//!
//! kind  value
//! 1     version of the program that recorded: text
//! 2     fingerprint of the machine's image: 8 bytes, little-endian
//! 3     architecture: text
//! 4     engine: text
//! 5     the processors that native code is made for: text; of native code only
//! 6     the machine's memory in bytes: 8 bytes, little-endian
//! 7     module, the program first and the preloads in their order, each: BLAKE3 of its bytes (32 bytes, zeros for the
//!       greeting), length of the name that imports give (4 bytes, little-endian), that name, the file's path
//! 8     the run's description, as docs/run-spec.md has it, without environment and directories
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use boot_protocol::arch::Arch;
use boot_protocol::run_spec::RunSpec;

use crate::compile::CpuLevel;
use crate::spec::engine::Engine;

/// Length of a digest.
pub(super) const DIGEST: usize = 32;

const PROGRAM: u8 = 1;
const IMAGE: u8 = 2;
const ARCH: u8 = 3;
const ENGINE: u8 = 4;
const LEVEL: u8 = 5;
const MEMORY: u8 = 6;
const MODULE: u8 = 7;
const SPEC: u8 = 8;

/// What ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The version of the program that recorded it.
    pub(crate) program: String,
    /// The fingerprint of the image that the machine booted.
    pub(crate) image: u64,
    pub(crate) arch: Arch,
    pub(crate) engine: Engine,
    /// What native code was made for.
    pub(crate) level: Option<CpuLevel>,
    /// The machine's memory in bytes.
    pub(crate) memory: u64,
    /// The program, then the preloads.
    pub(crate) modules: Vec<Recorded>,
    pub(crate) spec: RunSpec,
}

/// A module that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) digest: [u8; DIGEST],
    /// The name that imports give.
    pub(crate) name: String,
    /// Where it was.
    pub(crate) path: PathBuf,
}

impl Recorded {
    /// Whether it is the one that the image carries.
    pub(super) fn is_greeting(&self) -> bool {
        self.digest == [0; DIGEST]
    }
}

/// The beginning of a digest, for messages.
pub(super) fn short(digest: &[u8; DIGEST]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut field = |kind: u8, parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.push(kind);
            out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            for part in parts {
                out.extend_from_slice(part);
            }
        };
        field(PROGRAM, &[self.program.as_bytes()]);
        field(IMAGE, &[&self.image.to_le_bytes()]);
        field(ARCH, &[self.arch.name().as_bytes()]);
        field(ENGINE, &[self.engine.name().as_bytes()]);
        if let Some(level) = self.level {
            field(LEVEL, &[level.name().as_bytes()]);
        }
        field(MEMORY, &[&self.memory.to_le_bytes()]);
        for module in &self.modules {
            let length = u32::try_from(module.name.len()).unwrap_or(u32::MAX).to_le_bytes();
            let path = module.path.as_os_str().as_bytes();
            field(MODULE, &[&module.digest, &length, module.name.as_bytes(), path]);
        }
        field(SPEC, &[&self.spec.encode()]);
        out
    }

    /// Reads a header; every byte of it is an allegation.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, String> {
        let (mut program, mut image, mut arch, mut engine) = (None, None, None, None);
        let (mut level, mut memory, mut spec) = (None, None, None);
        let mut modules = Vec::new();
        while !bytes.is_empty() {
            let (kind, value, rest) = split(bytes).ok_or_else(|| nothing("a field"))?;
            bytes = rest;
            match kind {
                PROGRAM => put(&mut program, "version", text(value).map(str::to_string))?,
                IMAGE => put(&mut image, "image", number(value))?,
                ARCH => put(
                    &mut arch,
                    "architecture",
                    text(value).and_then(|name| Arch::ALL.into_iter().find(|arch| arch.name() == name)),
                )?,
                ENGINE => put(
                    &mut engine,
                    "engine",
                    text(value).and_then(|name| {
                        [Engine::Interp, Engine::Native]
                            .into_iter()
                            .find(|engine| engine.name() == name)
                    }),
                )?,
                LEVEL => put(&mut level, "processor", text(value).and_then(CpuLevel::from_name))?,
                MEMORY => put(&mut memory, "memory", number(value))?,
                MODULE => modules.push(module(value).ok_or_else(|| nothing("a module"))?),
                SPEC => {
                    let decoded = RunSpec::decode(value);
                    let decoded = decoded.map_err(|error| format!("the run's description in it: {error}"))?;
                    put(&mut spec, "description", Some(decoded))?;
                }
                kind => return Err(format!("its header has a field of the unknown kind {kind}")),
            }
        }
        let missing = |what: &str| format!("its header does not name the {what}");
        let this = Self {
            program: program.ok_or_else(|| missing("version"))?,
            image: image.ok_or_else(|| missing("image"))?,
            arch: arch.ok_or_else(|| missing("architecture"))?,
            engine: engine.ok_or_else(|| missing("engine"))?,
            level,
            memory: memory.ok_or_else(|| missing("memory"))?,
            modules,
            spec: spec.ok_or_else(|| missing("run's description"))?,
        };
        if this.modules.len() != this.spec.preloads.len().saturating_add(1) {
            return Err(missing("modules that the run's description does"));
        }
        Ok(this)
    }
}

fn nothing(what: &str) -> String {
    format!("{what} of its header means nothing")
}

/// Notes a field, which is there once and means something.
fn put<T>(slot: &mut Option<T>, what: &str, value: Option<T>) -> Result<(), String> {
    match value {
        Some(value) if slot.is_none() => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(nothing(&format!("the {what}"))),
    }
}

/// The first field's kind and value, and the rest.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, bytes) = bytes.split_first()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (value, rest) = bytes.split_at_checked(length)?;
    Some((*kind, value, rest))
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

fn module(value: &[u8]) -> Option<Recorded> {
    let (digest, value) = value.split_first_chunk()?;
    let (length, value) = value.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (name, path) = value.split_at_checked(length)?;
    Some(Recorded {
        digest: *digest,
        name: text(name)?.to_string(),
        path: OsStr::from_bytes(path).into(),
    })
}
