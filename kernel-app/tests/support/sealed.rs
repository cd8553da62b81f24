//! Payloads that were packed: they run as they are, or not at all.

use boot_protocol::run_spec::{Limit, Limits, RunSpec};
use kernel_app::command_line::CommandLine;

use crate::machine::{Machine, echo, refused, spec};

#[test]
fn a_sealed_payload_runs_as_it_was_sealed_and_not_otherwise() {
    let members = [
        ("Hermitfile", &b"FROM m.wasm\n"[..]),
        ("run.spec", &spec().encode()),
        ("module.wasm", &echo("sealed")),
    ];
    let mut machine = Machine::with_sealed(&members);
    let status = machine.run("", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "sealed:m\0two words\0A=1\0");

    let good = machine.payload.unwrap();
    // Seal, headers, description, module, padding, end mark: each byte.
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        let mut machine = Machine {
            payload: Some(bad.leak()),
            ..Machine::bare()
        };
        let status = machine.run("", &[]);
        assert!(matches!(status.code, 2 | 126), "byte {at}: code {}", status.code);
        let message = status.message.unwrap_or_default();
        assert!(message.contains("payload"), "byte {at}: {message}");
        assert_eq!(machine.output(), "", "byte {at}");
    }
    for length in (0..good.len()).step_by(512).skip(1) {
        let mut machine = Machine {
            payload: Some(&good[..length]),
            ..Machine::bare()
        };
        refused(&machine.run("", &[]), 126, &["payload", "digest"]);
    }
    refused(
        &Machine::with_payload(&members).run("", &[]),
        126,
        &["Hermitfile", "digest"],
    );
}

#[test]
fn boot_words_narrow_what_was_packed_and_never_widen_it() {
    let module = echo("sealed");
    let spec = spec().encode();
    let members = [("run.spec", spec.as_slice()), ("module.wasm", &module)];
    let mut machine = Machine::with_sealed(&members);
    let status = machine.run("--log=info --console=framed --env A=1 -- more words", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "sealed:m\0two words\0more\0words\0A=1\0");

    for (words, named) in [
        ("--env A=2", "\"A\""),
        ("--env B=1", "\"B\""),
        ("--tmpfs /tmp", "\"/tmp\""),
        ("--share root::/", "\"/\""),
        ("--copy-dir module.wasm::/", "\"/\""),
        ("-f root/other.wasm", "\"other.wasm\""),
        ("--argv0 other", "\"other\""),
        ("--entry other", "\"other\""),
        ("--preload l=module.wasm", "\"l\""),
        ("--net redis:6379", "network"),
    ] {
        let mut machine = Machine::with_sealed(&members);
        refused(&machine.run(words, &[]), 2, &[named, "exceeds what was packed"]);
        assert_eq!(machine.output(), "", "{words}");
    }
    refused(
        &Machine::with_sealed(&members).run("", &[("B", "1")]),
        2,
        &["\"B\""],
    );
    // What only the two together are.
    let networked = RunSpec {
        network: Some(Box::default()),
        ..self::spec()
    };
    let networked = networked.encode();
    let networked = [("run.spec", networked.as_slice()), ("module.wasm", &module)];
    refused(
        &Machine::with_sealed(&networked).run("--deterministic 1", &[]),
        2,
        &["kernel command line", "another on every run"],
    );
    // Of what is not packed nothing is a ceiling, and nothing stands beside its description.
    refused(
        &Machine::with_payload(&members).run("-- more", &[]),
        2,
        &["more", "run.spec"],
    );
}

#[test]
fn open_variables_are_given_by_whoever_runs_it() {
    let module = echo("sealed");
    let spec = RunSpec {
        open: vec!["PWD".into()],
        ..spec()
    };
    let spec = spec.encode();
    let members = [("run.spec", spec.as_slice()), ("module.wasm", &module)];
    for (words, seen) in [("", ""), ("--env PWD=/here", "PWD=/here\0")] {
        let mut machine = Machine::with_sealed(&members);
        let status = machine.run(words, &[]);
        assert_eq!((status.code, status.message), (0, None));
        assert_eq!(machine.output(), format!("sealed:m\0two words\0A=1\0{seen}"));
    }
    refused(
        &Machine::with_sealed(&members).run("--env PWD=/here --env A=2", &[]),
        2,
        &["\"A\""],
    );
}

#[test]
fn what_was_packed_says_what_may_run() {
    let mut machine = Machine::with_sealed(&[("module.wasm", &echo("sealed"))]);
    refused(&machine.run("--tmpfs /", &[]), 126, &["run.spec"]);
    assert_eq!(machine.output(), "");
}

#[test]
fn words_of_the_kernel_s_that_change_the_run_are_refused() {
    let spec = |limits, may_be_widened| RunSpec {
        limits,
        may_be_widened,
        ..spec()
    };
    let timed = Limits::NONE.with(Limit::Deadline, 60_000_000_000);
    let run = |spec: &RunSpec, line: &str| {
        let members = [("run.spec", &spec.encode()[..]), ("module.wasm", &echo("sealed"))];
        Machine::with_sealed(&members).run_line(&CommandLine::split(line, false).unwrap())
    };
    // A clock that runs slower makes the time longer that was packed.
    refused(
        &run(&spec(timed, false), "-freq 1 --"),
        2,
        &["-freq", "exceeds what was packed"],
    );
    assert_eq!(run(&spec(timed, true), "-freq 1 --").code, 0);
    // Whoever gives the time may say how it counts.
    assert_eq!(
        run(&spec(Limits::NONE, false), "-freq 1 -- --limit timeout=60s").code,
        0
    );
    for word in ["-ip", "-mask", "-gateway", "-mount"] {
        let line = format!("{word} x --");
        refused(
            &run(&spec(Limits::NONE, false), &line),
            2,
            &[word, "exceeds what was packed"],
        );
        assert_eq!(run(&spec(Limits::NONE, true), &line).code, 0);
    }
    refused(&run(&spec(Limits::NONE, false), "env=B=1 --"), 2, &["\"B\""]);
    // What is not packed is no ceiling.
    let mut machine = Machine::with_payload(&[("module.wasm", &echo("plain"))]);
    assert_eq!(
        machine
            .run_line(&CommandLine::split("-freq 1 -ip x --", false).unwrap())
            .code,
        0
    );
}
