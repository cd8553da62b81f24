//! Splits the kernel command line: the kernel's own words, which it reads itself, and the application's.
//!
//! Layer: pure; a line in, words out. Source: `src/env.rs` of crate hermit-kernel, with `hermit-kernel/patches/`.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

/// What is the application's on the kernel command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The words behind `--`, or from the first one on that the kernel does not know.
    pub arguments: Vec<String>,
    /// What `env=NAME=VALUE` said before them, in order.
    pub environment: Vec<(String, String)>,
    /// The kernel's own options before them, without their values.
    pub of_kernel: Vec<&'static str>,
}

/// A quotation mark has no partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

impl fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel command line has a quotation mark without its partner")
    }
}

impl core::error::Error for Unbalanced {}

/// The kernel's option that says how fast the processor's counter runs, by which it counts time.
pub const FREQUENCY: &str = "-freq";

/// The kernel's options that are followed by a value.
const WITH_VALUE: [&str; 5] = [FREQUENCY, "-ip", "-mask", "-gateway", "-mount"];

impl CommandLine {
    /// Splits a line as a shell would. `names_loader`: its first word may be the loader's file name, as multiboot
    /// loaders hand it over.
    ///
    /// # Errors
    /// [`Unbalanced`] if it cannot be split.
    pub fn split(line: &str, names_loader: bool) -> Result<Self, Unbalanced> {
        let mut words = shell_words::split(line).map_err(|_| Unbalanced)?.into_iter();
        let mut this = Self::default();
        let mut names_loader = names_loader;
        while let Some(word) = words.next() {
            if let Some(option) = WITH_VALUE.iter().find(|option| **option == word) {
                this.of_kernel.push(option);
                words.next();
            } else if word == "--" {
                this.arguments.extend(words);
                break;
            } else if let Some(variable) = word.strip_prefix("env=") {
                let variable = variable.split_once('=');
                this.environment
                    .extend(variable.map(|(name, value)| (name.to_string(), value.to_string())));
            } else if word.starts_with("virtio_mmio.device=") {
                // The kernel's.
            } else if names_loader && !word.starts_with('-') {
                names_loader = false;
            } else {
                this.arguments.push(word);
                this.arguments.extend(words);
                break;
            }
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        CommandLine::split(line, false).unwrap().arguments
    }

    #[test]
    fn the_application_s_words_begin_behind_the_kernel_s() {
        for line in [
            "-- -f m",
            "-f m",
            "-freq 3000 -- -f m",
            "-freq 3000 -f m",
            "env=A=1 -ip 1.2.3.4 -mask x -gateway y -mount z -- -f m",
            "virtio_mmio.device=512@0xfeb00000:5 -f m",
            "  --  -f   m ",
        ] {
            assert_eq!(arguments(line), ["-f", "m"], "{line}");
        }
        assert_eq!(arguments("-- -- -freq"), ["--", "-freq"]);
        assert_eq!(
            arguments("-f -freq 3 -- env=A=1"),
            ["-f", "-freq", "3", "--", "env=A=1"]
        );
        assert_eq!(arguments("--env=A=1"), ["--env=A=1"]);
        assert_eq!(arguments("A=1"), ["A=1"]);
        assert_eq!(arguments("-freq"), [""; 0]);
        let line = CommandLine::split("-freq 1 -mount -ip -- -mask 2", false).unwrap();
        assert_eq!(line.of_kernel, ["-freq", "-mount"]);
        assert_eq!(arguments(""), [""; 0]);
    }

    #[test]
    fn words_are_quoted_as_in_a_shell() {
        assert_eq!(
            arguments(r#"-- 'a b' "c 'd'" e\ f '' "\$g""#),
            ["a b", "c 'd'", "e f", "", "$g"]
        );
        assert_eq!(CommandLine::split("-- 'a", false), Err(Unbalanced));
        assert_eq!(CommandLine::split("-- \"a", false), Err(Unbalanced));
    }

    #[test]
    fn variables_are_those_before_the_application_s_words() {
        let line = CommandLine::split("env=A=1 env=B= env=C env=A=2=3 -- env=D=4", false).unwrap();
        let pairs: Vec<(&str, &str)> = line
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("A", "1"), ("B", ""), ("A", "2=3")]);
        assert_eq!(line.arguments, ["env=D=4"]);
    }

    #[test]
    fn a_multiboot_loader_names_itself_first() {
        let split = |line| CommandLine::split(line, true).unwrap().arguments;
        assert_eq!(split("loader -- a"), ["a"]);
        assert_eq!(split("loader a"), ["a"]);
        assert_eq!(split("-- a"), ["a"]);
        assert_eq!(split("-f loader"), ["-f", "loader"]);
    }
}
