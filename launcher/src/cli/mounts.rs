//! The flags that give the guest directories, in the order in which they stand: the guest's descriptors 3, 4, ….
//!
//! clap collects the values of each flag apart; here they come together again.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use hermit_wasm_vm::host::units::parse_size;
use hermit_wasm_vm::{Access, Error, Mount, MountSource};

use super::habits;
use super::run::usage;

/// What a flag says, before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Tmpfs,
    CopyDir,
    Dir,
}

impl Flag {
    const ALL: [Self; 3] = [Self::Tmpfs, Self::CopyDir, Self::Dir];

    /// Its name, without dashes.
    const fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::CopyDir => "copy-dir",
            Self::Dir => "dir",
        }
    }

    /// The form of its value.
    const fn form(self) -> &'static str {
        match self {
            Self::Tmpfs => "GUEST[,size=SIZE]",
            Self::CopyDir => "HOST[::GUEST][:ro]",
            Self::Dir => "HOST[::GUEST][:ro][,quota=SIZE]",
        }
    }

    /// What stands before the size that bounds it.
    const fn bound(self) -> &'static str {
        match self {
            Self::Tmpfs => ",size=",
            Self::CopyDir | Self::Dir => ",quota=",
        }
    }
}

/// The flags as they stand on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountFlags(Vec<(Flag, OsString)>);

impl MountFlags {
    /// Whether none was given.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the flags ask for.
    ///
    /// **Errors**: a value without a directory or without a name for the guest, with a name that is not UTF-8, or
    /// in the spelling of another program.
    pub(super) fn mounts(&self) -> Result<Vec<Mount>, Error> {
        self.0.iter().map(|(flag, value)| mount(*flag, value)).collect()
    }
}

fn mount(flag: Flag, value: &OsStr) -> Result<Mount, Error> {
    let name = flag.name();
    let (value, quota) = quota(flag, value)?;
    check_spelling(flag, value, quota.as_ref().map_or("", |(words, _)| words))?;
    let quota = quota.map(|(_, size)| size);
    if flag == Flag::Tmpfs {
        return Ok(Mount {
            source: MountSource::Tmpfs,
            guest: guest_name(name, value)?,
            access: Access::ReadWrite,
            quota,
        });
    }
    let (host, guest, access) = split(value);
    if host.is_empty() {
        return Err(usage(format!(
            "--{name}: '{}' does not name a host directory; expected {}",
            value.to_string_lossy(),
            flag.form()
        )));
    }
    if quota.is_some() && access == Access::ReadOnly {
        return Err(read_only_with_quota(host));
    }
    Ok(Mount {
        source: match flag {
            Flag::Dir => MountSource::Dir(host.into()),
            _ => MountSource::Copy(host.into()),
        },
        guest: guest_name(name, guest)?,
        access,
        quota,
    })
}

fn read_only_with_quota(host: &OsStr) -> Error {
    let host = host.to_string_lossy();
    usage(format!(
        "--dir: '{host}' is read-only and cannot grow; omit quota= or :ro"
    ))
}

/// `,quota=SIZE` or `,size=SIZE` as it was typed, and the size in bytes.
type Quota = (String, u64);

/// Cuts `,quota=SIZE` off a value of `--dir`, or `,size=SIZE` off one of `--tmpfs`, and returns what is left of that
/// too.
fn quota(flag: Flag, value: &OsStr) -> Result<(&OsStr, Option<Quota>), Error> {
    let name = flag.name();
    let Some((rest, size)) = cut(value, flag.bound()) else {
        return match cut(value, Flag::Dir.bound()) {
            Some(_) => Err(usage(format!(
                "--{name}: quota= is for --dir; the form is {}",
                flag.form()
            ))),
            None => Ok((value, None)),
        };
    };
    match flag {
        Flag::CopyDir => Err(usage(format!(
            "--{name}: quota= is for --dir; the machine's memory bounds what the guest writes here"
        ))),
        Flag::Dir if size.ends_with(":ro") => Err(read_only_with_quota(split(rest).0)),
        Flag::Dir | Flag::Tmpfs => {
            let option = format!("{}{size}", flag.bound());
            match parse_size(&size) {
                Ok(bytes) => Ok((rest, Some((option, bytes)))),
                Err(reason) => Err(usage(format!(
                    "--{name}: {}: {reason}",
                    option.trim_start_matches(',')
                ))),
            }
        }
    }
}

/// What stands before the last `mark`, and behind it.
fn cut<'a>(value: &'a OsStr, mark: &str) -> Option<(&'a OsStr, Cow<'a, str>)> {
    let (bytes, mark) = (value.as_bytes(), mark.as_bytes());
    let at = bytes.windows(mark.len()).rposition(|window| window == mark)?;
    let (rest, size) = bytes.split_at_checked(at)?;
    let size = String::from_utf8_lossy(size.get(mark.len()..).unwrap_or_default());
    Some((OsStr::from_bytes(rest), size))
}

/// Refuses the spellings of other programs, and options that are not there: they would make odd names, and what they
/// ask for would not hold. `quota` stood behind the value.
fn check_spelling(flag: Flag, value: &OsStr, quota: &str) -> Result<(), Error> {
    let Some(text) = value.to_str() else {
        return Ok(());
    };
    let name = flag.name();
    let exists = |path: &str| Path::new(path).exists();
    if let Some(option) = unknown_option(text, |path| flag != Flag::Tmpfs && exists(path)) {
        return Err(usage(format!(
            "--{name} {text}{quota}: '{option}' is not understood; the form is {}",
            flag.form()
        )));
    }
    let (right, form) = match flag {
        Flag::Tmpfs => (
            habits::tmpfs_without_options(text),
            "the form is GUEST[,size=SIZE]",
        ),
        Flag::CopyDir | Flag::Dir => (
            habits::right_spelling(text, exists),
            "the form is HOST[::GUEST][:ro], with two colons between the names",
        ),
    };
    match right {
        Some(right) => Err(usage(format!(
            "--{name} {text}{quota}: {form}; write --{name} {right}{quota}"
        ))),
        None => Ok(()),
    }
}

/// What stands behind a last comma as an option would: `,ro`, `,size=1M`. A directory of the host may be called so, as
/// `exists` says; what the guest calls one never ends like this.
fn unknown_option(value: &str, exists: impl Fn(&str) -> bool) -> Option<&str> {
    let guest = value.split_once("::").map(|(_, guest)| guest);
    let name = guest.unwrap_or(value);
    let option = name.get(name.rfind(',')?..)?;
    let words = option.strip_prefix(',')?.trim_end_matches(":ro");
    let is_option = match words.split_once('=') {
        Some((key, _)) => !key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic()),
        None => matches!(words, "ro" | "rw" | "readonly"),
    };
    let is_there = guest.is_none() && (exists(value) || exists(value.trim_end_matches(":ro")));
    (is_option && !is_there).then_some(option)
}

/// Cuts `HOST[::GUEST][:ro]` into its parts.
fn split(value: &OsStr) -> (&OsStr, &OsStr, Access) {
    let bytes = value.as_bytes();
    let (bytes, access) = match bytes.strip_suffix(b":ro") {
        Some(bytes) => (bytes, Access::ReadOnly),
        None => (bytes, Access::ReadWrite),
    };
    let (host, guest) = match bytes.windows(2).position(|pair| pair == b"::") {
        Some(at) => (
            bytes.get(..at).unwrap_or_default(),
            bytes.get(at.saturating_add(2)..).unwrap_or_default(),
        ),
        // As in wasmtime: the guest calls it what it is called here.
        None => (bytes, bytes),
    };
    (OsStr::from_bytes(host), OsStr::from_bytes(guest), access)
}

/// What the guest calls a directory.
fn guest_name(flag: &str, name: &OsStr) -> Result<String, Error> {
    let wrong = |what: &str| {
        let shown = name.to_string_lossy();
        Err(usage(format!(
            "--{flag}: the guest's name for it, '{shown}', {what}"
        )))
    };
    match name.to_str() {
        None => wrong("is not UTF-8, and a WASI program can only be given UTF-8; name it with HOST::GUEST"),
        Some("") => wrong("is empty; use a name such as / or ."),
        Some(text) if text.len() > LONGEST_NAME => wrong("is longer than 4095 bytes"),
        Some(text) => Ok(text.to_string()),
    }
}

/// As long as a path may be.
const LONGEST_NAME: usize = 4095;

impl FromArgMatches for MountFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Vec::new();
        for flag in Flag::ALL {
            let values = matches.get_many::<OsString>(flag.name()).into_iter().flatten();
            let places = matches.indices_of(flag.name()).into_iter().flatten();
            found.extend(
                places
                    .zip(values)
                    .map(|(place, value)| (place, flag, value.clone())),
            );
        }
        found.sort_by_key(|(place, ..)| *place);
        Ok(Self(
            found.into_iter().map(|(_, flag, value)| (flag, value)).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for MountFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |flag: Flag, value: &'static str, help: &'static str, long_help: &'static str| {
            Arg::new(flag.name())
                .long(flag.name())
                .value_name(value)
                .value_parser(OsStringValueParser::new())
                .value_hint(if matches!(flag, Flag::Tmpfs) {
                    ValueHint::Other
                } else {
                    ValueHint::DirPath
                })
                .action(ArgAction::Append)
                .help(help)
                .long_help(long_help)
        };
        command
            .arg(flag(
                Flag::Dir,
                Flag::Dir.form(),
                "Share a host directory with the guest as GUEST; changes are written to the host",
                "Share a host directory with the guest as GUEST; changes are written to the host\n\n\
                 The guest cannot reach anything outside of the directory, whatever symbolic links say. virtiofsd serves \
                 it. :ro makes it read-only. With quota=SIZE, the directory cannot grow by more than SIZE (64M, 1G); the \
                 guest's writes fail then. Without ::GUEST, the guest sees it as HOST. --dir, --copy-dir and --tmpfs can \
                 be repeated; the guest has no other directories.",
            ))
            .arg(flag(
                Flag::CopyDir,
                Flag::CopyDir.form(),
                "Give the guest a copy of a host directory; changes are discarded at the end",
                "Give the guest a copy of a host directory; changes are discarded at the end\n\n\
                 The directory is copied into the machine's memory before the machine starts. Otherwise like --dir.",
            ))
            .arg(flag(
                Flag::Tmpfs,
                Flag::Tmpfs.form(),
                "Give the guest an empty in-memory directory called GUEST",
                "Give the guest an empty in-memory directory called GUEST\n\n\
                 Together, such directories and changes to copies can take three quarters of the memory that is free at \
                 the start, and each as much as its size=SIZE (16M, 1G) says. Beyond that, writing fails with \"no space \
                 left\".",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
