//! The launcher's library with real virtual machines: what no command line bounds or shows, the examples, and a program
//! outside of the workspace.
//!
//! Environment: `GUESTS`, `ARCH` and `IMAGES` of `environment.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hermit_wasm_vm::vmm::capabilities::Accelerator;
use hermit_wasm_vm::vmm::qemu::MachineKind;
use hermit_wasm_vm::{Access, Arch, Engine, ExitStatus, Input, Module, Output, Run};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::{environment, root};

/// A test: its name, and what it does.
type Test = (&'static str, fn(&Setup) -> Result<()>);

const TESTS: &[Test] = &[
    ("mebibyte-of-environment", mebibyte_of_environment),
    ("hundred-thousand-arguments", hundred_thousand_arguments),
    ("nothing-on-command-lines", nothing_on_command_lines),
    ("whose-end-it-is", whose_end_it_is),
    ("copied-directory", copied_directory),
    ("examples", examples),
    ("program-outside", program_outside),
];

/// What the tests need.
struct Setup {
    arch: Arch,
    engine: Engine,
    guests: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores, and some of these machines have a lot to do.
    arguments.test_threads.get_or_insert(2);
    let trials = TESTS.iter().map(|(name, test)| {
        let run = move || {
            let result = setup().and_then(|setup| test(&setup));
            result.map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(format!("library/{name}"), run)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn setup() -> Result<Setup> {
    Ok(Setup {
        arch: environment::arch()?,
        engine: match environment::engine()? {
            test_qemu::Engine::Interp => Engine::Interp,
            test_qemu::Engine::Native => Engine::Native,
        },
        guests: environment::needed(environment::GUESTS)?,
    })
}

impl Setup {
    fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(format!("{name}.wasm"))
    }

    /// A run of a guest, translated: KVM has its own tests.
    fn run(&self, name: &str) -> Result<Run> {
        Ok(Run::new(Module::open(self.guest(name))?)
            .arch(self.arch)
            .engine(self.engine)
            .accelerator(Accelerator::Tcg)
            // A run that hangs is ended, and then its test fails.
            .timeout(Duration::from_secs(300)))
    }

    fn machines(&self) -> &[MachineKind] {
        match self.arch {
            Arch::X86_64 => &[MachineKind::Microvm, MachineKind::Q35, MachineKind::Pc],
            Arch::Aarch64 | Arch::Riscv64 => &[MachineKind::Virt],
        }
    }
}

/// A guest says what is said of a trap, and exits with its code; another one traps.
fn whose_end_it_is(setup: &Setup) -> Result<()> {
    const SAYS: &str =
        "hermit-wasm: failed to run `m.wat`: wasm trap: wasm `unreachable` instruction executed\\n";
    let forges = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\5a\00\00\00{SAYS}")
            (func (export "_start")
                (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 200)))
                (call $exit (i32.const 134))))"#
    );
    let starves = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (memory.grow (i32.const 60000))) (call $exit (i32.const 134))))"#;
    let traps = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
    let refused = r#"(module (import "nobody" "provides" (func)) (func (export "_start")))"#;
    for (text, status, memory_refused) in [
        (forges.as_str(), ExitStatus::Exited(134), false),
        (starves, ExitStatus::Exited(134), true),
        (traps, ExitStatus::Trapped, false),
        (refused, ExitStatus::Refused(126), false),
    ] {
        let result = Run::new(Module::from_bytes("m.wat", text)?)
            .arch(setup.arch)
            .engine(setup.engine)
            .accelerator(Accelerator::Tcg)
            .timeout(Duration::from_secs(300))
            .output()?;
        let seen = (result.status, result.figures.memory_refused);
        ensure!(
            seen == (status, memory_refused),
            "{seen:?} of {text}: {}",
            result.diagnostic
        );
        // What a shell sees of the first is what it sees of a trap.
        ensure!(
            text != forges || String::from_utf8(result.stderr)?.contains("wasm trap: wasm `unreachable`"),
            "the guest said nothing"
        );
    }
    Ok(())
}

fn mebibyte_of_environment(setup: &Setup) -> Result<()> {
    const LENGTH: usize = 1 << 20;
    for machine in setup.machines() {
        let result = setup
            .run("env")?
            .machine(*machine)
            .env("FIRST", "1")
            .env("LONG", "x".repeat(LENGTH))
            .env("MORE", "it's 'quoted' \"twice\" \\ $HOME\n")
            .output()?;
        ensure!(
            result.status.success(),
            "{machine:?}: {:?}: {}",
            result.status,
            result.diagnostic
        );
        let output = String::from_utf8(result.stdout)?;
        let lines: Vec<&str> = output.lines().collect();
        ensure!(lines.len() == 3, "{machine:?}: {} variables", lines.len());
        ensure!(
            lines.contains(&"\"FIRST\" = \"1\""),
            "{machine:?}: FIRST is missing"
        );
        let long = format!("\"LONG\" = \"{}\"", "x".repeat(LENGTH));
        ensure!(
            lines.contains(&long.as_str()),
            "{machine:?}: LONG is not what it was"
        );
    }
    Ok(())
}

fn hundred_thousand_arguments(setup: &Setup) -> Result<()> {
    const NUMBER: usize = 100_000;
    for machine in setup.machines() {
        let arguments = (1..=NUMBER).map(|number| number.to_string());
        let result = setup.run("args")?.machine(*machine).args(arguments).output()?;
        ensure!(
            result.status.success(),
            "{machine:?}: {:?}: {}",
            result.status,
            result.diagnostic
        );
        let expected: String = std::iter::once("0: \"args.wasm\"\n".to_string())
            .chain((1..=NUMBER).map(|number| format!("{number}: \"{number}\"\n")))
            .collect();
        ensure!(
            result.stdout == expected.as_bytes(),
            "{machine:?}: other arguments arrived"
        );
    }
    Ok(())
}

/// While a machine runs, none of the processes beneath this one shows what only the guest is to know.
fn nothing_on_command_lines(setup: &Setup) -> Result<()> {
    const SECRETS: [&str; 3] = ["s3cret-value", "s3cret-argument", "S3CRET_NAME"];
    let directory = tempdir("command-lines")?;
    let mut running = setup
        .run("cat")?
        .arg(SECRETS[1])
        .env(SECRETS[2], SECRETS[0])
        .dir(&directory, "/d", Access::ReadOnly)
        .stdin(Input::Pipe)
        .stdout(Output::Pipe)
        .start()?;
    // The guest echoes: it runs, and so does all that it needs.
    let mut stdin = running.stdin.take().context("no pipe in")?;
    let mut stdout = running.stdout.take().context("no pipe out")?;
    std::io::Write::write_all(&mut stdin, b"x\n")?;
    std::io::Read::read_exact(&mut stdout, &mut [0; 2])?;
    let mut seen = 0;
    for process in descendants(std::process::id())? {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        seen += usize::from(line.contains("qemu-system") || line.contains("virtiofsd"));
        for secret in SECRETS {
            ensure!(!line.contains(secret), "process {process} shows {secret}: {line}");
        }
    }
    ensure!(
        seen >= 2,
        "QEMU and virtiofsd were not found among this process's descendants"
    );
    drop(stdin);
    ensure!(running.wait()?.status.success(), "the guest failed");
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// The processes beneath `process`. A thread's children count.
fn descendants(process: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut parents = vec![process];
    while let Some(parent) = parents.pop() {
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten() {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|number| number.parse().ok());
            for child in children {
                found.push(child);
                parents.push(child);
            }
        }
    }
    Ok(found)
}

fn copied_directory(setup: &Setup) -> Result<()> {
    let directory = tempdir("copied")?;
    fs::write(directory.join("in.txt"), "hello\n")?;
    let result = setup
        .run("copy-c")?
        .copy_dir(&directory, "/", Access::ReadWrite)
        .args(["/in.txt", "/out.txt"])
        .output()?;
    ensure!(
        result.status.success(),
        "{:?}: {}",
        result.status,
        String::from_utf8_lossy(&result.stderr)
    );
    ensure!(
        !directory.join("out.txt").exists(),
        "a copy's change reached the host"
    );
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// The examples, with real modules, on this host's architecture.
fn examples(setup: &Setup) -> Result<()> {
    if !setup.arch.is_hosts() {
        // They choose no architecture; the run for this host's shows them.
        return Ok(());
    }
    for (example, guest, argument, expected) in [
        (
            "capture",
            "hello-rust",
            "x",
            "exit code: 0\nstandard output: Hello from Rust!\n\nstandard error: \n",
        ),
        (
            "stream",
            "cat",
            "",
            "sent one, got one\nsent two, got two\nsent three, got three\nexit code: 0\n",
        ),
        (
            "pool",
            "hello-c",
            "2",
            "0: exit code 0, Hello from C!\n1: exit code 0, Hello from C!\n",
        ),
    ] {
        let output = cargo()
            .current_dir(root())
            .args([
                "run",
                "--quiet",
                "--locked",
                "--package",
                "hermit-wasm-vm",
                "--example",
                example,
                "--",
            ])
            .arg(absolute(&setup.guest(guest))?)
            .arg(argument)
            .output()?;
        ensure!(
            output.status.success() && output.stdout == expected.as_bytes(),
            "{example}: {output:?}"
        );
    }
    Ok(())
}

/// A package of its own that depends on the library by path, as a user's would.
fn program_outside(setup: &Setup) -> Result<()> {
    if !setup.arch.is_hosts() {
        return Ok(());
    }
    let directory = tempdir("outside")?;
    fs::create_dir(directory.join("src"))?;
    let launcher = root().join("launcher");
    let manifest = format!(
        "[package]\nname = \"outside\"\nedition = \"2024\"\n\n[dependencies]\nhermit-wasm-vm = {{ path = {:?}, \
         default-features = false }}\n",
        launcher.display().to_string()
    );
    fs::write(directory.join("Cargo.toml"), manifest)?;
    // The same versions, so that nothing is compiled or downloaded anew.
    fs::copy(root().join("Cargo.lock"), directory.join("Cargo.lock"))?;
    fs::copy(
        launcher.join("examples/capture.rs"),
        directory.join("src/main.rs"),
    )?;
    let output = cargo()
        .current_dir(&directory)
        .env("CARGO_TARGET_DIR", root().join("target/outside"))
        .env(environment::IMAGES, images())
        .args(["run", "--quiet", "--"])
        .arg(absolute(&setup.guest("hello-rust"))?)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("Hello from Rust!"), "{output:?}");
    fs::remove_dir_all(directory)?;
    Ok(())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn images() -> PathBuf {
    let images = environment::get(environment::IMAGES).unwrap_or_else(|| "target/images".into());
    root().join(images)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// A new directory of this test's own.
fn tempdir(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("hermit-wasm-library-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path)?;
    Ok(path)
}
