//! Tests of the command line: whose is which word, and what is refused.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot_protocol::exit_code;
use clap::Parser as _;
use hermit_wasm_vm::host::units::MIB;
use hermit_wasm_vm::vmm::capabilities::Accelerator;
use hermit_wasm_vm::vmm::qemu::MachineKind;
use hermit_wasm_vm::{Arch, LogLevel};

use super::*;

fn parse(words: &[&str]) -> Run {
    let words = std::iter::once("hermit-wasm").chain(words.iter().copied());
    run_of(Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")))
}

fn run_of(cli: Cli) -> Run {
    match cli.into_command() {
        Command::Run(run) => *run,
        other => panic!("{other:?} runs nothing"),
    }
}

fn refused(words: &[&str]) -> String {
    let words = std::iter::once("hermit-wasm").chain(words.iter().copied());
    let error = Cli::try_parse_from(words).unwrap_err();
    assert_eq!(error.exit_code(), i32::from(exit_code::USAGE), "{error}");
    error.to_string()
}

#[test]
fn the_definition_is_sound() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn run_may_be_left_out() {
    for words in [["run", "app.wasm"].as_slice(), &["app.wasm"]] {
        let run = parse(words);
        assert_eq!(run.module(), Some(Path::new("app.wasm")));
        assert_eq!(run.args().unwrap(), [""; 0]);
        assert_eq!(run.memory, None);
        assert_eq!(run.accel, None);
        assert_eq!((run.arch, run.machine), (Arch::host(), None));
        assert_eq!(run.timeout, None);
    }
    let run = parse(&["--memory", "1G", "-vv", "app.wasm", "x"]);
    assert_eq!((run.memory, run.verbose), (Some(1 << 30), 2));
    assert_eq!(run.args().unwrap(), ["x"]);
}

#[test]
fn the_greeting_is_no_module() {
    let run = parse(&["run", "--greet", "--env", "A=1"]);
    assert!(run.greet);
    assert_eq!(run.module(), None);
    assert_eq!(run.argv0, None);
    assert_eq!(run.args().unwrap(), [""; 0]);
    assert!(refused(&["run", "--greet", "app.wasm"]).contains("--greet"));
    assert!(!parse(&["run", "app.wasm", "--greet"]).greet);
}

#[test]
fn everything_after_the_module_is_the_guests() {
    let guest = [
        "-i",
        "12",
        "--memory",
        "x",
        "--help",
        "-v",
        "--",
        "run",
        "",
        "--env=A",
        "--unknown",
        "--",
    ];
    for start in [
        ["run", "app.wasm"].as_slice(),
        &["app.wasm"],
        &["run", "--", "app.wasm"],
        &["--", "app.wasm"],
    ] {
        let words: Vec<&str> = start.iter().chain(&guest).copied().collect();
        let run = parse(&words);
        assert_eq!(run.module(), Some(Path::new("app.wasm")), "{start:?}");
        assert_eq!(run.args().unwrap(), guest, "{start:?}");
        assert_eq!(run.verbose, 0);
    }
    // The first word decides, also when it is the name of a command.
    assert_eq!(parse(&["app.wasm", "run"]).args().unwrap(), ["run"]);
    assert_eq!(parse(&["run", "run"]).module(), Some(Path::new("run")));
    assert_eq!(parse(&["run", "app.wasm", "--"]).args().unwrap(), ["--"]);
}

#[test]
fn a_module_may_look_like_a_flag() {
    let run = parse(&["run", "--", "-odd.wasm", "-x"]);
    assert_eq!(run.module(), Some(Path::new("-odd.wasm")));
    assert_eq!(run.args().unwrap(), ["-x"]);
}

#[test]
fn flags_are_understood() {
    let run = parse(&[
        "run",
        "--memory=64MiB",
        "--accel",
        "tcg",
        "--arch",
        "x86_64",
        "--machine",
        "q35",
        "--argv0=-name",
        "--timeout",
        "1.5s",
        "--log",
        "debug",
        "--qemu",
        "/q",
        "--print-command",
        "--verbose",
        "m.wasm",
    ]);
    assert_eq!(run.memory, Some(64 * MIB));
    assert_eq!(run.accel, Some(Accelerator::Tcg));
    assert_eq!((run.arch, run.machine), (Arch::X86_64, Some(MachineKind::Q35)));
    assert_eq!(run.argv0.as_deref(), Some("-name".as_ref()));
    assert_eq!(run.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(run.log.map(LogLevel::name), Some("debug"));
    assert_eq!(run.qemu.as_deref(), Some(Path::new("/q")));
    assert_eq!(run.print_command, Some(None));
    assert_eq!(run.verbose, 1);
}

#[test]
fn what_is_wrong_is_named_with_its_flag() {
    for (words, parts) in [
        (
            ["run", "--memory", "lots", "m"].as_slice(),
            ["--memory", "such as 512M"],
        ),
        (
            &["run", "--memory", "512", "m"],
            ["--memory", "did you mean 512M?"],
        ),
        (&["run", "--memory", "1M", "m"], ["--memory", "at least 4 MiB"]),
        (&["run", "--timeout", "soon", "m"], ["--timeout", "such as 10s"]),
        (&["run", "--timeout", "0s", "m"], ["--timeout", "zero"]),
        (&["run", "--accel", "xen", "m"], ["--accel", "auto, kvm, tcg"]),
        (
            &["run", "--machine", "vax", "m"],
            ["--machine", "microvm, q35, pc, virt"],
        ),
        (&["run", "--log", "loud", "m"], ["--log", "trace"]),
        (&["run", "--memroy", "1G", "m"], ["--memroy", "--memory"]),
        (&["run", "--env"], ["--env", "value is required"]),
        (&["--nonsense"], ["--nonsense", "Usage"]),
    ] {
        let message = refused(words);
        for part in parts {
            assert!(message.contains(part), "{words:?}: {message}");
        }
    }
}

#[test]
fn a_command_may_be_printed_with_its_files() {
    let run = parse(&["run", "--print-command=/d", "m.wasm"]);
    assert_eq!(run.print_command, Some(Some(PathBuf::from("/d"))));
    // The module is no directory.
    let run = parse(&["run", "--print-command", "m.wasm"]);
    assert_eq!(run.module(), Some(Path::new("m.wasm")));
    assert_eq!(parse(&["run", "m.wasm"]).print_command, None);
}

#[test]
fn the_environment_is_what_is_given_and_no_more() {
    let host = |key: &str| (key == "HOST").then(|| OsString::from("value=here"));
    let run = parse(&[
        "run",
        "--env",
        "A=1",
        "--env",
        "HOST",
        "--env",
        "UNSET",
        "--env=B=x=y",
        "--env",
        "C=",
        "m",
    ]);
    let expected = [("A", "1"), ("HOST", "value=here"), ("B", "x=y"), ("C", "")];
    let expected = expected.map(|(key, value)| (key.to_string(), value.to_string()));
    assert_eq!(run.environment(host).unwrap(), expected);

    for setting in ["=x", "=", ""] {
        let error = parse(&["run", "--env", setting, "m"])
            .environment(|_| Some("v".into()))
            .unwrap_err();
        assert_eq!(error.exit_code(), exit_code::USAGE);
        assert!(error.to_string().starts_with("--env"), "{error}");
    }
}

#[test]
fn what_is_not_utf8_is_refused_by_name() {
    let bad = || OsString::from_vec(b"a\xff".to_vec());
    let words = [
        "hermit-wasm".into(),
        "run".into(),
        "m.wasm".into(),
        "ok".into(),
        bad(),
    ];
    let run = run_of(Cli::try_parse_from(words).unwrap());
    let error = run.args().unwrap_err();
    assert_eq!(error.exit_code(), exit_code::USAGE);
    assert!(error.to_string().contains("argument 2"), "{error}");

    let run = parse(&["run", "--env", "K", "m"]);
    assert!(
        run.environment(|_| Some(bad()))
            .unwrap_err()
            .to_string()
            .contains("value of K")
    );
    // A module's path may have any bytes.
    let words = ["hermit-wasm".into(), "run".into(), bad()];
    let run = run_of(Cli::try_parse_from(words).unwrap());
    assert_eq!(
        run.module().map(|path| path.as_os_str().to_os_string()),
        Some(bad())
    );
}

#[test]
fn the_help_lists_every_exit_code() {
    for code in [
        exit_code::OUT_OF_RANGE,
        exit_code::USAGE,
        exit_code::TIMEOUT,
        exit_code::VM_FAILED,
        exit_code::MODULE_REFUSED,
        exit_code::MODULE_NOT_FOUND,
        exit_code::TRAP,
        exit_code::OUTPUT_CLOSED,
        exit_code::DIVERGED,
        exit_code::RECORDING_OVER,
    ]
    .into_iter()
    .chain(boot_protocol::run_spec::Limit::ALL.map(exit_code::of_limit))
    {
        assert!(EXAMPLES_AND_EXIT_CODES.contains(&code.to_string()), "{code}");
    }
    let error = Cli::try_parse_from(["hermit-wasm", "run", "--help"]).unwrap_err();
    assert_eq!(error.exit_code(), 0);
    assert!(error.to_string().contains("Exit codes:"));
}

#[test]
fn a_seed_is_a_number() {
    for (word, seed) in [
        ("--deterministic", 0),
        ("--deterministic=18446744073709551615", u64::MAX),
    ] {
        let run = run_of(Cli::try_parse_from(["hermit-wasm", "run", word, "m.wasm"]).unwrap());
        assert_eq!(run.deterministic, Some(seed), "{word}");
    }
    for word in [
        "--deterministic=x",
        "--deterministic=-1",
        "--deterministic=18446744073709551616",
    ] {
        let error = Cli::try_parse_from(["hermit-wasm", "run", word, "m.wasm"]).unwrap_err();
        assert!(
            error.to_string().contains("expected a whole number below 2^64"),
            "{error}"
        );
    }
}
