//! The compiler's part: this test program under the compiler's name, which answers as the file beside it says. What it
//! gives for code is none, but begins as code does; the fake QEMU takes it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::thread;
use std::time::Duration;

use aot_config::protocol::{Message, PROGRAM, Refusal, identity};

use crate::fake_qemu::BESIDE;
use crate::harness::Scratch;

/// Behind the program's name: what it has been given, a line for each time.
const HEARD: &str = ".heard";

/// What the code begins with: an ELF file of wasmtime's, for a module.
pub(crate) fn code(flags: u8) -> Vec<u8> {
    let mut code = vec![0; 5000];
    code[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\xc8");
    code[48] = flags;
    code
}

/// A compiler in `scratch` that plays `scenario`, and its place.
pub(crate) fn compiler(scratch: &Scratch, scenario: &str) -> PathBuf {
    scratch.player(PROGRAM, scenario)
}

/// How often a compiler in `scratch` was asked.
pub(crate) fn asked(scratch: &Scratch) -> usize {
    let heard = fs::read_to_string(beside(&scratch.path().join(PROGRAM), HEARD));
    heard.unwrap_or_default().lines().count()
}

/// The processes that it was.
pub(crate) fn processes(scratch: &Scratch) -> Vec<i32> {
    let heard = fs::read_to_string(beside(&scratch.path().join(PROGRAM), HEARD)).unwrap_or_default();
    heard.lines().map(|line| line.parse().unwrap()).collect()
}

/// Takes this launcher's compiler from `scratch`.
pub(crate) fn with_compiler(command: &mut Command, compiler: &Path) {
    command.env("HERMIT_WASM_COMPILER", compiler);
}

fn beside(program: &Path, suffix: &str) -> PathBuf {
    let mut name = program.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Plays the compiler, if that is what this program is called.
pub(crate) fn play() {
    let program = PathBuf::from(std::env::args_os().next().unwrap_or_default());
    if program.file_name().is_none_or(|name| name != PROGRAM) {
        return;
    }
    let scenario = fs::read_to_string(beside(&program, BESIDE)).unwrap();
    let say = |message: Message| eprintln!("{message}");
    say(Message::Identity(identity()));
    let mut module = Vec::new();
    std::io::stdin().read_to_end(&mut module).unwrap();
    let mut heard = fs::File::options();
    let mut heard = heard
        .create(true)
        .append(true)
        .open(beside(&program, HEARD))
        .unwrap();
    heard
        .write_all(format!("{}\n", std::process::id()).as_bytes())
        .unwrap();
    match scenario.as_str() {
        "compile" | "compile slowly" | "compile much" => {
            if scenario == "compile slowly" {
                // Longer than a small module may take.
                thread::sleep(Duration::from_secs(3));
            }
            say(Message::Progress { done: 1, all: 1 });
            std::io::stdout().write_all(&code(1)).unwrap();
            if scenario == "compile much" {
                std::io::stdout().write_all(&vec![0; 64 << 20]).unwrap();
            }
            exit(0);
        }
        "invalid" => {
            say(Message::Refused(Refusal::Invalid {
                offset: 8,
                message: "it is nonsense".to_string(),
            }));
            exit(1);
        }
        "wait" => loop {
            thread::sleep(Duration::from_secs(1000));
        },
        other => panic!("no compiler is called '{other}'"),
    }
}
