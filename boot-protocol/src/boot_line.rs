//! The boot line, which is the kernel's command line: quoting one word, and putting the line together.
//!
//! Layer: pure text. The reader is the crate `shell-words` inside the Hermit kernel, which splits by the rules of
//! POSIX shells; the kernel takes its own words first, `--` ends them, the application's follow:
//!
//! ```text
//! [-freq MHZ] -- [--log=LEVEL] [--console=framed|shared] [--terminals=LIST] [--file=MODULE] [--argv0=NAME] [--env=K=V]…
//!   [--tmpfs=GUEST | --copy-dir=MEMBER::GUEST[:ro] | --share=TAG::GUEST[:ro]
//!   | --map=PATH::GUEST[:ro]]… -- [ARGS…]
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use crate::command_line::quote;

/// What the serial line carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// The guest's bytes as they are.
    #[default]
    Plain,
    /// The protocol of [`crate::console`], version 1, for a launcher at the other end.
    Framed,
    /// Version 2: the launcher also sees the machine's memory.
    Shared,
}

/// A directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// An empty one in memory.
    Tmpfs {
        /// What the guest calls it.
        guest: String,
    },
    /// A tree from a tar archive in the boot file (see [`crate::payload`]).
    Archive {
        /// The archive's name in the boot file.
        member: String,
        /// What the guest calls it.
        guest: String,
        /// Whether the guest may only read.
        read_only: bool,
    },
    /// One that the host shares with the machine, by virtio-fs.
    Share {
        /// The device's tag.
        tag: String,
        /// What the guest calls it.
        guest: String,
        /// Whether the guest may only read.
        read_only: bool,
    },
    /// One that uhyve maps into the machine.
    Mapped {
        /// Its path in the machine.
        path: String,
        /// What the guest calls it.
        guest: String,
        /// Whether the guest may only read.
        read_only: bool,
    },
}

/// The parts of a boot line; [`BootLine::build`] puts them together.
#[derive(Clone, Debug, Default)]
pub struct BootLine {
    /// The time stamp counter's frequency in MHz, where it is known: saves the kernel's measurement of 40 ms.
    pub tsc_mhz: Option<u32>,
    /// Level of the kernel's and the application's log.
    pub log: Option<String>,
    /// What the serial line carries.
    pub console: Console,
    /// Which of `stdin`, `stdout` and `stderr` are terminals; none: what the application takes to be usual.
    pub terminals: Vec<String>,
    /// A path inside the VM to read the module from; without one it is the boot module or the embedded one.
    pub file: Option<String>,
    /// The guest's argv\[0\].
    pub argv0: Option<String>,
    /// The guest's environment, in order.
    pub env: Vec<(String, String)>,
    /// The guest's directories: its descriptors 3, 4, ….
    pub directories: Vec<Directory>,
    /// The guest's argv\[1..\].
    pub args: Vec<String>,
}

impl BootLine {
    /// The boot line's words, in order and not yet quoted.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(mhz) = self.tsc_mhz {
            words.push("-freq".to_string());
            words.push(mhz.to_string());
        }
        words.push("--".to_string());
        // Values are joined with `=`, so that one which begins with a dash cannot be taken for an option. The log
        // level is first because the kernel looks for it there, long before the application runs.
        let mut option = |name: &str, value: &str| words.push([name, value].join("="));
        if let Some(level) = &self.log {
            option("--log", level);
        }
        match self.console {
            Console::Plain => {}
            Console::Framed => option("--console", "framed"),
            Console::Shared => option("--console", "shared"),
        }
        if !self.terminals.is_empty() {
            option("--terminals", &self.terminals.join(","));
        }
        if let Some(file) = &self.file {
            option("--file", file);
        }
        if let Some(name) = &self.argv0 {
            option("--argv0", name);
        }
        for (key, value) in &self.env {
            option("--env", &[key.as_str(), value.as_str()].join("="));
        }
        for directory in &self.directories {
            let access = |read_only: bool| if read_only { ":ro" } else { "" };
            match directory {
                Directory::Tmpfs { guest } => option("--tmpfs", guest),
                Directory::Archive {
                    member: source,
                    guest,
                    read_only,
                } => option("--copy-dir", &[source, "::", guest, access(*read_only)].concat()),
                Directory::Share {
                    tag: source,
                    guest,
                    read_only,
                } => option("--share", &[source, "::", guest, access(*read_only)].concat()),
                Directory::Mapped {
                    path: source,
                    guest,
                    read_only,
                } => option("--map", &[source, "::", guest, access(*read_only)].concat()),
            }
        }
        words.push("--".to_string());
        words.extend(self.args.iter().cloned());
        words
    }

    /// The boot line as the hypervisor takes it.
    #[must_use]
    pub fn build(&self) -> String {
        let words = self.words();
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
        quoted.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn the_shortest_line() {
        assert_eq!(BootLine::default().build(), "-- --");
    }

    #[test]
    fn a_full_line_in_its_order() {
        let line = BootLine {
            tsc_mhz: Some(2400),
            log: Some("debug".into()),
            console: Console::Framed,
            terminals: vec!["stdin".into(), "stderr".into()],
            file: Some("/root/m.wasm".into()),
            argv0: Some("m.wasm".into()),
            env: vec![("A".into(), "1".into()), ("B".into(), "x y=z".into())],
            directories: vec![
                Directory::Tmpfs { guest: "/tmp".into() },
                Directory::Archive {
                    member: "dir-0.tar".into(),
                    guest: "a b".into(),
                    read_only: true,
                },
                Directory::Share {
                    tag: "share-0".into(),
                    guest: "/".into(),
                    read_only: false,
                },
                Directory::Mapped {
                    path: "/root/0".into(),
                    guest: ".".into(),
                    read_only: true,
                },
            ],
            args: vec!["-i".into(), "12".into(), "--".into(), "".into(), "it's".into()],
        };
        assert_eq!(
            line.build(),
            r"-freq 2400 -- --log=debug --console=framed --terminals=stdin,stderr --file=/root/m.wasm --argv0=m.wasm --env=A=1 '--env=B=x y=z' --tmpfs=/tmp '--copy-dir=dir-0.tar::a b:ro' --share=share-0::/ --map=/root/0::.:ro -- -i 12 -- '' 'it'\''s'"
        );
    }
}
