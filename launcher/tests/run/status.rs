//! `--status-file` and `--status-fd`: what they say of each end, where they may write, and what a guest cannot forge.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use boot_protocol::exit_code;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{MODULE, Scratch, finish, tcg, tcg_module, test, until, wait};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("status::each_end", each_end),
        test("status::runs_that_never_start", runs_that_never_start),
        test("status::signals", signals),
        test("status::a_guest_cannot_forge_it", a_guest_cannot_forge_it),
        test("status::figures", figures),
        test("status::unfinished_until_the_end", unfinished_until_the_end),
        test("status::a_file_is_replaced_whole", a_file_is_replaced_whole),
        test("status::pipes_and_descriptors", pipes_and_descriptors),
        test("status::where_it_cannot_be_written", where_it_cannot_be_written),
        test("status::nobody_inherits_it", nobody_inherits_it),
        test("status::what_it_quotes_is_text", what_it_quotes_is_text),
    ]
}

/// What a status file says.
#[track_caller]
pub(super) fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks members of a status by their names.
#[track_caller]
pub(super) fn expect(status: &Value, members: &[(&str, Value)]) {
    for (name, value) in members {
        assert_eq!(&status[name], value, "{name}: {status}");
    }
}

/// The status of a run of `command` that exits with `code`.
#[track_caller]
fn status_of(scratch: &Scratch, command: &mut Command, code: u8) -> Value {
    let path = scratch.path().join("status.json");
    let _ = fs::remove_file(&path);
    let done = finish(command).expect_code(code);
    let status = read(&path);
    expect(&status, &[("version", json!(1)), ("exit_code", json!(code))]);
    // A message of the launcher's, or of the application's, is what was shown.
    if let Some(message) = status["message"].as_str() {
        assert!(done.stderr.contains(message), "{done:?}");
    }
    status
}

const STATUS: [&str; 2] = ["--status-file", "status.json"];

fn each_end() {
    let scratch = Scratch::new();
    for (scenario, flags, code, end, said_by, limits) in [
        ("hello", [].as_slice(), 0, "exit", "machine", json!([])),
        (
            "hello",
            &["-vv", "--log", "info"],
            0,
            "exit",
            "machine",
            json!([]),
        ),
        ("exit:7", &[], 7, "exit", "machine", json!([])),
        ("trap", &[], exit_code::TRAP, "trap", "machine", json!([])),
        (
            "refused",
            &[],
            exit_code::MODULE_REFUSED,
            "refused",
            "machine",
            json!([]),
        ),
        ("starved", &[], 3, "exit", "machine", json!(["memory"])),
        (
            "out of memory",
            &[],
            exit_code::VM_FAILED,
            "memory_limit",
            "machine",
            json!(["memory"]),
        ),
        (
            "silent end",
            &[],
            exit_code::VM_FAILED,
            "machine_failed",
            "launcher",
            json!([]),
        ),
        (
            "other version",
            &[],
            exit_code::VM_FAILED,
            "machine_failed",
            "launcher",
            json!([]),
        ),
        (
            "hang after hello",
            &["--timeout", "300ms"],
            exit_code::TIMEOUT,
            "timeout",
            "launcher",
            json!(["time"]),
        ),
        // Images before the cause was said.
        (
            "trap in an old image",
            &[],
            exit_code::TRAP,
            "trap",
            "machine",
            json!([]),
        ),
        (
            "exit in an old image",
            &[],
            exit_code::TRAP,
            "exit",
            "machine",
            json!([]),
        ),
    ] {
        let status = status_of(&scratch, tcg(&scratch, scenario).args(STATUS).args(flags), code);
        expect(
            &status,
            &[
                ("end", json!(end)),
                ("said_by", json!(said_by)),
                ("limits", limits),
                ("signal", Value::Null),
                ("hypervisor", json!("QEMU")),
                ("accelerator", json!("tcg")),
            ],
        );
    }
}

fn runs_that_never_start() {
    let scratch = Scratch::new();
    scratch.file("m.wasm", MODULE);
    scratch.file("text.wasm", b"hello");
    for (flags, code, end) in [
        (
            ["missing.wasm"].as_slice(),
            exit_code::MODULE_NOT_FOUND,
            "refused",
        ),
        (&["text.wasm"], exit_code::MODULE_REFUSED, "refused"),
        (
            &["--dir", "/nonexistent", "m.wasm"],
            exit_code::USAGE,
            "usage_error",
        ),
        (&["--env", "=x", "m.wasm"], exit_code::USAGE, "usage_error"),
        (
            &["--tmpfs", "/a", "--tmpfs", "/a", "m.wasm"],
            exit_code::USAGE,
            "usage_error",
        ),
        (
            &["--vmm", "qemu", "--qemu", "/nonexistent", "m.wasm"],
            exit_code::VM_FAILED,
            "launcher_error",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
        command
            .arg("run")
            .args(STATUS)
            .args(flags)
            .current_dir(scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let status = status_of(&scratch, &mut command, code);
        expect(
            &status,
            &[
                ("end", json!(end)),
                ("said_by", json!("launcher")),
                ("start_seconds", Value::Null),
                ("hypervisor", Value::Null),
                ("machine_memory_bytes", Value::Null),
            ],
        );
        assert!(status["message"].is_string(), "{status}");
    }
}

fn signals() {
    let scratch = Scratch::new();
    let path = scratch.path().join("status.json");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let child = tcg(&scratch, "hang after hello").args(STATUS).spawn().unwrap();
        let mut started = [0; 8];
        let mut child = child;
        child.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        wait(child).expect_signal(signal.as_raw());
        let code = 128 + signal.as_raw();
        expect(
            &read(&path),
            &[
                ("end", json!("interrupted")),
                ("signal", json!(signal.as_raw())),
                ("exit_code", json!(code)),
                ("said_by", json!("launcher")),
            ],
        );
    }
    // Whoever reads the output goes away.
    let mut child = tcg(&scratch, "flood").args(STATUS).spawn().unwrap();
    drop(child.stdout.take());
    wait(child).expect_signal(13);
    expect(
        &read(&path),
        &[
            ("end", json!("output_closed")),
            ("signal", json!(13)),
            ("exit_code", json!(141)),
        ],
    );
}

/// A guest that prints what is said of a trap and exits with its code.
fn a_guest_cannot_forge_it() {
    let scratch = Scratch::new();
    let said = |scenario: &str| {
        let mut command = tcg(&scratch, scenario);
        status_of(&scratch, command.args(STATUS), exit_code::TRAP)
    };
    expect(
        &said("forge"),
        &[("end", json!("exit")), ("message", Value::Null)],
    );
    expect(
        &said("forge and be starved"),
        &[("end", json!("exit")), ("limits", json!(["memory"]))],
    );
    expect(&said("trap"), &[("end", json!("trap"))]);
}

fn figures() {
    let scratch = Scratch::new();
    let mut command = tcg(&scratch, "hang after hello");
    command
        .args(STATUS)
        .args(["--memory", "64M", "--timeout", "300ms"]);
    let status = status_of(&scratch, &mut command, exit_code::TIMEOUT);
    let number = |name: &str| {
        status[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {status}"))
    };
    let (start, wall) = (number("start_seconds"), number("wall_seconds"));
    assert!(0.0 < start && start < wall && wall >= 0.3, "{status}");
    expect(&status, &[("memory_bytes", json!(64 << 20))]);
    assert!(number("machine_memory_bytes") <= 65e6, "{status}");
    // The fake one is a process as any other, and it is still there when the time is over.
    assert!(number("hypervisor_memory_bytes") > 1e5, "{status}");
}

fn unfinished_until_the_end() {
    let scratch = Scratch::new();
    let path = scratch.file("status.json", b"{\"end\": \"exit\"}");
    let child = tcg(&scratch, "hang after hello").args(STATUS).spawn().unwrap();
    until("QEMU has started", || !scratch.started().is_empty());
    let unfinished = json!({"version": 1, "end": "unfinished"});
    assert_eq!(read(&path), unfinished);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    wait(child).expect_signal(9);
    // Not what an earlier run has left there.
    assert_eq!(read(&path), unfinished);
}

fn a_file_is_replaced_whole() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("d");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("status.json");
    let names = || {
        let entries = fs::read_dir(&directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    finish(tcg(&scratch, "hello").arg("--status-file").arg(&path)).expect_code(0);
    assert_eq!(names(), ["status.json"]);
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    // Whoever holds the old one open keeps the old one.
    let mut old = fs::File::open(&path).unwrap();
    finish(tcg(&scratch, "exit:9").arg("--status-file").arg(&path)).expect_code(9);
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    let old: Value = serde_json::from_str(&text).unwrap();
    expect(&old, &[("exit_code", json!(0))]);
    expect(&read(&path), &[("exit_code", json!(9))]);
    // A link stays one.
    symlink("status.json", directory.join("link")).unwrap();
    finish(tcg(&scratch, "exit:8").args(["--status-file", "d/link"])).expect_code(8);
    assert_eq!(names(), ["link", "status.json"]);
    assert!(directory.join("link").is_symlink());
    expect(&read(&path), &[("exit_code", json!(8))]);
}

fn pipes_and_descriptors() {
    let scratch = Scratch::new();
    let fifo = scratch.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    finish(tcg(&scratch, "exit:5").args(["--status-file", "fifo"])).expect_code(5);
    let status: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    expect(&status, &[("end", json!("exit")), ("exit_code", json!(5))]);

    let with_descriptor = |redirection: &str| {
        let launcher = tcg(&scratch, "exit:6");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec \"$0\" \"$@\" --status-fd 7 {redirection}")])
            .arg(launcher.get_program())
            .args(launcher.get_args())
            .envs(
                launcher
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(scratch.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(&mut shell)
    };
    with_descriptor("7>by-descriptor").expect_code(6);
    expect(
        &read(&scratch.path().join("by-descriptor")),
        &[("end", json!("exit")), ("exit_code", json!(6))],
    );
    // A pipe, whose reader is a shell's.
    let piped = with_descriptor("7>&1 >/dev/null | cat");
    let status: Value = serde_json::from_slice(&piped.stdout).unwrap();
    expect(&status, &[("end", json!("exit")), ("exit_code", json!(6))]);
    for redirection in ["7>&-", "7</dev/null", "7>&1", "7>&2"] {
        with_descriptor(redirection)
            .expect_code(exit_code::USAGE)
            .expect_message(&["--status-fd: descriptor 7 is "])
            .expect_output("");
    }
}

fn where_it_cannot_be_written() {
    let scratch = Scratch::new();
    assert!(
        Command::new("mkfifo")
            .arg(scratch.path().join("fifo"))
            .status()
            .unwrap()
            .success()
    );
    for (path, words) in [
        ("/nonexistent/status.json", "No such file"),
        (".", "directory"),
        ("..", "directory"),
        ("/proc/status.json", ""),
        ("fifo", "nobody reads it"),
        ("/dev/stdout", "standard output"),
        ("/proc/self/fd/1", "standard output"),
        ("/dev/stderr", "standard error"),
    ] {
        let done = finish(tcg(&scratch, "hello").args(["--status-file", path]))
            .expect_code(exit_code::USAGE)
            .expect_output("")
            .expect_message(&["hermit-wasm: --status-file: '", path, words]);
        assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
    }
    // The file that takes the guest's output.
    let output = fs::File::create(scratch.path().join("output")).unwrap();
    let child = tcg(&scratch, "hello")
        .args(["--status-file", "output"])
        .stdout(output)
        .spawn();
    wait(child.unwrap())
        .expect_code(exit_code::USAGE)
        .expect_message(&["is standard output"]);
    // Nobody can forge anything there.
    finish(
        tcg(&scratch, "exit:4")
            .args(["--status-file", "/dev/null"])
            .stdout(Stdio::null()),
    )
    .expect_code(4);
    finish(tcg(&scratch, "hello").args(["--status-file", "a", "--status-fd", "7"]))
        .expect_code(exit_code::USAGE)
        .expect_message(&["cannot be used with"]);
    let started = scratch.started().len();
    assert_eq!(started, 1, "{started} QEMUs were started");
}

fn nobody_inherits_it() {
    let scratch = Scratch::new();
    let launcher = tcg(&scratch, "hang after hello");
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$@\" --status-fd 7 7>by-descriptor"])
        .arg(launcher.get_program())
        .args(launcher.get_args())
        .envs(
            launcher
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("QEMU has started", || !scratch.started().is_empty());
    let qemu = scratch.started()[0];
    for entry in fs::read_dir(format!("/proc/{qemu}/fd")).unwrap() {
        let file = fs::read_link(entry.unwrap().path()).unwrap_or_default();
        assert!(!file.ends_with("by-descriptor"), "{file:?}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait(child).expect_signal(15);
    expect(
        &read(&scratch.path().join("by-descriptor")),
        &[("end", json!("interrupted"))],
    );
}

fn what_it_quotes_is_text() {
    let scratch = Scratch::new();
    let module = "\u{1b}[2J\u{202e}\"\\.wasm";
    let mut command = tcg_module(&scratch, "hello");
    let status = status_of(
        &scratch,
        command.args(STATUS).arg(module),
        exit_code::MODULE_NOT_FOUND,
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(r#"'\u{1b}[2J\u{202e}"\.wasm'"#), "{message}");
}
