//! The command line of an OCI runtime, as far as it must be understood: whoever calls speaks to runc, crun or youki, and
//! most words go on to it as they are.
//!
//! Layer: pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Options in front of the command that take a value, of all three runtimes and our own.
const GLOBAL: [&str; 10] = [
    "--log",
    "--log-format",
    "--log-level",
    "--root",
    "--criu",
    "--cgroup-manager",
    "--rootless",
    DELEGATE,
    "-l",
    "-r",
];

/// Options behind the command that take a value: of `create` and `run`, and of `exec`, whose container must be known.
const LOCAL: [&str; 22] = [
    "--bundle",
    "-b",
    "--config",
    "-f",
    "--console-socket",
    "--pid-file",
    "--preserve-fds",
    "--pidfd-socket",
    "--process",
    "-p",
    "--cwd",
    "--env",
    "-e",
    "--user",
    "-u",
    "--additional-gids",
    "-g",
    "--process-label",
    "--apparmor",
    "--cap",
    "-c",
    "--cgroup",
];

/// Those of `update`.
const UPDATE: [&str; 19] = [
    "--resources",
    "-r",
    "--blkio-weight",
    "--cpu-period",
    "--cpu-quota",
    "--cpu-burst",
    "--cpu-rt-period",
    "--cpu-rt-runtime",
    "--cpu-share",
    "--cpuset-cpus",
    "--cpuset-mems",
    "--cpu-idle",
    "--kernel-memory",
    "--memory",
    "--memory-reservation",
    "--memory-swap",
    "--pids-limit",
    "--l3-cache-schema",
    "--mem-bw-schema",
];

/// The delegate's program.
pub(super) const DELEGATE: &str = "--delegate";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// The words as they were given.
    pub(super) given: Vec<OsString>,
    /// The words for the delegate, without the program's name.
    pub(super) words: Vec<OsString>,
    /// How many of them stand in front of the command.
    before: usize,
    /// The command.
    pub(super) command: Option<String>,
    /// Where errors go.
    pub(super) log: Option<PathBuf>,
    /// Whether they go there as JSON.
    pub(super) json: bool,
    /// The delegate that was named.
    pub(super) delegate: Option<PathBuf>,
    /// The bundle that was named.
    pub(super) bundle: Option<PathBuf>,
    /// The configuration that was named, which crun has.
    pub(super) config: Option<PathBuf>,
    /// The description of a process that was named, for `exec`.
    pub(super) process: Option<PathBuf>,
    /// The first word that is no option: the container's name.
    pub(super) id: Option<OsString>,
}

/// Words behind the command that belong together.
pub(super) struct Piece {
    /// The option's name; empty where it is none that has a value.
    pub(super) name: String,
    pub(super) value: Option<OsString>,
    /// As they were given.
    pub(super) words: Vec<OsString>,
}

/// An option with a value: its name, the value, and how many words both are.
struct Valued {
    name: String,
    value: Option<OsString>,
    words: usize,
}

impl Call {
    /// Reads the words behind the program's name.
    pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Self {
        let words: Vec<OsString> = words.into_iter().collect();
        let mut this = Self {
            given: words.clone(),
            ..Self::default()
        };
        let mut rest = words.as_slice();
        while let Some((word, behind)) = rest.split_first() {
            if this.command.is_none() && !is_option(word) {
                this.before = this.words.len();
                this.command = Some(word.to_string_lossy().into_owned());
                this.words.push(word.clone());
                rest = behind;
                continue;
            }
            let options = this.options();
            let (taken, found) = match option(rest, options) {
                Some(found) => (found.words, Some(found)),
                None => (1, None),
            };
            let (these, behind) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            rest = behind;
            let ours = match found {
                Some(Valued { name, value, .. }) => this.note(&name, value),
                None => {
                    if this.command.is_some() && this.id.is_none() && !is_option(word) {
                        this.id = Some(word.clone());
                    }
                    false
                }
            };
            if !ours {
                this.words.extend_from_slice(these);
            }
        }
        this
    }

    /// The options with values that stand where the words have been read to.
    fn options(&self) -> &'static [&'static str] {
        match self.command.as_deref() {
            None => &GLOBAL,
            Some("update") => &UPDATE,
            Some(_) => &LOCAL,
        }
    }

    /// The words up to the command, and what stands behind it: options with their values, and other words.
    pub(super) fn pieces(&self) -> (Vec<OsString>, Vec<Piece>) {
        let split = self.words.split_at_checked(self.before.saturating_add(1));
        let (before, mut rest) = split.unwrap_or((&self.words, &[]));
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (name, value, taken) = match option(rest, self.options()) {
                Some(found) => (found.name, found.value, found.words),
                None => (String::new(), None, 1),
            };
            let (these, behind) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            pieces.push(Piece {
                name,
                value,
                words: these.to_vec(),
            });
            rest = behind;
        }
        (before.to_vec(), pieces)
    }

    /// Notes an option; whether the delegate must not see it.
    fn note(&mut self, name: &str, value: Option<OsString>) -> bool {
        let path = value.clone().map(PathBuf::from);
        match name {
            "--log" | "-l" => self.log = path,
            "--log-format" => self.json = value.as_deref() == Some(OsStr::new("json")),
            DELEGATE => {
                self.delegate = path;
                return true;
            }
            "--bundle" | "-b" => self.bundle = path,
            "--config" | "-f" => self.config = path,
            "--process" | "-p" => self.process = path,
            _ => {}
        }
        false
    }

    /// The words for the delegate, which gets another bundle.
    pub(super) fn with_bundle(&self, bundle: &Path) -> Vec<OsString> {
        let (before, command) = self
            .words
            .split_at_checked(self.before.saturating_add(1))
            .unwrap_or((&self.words, &[]));
        let mut words = before.to_vec();
        words.extend(["--bundle".into(), bundle.into()]);
        let mut rest = command;
        while let Some((word, behind)) = rest.split_first() {
            match option(rest, &LOCAL) {
                Some(found) => {
                    let (these, behind) = rest.split_at_checked(found.words).unwrap_or((rest, &[]));
                    if !matches!(found.name.as_str(), "--bundle" | "-b" | "--config" | "-f") {
                        words.extend_from_slice(these);
                    }
                    rest = behind;
                }
                None => {
                    words.push(word.clone());
                    rest = behind;
                }
            }
        }
        words
    }

    /// Whether the command's help is asked for, and nothing else.
    pub(super) fn is_for_help(&self) -> bool {
        let behind = self
            .words
            .get(self.before.saturating_add(1)..)
            .unwrap_or_default();
        matches!(behind, [word] if word == "--help" || word == "-h")
    }

    /// The same options in front of another command.
    pub(super) fn other(&self, command: &str) -> Vec<OsString> {
        let before = self.words.get(..self.before).unwrap_or_default();
        let mut words = before.to_vec();
        words.push(command.into());
        words
    }
}

fn is_option(word: &OsStr) -> bool {
    word.as_bytes().starts_with(b"-") && word.len() > 1
}

/// The option with a value that the words begin with, if it is one of these: `--name value`, `--name=value`, `-nvalue`.
fn option(words: &[OsString], options: &[&str]) -> Option<Valued> {
    let (word, behind) = words.split_first()?;
    for name in options {
        let Some(rest) = word.as_bytes().strip_prefix(name.as_bytes()) else {
            continue;
        };
        let name = (*name).to_string();
        let joined = |bytes: &[u8]| Some(OsString::from_vec(bytes.to_vec()));
        match (rest, name.starts_with("--")) {
            ([], _) => {
                let value = behind.first().cloned();
                let words = 1 + usize::from(value.is_some());
                return Some(Valued { name, value, words });
            }
            ([b'=', value @ ..], _) => {
                return Some(Valued {
                    name,
                    value: joined(value),
                    words: 1,
                });
            }
            (value, false) => {
                return Some(Valued {
                    name,
                    value: joined(value),
                    words: 1,
                });
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        Call::parse(line.split_whitespace().map(OsString::from))
    }

    fn line(words: &[OsString]) -> String {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn what_engines_say_is_understood() {
        let podman = call(
            "--systemd-cgroup --root=/run/x --log-format=json --log /l create --bundle /b --pid-file /p \
             --console-socket /s abc",
        );
        assert_eq!(podman.command.as_deref(), Some("create"));
        assert_eq!(podman.log.as_deref(), Some(Path::new("/l")));
        assert!(podman.json);
        assert_eq!(podman.bundle.as_deref(), Some(Path::new("/b")));
        assert_eq!(podman.id.as_deref(), Some(OsStr::new("abc")));

        let containerd = call("--root /r --log /b/log.json --log-format json kill --all abc 9");
        assert_eq!(containerd.command.as_deref(), Some("kill"));
        assert_eq!(containerd.id.as_deref(), Some(OsStr::new("abc")));
        assert_eq!(
            line(&containerd.words),
            "--root /r --log /b/log.json --log-format json kill --all abc 9"
        );

        let exec = call("exec -e A=1 --cwd /x -u1000 --user 1000:1000 -t --cap CAP_X -d abc sh -c x");
        assert_eq!(exec.id.as_deref(), Some(OsStr::new("abc")));
        let exec = call("exec --process /p.json --detach --pid-file /pid abc");
        assert_eq!(exec.process.as_deref(), Some(Path::new("/p.json")));
        assert_eq!(exec.id.as_deref(), Some(OsStr::new("abc")));

        let update = call("update --resources - --memory 5 --cpu-quota=1 abc");
        assert_eq!(update.id.as_deref(), Some(OsStr::new("abc")));

        // A value is none of the words that it looks like.
        let odd = call("--log create --root -b state x");
        assert_eq!(odd.command.as_deref(), Some("state"));
        assert_eq!(odd.bundle, None);
    }

    #[test]
    fn the_delegates_bundle_takes_the_place_of_the_engines() {
        for (given, expected) in [
            ("run x", "run --bundle /d x"),
            ("run -b /b x", "run --bundle /d x"),
            ("run -b/b x", "run --bundle /d x"),
            ("run -b=/b -d x", "run --bundle /d -d x"),
            (
                "--root /r create --bundle=/b --pid-file -b x",
                "--root /r create --bundle /d --pid-file -b x",
            ),
            ("create -f other.json x", "create --bundle /d x"),
        ] {
            assert_eq!(
                line(&call(given).with_bundle(Path::new("/d"))),
                expected,
                "{given}"
            );
        }
    }

    #[test]
    fn the_delegate_does_not_see_our_own_option() {
        for given in [
            "--delegate /x/crun --root /r state a",
            "--delegate=/x/crun --root /r state a",
        ] {
            let call = call(given);
            assert_eq!(call.delegate.as_deref(), Some(Path::new("/x/crun")));
            assert_eq!(line(&call.words), "--root /r state a");
            assert_eq!(line(&call.other("features")), "--root /r features");
        }
        assert_eq!(call("--version").command, None);
        assert!(call("--root /r create --help").is_for_help());
        assert!(!call("create --help x").is_for_help() && !call("create x").is_for_help());
    }
}
