//! The boot line's words become a [`Config`]: what to run, with what, and how to talk to the outside.
//!
//! Layer: pure; words in, values out. Grammar, in any order up to the first word that is no option:
//!
//! ```text
//! [-f|--file MODULE] [--argv0 NAME] [--env K=V]… [--console plain|framed|shared] [--terminals LIST] [--log LEVEL]
//! [--tmpfs GUEST | --copy-dir MEMBER::GUEST[:ro] | --share TAG::GUEST[:ro] | --map PATH::GUEST[:ro]]…
//! [--] [ARGS…]
//! ```

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_protocol::boot_line::Directory;
use log::LevelFilter;
use wasi_shim::Terminals;

/// What the boot line asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Path of the module in the machine's file system; `None`: the boot module, else the embedded one.
    pub file: Option<String>,
    /// The guest's `argv[0]`; `None`: a name made from where the module came from.
    pub argv0: Option<String>,
    /// The guest's environment, in order. A name given again replaces the earlier value.
    pub env: Vec<(String, String)>,
    /// What the serial line carries.
    pub console: Console,
    /// Which of the guest's standard streams are terminals; `None`: those of a plain console all are, of a framed
    /// one none.
    pub terminals: Option<Terminals>,
    /// Which of the application's own messages are printed.
    pub log: LevelFilter,
    /// The guest's directories, its descriptors 3, 4, …: in order.
    pub directories: Vec<Directory>,
    /// The guest's arguments behind `argv[0]`.
    pub args: Vec<String>,
}

/// What the serial line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// The guest's bytes as they are, standard output and error mixed: for a terminal.
    Plain,
    /// The console protocol, spoken with a launcher.
    Framed,
    /// The same, with a launcher that sees this machine's memory.
    Shared,
}

/// Why a boot line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such option.
    UnknownOption(String),
    /// The option stands last, and its value is missing.
    MissingValue(String),
    /// The value is none of those that the option knows.
    InvalidValue {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption(option) => write!(
                f,
                "boot line: unknown option {option}; if it is meant for the module, put -- before it"
            ),
            Self::MissingValue(option) => write!(f, "boot line: {option} needs a value"),
            Self::InvalidValue {
                option,
                value,
                expected,
            } => {
                write!(
                    f,
                    "boot line: {option}: cannot use {value:?}; expected {expected}"
                )
            }
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// What an empty boot line means.
    fn new() -> Self {
        Self {
            file: None,
            argv0: None,
            env: Vec::new(),
            console: Console::Plain,
            terminals: None,
            log: LevelFilter::Warn,
            directories: Vec::new(),
            args: Vec::new(),
        }
    }

    /// Which of the guest's standard streams are terminals.
    #[must_use]
    pub fn terminals(&self) -> Terminals {
        self.terminals.unwrap_or_else(|| {
            let all = self.console == Console::Plain;
            Terminals {
                stdin: all,
                stdout: all,
                stderr: all,
            }
        })
    }

    /// Parses the words behind the program's name. `env` are variables that the kernel has set (`env=K=V` on the
    /// boot line).
    ///
    /// # Errors
    /// [`ConfigError`] tells which word cannot be understood.
    pub fn parse<'a>(
        words: impl IntoIterator<Item = &'a str>,
        env: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::new();
        for (name, value) in env {
            config.set_env(name, value);
        }
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--" {
                config.args.extend(words.map(str::to_owned));
                break;
            }
            if !word.starts_with('-') || word == "-" {
                config.args.push(word.to_owned());
                config.args.extend(words.map(str::to_owned));
                break;
            }
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (word, None),
            };
            if !matches!(
                option,
                "-f" | "--file"
                    | "--argv0"
                    | "--env"
                    | "--console"
                    | "--terminals"
                    | "--log"
                    | "--tmpfs"
                    | "--copy-dir"
                    | "--share"
                    | "--map"
            ) {
                return Err(ConfigError::UnknownOption(option.to_owned()));
            }
            let value = attached
                .or_else(|| words.next())
                .ok_or_else(|| ConfigError::MissingValue(option.to_owned()))?;
            config.apply(option, value)?;
        }
        Ok(config)
    }

    /// Applies one known option.
    fn apply(&mut self, option: &str, value: &str) -> Result<(), ConfigError> {
        match option {
            "--argv0" => self.argv0 = Some(value.to_owned()),
            "--env" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => self.set_env(name, value),
                _ => return Err(invalid("--env", value, "NAME=VALUE")),
            },
            "--console" => {
                self.console = match value {
                    "plain" => Console::Plain,
                    "framed" => Console::Framed,
                    "shared" => Console::Shared,
                    _ => return Err(invalid("--console", value, "plain, framed or shared")),
                }
            }
            "--terminals" => self.terminals = Some(parse_terminals(value)?),
            "--log" => {
                self.log = value
                    .parse()
                    .map_err(|_| invalid("--log", value, "off, error, warn, info, debug or trace"))?;
            }
            "--tmpfs" if value.is_empty() => return Err(invalid("--tmpfs", value, "GUEST")),
            "--tmpfs" => self.directories.push(Directory::Tmpfs {
                guest: value.to_owned(),
            }),
            "--copy-dir" => {
                let (member, guest, read_only) = parse_directory(value)
                    .ok_or_else(|| invalid("--copy-dir", value, "MEMBER::GUEST[:ro]"))?;
                self.directories.push(Directory::Archive {
                    member,
                    guest,
                    read_only,
                });
            }
            "--share" => {
                let (tag, guest, read_only) =
                    parse_directory(value).ok_or_else(|| invalid("--share", value, "TAG::GUEST[:ro]"))?;
                self.directories.push(Directory::Share {
                    tag,
                    guest,
                    read_only,
                });
            }
            "--map" => {
                let (path, guest, read_only) =
                    parse_directory(value).ok_or_else(|| invalid("--map", value, "PATH::GUEST[:ro]"))?;
                self.directories.push(Directory::Mapped {
                    path,
                    guest,
                    read_only,
                });
            }
            _ => self.file = Some(value.to_owned()),
        }
        Ok(())
    }

    /// Sets a variable; the last value given for a name counts.
    fn set_env(&mut self, name: &str, value: &str) {
        match self.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.to_owned(),
            None => self.env.push((name.to_owned(), value.to_owned())),
        }
    }
}

/// Parses `SOURCE::GUEST[:ro]`: what it names, what the guest calls it, whether the guest may only read.
fn parse_directory(value: &str) -> Option<(String, String, bool)> {
    let (source, guest) = value.split_once("::")?;
    let (guest, read_only) = match guest.strip_suffix(":ro") {
        Some(guest) => (guest, true),
        None => (guest, false),
    };
    (!source.is_empty() && !guest.is_empty()).then(|| (source.to_owned(), guest.to_owned(), read_only))
}

/// Parses `stdin`, `stdout`, `stderr` in any order, comma-separated; nothing means none of them.
fn parse_terminals(list: &str) -> Result<Terminals, ConfigError> {
    let mut terminals = Terminals::default();
    for stream in list.split(',').filter(|stream| !stream.is_empty()) {
        match stream {
            "stdin" => terminals.stdin = true,
            "stdout" => terminals.stdout = true,
            "stderr" => terminals.stderr = true,
            _ => {
                return Err(invalid(
                    "--terminals",
                    list,
                    "stdin, stdout, stderr, comma-separated",
                ));
            }
        }
    }
    Ok(terminals)
}

fn invalid(option: &'static str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::InvalidValue {
        option,
        value: value.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    fn parse(words: &[&str]) -> Result<Config, ConfigError> {
        Config::parse(words.iter().copied(), [])
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn nothing_means_the_boot_module_on_a_plain_console() {
        let config = parse(&[]).unwrap();
        assert_eq!(config, Config::new());
        assert_eq!(config.console, Console::Plain);
        assert_eq!(parse(&["--console=shared"]).unwrap().console, Console::Shared);
    }

    #[test]
    fn every_option_in_both_forms() {
        let expected = Config {
            file: Some("/m.wasm".into()),
            argv0: Some("m".into()),
            env: vec![
                ("A".into(), "1".into()),
                ("B".into(), "x=y".into()),
                ("C".into(), String::new()),
            ],
            console: Console::Framed,
            terminals: None,
            log: LevelFilter::Debug,
            directories: vec![
                Directory::Archive {
                    member: "d.tar".into(),
                    guest: "/".into(),
                    read_only: false,
                },
                Directory::Tmpfs { guest: "/tmp".into() },
                Directory::Archive {
                    member: "e.tar".into(),
                    guest: "a::b".into(),
                    read_only: true,
                },
                Directory::Share {
                    tag: "s".into(),
                    guest: ".".into(),
                    read_only: true,
                },
                Directory::Mapped {
                    path: "/root/d".into(),
                    guest: "d".into(),
                    read_only: false,
                },
            ],
            args: strings(&["one", "two"]),
        };
        let apart = [
            "-f",
            "/m.wasm",
            "--argv0",
            "m",
            "--env",
            "A=1",
            "--env",
            "B=x=y",
            "--env",
            "C=",
            "--console",
            "framed",
            "--log",
            "debug",
            "--copy-dir",
            "d.tar::/",
            "--tmpfs",
            "/tmp",
            "--copy-dir",
            "e.tar::a::b:ro",
            "--share",
            "s::.:ro",
            "--map",
            "/root/d::d",
            "--",
            "one",
            "two",
        ];
        assert_eq!(parse(&apart).unwrap(), expected);
        let joined = [
            "--file=/m.wasm",
            "--argv0=m",
            "--env=A=1",
            "--env=B=x=y",
            "--env=C=",
            "--console=framed",
            "--log=DEBUG",
            "--copy-dir=d.tar::/",
            "--tmpfs=/tmp",
            "--copy-dir=e.tar::a::b:ro",
            "--share=s::.:ro",
            "--map=/root/d::d",
            "one",
            "two",
        ];
        assert_eq!(parse(&joined).unwrap(), expected);
    }

    #[test]
    fn what_follows_the_first_argument_is_the_guests() {
        assert_eq!(
            parse(&["a", "--env", "X"]).unwrap().args,
            strings(&["a", "--env", "X"])
        );
        assert_eq!(parse(&["--", "--", "-f"]).unwrap().args, strings(&["--", "-f"]));
        assert_eq!(parse(&["-", "-f"]).unwrap().args, strings(&["-", "-f"]));
        assert_eq!(parse(&["", "-f"]).unwrap().args, strings(&["", "-f"]));
    }

    #[test]
    fn the_last_value_of_a_variable_counts_and_keeps_its_place() {
        let config = Config::parse(["--env", "A=2", "--env", "C=3"], [("A", "1"), ("B", "1")]).unwrap();
        let expected = [("A", "2"), ("B", "1"), ("C", "3")];
        assert_eq!(config.env, expected.map(|(n, v)| (n.to_string(), v.to_string())));
    }

    #[test]
    fn terminals_follow_the_console_unless_listed() {
        let all = Terminals {
            stdin: true,
            stdout: true,
            stderr: true,
        };
        assert_eq!(parse(&[]).unwrap().terminals(), all);
        for console in ["framed", "shared"] {
            assert_eq!(
                parse(&["--console", console]).unwrap().terminals(),
                Terminals::default()
            );
        }
        let some = parse(&["--console", "framed", "--terminals", "stderr,stdin"]).unwrap();
        assert_eq!(some.terminals(), Terminals { stdout: false, ..all });
        assert_eq!(
            parse(&["--terminals="]).unwrap().terminals(),
            Terminals::default()
        );
        assert!(parse(&["--terminals", "stdout,tty"]).is_err());
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        assert_eq!(
            parse(&["--frobnicate"]),
            Err(ConfigError::UnknownOption("--frobnicate".into()))
        );
        assert_eq!(parse(&["-x=1"]), Err(ConfigError::UnknownOption("-x=1".into())));
        assert_eq!(
            parse(&["--frobnicate=1"]),
            Err(ConfigError::UnknownOption("--frobnicate".into()))
        );
        for option in [
            "-f",
            "--file",
            "--argv0",
            "--env",
            "--console",
            "--log",
            "--tmpfs",
            "--copy-dir",
            "--share",
            "--map",
        ] {
            assert_eq!(parse(&[option]), Err(ConfigError::MissingValue(option.into())));
        }
        for (option, value) in [
            ("--env", "A"),
            ("--env", "=1"),
            ("--console", "colour"),
            ("--log", "loud"),
            ("--copy-dir", "/host"),
            ("--share", "tag"),
            ("--map", "/root"),
            ("--copy-dir", "::/"),
            ("--copy-dir", "d.tar::"),
            ("--copy-dir", "d.tar:::ro"),
            ("--tmpfs", ""),
        ] {
            let error = parse(&[option, value]).unwrap_err();
            assert!(
                error.to_string().contains(option) && error.to_string().contains(value),
                "{error}"
            );
        }
    }
}
