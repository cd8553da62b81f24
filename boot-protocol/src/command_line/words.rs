//! What a person writes on the kernel command line instead of a description of the run: a front end of [`RunSpec`].
//!
//! Layer: pure; words in, values out, and back. Grammar, in any order up to the first word that is no option:
//!
//! ```text
//! [-f|--file MODULE] [--argv0 NAME] [--env K=V]… [--console plain|framed|shared] [--terminals LIST] [--log LEVEL]
//! [--entry|--invoke FUNCTION] [--preload NAME=MEMBER]… [--limit NAME=VALUE]… [--deterministic SEED]
//! [--tmpfs GUEST[,size=BYTES] | --copy-dir MEMBER::GUEST[:ro] |
//! --share TAG::GUEST[:ro] | --map PATH::GUEST[:ro]]…
//! [words about the network: `network.rs`]
//! [--] [ARGS…]
//! ```
//!
//! A launcher's word is `--spec PATH`: the file that has the description, with which only `--log` and `--console` stand.

use alloc::borrow::ToOwned as _;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use super::{Console, network};
use crate::network::GrantError;
use crate::run_spec::{
    Access, LimitError, ModuleSource, Mount, MountSource, NoSuchLevel, Preload, RunSpec, Terminals,
    unique_variables,
};

/// What the words say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words<'a> {
    /// What the serial line carries.
    pub console: Console,
    /// The file that describes the run.
    pub spec: Option<&'a str>,
    /// The run as the words describe it: what applies if nothing else does. Its log level applies in any case.
    pub run: RunSpec,
    /// The first word that says something of the run and so contradicts a description.
    pub run_word: Option<&'a str>,
}

/// Why the words cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordError {
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
    /// What `--limit` is given is none.
    Limit(LimitError),
    /// What an option about the network is given is none.
    Network(&'static str, GrantError),
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("kernel command line: ")?;
        match self {
            Self::UnknownOption(option) => write!(
                f,
                "unknown option {option}; if it is meant for the module, put -- before it"
            ),
            Self::MissingValue(option) => write!(f, "{option} needs a value"),
            Self::InvalidValue {
                option,
                value,
                expected,
            } => write!(f, "{option}: cannot use {value:?}; expected {expected}"),
            Self::Limit(error) => write!(f, "--limit: {error}"),
            Self::Network(option, error) => write!(f, "{option}: {error}"),
        }
    }
}

impl core::error::Error for WordError {}

/// What words cannot say of a run: a launcher has to use a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable(String);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel command line cannot say {}", self.0)
    }
}

impl core::error::Error for Unwritable {}

/// Parses the words behind the program's name. `env` are variables that the kernel has set (`env=K=V` before the first
/// `--`). Without `--file` the module is the payload's, if there is a `payload`, else the embedded one.
///
/// # Errors
/// [`WordError`] tells which word cannot be understood.
pub fn parse<'a>(
    words: impl IntoIterator<Item = &'a str>,
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
    payload: bool,
) -> Result<Words<'a>, WordError> {
    parse_dyn(&mut words.into_iter(), &mut env.into_iter(), payload)
}

/// [`parse`], compiled once and here.
fn parse_dyn<'a>(
    words: &mut dyn Iterator<Item = &'a str>,
    env: &mut dyn Iterator<Item = (&'a str, &'a str)>,
    payload: bool,
) -> Result<Words<'a>, WordError> {
    let mut parser = Parser::default();
    for (name, value) in env {
        parser.says_of_run("env=");
        parser.env.push((name, value));
    }
    while let Some(word) = words.next() {
        if word == "--" {
            parser.args.extend(words);
            break;
        }
        if !word.starts_with('-') || word == "-" {
            parser.args.push(word);
            parser.args.extend(words);
            break;
        }
        let (option, attached) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (word, None),
        };
        let known = OPTIONS
            .iter()
            .chain(&network::OPTIONS)
            .find(|known| **known == option);
        let option = *known.ok_or_else(|| WordError::UnknownOption(option.to_owned()))?;
        let value = attached
            .or_else(|| words.next())
            .ok_or_else(|| WordError::MissingValue(option.to_owned()))?;
        parser.apply(option, value)?;
    }
    Ok(parser.finish(payload))
}

/// Every option but those about the network. Each takes a value.
const OPTIONS: [&str; 17] = [
    "-f",
    "--file",
    "--argv0",
    "--env",
    "--entry",
    "--invoke",
    "--preload",
    "--limit",
    "--deterministic",
    "--console",
    "--terminals",
    "--log",
    "--tmpfs",
    "--copy-dir",
    "--share",
    "--map",
    "--spec",
];

/// The words so far.
#[derive(Default)]
struct Parser<'a> {
    console: Console,
    spec: Option<&'a str>,
    file: Option<&'a str>,
    argv0: Option<&'a str>,
    args: Vec<&'a str>,
    env: Vec<(&'a str, &'a str)>,
    terminals: Option<Terminals>,
    run: RunSpec,
    run_word: Option<&'a str>,
}

impl<'a> Parser<'a> {
    /// Applies one known option.
    fn apply(&mut self, option: &'static str, value: &'a str) -> Result<(), WordError> {
        let invalid = |expected| invalid(option, value, expected);
        match option {
            "--console" => {
                self.console = Console::from_word(value).ok_or_else(|| invalid("plain, framed or shared"))?;
                return Ok(());
            }
            "--log" => {
                let level = value
                    .parse()
                    .map_err(|NoSuchLevel| invalid("off, error, warn, info, debug or trace"))?;
                self.run.log = Some(level);
                return Ok(());
            }
            "--spec" if value.is_empty() => return Err(invalid("PATH")),
            "--spec" => {
                self.spec = Some(value);
                return Ok(());
            }
            "--argv0" => self.argv0 = Some(value),
            "--env" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => self.env.push((name, value)),
                _ => return Err(invalid("NAME=VALUE")),
            },
            // The latter is wasmtime's word, with its warnings.
            "--entry" | "--invoke" => {
                self.run.entry = Some(value.to_owned());
                self.run.invoked = option == "--invoke";
            }
            "--preload" => {
                let preload = preload(value);
                self.run
                    .preloads
                    .push(preload.ok_or_else(|| invalid("NAME=MEMBER"))?);
            }
            "--limit" => self.run.limits.apply(value).map_err(WordError::Limit)?,
            "--deterministic" => {
                let seed = value
                    .parse()
                    .map_err(|_| invalid("a seed, a number below 2^64"))?;
                self.run.deterministic = Some(seed);
            }
            "--terminals" => {
                self.terminals =
                    Some(terminals(value).ok_or_else(|| invalid("stdin, stdout, stderr, comma-separated"))?);
            }
            "--tmpfs" => {
                let mount = tmpfs(value);
                self.run
                    .mounts
                    .push(mount.ok_or_else(|| invalid("GUEST[,size=BYTES]"))?);
            }
            "--copy-dir" => {
                let mount = mount(value, |member| MountSource::Copy { member });
                self.run
                    .mounts
                    .push(mount.ok_or_else(|| invalid("MEMBER::GUEST[:ro]"))?);
            }
            "--share" => {
                let mount = mount(value, |tag| MountSource::VirtioFs { tag });
                self.run
                    .mounts
                    .push(mount.ok_or_else(|| invalid("TAG::GUEST[:ro]"))?);
            }
            "--map" => {
                let mount = mount(value, |path| MountSource::UhyveMap { path });
                self.run
                    .mounts
                    .push(mount.ok_or_else(|| invalid("PATH::GUEST[:ro]"))?);
            }
            "-f" | "--file" => self.file = Some(value),
            other => network::apply(&mut self.run.network, other, value)?,
        }
        self.says_of_run(option);
        Ok(())
    }

    /// Notes a word that a description contradicts.
    fn says_of_run(&mut self, word: &'a str) {
        self.run_word = self.run_word.or(Some(word));
    }

    fn finish(mut self, payload: bool) -> Words<'a> {
        if let Some(word) = self.args.first().copied() {
            self.says_of_run(word);
        }
        let mut run = self.run;
        run.module = match self.file {
            Some(path) => ModuleSource::Path(path.to_owned()),
            None if payload => ModuleSource::Payload,
            None => ModuleSource::Embedded,
        };
        if self.argv0.is_some() || !self.args.is_empty() {
            let name = self.argv0.unwrap_or_else(|| run.module.default_name());
            run.argv = Vec::with_capacity(self.args.len().saturating_add(1));
            run.argv.push(name.to_owned());
            run.argv.extend(self.args.into_iter().map(str::to_owned));
        }
        run.env = unique_variables(self.env);
        run.terminals = self.terminals.unwrap_or(usual_terminals(self.console));
        Words {
            console: self.console,
            spec: self.spec,
            run,
            run_word: self.run_word,
        }
    }
}

/// Which streams are terminals if the words do not say: a person at a serial line sits at one.
const fn usual_terminals(console: Console) -> Terminals {
    match console {
        Console::Raw => Terminals::ALL,
        Console::Framed | Console::SharedMemory => Terminals::NONE,
    }
}

/// Parses `SOURCE::GUEST[:ro]`. Out of line, as what follows, since an image has to be small.
#[inline(never)]
fn mount(value: &str, source: fn(String) -> MountSource) -> Option<Mount> {
    let (name, guest) = value.split_once("::")?;
    let (guest, access) = match guest.strip_suffix(":ro") {
        Some(guest) => (guest, Access::ReadOnly),
        None => (guest, Access::ReadWrite),
    };
    (!name.is_empty() && !guest.is_empty()).then(|| Mount {
        source: source(name.to_owned()),
        guest: guest.to_owned(),
        access,
    })
}

/// Parses `GUEST[,size=BYTES]`.
#[inline(never)]
fn tmpfs(value: &str) -> Option<Mount> {
    let (guest, size) = match value.rsplit_once(SIZE) {
        Some((guest, size)) => (guest, Some(size.parse().ok()?)),
        None => (value, None),
    };
    (!guest.is_empty()).then(|| Mount {
        source: MountSource::Tmpfs { size },
        guest: guest.to_owned(),
        access: Access::ReadWrite,
    })
}

/// What stands before the size of a tmpfs.
const SIZE: &str = ",size=";

/// Parses `NAME=MEMBER`.
#[inline(never)]
fn preload(value: &str) -> Option<Preload> {
    let (name, member) = value.split_once('=')?;
    (!member.is_empty()).then(|| Preload {
        name: name.to_owned(),
        member: member.to_owned(),
    })
}

/// Parses `stdin`, `stdout`, `stderr` in any order, comma-separated; nothing means none of them.
fn terminals(list: &str) -> Option<Terminals> {
    let mut terminals = Terminals::NONE;
    for stream in list.split(',').filter(|stream| !stream.is_empty()) {
        match stream {
            "stdin" => terminals.stdin = true,
            "stdout" => terminals.stdout = true,
            "stderr" => terminals.stderr = true,
            _ => return None,
        }
    }
    Some(terminals)
}

#[cold]
#[inline(never)]
pub(super) fn invalid(option: &'static str, value: &str, expected: &'static str) -> WordError {
    WordError::InvalidValue {
        option,
        value: value.to_owned(),
        expected,
    }
}

/// The words that describe `run` on a machine with this `console`, not yet quoted, up to and with the guest's arguments;
/// those of the console and of the log are a launcher's ([`super::CommandLine`]). [`parse`] reads the same run back.
///
/// # Errors
/// [`Unwritable`] names what these words cannot say.
pub fn write(run: &RunSpec, console: Console) -> Result<Vec<String>, Unwritable> {
    let payload = run.has_payload();
    if payload && run.module == ModuleSource::Embedded {
        return Err(Unwritable(
            "that the built-in greeting runs, on a machine that is given a payload".to_string(),
        ));
    }
    let words = words_of(run, console)?;
    // A field that these words do not have, such as a limit, must not get lost without a word.
    let read = parse(words.iter().map(String::as_str), [], payload).map(|read| read.run);
    let expected = RunSpec {
        log: None,
        terminals: match run.terminals == usual_terminals(console) {
            true => usual_terminals(Console::default()),
            false => run.terminals,
        },
        ..run.clone()
    };
    if read.as_ref() == Ok(&expected) {
        Ok(words)
    } else {
        Err(Unwritable("all of this run".to_string()))
    }
}

fn words_of(run: &RunSpec, console: Console) -> Result<Vec<String>, Unwritable> {
    let mut words = Vec::new();
    let mut option = |name: &str, value: &str| words.push([name, value].join("="));
    if run.terminals != usual_terminals(console) {
        option("--terminals", &terminals_list(run.terminals));
    }
    if let ModuleSource::Path(path) = &run.module {
        option("--file", path);
    }
    if let Some(name) = run.argv.first() {
        option("--argv0", name);
    }
    for (name, value) in &run.env {
        option("--env", &[name.as_str(), value].join("="));
    }
    if let Some(name) = &run.entry {
        option(if run.invoked { "--invoke" } else { "--entry" }, name);
    }
    for Preload { name, member } in &run.preloads {
        if name.contains('=') {
            return Err(Unwritable(["the name ", name].concat()));
        }
        option("--preload", &[name.as_str(), member].join("="));
    }
    for limit in run.limits.words() {
        option("--limit", &limit);
    }
    if let Some(seed) = run.deterministic {
        option("--deterministic", &seed.to_string());
    }
    for mount in &run.mounts {
        let (name, value) = mount_words(mount)?;
        option(name, &value);
    }
    if let Some(network) = &run.network {
        network::write(network, &mut words);
    }
    words.push("--".to_string());
    words.extend(run.argv.iter().skip(1).cloned());
    Ok(words)
}

fn terminals_list(terminals: Terminals) -> String {
    let listed = [
        (terminals.stdin, "stdin"),
        (terminals.stdout, "stdout"),
        (terminals.stderr, "stderr"),
    ];
    let names: Vec<_> = listed
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
    names.join(",")
}

fn mount_words(mount: &Mount) -> Result<(&'static str, String), Unwritable> {
    let guest = &mount.guest;
    let (option, source) = match &mount.source {
        MountSource::Tmpfs { .. } if mount.access == Access::ReadOnly => {
            return Err(Unwritable(["that the tmpfs ", guest, " is read-only"].concat()));
        }
        MountSource::Tmpfs { .. } if guest.contains(SIZE) => {
            return Err(Unwritable(["the name ", guest].concat()));
        }
        MountSource::Tmpfs { size: None } => return Ok(("--tmpfs", guest.clone())),
        MountSource::Tmpfs { size: Some(size) } => {
            return Ok(("--tmpfs", [guest, SIZE, &size.to_string()].concat()));
        }
        MountSource::Copy { member } => ("--copy-dir", member),
        MountSource::VirtioFs { tag } => ("--share", tag),
        MountSource::UhyveMap { path } => ("--map", path),
    };
    // `split_once` finds the first `::`; a source that ends with a colon moves it.
    if source.contains("::") || source.ends_with(':') {
        return Err(Unwritable(["the name ", source].concat()));
    }
    let access = match mount.access {
        Access::ReadOnly => ":ro",
        Access::ReadWrite if guest.ends_with(":ro") => {
            return Err(Unwritable(["that ", guest, " is writable"].concat()));
        }
        Access::ReadWrite => "",
    };
    Ok((option, [source, "::", guest, access].concat()))
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
