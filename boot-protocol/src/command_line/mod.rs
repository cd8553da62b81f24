//! The kernel command line: quoting one word, and what a launcher puts there.
//!
//! Layer: pure text. The reader is the crate `shell-words` inside the Hermit kernel, which splits by the rules of
//! POSIX shells; the kernel takes its own words first, `--` ends them, the application's follow. A launcher says there
//! only what must be known before the run's description ([`crate::run_spec`]) can be read:
//!
//! ```text
//! [-freq MHZ] -- [--log=LEVEL] [--console=framed|shared] [--spec=PATH]
//! ```
//!
//! What a person writes there instead of a description: [`words`].

mod network;
pub mod words;

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::run_spec::LogLevel;

/// Quotes one word so that a POSIX shell, and the crate `shell-words`, read back exactly `word`.
///
/// A word that needs no quotes is returned as it is. A word with a NUL byte can be quoted but not booted: the command
/// line is a C string.
///
/// ```
/// use boot_protocol::command_line::quote;
/// assert_eq!(quote("plain"), "plain");
/// assert_eq!(quote("two words"), "'two words'");
/// assert_eq!(quote("it's"), r"'it'\''s'");
/// ```
#[must_use]
pub fn quote(word: &str) -> Cow<'_, str> {
    // An allow list: whatever is not surely harmless in a shell is quoted. `~` and `=` are harmless only for
    // `shell-words`, not at the start of a shell's word, and `--print-command` output is fed to shells.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,+@%".contains(&byte);
    let option_with_value = |word: &str| {
        // `--env=K=V` stays readable: `=` does no harm behind a leading dash.
        word.starts_with('-') && word.bytes().all(|byte| harmless(byte) || byte == b'=')
    };
    if !word.is_empty() && (word.bytes().all(harmless) || option_with_value(word)) {
        return Cow::Borrowed(word);
    }
    let mut quoted = String::with_capacity(word.len().saturating_add(2));
    quoted.push('\'');
    for character in word.chars() {
        // Nothing can be escaped inside single quotes: leave them, write an escaped quote, enter them again.
        if character == '\'' {
            quoted.push_str(r"'\''");
        } else {
            quoted.push(character);
        }
    }
    quoted.push('\'');
    Cow::Owned(quoted)
}

/// Quotes words and joins them to a line.
///
/// ```
/// use boot_protocol::command_line::join;
/// assert_eq!(join(["-freq", "2400", "--", "two words"]), "-freq 2400 -- 'two words'");
/// ```
#[must_use]
pub fn join<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let mut line = String::new();
    for (index, word) in words.into_iter().enumerate() {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(&quote(word.as_ref()));
    }
    line
}

/// What the serial line carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// The guest's bytes as they are, standard output and error mixed: for a terminal.
    #[default]
    Raw,
    /// The protocol of [`crate::console`], version 1, for a launcher at the other end.
    Framed,
    /// Version 2: the launcher also sees the machine's memory.
    SharedMemory,
}

impl Console {
    /// Each kind.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Framed, Self::SharedMemory];

    /// The kind as `--console` takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "plain",
            Self::Framed => "framed",
            Self::SharedMemory => "shared",
        }
    }

    /// The kind that `--console` takes by this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|console| console.word() == word)
    }
}

/// What a launcher puts on the kernel command line; [`CommandLine::build`] puts it together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The time stamp counter's frequency in MHz, where it is known: saves the kernel's measurement of 40 ms.
    pub tsc_mhz: Option<u32>,
    /// Level of the kernel's and the application's log.
    pub log: Option<LogLevel>,
    /// What the serial line carries.
    pub console: Console,
    /// Where uhyve maps the run's description, if it is not in the payload.
    pub spec: Option<String>,
}

impl CommandLine {
    /// The words, in order and not yet quoted.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = self.kernel_words();
        if let Some(path) = &self.spec {
            words.push(["--spec", path].join("="));
        }
        words
    }

    /// The same for a machine that is described by words ([`words::write`]) and has no file for that: what `--print-command`
    /// shows.
    ///
    /// # Errors
    /// [`words::Unwritable`] names what words cannot say.
    pub fn words_with(&self, run: &crate::run_spec::RunSpec) -> Result<Vec<String>, words::Unwritable> {
        let mut words = self.kernel_words();
        words.extend(words::write(run, self.console)?);
        Ok(words)
    }

    /// The words up to the application's own about the run.
    fn kernel_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(mhz) = self.tsc_mhz {
            words.push("-freq".to_string());
            words.push(mhz.to_string());
        }
        words.push("--".to_string());
        // Values are joined with `=`, so that one which begins with a dash cannot be taken for an option. The log
        // level is first because the kernel looks for it there, long before the application runs.
        if let Some(level) = self.log {
            words.push(["--log", level.name()].join("="));
        }
        if self.console != Console::Raw {
            words.push(["--console", self.console.word()].join("="));
        }
        words
    }

    /// The line as the hypervisor takes it.
    #[must_use]
    pub fn build(&self) -> String {
        join(self.words())
    }
}

#[cfg(test)]
mod tests;
