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
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> MountFlags {
        let command = MountFlags::augment_args(Command::new("test").no_binary_name(true));
        MountFlags::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    fn read_only(yes: bool) -> Access {
        if yes { Access::ReadOnly } else { Access::ReadWrite }
    }

    fn copy(host: &str, guest: &str, ro: bool) -> Mount {
        Mount {
            source: MountSource::Copy(host.into()),
            guest: guest.into(),
            access: read_only(ro),
            quota: None,
        }
    }

    fn tmpfs(guest: &str) -> Mount {
        Mount {
            source: MountSource::Tmpfs,
            guest: guest.into(),
            access: Access::ReadWrite,
            quota: None,
        }
    }

    #[test]
    fn the_order_of_different_flags_is_kept() {
        let words = [
            "--tmpfs",
            "/a",
            "--copy-dir",
            ".",
            "--tmpfs=/b",
            "--copy-dir=/x::/",
            "--dir",
            "/s:ro",
            "--tmpfs",
            "/c",
        ];
        assert_eq!(
            flags(&words).mounts().unwrap(),
            [
                tmpfs("/a"),
                copy(".", ".", false),
                tmpfs("/b"),
                copy("/x", "/", false),
                Mount {
                    source: MountSource::Dir("/s".into()),
                    guest: "/s".into(),
                    access: Access::ReadOnly,
                    quota: None,
                },
                tmpfs("/c")
            ]
        );
        assert_eq!(flags(&[]).mounts().unwrap(), []);
    }

    #[test]
    fn a_value_has_up_to_three_parts() {
        for (value, expected) in [
            ("/h::/g:ro", copy("/h", "/g", true)),
            ("/h:ro", copy("/h", "/h", true)),
            ("/h::/a::b", copy("/h", "/a::b", false)),
            ("a:b::c:d", copy("a:b", "c:d", false)),
        ] {
            assert_eq!(flags(&["--copy-dir", value]).mounts().unwrap(), [expected]);
        }
    }

    #[test]
    fn a_tmpfs_may_have_a_size() {
        let sized = |guest, quota| Mount {
            quota,
            ..tmpfs(guest)
        };
        for (value, expected) in [
            ("/t,size=16MiB", sized("/t", Some(16 << 20))),
            ("/t,size=0", sized("/t", Some(0))),
            ("/t,u", sized("/t,u", None)),
        ] {
            assert_eq!(
                flags(&["--tmpfs", value]).mounts().unwrap(),
                [expected],
                "{value}"
            );
        }
    }

    #[test]
    fn a_shared_directory_may_have_a_quota() {
        let shared = |host: &str, guest: &str, quota| Mount {
            source: MountSource::Dir(host.into()),
            guest: guest.into(),
            access: Access::ReadWrite,
            quota,
        };
        for (value, expected) in [
            ("/h::/g,quota=64M", shared("/h", "/g", Some(64 << 20))),
            ("/h,quota=4K", shared("/h", "/h", Some(4096))),
            ("/a,b::/g", shared("/a,b", "/g", None)),
        ] {
            assert_eq!(flags(&["--dir", value]).mounts().unwrap(), [expected], "{value}");
        }
        for (flag, value, reason) in [
            ("--dir", "/h,quota=much", "quota=much"),
            ("--dir", "/h,quota=", "quota="),
            // It stands at the end.
            ("--dir", "/h,quota=1M::/g", "quota=1M::/g"),
            ("--dir", "/h:ro,quota=1M", "read-only"),
            ("--dir", "/etc:ro,quota=1M", "'/etc' is read-only"),
            ("--dir", "/h::/g,quota=1M:ro", "'/h' is read-only"),
            ("--dir", "/h,quota=1M,quota=2M", "',quota=1M' is not understood"),
            ("--dir", "/h::/g,qouta=1M", "',qouta=1M' is not understood"),
            ("--dir", "/h::/g,ro", "',ro' is not understood"),
            ("--dir", "/etc:/g,quota=1M", "write --dir /etc::/g,quota=1M"),
            ("--copy-dir", "/h,quota=1M", "quota= is for --dir"),
            ("--tmpfs", "/t,quota=1M", "quota= is for --dir"),
            ("--tmpfs", "/t,size=", "size=: expected a whole number"),
            ("--tmpfs", "/t,size=1M,size=2M", "',size=1M' is not understood"),
            ("--tmpfs", "/t,size=1M:ro", "size=1M:ro: unknown unit"),
            ("--dir", "/h::/g,size=1M", "',size=1M' is not understood"),
        ] {
            let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn other_programs_spellings_are_refused_with_the_right_one() {
        for (flag, value, right) in [
            ("--dir", "/etc:/b", "--dir /etc::/b"),
            ("--copy-dir", "/etc:/b:ro", "--copy-dir /etc::/b:ro"),
            ("--dir", "/etc::/b:rw", "--dir /etc::/b"),
            ("--dir", "/etc:RO", "--dir /etc:ro"),
            ("--tmpfs", "/tmp:size=64m,noexec", "--tmpfs /tmp,size=64m"),
            ("--tmpfs", "/tmp:rw,size=64m", "--tmpfs /tmp,size=64m"),
            ("--tmpfs", "/tmp:noexec", "--tmpfs /tmp"),
        ] {
            let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
            assert!(message.ends_with(&format!("write {right}")), "{}", message);
            assert!(message.starts_with(&format!("{flag} {value}: ")), "{}", message);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (flag, value, reason) in [
            ("--copy-dir", "::/g", "'::/g' does not name a host directory"),
            ("--copy-dir", "/h::", "is empty"),
            ("--copy-dir", ":ro", "does not name a host directory"),
            ("--tmpfs", "", "is empty"),
            ("--dir", "::/g", "'::/g' does not name a host directory"),
            ("--dir", "", "does not name a host directory"),
        ] {
            let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
            assert!(message.contains(reason), "{}", message);
            assert!(message.contains(flag), "{}", message);
        }
        let long = "x".repeat(LONGEST_NAME + 1);
        assert!(flags(&["--tmpfs", &long]).mounts().is_err());
        let broken = OsStr::from_bytes(b"\xff");
        assert!(mount(Flag::CopyDir, broken).is_err());
        assert!(mount(Flag::CopyDir, OsStr::from_bytes(b"\xff::/g")).is_ok());
    }

    #[test]
    fn options_that_are_not_there() {
        let exists = |path: &str| path == "odd,a=b";
        for (value, option) in [
            ("a::/g,qouta=1M", Some(",qouta=1M")),
            ("a,ro", Some(",ro")),
            ("a::/g,readonly", Some(",readonly")),
            ("a,size=1M:ro", Some(",size=1M:ro")),
            ("odd,a=b::/g,c=d", Some(",c=d")),
            // Names.
            ("odd,a=b", None),
            ("odd,a=b:ro", None),
            ("x,a=b::/g", None),
            ("a,b", None),
            ("a::/g,h", None),
            ("a,", None),
            ("a,=", None),
            ("", None),
        ] {
            assert_eq!(unknown_option(value, exists), option, "{value}");
        }
    }
}
