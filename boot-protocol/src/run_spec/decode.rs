//! Reads a run's description from its bytes. What they mean is said in `wire`.
//!
//! Layer: wire format.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::wire::{
    ARGUMENT, DETERMINISTIC, ENTRY, FLAGS, GROWTH, LIMIT, LOG, MAGIC, MODULE, MOUNT, OPEN, PRELOAD, Record,
    RunSpec, TERMINALS, TRACING, VARIABLE, VERSION,
};
use super::{
    Access, Limit, Limits, LogLevel, ModuleSource, Mount, MountSource, Preload, SpecError, Terminals,
    Tracing, network,
};

impl RunSpec {
    /// Reads a description.
    ///
    /// # Errors
    /// [`SpecError`] says what is wrong with it: nothing is left out, and nothing is guessed.
    #[inline(never)]
    pub fn decode(bytes: &[u8]) -> Result<Self, SpecError> {
        let mut reader = Reader(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(SpecError::NotASpec);
        }
        match reader.array().map(u16::from_le_bytes) {
            None => return Err(SpecError::Truncated),
            Some(VERSION) => {}
            Some(version) => return Err(SpecError::Version(version)),
        }
        let mut parts = Parts::default();
        while !reader.0.is_empty() {
            let (kind, value) = reader.record().ok_or(SpecError::Truncated)?;
            parts.take(kind, value)?;
        }
        let spec = parts.finish()?;
        spec.check()?;
        Ok(spec)
    }
}

/// Bytes that have not been read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self, length: u32) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn record(&mut self) -> Option<(u16, &'a [u8])> {
        let kind = u16::from_le_bytes(self.array()?);
        let length = u32::from_le_bytes(self.array()?);
        Some((kind, self.bytes(length)?))
    }
}

/// What has been read so far.
#[derive(Default)]
struct Parts {
    module: Option<ModuleSource>,
    terminals: Option<Terminals>,
    log: Option<LogLevel>,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    open: Vec<String>,
    mounts: Vec<Mount>,
    entry: Option<String>,
    preloads: Vec<Preload>,
    limits: Limits,
    deterministic: Option<u64>,
    tracing: Option<Tracing>,
    flags: Option<u8>,
    network: network::Parts,
}

impl Parts {
    fn take(&mut self, kind: u16, value: &[u8]) -> Result<(), SpecError> {
        match kind {
            MODULE => once(&mut self.module, Record::Module, module(value)?),
            ARGUMENT => {
                self.argv.push(text(Record::Argument, value)?);
                Ok(())
            }
            VARIABLE => {
                self.env.push(variable(value)?);
                Ok(())
            }
            OPEN => {
                self.open.push(text(Record::Open, value)?);
                Ok(())
            }
            MOUNT => {
                self.mounts.push(mount(value)?);
                Ok(())
            }
            TERMINALS => once(&mut self.terminals, Record::Terminals, terminals(value)?),
            LOG => once(&mut self.log, Record::Log, level(value)?),
            ENTRY => once(&mut self.entry, Record::Entry, text(Record::Entry, value)?),
            PRELOAD => {
                self.preloads.push(preload(value)?);
                Ok(())
            }
            LIMIT => {
                let (limit, value) = limit(value)?;
                if self.limits.get(limit).is_some() {
                    return Err(SpecError::Duplicate(Record::Limit));
                }
                self.limits.set(limit, Some(value));
                Ok(())
            }
            GROWTH => {
                if !value.is_empty() {
                    return Err(SpecError::Value(Record::Growth, "no bytes"));
                }
                match core::mem::replace(&mut self.limits.trap_on_grow_failure, true) {
                    false => Ok(()),
                    true => Err(SpecError::Duplicate(Record::Growth)),
                }
            }
            DETERMINISTIC => {
                let seed = value.try_into().map(u64::from_le_bytes);
                let seed = seed.map_err(|_| SpecError::Value(Record::Deterministic, "8 bytes"))?;
                once(&mut self.deterministic, Record::Deterministic, seed)
            }
            TRACING => once(&mut self.tracing, Record::Tracing, tracing(value)?),
            FLAGS => match value {
                [flags @ 1..4] => once(&mut self.flags, Record::Flags, *flags),
                _ => Err(SpecError::Value(Record::Flags, "a byte from 1 to 3")),
            },
            other => self.network.take(other, value),
        }
    }

    fn finish(self) -> Result<RunSpec, SpecError> {
        let flags = self.flags.unwrap_or(0);
        Ok(RunSpec {
            module: self.module.ok_or(SpecError::Missing(Record::Module))?,
            argv: self.argv,
            env: self.env,
            open: self.open,
            mounts: self.mounts,
            terminals: self.terminals.ok_or(SpecError::Missing(Record::Terminals))?,
            log: self.log,
            entry: self.entry,
            invoked: flags & 1 != 0,
            preloads: self.preloads,
            limits: self.limits,
            deterministic: self.deterministic,
            tracing: self.tracing,
            may_be_widened: flags & 2 != 0,
            network: self.network.finish()?.map(Box::new),
        })
    }
}

fn once<T>(place: &mut Option<T>, record: Record, value: T) -> Result<(), SpecError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(SpecError::Duplicate(record)),
    }
}

/// Out of line, since an image has to be small.
#[inline(never)]
fn text(record: Record, bytes: &[u8]) -> Result<String, SpecError> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(SpecError::NotUtf8(record)),
    }
}

fn module(value: &[u8]) -> Result<ModuleSource, SpecError> {
    match value {
        [0] => Ok(ModuleSource::Payload),
        [1] => Ok(ModuleSource::Embedded),
        [2, path @ ..] => Ok(ModuleSource::Path(text(Record::Module, path)?)),
        _ => Err(SpecError::Value(Record::Module, "0, 1, or 2 and a path")),
    }
}

fn variable(value: &[u8]) -> Result<(String, String), SpecError> {
    let variable = text(Record::Variable, value)?;
    match variable.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(SpecError::Value(Record::Variable, "NAME=VALUE")),
    }
}

fn mount(value: &[u8]) -> Result<Mount, SpecError> {
    let wrong = |expected| SpecError::Value(Record::Mount, expected);
    let mut reader = Reader(value);
    let [source, access] = reader
        .array()
        .ok_or_else(|| wrong("a source, an access and two names"))?;
    let name = reader
        .array()
        .and_then(|length| reader.bytes(u32::from_le_bytes(length)))
        .ok_or_else(|| wrong("a name as long as it says"))?;
    let source = match source {
        0 => MountSource::Tmpfs { size: size(name)? },
        1 => MountSource::Copy {
            member: text(Record::Mount, name)?,
        },
        2 => MountSource::VirtioFs {
            tag: text(Record::Mount, name)?,
        },
        3 => MountSource::UhyveMap {
            path: text(Record::Mount, name)?,
        },
        _ => return Err(wrong("a source from 0 to 3")),
    };
    let access = match access {
        0 => Access::ReadWrite,
        1 => Access::ReadOnly,
        _ => return Err(wrong("an access of 0 or 1")),
    };
    let guest = text(Record::Mount, reader.0)?;
    Ok(Mount {
        source,
        guest,
        access,
    })
}

/// The size of a tmpfs, if it has one.
fn size(bytes: &[u8]) -> Result<Option<u64>, SpecError> {
    match (bytes, bytes.try_into().map(u64::from_le_bytes)) {
        ([], _) => Ok(None),
        (_, Ok(size)) => Ok(Some(size)),
        _ => Err(SpecError::Value(
            Record::Mount,
            "a tmpfs with a size of 8 bytes, or none",
        )),
    }
}

fn terminals(value: &[u8]) -> Result<Terminals, SpecError> {
    match *value {
        [bits @ 0..8] => Ok(Terminals {
            stdin: bits & 1 != 0,
            stdout: bits & 2 != 0,
            stderr: bits & 4 != 0,
        }),
        _ => Err(SpecError::Value(Record::Terminals, "one byte below 8")),
    }
}

fn level(value: &[u8]) -> Result<LogLevel, SpecError> {
    let level = match *value {
        [index] => LogLevel::ALL.get(usize::from(index)).copied(),
        _ => None,
    };
    level.ok_or(SpecError::Value(Record::Log, "one byte below 6"))
}

fn preload(value: &[u8]) -> Result<Preload, SpecError> {
    let mut reader = Reader(value);
    let name = reader
        .array()
        .and_then(|length| reader.bytes(u32::from_le_bytes(length)))
        .ok_or(SpecError::Value(Record::Preload, "a name as long as it says"))?;
    Ok(Preload {
        name: text(Record::Preload, name)?,
        member: text(Record::Preload, reader.0)?,
    })
}

fn limit(value: &[u8]) -> Result<(Limit, u64), SpecError> {
    let limit = match *value {
        [which, a, b, c, d, e, f, g, h] => Limit::ALL
            .get(usize::from(which))
            .map(|limit| (*limit, u64::from_le_bytes([a, b, c, d, e, f, g, h]))),
        _ => None,
    };
    limit.ok_or(SpecError::Value(Record::Limit, "one byte below 8, and 8 bytes"))
}

fn tracing(value: &[u8]) -> Result<Tracing, SpecError> {
    match *value {
        [0] => Ok(Tracing::Record),
        [1] => Ok(Tracing::Replay),
        _ => Err(SpecError::Value(Record::Tracing, "0 or 1")),
    }
}
