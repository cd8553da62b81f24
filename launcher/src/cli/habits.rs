//! What people write out of habit, from wasmtime, Docker, wasmer, wazero or QEMU, and what to write here instead.
//!
//! Layer: the command line. One sentence per habit; [`TABLE`] has the flags, [`COMMANDS`] the words that look like
//! commands.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use boot_protocol::command_line;
use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use hermit_wasm_vm::Error;

use super::run::{Run, usage};
use super::{Cli, Command};

mod table;

use table::TABLE;

/// Why nothing is run.
#[derive(Debug)]
pub(super) enum Refusal {
    /// For a reason that clap does not know.
    Ours(Error),
    /// By clap, which also counts help as an error: it shows it, and ends the program.
    Claps(clap::Error),
}

/// Reads the command line, the program's name first.
///
/// **Errors**: a habit of another program's, with what to write here; a run without a module; clap's.
pub(super) fn parse(words: &[OsString]) -> Result<Command, Refusal> {
    let command = match Cli::try_parse_from(words) {
        Ok(cli) => cli.into_command(),
        Err(mut error) => {
            if let Some(sentence) = explain(&error, words) {
                return Err(Refusal::Ours(usage(sentence)));
            }
            // "to pass '-e' as a value, use '-- -e'" makes a module's name of a misspelt flag.
            error.remove(ContextKind::Suggested);
            return Err(Refusal::Claps(error));
        }
    };
    if let Command::Run(run) = &command {
        check(run, words).map_err(Refusal::Ours)?;
    }
    Ok(command)
}

/// What to write instead of a flag that clap does not know.
fn explain(error: &clap::Error, words: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let seen = Seen::find(unknown, &words)?;
    if let Some((_, advice)) = TABLE.iter().find(|(flags, _)| is_one(flags, &seen.flag)) {
        return Some(advice.sentence(&seen));
    }
    // `-timeout 3s`, as QEMU and Go's programs write it.
    let long = seen.flag.strip_prefix('-')?;
    (!long.starts_with('-') && Cli::knows(long))
        .then(|| format!("{}: long flags take two dashes: write --{long}", seen.flag))
}

/// A flag as it was written.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The flag, dashes included.
    flag: String,
    /// What was attached to it, or else followed it.
    value: Option<String>,
}

impl Seen {
    /// Finds the word that clap calls `unknown`: of `-it` and `-m512M` it names only one letter, of `--a=b` no value.
    fn find(unknown: &str, words: &[String]) -> Option<Self> {
        let is_long = unknown.starts_with("--");
        let letter = unknown.chars().nth(1)?;
        let matches = |word: &String| {
            let name = word.split('=').next().unwrap_or(word);
            name == unknown
                || !is_long && !word.starts_with("--") && word.starts_with('-') && word.contains(letter)
        };
        let at = words.iter().position(matches)?;
        let word = words.get(at)?;
        let next = words
            .get(at.saturating_add(1))
            .filter(|next| !next.starts_with('-') && !looks_like_module(OsStr::new(next)));
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        let is_whole = is_long || Cli::knows(name.trim_start_matches('-')) || in_table(name);
        if is_whole {
            let value = attached.or(next.map(String::as_str));
            return Some(Self {
                flag: name.to_string(),
                value: value.map(str::to_string),
            });
        }
        // A letter with its value attached: -eA=1, -m512M, -v/a:/b.
        let mut letters = word.char_indices().skip(2);
        let (flag, value) = match letters.next() {
            Some((end, _)) => word.split_at(end),
            None => (word.as_str(), ""),
        };
        Some(Self {
            flag: flag.to_string(),
            value: Some(value).filter(|value| !value.is_empty()).map(str::to_string),
        })
    }
}

/// Whether a word is in a list with spaces.
fn is_one(list: &str, word: &str) -> bool {
    list.split(' ').any(|item| item == word)
}

fn in_table(flag: &str) -> bool {
    TABLE.iter().any(|(flags, _)| is_one(flags, flag))
}

/// What to say about a flag.
enum Advice {
    /// The same is called so here, and takes the same value; the second is the value's name.
    Write(&'static str, &'static str),
    /// It is a limit of -W, which has this name and takes the same value; the second is the value's name.
    Limit(&'static str, &'static str),
    /// It is an environment variable, whose value may be a secret and is not repeated.
    Variable,
    /// A directory, written `HOST:GUEST[:OPTIONS]` or as Docker's list of `key=value`.
    Mount,
    /// A directory, with the guest's name for it first.
    MountGuestFirst,
    /// Nothing has to be written.
    Leave(&'static str),
    /// It is done in another way, or not at all.
    Say(&'static str),
}

impl Advice {
    fn sentence(&self, seen: &Seen) -> String {
        let flag = &seen.flag;
        let value = seen.value.as_deref();
        match self {
            Self::Write(ours, name) => {
                let value = value.map_or_else(|| (*name).to_string(), quote);
                format!("{flag}: write {ours} {value}")
            }
            Self::Limit(word, name) => {
                let value = value.map_or_else(|| (*name).to_string(), quote);
                format!("{flag}: write -W {word}={value}")
            }
            Self::Variable => {
                let ours = value.map_or_else(|| "K=V".to_string(), |value| quote(&without_value(value)));
                format!("{flag}: write --env {ours}")
            }
            Self::Mount => {
                let ours = value.map_or("--dir HOST::GUEST[:ro]".to_string(), mount);
                format!("{flag}: write {ours} (or --copy-dir for a copy whose changes are discarded)")
            }
            Self::MountGuestFirst => {
                let ours = value.and_then(|value| {
                    let (guest, host) = value.split_once("::").or_else(|| value.split_once(':'))?;
                    Some(format!("--dir {}", quote(&format!("{host}::{guest}"))))
                });
                let ours = ours.unwrap_or_else(|| "--dir HOST::GUEST".to_string());
                format!("{flag}: write {ours}, with the host's directory first")
            }
            Self::Leave(why) => format!("{flag}: omit it: {why}"),
            Self::Say(what) => format!("{flag}: {what}"),
        }
    }
}

/// `HOST:GUEST[:OPTIONS]`, or Docker's `type=bind,source=HOST,target=GUEST,readonly`, as flags of this program.
fn mount(value: &str) -> String {
    if !value.contains("target=") && !value.contains("dst=") && !value.contains("destination=") {
        let (value, read_only) = without_options(value);
        let value = match value.split_once(':') {
            Some((host, guest)) if !value.contains("::") => format!("{host}::{guest}"),
            _ => value.to_string(),
        };
        return format!("--dir {}", quote(&with_ro(value, read_only)));
    }
    let find = |keys: &[&str]| {
        value.split(',').find_map(|part| {
            let (key, value) = part.split_once('=')?;
            keys.contains(&key).then_some(value)
        })
    };
    let guest = find(&["target", "dst", "destination"]).unwrap_or("GUEST");
    if find(&["type"]) == Some("tmpfs") {
        let size = find(&["tmpfs-size"]).map_or(String::new(), |size| format!(",size={size}"));
        return format!("--tmpfs {}", quote(&format!("{guest}{size}")));
    }
    let host = find(&["source", "src"]).unwrap_or("HOST");
    let read_only = value
        .split(',')
        .any(|part| matches!(part, "readonly" | "ro" | "readonly=true" | "ro=true"));
    format!("--dir {}", quote(&with_ro(format!("{host}::{guest}"), read_only)))
}

/// A value as it can be typed: in quotes only where a shell needs them.
fn quote(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-=,+@%…".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_string();
    }
    command_line::quote(value).into_owned()
}

/// `K=V` without V, which may be a secret.
pub(super) fn without_value(setting: &str) -> String {
    match setting.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}=…"),
        _ => setting.to_string(),
    }
}

/// Whether a word sets a variable, as in `env A=1 program`.
fn sets_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_letter)
    })
}

fn with_ro(value: String, read_only: bool) -> String {
    if read_only { value + ":ro" } else { value }
}

/// Cuts `:rw`, `:RO`, `:ro,z` and the like off the end of a value; whether they ask for reading only.
fn without_options(value: &str) -> (&str, bool) {
    let Some((rest, options)) = value.rsplit_once(':') else {
        return (value, false);
    };
    let known = |option: &str| {
        let option = option.to_ascii_lowercase();
        matches!(
            option.as_str(),
            "ro" | "rw"
                | "z"
                | "u"
                | "readonly"
                | "readwrite"
                | "cached"
                | "delegated"
                | "consistent"
                | "exec"
                | "noexec"
                | "suid"
                | "nosuid"
                | "dev"
                | "nodev"
        ) || option.starts_with("size=")
            || option.starts_with("mode=")
    };
    if rest.is_empty() || !options.split(',').all(known) {
        return (value, false);
    }
    let read_only = options
        .split(',')
        .any(|option| option.eq_ignore_ascii_case("ro") || option.eq_ignore_ascii_case("readonly"));
    (rest, read_only)
}

/// Commands of other programs, which no module is likely to be called.
const COMMANDS: &str = "\
    add bench build cache check clean completion config cp create deploy download exec explore \
    images info init inspect install invoke kill list load login logs ls new objdump pack package \
    profile ps publish pull push rm self-update serve settings shell start stop test up update upgrade \
    validate version wast wit";

/// Checks what clap cannot know.
fn check(run: &Run, words: &[OsString]) -> Result<(), Error> {
    let Some(module) = run.module() else {
        return match run.greet || run.file.is_some() {
            true => Ok(()),
            false => Err(missing(words)),
        };
    };
    if module.as_os_str().is_empty() {
        return Err(usage("the module's name is empty; is a shell variable unset?"));
    }
    // Looked at only where it matters: a file of a machine that is gone is waited for, and no deadline is known yet.
    let is_file = || module.exists() && !module.is_dir();
    let said_run = words.get(1).is_some_and(|word| word == "run");
    let name = module.to_string_lossy();
    if !said_run && is_one(COMMANDS, &name) && !is_file() {
        return Err(usage(not_a_command(&name)));
    }
    if sets_variable(&name) && !is_file() {
        return Err(usage(format!(
            "'{}' is not a module; to set a variable for the guest, write --env before each, and the module after all flags",
            without_value(&name)
        )));
    }
    let previous = words
        .iter()
        .position(|word| word.as_os_str() == module.as_os_str())
        .and_then(|at| words.get(at.checked_sub(1)?));
    let is_number = || name.bytes().all(|byte| byte.is_ascii_digit());
    if previous.is_some_and(|word| word == "--deterministic") && is_number() && !is_file() {
        return Err(usage(format!(
            "--deterministic takes its seed behind an equals sign: write --deterministic={name}"
        )));
    }
    if previous.is_some_and(|word| word == "-v") && name.contains(':') && !is_file() {
        return Err(usage(format!(
            "-v is --verbose here; to share a directory, write {}",
            mount(&name)
        )));
    }
    Ok(())
}

fn not_a_command(word: &str) -> String {
    let advice = match word {
        "version" => "; --version prints the version",
        "completion" => "; did you mean 'completions'?",
        _ => "; a module is named by its file, such as app.wasm",
    };
    format!(
        "'{word}' is not a command; the commands are {}{advice}",
        Cli::commands()
    )
}

/// Whether a word is called as modules are.
fn looks_like_module(word: &OsStr) -> bool {
    let extension = Path::new(word).extension();
    extension.is_some_and(|extension| extension == "wasm" || extension == "wat")
}

/// No word is left for the module: perhaps a flag took it as its value.
fn missing(words: &[OsString]) -> Error {
    let taken = words.windows(2).find_map(|pair| match pair {
        [flag, value] if flag.to_string_lossy().starts_with("--") && looks_like_module(value) => {
            Some((flag, value))
        }
        _ => None,
    });
    let hint = match taken {
        Some((flag, value)) => format!(
            "{flag} took '{value}' as its value; give {flag} its own value first",
            flag = flag.to_string_lossy(),
            value = match flag.to_str() {
                Some("--env") => without_value(&value.to_string_lossy()),
                _ => value.to_string_lossy().into_owned(),
            },
        ),
        None => "name a .wasm or .wat file after the flags, or write --greet to run the built-in greeting"
            .to_string(),
    };
    usage(format!("the module is missing: {hint}"))
}

/// The right spelling of a value of --dir or --copy-dir, if it is wrong: `a:b` for `a::b`, `:rw`, `:RO`.
///
/// `exists` says what is there on the host: a name that has such an end is right as it is.
pub(super) fn right_spelling(value: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let (plain, docker_ro) = without_options(value);
    let (plain, options, read_only) = match value.strip_suffix(":ro") {
        Some(plain) => (plain, false, true),
        None => (plain, plain != value, docker_ro),
    };
    if exists(value) || exists(plain) && !options {
        return None;
    }
    if plain.contains("::") {
        return options.then(|| with_ro(plain.to_string(), read_only));
    }
    let (host, guest) = plain.split_once(':').unwrap_or((plain, ""));
    if guest.is_empty() {
        return options.then(|| with_ro(host.to_string(), read_only));
    }
    exists(host).then(|| with_ro(format!("{host}::{guest}"), read_only))
}

/// The right spelling of a value of --tmpfs with Docker's options, of which it takes the size.
pub(super) fn tmpfs_without_options(value: &str) -> Option<String> {
    let (plain, _) = without_options(value);
    let options = value.get(plain.len()..).unwrap_or_default();
    let mut options = options.trim_start_matches(':').split(',');
    let size = options.find(|option| option.starts_with("size="));
    (plain != value).then(|| match size {
        Some(size) => format!("{plain},{size}"),
        None => plain.to_string(),
    })
}

#[cfg(test)]
#[path = "habits_tests.rs"]
mod tests;
