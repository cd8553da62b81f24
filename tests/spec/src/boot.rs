//! Has a script carried out: by a virtual machine, or by this host.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow};
use kernel_app::engine::wasmi::config;
use spec_script::interpreter::Interpreter;
use spec_script::{ANSWER, Answer, END};
use test_qemu::{Arch, Engine, Qemu};

use crate::{Machine, reference};

/// Seconds after which a machine is ended. Far more than any takes.
const LIMIT: u32 = 1800;
/// The machine's memory.
const MEMORY: &str = "2G";
/// Most bytes of a script: the machine holds it beside all that it makes.
pub(crate) const LONGEST: usize = 128 << 20;

/// The answers to a script's commands, as far as they came, and what was said besides if not all did.
pub(crate) struct Answers {
    pub(crate) answers: Vec<Answer>,
    pub(crate) trouble: Option<String>,
}

/// Carries a script out on what `machine` says.
pub(crate) fn run(machine: &Machine, script: &[u8]) -> Result<Answers> {
    match &machine.image {
        Some(image) => boot(machine.arch(), image, script),
        None => here(machine.engine, script),
    }
}

/// Carries a script of wasm out on this host: the native engine compiles for itself.
pub(crate) fn here(engine: Engine, script: &[u8]) -> Result<Answers> {
    let mut text = String::new();
    let write = |line: &str| text.push_str(line);
    let done = match engine {
        Engine::Interp => spec_script::run(script, &mut Interpreter::new(&config()), write),
        Engine::Native => spec_script::run(script, &mut reference::world()?, write),
    };
    done.map_err(|error| anyhow!("the script is damaged: {error}"))?;
    Reader::default().all(text.lines().map(|line| Ok(line.to_owned())))
}

/// Boots a machine with the script as its payload.
fn boot(arch: Arch, image: &Path, script: &[u8]) -> Result<Answers> {
    let directory = tempfile::tempdir()?;
    let payload = directory.path().join("script");
    fs::write(&payload, script)?;
    let qemu = Qemu {
        memory: MEMORY,
        kernel: Some(image),
        initrd: Some(&payload),
        append: Some(""),
        ..Qemu::usual(arch)
    };
    let mut child = qemu
        .limited(LIMIT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start QEMU")?;
    let output = child.stdout.take().context("no standard output")?;
    let lines = BufReader::new(output).split(b'\n');
    let answers =
        Reader::default().all(lines.map(|line| Ok(String::from_utf8_lossy(&line?).into_owned())))?;
    let status = child.wait()?;
    Ok(match answers.trouble {
        Some(trouble) => Answers {
            trouble: Some(format!("{trouble} (QEMU: {status})")),
            ..answers
        },
        None => answers,
    })
}

/// Takes answers out of what a machine prints.
#[derive(Default)]
struct Reader {
    answers: Vec<Answer>,
    besides: Vec<String>,
    ended: bool,
}

impl Reader {
    fn all(mut self, lines: impl Iterator<Item = Result<String>>) -> Result<Answers> {
        for line in lines {
            self.line(line?.trim_end_matches('\r'));
        }
        let trouble = (!self.ended).then(|| {
            format!(
                "the machine ended after {} answers and said: {}",
                self.answers.len(),
                self.besides.join(" / ")
            )
        });
        Ok(Answers {
            answers: self.answers,
            trouble,
        })
    }

    fn line(&mut self, line: &str) {
        let Some(said) = line.strip_prefix(ANSWER) else {
            self.besides.push(line.to_owned());
            return;
        };
        if said == END {
            self.ended = true;
            return;
        }
        let answer = said.split_once(' ').and_then(|(number, answer)| {
            // They come in order.
            (number.parse() == Ok(self.answers.len())).then(|| Answer::parse(answer))?
        });
        match answer {
            Some(answer) => self.answers.push(answer),
            None => self.besides.push(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answers {
        Reader::default()
            .all(text.lines().map(|line| Ok(line.to_owned())))
            .unwrap()
    }

    #[test]
    fn answers_are_read_in_order_to_the_end() {
        let read = read("firmware\n@0 done\r\n@1 values i32:7\n@end\n");
        assert_eq!(read.answers.len(), 2);
        assert!(read.trouble.is_none());
    }

    #[test]
    fn an_end_too_early_is_told() {
        assert!(read("@0 done\n").trouble.is_some());
        let missing = read("@0 done\n@2 done\npanic\n");
        assert_eq!(missing.answers.len(), 1);
        assert!(missing.trouble.unwrap().contains("panic"));
    }
}
