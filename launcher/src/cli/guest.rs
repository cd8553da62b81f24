//! What the flags of a run give the guest, and how their words are read.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use hermit_wasm_vm::host::units;
use hermit_wasm_vm::{self as vm, Deadline, Error, Limits, Module};

use super::run::{Run, usage};

impl Run {
    /// The modules that others import from, each with its name.
    pub(super) fn preloads(&self, memory: u64, deadline: &Deadline) -> Result<Vec<(String, Module)>, Error> {
        let open = |value: &OsString| {
            let (name, path) = split_preload(value)?;
            Ok((name, Module::open_until(path, memory, deadline)?))
        };
        self.preload.iter().map(open).collect()
    }

    /// What the guest may use up.
    pub(super) fn limits(&self) -> Result<Limits, Error> {
        let mut limits = Limits::NONE;
        for word in &self.limits {
            limits
                .apply(word)
                .map_err(|error| usage(format!("-W: {error}")))?;
        }
        Ok(limits)
    }

    /// The module to run; `None`: a Hermitfile's, or the greeting.
    pub(super) fn module(&self) -> Option<&Path> {
        match self.file {
            Some(_) => None,
            None => self.module_and_args.first().map(Path::new),
        }
    }

    /// The guest's argv\[1..\].
    pub(super) fn args(&self) -> Result<Vec<String>, Error> {
        let before = usize::from(self.file.is_none());
        let args = self.module_and_args.iter().skip(before).enumerate();
        args.map(|(index, arg)| utf8(arg, || format!("argument {} of the guest", index + 1)))
            .collect()
    }

    /// The host's variables, if all are taken over. WASI has no way to pass one that is not UTF-8.
    pub(super) fn inherited(&self) -> Vec<(String, String)> {
        if !self.inherits_env() {
            return Vec::new();
        }
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let variable = name.to_str().zip(value.to_str());
            if variable.is_none() {
                let name = boot_protocol::shown::piece(name.as_bytes());
                log::warn!("-S inherit-env: the variable '{name}' is not UTF-8 and is left out");
            }
            let (name, value) = variable.filter(|(name, _)| !name.is_empty() && !name.contains('='))?;
            Some((name.to_string(), value.to_string()))
        });
        variables.collect()
    }

    /// The guest's environment; `lookup` finds the values that are taken over from the host.
    pub(super) fn environment(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut environment = Vec::new();
        for setting in &self.env {
            let setting = utf8(setting, || "--env".to_string())?;
            let (key, value) = match setting.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None => match lookup(&setting) {
                    Some(value) => {
                        let value = utf8(&value, || format!("--env: the value of {setting}"))?;
                        (setting, value)
                    }
                    None => continue,
                },
            };
            if key.is_empty() {
                return Err(usage("--env: the variable has no name; expected K=V or K"));
            }
            environment.push((key, value));
        }
        Ok(environment)
    }
}

/// The name and the path of `NAME=MODULE`.
pub(super) fn split_preload(value: &OsStr) -> Result<(String, &OsStr), Error> {
    let bytes = value.as_encoded_bytes();
    // Only the path may be anything.
    let name = bytes.split(|byte| *byte == b'=').next().unwrap_or_default();
    let path = bytes
        .get(name.len().saturating_add(1)..)
        .filter(|path| !path.is_empty());
    let path =
        OsStr::from_bytes(path.ok_or_else(|| {
            usage("--preload: expected NAME=MODULE, the name that imports give and a file")
        })?);
    let name = utf8(OsStr::from_bytes(name), || "--preload: the name".to_string())?;
    Ok((name, path))
}

/// WASI strings are UTF-8.
pub(super) fn utf8(text: &OsStr, what: impl Fn() -> String) -> Result<String, Error> {
    let text = text.to_str();
    text.map(str::to_string).ok_or_else(|| {
        usage(format!(
            "{} is not UTF-8, and a WASI program can only be given UTF-8",
            what()
        ))
    })
}

/// A descriptor's number.
pub(super) fn parse_descriptor(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "expected the number of an open descriptor, as 7 in a shell's 7>FILE".to_string())
}

/// The seed of a deterministic run.
pub(super) fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a whole number below 2^64, as in --deterministic=42".to_string())
}

/// A machine's memory.
pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = units::parse_size(text)?;
    // A unit was forgotten, most likely.
    if bytes < vm::SMALLEST_MEMORY {
        let smallest = units::show_size(vm::SMALLEST_MEMORY);
        let hint = match text.parse::<u64>() {
            Ok(number) => format!("; a number without a unit means bytes: did you mean {number}M?"),
            Err(_) => String::new(),
        };
        return Err(format!(
            "a machine needs at least {smallest}, not {}{hint}",
            units::show_size(bytes)
        ));
    }
    Ok(bytes)
}
