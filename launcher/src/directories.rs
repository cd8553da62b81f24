//! The flags that give the guest directories, in the order in which they stand: the guest's descriptors 3, 4, ….
//!
//! clap collects the values of each flag apart; here they come together again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use crate::failure::Failure;
use crate::habits;

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
}

/// The flags as they stand on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryFlags(Vec<(Flag, OsString)>);

/// A directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// An empty one in the machine's memory.
    Tmpfs {
        /// What the guest calls it.
        guest: String,
    },
    /// A copy of one of this host.
    Copy {
        /// The directory here.
        host: PathBuf,
        /// What the guest calls it.
        guest: String,
        /// Whether the guest may only read.
        read_only: bool,
    },
    /// One of this host, shared.
    Share {
        /// The directory here.
        host: PathBuf,
        /// What the guest calls it.
        guest: String,
        /// Whether the guest may only read.
        read_only: bool,
    },
}

impl DirectoryFlags {
    /// What the flags ask for.
    ///
    /// **Errors**: a value without a directory or without a name for the guest, with a name that is not UTF-8, or
    /// in the spelling of another program; two mounts on one name.
    pub(crate) fn directories(&self) -> Result<Vec<Directory>, Failure> {
        let directories: Vec<Directory> = self
            .0
            .iter()
            .map(|(flag, value)| directory(*flag, value))
            .collect::<Result<_, _>>()?;
        let mut taken: Vec<(String, usize)> = Vec::new();
        for (index, directory) in directories.iter().enumerate() {
            let place = directory.place();
            match taken.iter().find(|(other, _)| *other == place) {
                Some((_, other)) => return Err(self.same_place(*other, index, &place)),
                None => taken.push((place, index)),
            }
        }
        Ok(directories)
    }

    /// Two flags that name one directory of the guest.
    fn same_place(&self, first: usize, second: usize, place: &str) -> Failure {
        let show = |index: usize| {
            self.0.get(index).map_or_else(String::new, |(flag, value)| {
                format!("--{} {}", flag.name(), value.to_string_lossy())
            })
        };
        Failure::usage(format!(
            "{} and {}: both would be '{place}' in the guest; give one of them another name",
            show(first),
            show(second)
        ))
    }
}

impl Directory {
    /// Where it is in the guest: its name without what does not matter, so that `/a` and `/a/.` are one.
    fn place(&self) -> String {
        let (Self::Tmpfs { guest } | Self::Copy { guest, .. } | Self::Share { guest, .. }) = self;
        let parts: Vec<&str> = guest
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        let parts = parts.join("/");
        match (guest.starts_with('/'), parts.is_empty()) {
            (true, _) => format!("/{parts}"),
            (false, true) => ".".to_string(),
            (false, false) => parts,
        }
    }
}

fn directory(flag: Flag, value: &OsStr) -> Result<Directory, Failure> {
    let name = flag.name();
    check_spelling(flag, value)?;
    match flag {
        Flag::Tmpfs => Ok(Directory::Tmpfs {
            guest: guest_name(name, value)?,
        }),
        Flag::CopyDir | Flag::Dir => {
            let (host, guest, read_only) = split(value);
            if host.is_empty() {
                return Err(Failure::usage(format!(
                    "--{name}: there is no directory in '{}'; expected HOST[::GUEST][:ro]",
                    value.to_string_lossy()
                )));
            }
            let host = Path::new(host).to_path_buf();
            let guest = guest_name(name, guest)?;
            Ok(if flag == Flag::Dir {
                Directory::Share {
                    host,
                    guest,
                    read_only,
                }
            } else {
                Directory::Copy {
                    host,
                    guest,
                    read_only,
                }
            })
        }
    }
}

/// Refuses the spellings of other programs, which would make odd names.
fn check_spelling(flag: Flag, value: &OsStr) -> Result<(), Failure> {
    let Some(text) = value.to_str() else {
        return Ok(());
    };
    let name = flag.name();
    let (right, form) = match flag {
        Flag::Tmpfs => (
            habits::tmpfs_without_options(text).map(str::to_string),
            "it takes no options",
        ),
        Flag::CopyDir | Flag::Dir => (
            habits::right_spelling(text, |path| Path::new(path).exists()),
            "the form is HOST[::GUEST][:ro], with two colons between the names",
        ),
    };
    match right {
        Some(right) => Err(Failure::usage(format!(
            "--{name} {text}: {form}; write --{name} {right}"
        ))),
        None => Ok(()),
    }
}

/// Cuts `HOST[::GUEST][:ro]` into its parts.
fn split(value: &OsStr) -> (&OsStr, &OsStr, bool) {
    let bytes = value.as_bytes();
    let (bytes, read_only) = match bytes.strip_suffix(b":ro") {
        Some(bytes) => (bytes, true),
        None => (bytes, false),
    };
    let (host, guest) = match bytes.windows(2).position(|pair| pair == b"::") {
        Some(at) => (
            bytes.get(..at).unwrap_or_default(),
            bytes.get(at.saturating_add(2)..).unwrap_or_default(),
        ),
        // As in wasmtime: the guest calls it what it is called here.
        None => (bytes, bytes),
    };
    (OsStr::from_bytes(host), OsStr::from_bytes(guest), read_only)
}

/// What the guest calls a directory.
fn guest_name(flag: &str, name: &OsStr) -> Result<String, Failure> {
    let wrong = |what: &str| {
        let shown = name.to_string_lossy();
        Err(Failure::usage(format!(
            "--{flag}: the name that the guest is to use, '{shown}', {what}"
        )))
    };
    match name.to_str() {
        None => {
            wrong("is not UTF-8, which is all that a WASI program can be given; give it one with HOST::GUEST")
        }
        Some("") => wrong("is empty; a name such as / or . is wanted"),
        Some(text) if text.len() > LONGEST_NAME => wrong("is longer than 4095 bytes"),
        Some(text) => Ok(text.to_string()),
    }
}

/// As long as a path may be.
const LONGEST_NAME: usize = 4095;

impl FromArgMatches for DirectoryFlags {
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

impl Args for DirectoryFlags {
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
                "HOST[::GUEST][:ro]",
                "Share a directory with the guest, called GUEST there; what it changes is changed here",
                "Share a directory with the guest, called GUEST there; what it changes is changed here\n\n\
                 The guest reaches what is in the directory and nothing else of this host, whatever links say; virtiofsd \
                 serves it. With :ro the guest cannot change anything. Without ::GUEST the guest calls it HOST. This \
                 flag, --copy-dir and --tmpfs may be given several times; the guest has no directory but these.",
            ))
            .arg(flag(
                Flag::CopyDir,
                "HOST[::GUEST][:ro]",
                "Give the guest a copy of a directory; what it changes is dropped at the end",
                "Give the guest a copy of a directory; what it changes is dropped at the end\n\n\
                 The copy is made before the machine starts and lies in its memory. Otherwise as --dir.",
            ))
            .arg(flag(
                Flag::Tmpfs,
                "GUEST",
                "Give the guest an empty directory in the machine's memory, called GUEST",
                "Give the guest an empty directory in the machine's memory, called GUEST\n\n\
                 All such directories, and what is changed in copies, take three quarters of the memory that is free \
                 at the start, at most; then writing fails with \"no space left\".",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> DirectoryFlags {
        let command = DirectoryFlags::augment_args(Command::new("test").no_binary_name(true));
        DirectoryFlags::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    fn copy(host: &str, guest: &str, read_only: bool) -> Directory {
        Directory::Copy {
            host: host.into(),
            guest: guest.into(),
            read_only,
        }
    }

    fn tmpfs(guest: &str) -> Directory {
        Directory::Tmpfs { guest: guest.into() }
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
            flags(&words).directories().unwrap(),
            [
                tmpfs("/a"),
                copy(".", ".", false),
                tmpfs("/b"),
                copy("/x", "/", false),
                Directory::Share {
                    host: "/s".into(),
                    guest: "/s".into(),
                    read_only: true
                },
                tmpfs("/c")
            ]
        );
        assert_eq!(flags(&[]).directories().unwrap(), []);
    }

    #[test]
    fn a_value_has_up_to_three_parts() {
        for (value, expected) in [
            ("/h::/g:ro", copy("/h", "/g", true)),
            ("/h:ro", copy("/h", "/h", true)),
            ("/h::/a::b", copy("/h", "/a::b", false)),
            ("a:b::c:d", copy("a:b", "c:d", false)),
        ] {
            assert_eq!(flags(&["--copy-dir", value]).directories().unwrap(), [expected]);
        }
    }

    #[test]
    fn two_mounts_on_one_name_are_refused() {
        for (words, place) in [
            (["--tmpfs", "/a", "--dir", "/x::/a"], "'/a'"),
            (["--copy-dir", "/x::/a/./b/", "--copy-dir", "/y::/a//b"], "'/a/b'"),
            (["--dir", ".", "--tmpfs", "./"], "'.'"),
            (["--dir", "/:ro", "--tmpfs", "//"], "'/'"),
            (["--tmpfs", "a", "--tmpfs", "./a"], "'a'"),
        ] {
            let failure = flags(&words).directories().unwrap_err();
            assert_eq!(failure.code, boot_protocol::exit_code::USAGE);
            for part in [words[0], words[1], words[2], words[3], place] {
                assert!(failure.message.contains(part), "{}", failure.message);
            }
        }
        for words in [
            ["--tmpfs", "/a", "--tmpfs", "a"],
            ["--tmpfs", ".", "--tmpfs", "/"],
            ["--dir", "/x::/a", "--dir", "/x::/b"],
            ["--tmpfs", "/a", "--tmpfs", "/a/b"],
        ] {
            assert_eq!(flags(&words).directories().unwrap().len(), 2, "{words:?}");
        }
    }

    #[test]
    fn other_programs_spellings_are_refused_with_the_right_one() {
        for (flag, value, right) in [
            ("--dir", "/etc:/b", "--dir /etc::/b"),
            ("--copy-dir", "/etc:/b:ro", "--copy-dir /etc::/b:ro"),
            ("--dir", "/etc::/b:rw", "--dir /etc::/b"),
            ("--dir", "/etc:RO", "--dir /etc:ro"),
            ("--tmpfs", "/tmp:size=64m,noexec", "--tmpfs /tmp"),
        ] {
            let failure = flags(&[flag, value]).directories().unwrap_err();
            assert!(
                failure.message.ends_with(&format!("write {right}")),
                "{}",
                failure.message
            );
            assert!(
                failure.message.starts_with(&format!("{flag} {value}: ")),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (flag, value, reason) in [
            ("--copy-dir", "::/g", "no directory in '::/g'"),
            ("--copy-dir", "/h::", "is empty"),
            ("--copy-dir", ":ro", "no directory"),
            ("--tmpfs", "", "is empty"),
            ("--dir", "::/g", "no directory in '::/g'"),
            ("--dir", "", "no directory"),
        ] {
            let failure = flags(&[flag, value]).directories().unwrap_err();
            assert!(failure.message.contains(reason), "{}", failure.message);
            assert!(failure.message.contains(flag), "{}", failure.message);
        }
        let long = "x".repeat(LONGEST_NAME + 1);
        assert!(flags(&["--tmpfs", &long]).directories().is_err());
        let broken = OsStr::from_bytes(b"\xff");
        assert!(directory(Flag::CopyDir, broken).is_err());
        assert!(directory(Flag::CopyDir, OsStr::from_bytes(b"\xff::/g")).is_ok());
    }
}
