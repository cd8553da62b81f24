//! The guest's arguments and the values of its environment variables, which may be secrets: they reach the guest, and
//! nothing else that anybody can see.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use boot_protocol::exit_code;
use hermit_wasm_vm::{Access, Input, Module, Run};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Done, MODULE, Scratch, finish, tcg_module, test, until, wait};

/// What must not be seen anywhere.
const SECRET: &str = "hunter2-5cf1";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("secrets::no_end_of_a_run_shows_them", no_end_of_a_run_shows_them),
        test("secrets::no_refusal_shows_them", no_refusal_shows_them),
        test(
            "secrets::nothing_shows_them_meanwhile",
            nothing_shows_them_meanwhile,
        ),
        test("secrets::they_reach_the_guest", they_reach_the_guest),
        test("secrets::printed_commands_show_them", printed_commands_show_them),
        test("secrets::types_do_not_show_them", types_do_not_show_them),
    ]
}

/// A launcher whose guest gets the secret in every way, and whose temporary files are in the scratch directory.
fn launcher(scratch: &Scratch, scenario: &str, flags: &[&str]) -> Command {
    let setting = format!("PASSWORD={SECRET}");
    let temporary = scratch.path().join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    scratch.file("m.wasm", MODULE);
    let mut command = tcg_module(scratch, scenario);
    command
        .env("TMPDIR", temporary)
        .env("FROM_HERE", SECRET)
        .args(["--env", &setting, "--env", "FROM_HERE"])
        .args(flags)
        .args(["m.wasm", SECRET, &setting]);
    command
}

/// Checks that no file below `directory`, of those that were made by the launcher, has the secret in its name or in it.
fn expect_no_trace(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains(SECRET), "{path:?}");
        if path.is_dir() {
            expect_no_trace(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            assert!(!has_secret(&bytes), "{path:?}");
        }
    }
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes
        .windows(SECRET.len())
        .any(|window| window == SECRET.as_bytes())
}

impl Done {
    /// Checks that the secret is in nothing that came out.
    #[track_caller]
    fn expect_no_secret(self) -> Self {
        assert!(!has_secret(&self.stdout), "{self:?}");
        assert!(!self.stderr.contains(SECRET), "{self:?}");
        self
    }
}

fn no_end_of_a_run_shows_them() {
    for (scenario, flags, code) in [
        ("hello", [].as_slice(), 0),
        ("exit:7", &[], 7),
        ("trap", &[], exit_code::TRAP),
        ("refused", &[], exit_code::MODULE_REFUSED),
        ("panic", &[], exit_code::VM_FAILED),
        ("cut", &[], exit_code::VM_FAILED),
        ("refuse", &[], exit_code::VM_FAILED),
        ("silent end", &[], exit_code::VM_FAILED),
        ("other version", &[], exit_code::VM_FAILED),
        ("hang after hello", &["--timeout", "300ms"], exit_code::TIMEOUT),
        ("hello", &["--memory", "4M"], exit_code::MODULE_REFUSED),
    ] {
        for verbose in [[].as_slice(), &["-vv", "--log", "trace"]] {
            let scratch = Scratch::new();
            let flags = [flags, verbose].concat();
            finish(&mut launcher(&scratch, scenario, &flags))
                .expect_code(code)
                .expect_no_secret();
            expect_no_trace(scratch.path());
        }
    }
}

fn no_refusal_shows_them() {
    let scratch = Scratch::new();
    let setting = format!("PASSWORD={SECRET}");
    let attached = format!("-e{setting}");
    let long = format!("--environment={setting}");
    let wasm = format!("{setting}.wasm");
    let nameless = format!("={SECRET}");
    let zero = ["--env", &setting];
    for words in [
        ["-e", &setting, "m.wasm"].as_slice(),
        &[&attached, "m.wasm"],
        &[&long, "m.wasm"],
        &["--environment", &setting, "m.wasm"],
        &["--evn", &setting, "m.wasm"],
        &[&format!("--evn={setting}"), "m.wasm"],
        // The module is missing, or stands somewhere else.
        &zero,
        &["--env", &wasm],
        &["--env", "A=1", &setting, "m.wasm"],
        &["run", &setting],
        &["--env", &nameless, "m.wasm"],
        // What is wrong follows.
        &["--env", &setting, "--memory", "much", "m.wasm"],
        &["--env", &setting, "--no-such-flag", "m.wasm"],
        &["--env", &setting, "--timeout"],
        &["--env", &setting, "--dir", "/nonexistent", "m.wasm"],
        &["--env", &setting, "nonexistent.wasm", SECRET],
        &["--env", &setting, "--qemu", "/nonexistent", "m.wasm", SECRET],
        &["--env", &setting, "--greet", "m.wasm", SECRET],
    ] {
        scratch.file("m.wasm", MODULE);
        let done = finish(tcg_module(&scratch, "hello").args(words)).expect_no_secret();
        assert!(!done.status.success(), "{words:?}: {done:?}");
        assert!(done.stderr.contains(": "), "{done:?}");
    }
}

fn nothing_shows_them_meanwhile() {
    let scratch = Scratch::new();
    for stop in [Signal::TERM, Signal::KILL] {
        let child = launcher(&scratch, "hang after hello", &["-vv"]).spawn().unwrap();
        until("QEMU has started", || !scratch.started().is_empty());
        let qemu = *scratch.started().last().unwrap();
        let launcher = Pid::from_child(&child);
        let read = |name: &str| fs::read(format!("/proc/{qemu}/{name}")).unwrap_or_default();
        until("its command line is QEMU's", || !read("cmdline").is_empty());
        assert!(!has_secret(&read("cmdline")));
        // What is said on the command line is nobody's variable. (FROM_HERE is the launcher's own, which no jail hides
        // here.)
        assert!(!read("environ").windows(9).any(|window| window == b"PASSWORD="));
        expect_no_trace(scratch.path());
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        let core: Vec<_> = core.unwrap().split_whitespace().skip(4).take(2).collect();
        assert!(core == ["1", "1"] || core == ["0", "0"], "{core:?}");
        kill_process(launcher, stop).unwrap();
        wait(child).expect_signal(stop.as_raw()).expect_no_secret();
        expect_no_trace(scratch.path());
        let _ = fs::remove_file(scratch.path().join("journal"));
    }
}

/// Were they lost, nothing of this would show it.
fn they_reach_the_guest() {
    let scratch = Scratch::new();
    let done = finish(&mut launcher(&scratch, "arguments", &[])).expect_code(0);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.matches(SECRET).count() >= 4, "{text}");
}

/// As its help says. The files that it writes are for their user alone where they hold what is copied.
fn printed_commands_show_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path().join("tree")).unwrap();
    let flags = ["--print-command=out", "--copy-dir=tree::/t"];
    let done = finish(&mut launcher(&scratch, "hello", &flags)).expect_code(0);
    assert!(has_secret(&done.stdout));
    assert!(!done.stderr.contains(SECRET), "{done:?}");
    expect_no_trace(&scratch.path().join("out"));
    let payload = fs::metadata(scratch.path().join("out/payload.tar")).unwrap();
    assert_eq!(payload.permissions().mode() & 0o777, 0o600);
    let help = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
        .args(["run", "--help"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let words: Vec<_> = str::from_utf8(&help.stdout).unwrap().split_whitespace().collect();
    assert!(words.join(" ").contains("values of --env included"));
}

fn types_do_not_show_them() {
    let run = Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
        .arg(SECRET)
        .env("PASSWORD", SECRET)
        .stdin(Input::Bytes(SECRET.into()))
        .dir("/tmp", "/", Access::ReadOnly);
    let shown = format!("{run:?}");
    assert!(!shown.contains(SECRET) && shown.contains("PASSWORD"), "{shown}");
    let error = Run::new(Module::greeting())
        .env(format!("PASSWORD={SECRET}"), SECRET)
        .output()
        .unwrap_err();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains(SECRET) && shown.contains("PASSWORD"), "{shown}");
    }
}
