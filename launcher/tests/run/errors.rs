//! What is refused before anything boots: one clear message that names the file or flag, and the code for it.

use std::process::{Command, Stdio};

use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{Done, MODULE, Scratch, finish, tcg, tcg_module, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("errors::modules", modules),
        test("errors::a_module_is_required", a_module_is_required),
        test("errors::flags", flags),
        test("errors::habits", habits),
        test("errors::qemu_is_missing", qemu_is_missing),
        test("errors::qemu_is_no_program", qemu_is_no_program),
        test(
            "errors::a_module_too_big_for_the_memory",
            a_module_too_big_for_the_memory,
        ),
        test(
            "errors::an_environment_of_any_length_arrives",
            an_environment_of_any_length_arrives,
        ),
        test("errors::files_have_a_limit", files_have_a_limit),
        test("errors::help", help),
        test("errors::completions", completions),
    ]
}

/// Runs with these words; no QEMU may have been started.
fn refused(scratch: &Scratch, words: &[&str], code: u8, parts: &[&str]) -> Done {
    let done = finish(tcg_module(scratch, "hello").args(words))
        .expect_code(code)
        .expect_output("")
        .expect_message(parts);
    assert_eq!(scratch.started(), [0; 0], "QEMU was started");
    done
}

fn modules() {
    let scratch = Scratch::new();
    scratch.file("empty.wasm", b"");
    scratch.file("text.wasm", b"hello");
    scratch.file("native", b"\x7fELF\x02\x01\x01");
    scratch.file("short.wasm", b"\0asm\x01");
    scratch.file("component.wasm", b"\0asm\x0d\0\x01\0");
    scratch.file("broken.wat", b"(module\n(func $f))\n(");
    for (module, code, parts) in [
        (
            "missing.wasm",
            exit_code::MODULE_NOT_FOUND,
            ["'missing.wasm'", "no such file"],
        ),
        (".", exit_code::MODULE_NOT_FOUND, ["'.'", "it is a directory"]),
        ("run", exit_code::MODULE_NOT_FOUND, ["'run'", "before all flags"]),
        (
            "empty.wasm",
            exit_code::MODULE_REFUSED,
            ["'empty.wasm'", "the file is empty"],
        ),
        (
            "text.wasm",
            exit_code::MODULE_REFUSED,
            ["'text.wasm'", "it is text"],
        ),
        ("native", exit_code::MODULE_REFUSED, ["'native'", "an ELF file"]),
        (
            "short.wasm",
            exit_code::MODULE_REFUSED,
            ["'short.wasm'", "truncated"],
        ),
        (
            "component.wasm",
            exit_code::MODULE_REFUSED,
            ["'component.wasm'", "component"],
        ),
        (
            "broken.wat",
            exit_code::MODULE_REFUSED,
            ["'broken.wat'", "broken.wat:3:"],
        ),
    ] {
        let done = refused(&scratch, &[module], code, &parts);
        assert!(done.stderr.starts_with("hermit-wasm: "), "{}", done.stderr);
    }
}

fn a_module_is_required() {
    let scratch = Scratch::new();
    scratch.file("hello.wat", b"(module)");
    for (words, parts) in [
        ([].as_slice(), ["the module is missing", "--greet"].as_slice()),
        (&["--memory", "64M"], &["the module is missing", "--greet"]),
        (
            &["--env", "hello.wat"],
            &["the module is missing", "--env took 'hello.wat'"],
        ),
        (
            &["--tmpfs", "/tmp", "--argv0", "hello.wat", "--verbose"],
            &["the module is missing", "--argv0 took 'hello.wat'"],
        ),
        (&[""], &["name is empty"]),
        (&["--memory", "64M", "", "hello.wat"], &["name is empty"]),
        (&["--greet", "hello.wat"], &["--greet", "cannot be used with"]),
    ] {
        refused(&scratch, words, exit_code::USAGE, parts);
    }
    finish(&mut tcg(&scratch, "hello"))
        .expect_code(0)
        .expect_output("out\n");
}

fn habits() {
    let scratch = Scratch::new();
    scratch.file("m.wasm", MODULE);
    for (words, said) in [
        (["-e", "A=1", "m.wasm"].as_slice(), "-e: write --env A=…"),
        (
            &["-v", "/tmp:/data", "m.wasm"],
            "-v is --verbose here; to share a directory, write --dir /tmp::/data",
        ),
        (
            &["--dir", "/tmp:/data", "m.wasm"],
            "--dir /tmp:/data: the form is HOST[::GUEST][:ro], with two colons between the names; \
             write --dir /tmp::/data",
        ),
    ] {
        let done = refused(&scratch, words, exit_code::USAGE, &[]);
        assert_eq!(done.stderr, format!("hermit-wasm: {said}\n"));
    }
    // clap's own message, without its misleading tip.
    let done = refused(&scratch, &["-x", "m.wasm"], exit_code::USAGE, &["'-x'", "Usage"]);
    assert!(!done.stderr.contains("as a value"), "{}", done.stderr);
}

fn flags() {
    let scratch = Scratch::new();
    scratch.file("m.wasm", MODULE);
    for (words, parts) in [
        (["--memory", "lots", "m.wasm"].as_slice(), ["--memory", "lots"]),
        (&["--timeout", "never", "m.wasm"], ["--timeout", "never"]),
        (&["--env", "=x", "m.wasm"], ["--env", "no name"]),
        (&["--nonsense", "m.wasm"], ["--nonsense", "Usage"]),
        (&["--machine", "toaster", "m.wasm"], ["--machine", "toaster"]),
    ] {
        refused(&scratch, words, exit_code::USAGE, &parts);
    }
}

fn qemu_is_missing() {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command
        .args(["run", "--greet"])
        .env("PATH", scratch.path())
        .current_dir(scratch.path())
        .stdin(Stdio::null());
    let done = finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    // Some systems have one outside of PATH.
    if !std::path::Path::new("/usr/libexec/qemu-kvm").exists() {
        done.expect_code(exit_code::VM_FAILED)
            .expect_message(&["QEMU", "apt install qemu-system-x86"]);
    }
}

fn qemu_is_no_program() {
    let scratch = Scratch::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command
        .args(["run", "--greet", "--accel", "tcg", "--qemu", "./no-such-qemu"])
        .current_dir(scratch.path());
    finish(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )
    .expect_code(exit_code::VM_FAILED)
    // No other hypervisor takes its place, also where uhyve could.
    .expect_message(&["--qemu: './no-such-qemu' is not there"]);
}

fn a_module_too_big_for_the_memory() {
    let scratch = Scratch::new();
    let path = scratch.file("big.wasm", MODULE);
    // A hole in the file: big, and takes no room.
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    refused(
        &scratch,
        &["--memory", "64M", "big.wasm"],
        exit_code::MODULE_REFUSED,
        &["'big.wasm' (64 MiB)", "memory of 64 MiB", "--memory"],
    );
}

fn an_environment_of_any_length_arrives() {
    let scratch = Scratch::new();
    // Longer than any kernel command line; Linux takes 128 KiB for one word.
    let long = "x".repeat(100_000);
    for machine in ["microvm", "pc", "q35"] {
        let mut command = tcg(&scratch, "arguments");
        command.args(["--machine", machine]);
        for number in 0..15 {
            command.args(["--env", &format!("LONG{number}={long}")]);
        }
        let done = finish(&mut command).expect_code(0);
        let output = String::from_utf8(done.stdout).unwrap();
        let (line, run) = output.split_once("\nrun ").unwrap();
        assert!(line.len() < 200, "{line}");
        assert_eq!(run.matches(&long).count(), 15);
    }
    // By hand, only the kernel command line is left.
    refused(
        &Scratch::new(),
        &[
            "--greet",
            "--machine",
            "pc",
            "--print-command",
            "--env",
            &format!("LONG={}", "x".repeat(5000)),
        ],
        exit_code::USAGE,
        &["--print-command", "--machine pc takes 4095"],
    );
}

/// The image in memory is a file too.
fn files_have_a_limit() {
    let scratch = Scratch::new();
    let command = tcg(&scratch, "hello");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -f 1; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(scratch.path())
        .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(&mut shell)
        .expect_code(exit_code::VM_FAILED)
        .expect_output("")
        .expect_message(&["File too large"]);
}

fn help() {
    let scratch = Scratch::new();
    finish(tcg(&scratch, "hello").arg("--help"))
        .expect_code(0)
        .expect_silence()
        .stdout
        .windows(11)
        .find(|window| window == b"Exit codes:")
        .expect("the help explains the exit codes");
    let bare = finish(
        Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    bare.expect_code(exit_code::USAGE)
        .expect_message(&["Usage: hermit-wasm run"]);
}

fn completions() {
    let complete = |shell: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
        command.args(["completions", shell]).stdin(Stdio::null());
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = complete(shell).expect_code(0).expect_silence();
        let script = String::from_utf8(done.stdout).unwrap();
        for flag in ["memory", "copy-dir", "accel", "greet", "completions"] {
            assert!(script.contains(flag), "{shell}: {flag} is missing");
        }
    }
    complete("csh")
        .expect_code(exit_code::USAGE)
        .expect_message(&["csh", "bash", "zsh", "fish"]);
    bash_completes_flags_and_values(&complete("bash").stdout);
}

/// What bash itself makes of the script.
fn bash_completes_flags_and_values(script: &[u8]) {
    let scratch = Scratch::new();
    let script = scratch.file("completions", script);
    let program = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p hermit-wasm); function=${function#*-F }
        ${function%% *} hermit-wasm "${@: -1}" "${@: -2:1}"
        echo "${COMPREPLY[*]}""#;
    for (words, completed) in [
        (["hermit-wasm", "run", "--mem"].as_slice(), "--memory\n"),
        (&["hermit-wasm", "--copy"], "--copy-dir\n"),
        (&["hermit-wasm", "run", "--accel", "k"], "kvm\n"),
        (&["hermit-wasm", "compl"], "completions\n"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", program, "bash"])
            .arg(&script)
            .args(words)
            .stdin(Stdio::null());
        finish(bash.stdout(Stdio::piped()).stderr(Stdio::piped()))
            .expect_code(0)
            .expect_silence()
            .expect_output(completed);
    }
}
