//! The command line, which a program writes: `--cpu LEVEL`, and what is asked for besides.

use aot_config::{CpuLevel, Options};

use crate::settings::Job;

/// What to say to whoever starts it by hand.
pub(crate) const USAGE: &str = "\
usage: hermit-wasm-compiler --cpu LEVEL [--fuel] [--deterministic] [--threads NUMBER] <MODULE >CODE
'hermit-wasm compile' is the command for people: it starts this program.";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// To say what it is.
    Version,
    /// To compile.
    Compile(Job),
}

impl Arguments {
    /// What these words ask for; `None`: nothing that it knows.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let mut words = words.iter().map(String::as_str);
        let (mut level, mut options, mut threads) = (None, Options::default(), 0);
        while let Some(word) = words.next() {
            match word {
                "--version" => return Some(Self::Version),
                "--cpu" => level = Some(CpuLevel::from_name(words.next()?)?),
                "--threads" => threads = words.next()?.parse().ok()?,
                "--fuel" => options.fuel = true,
                "--deterministic" => options.deterministic = true,
                _ => return None,
            }
        }
        Some(Self::Compile(Job {
            level: level?,
            options,
            threads,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Arguments> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn flags_are_understood_and_others_refused() {
        let job = |fuel, deterministic, threads| {
            let options = Options { fuel, deterministic };
            let level = CpuLevel::X86_64V3;
            Some(Arguments::Compile(Job {
                level,
                options,
                threads,
            }))
        };
        assert_eq!(parsed("--cpu x86-64-v3"), job(false, false, 0));
        assert_eq!(
            parsed("--fuel --deterministic --threads 3 --cpu x86-64-v3"),
            job(true, true, 3)
        );
        assert_eq!(parsed("--version"), Some(Arguments::Version));
        for bad in [
            "",
            "--cpu",
            "--cpu 486",
            "--fuel",
            "--threads x --cpu rv64gc",
            "--cpu rv64gc more",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
