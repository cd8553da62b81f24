//! The application's course on a machine of this process: what runs, by whom it is described, and what is refused.

#[path = "../../wasi-shim/core/tests/support/directory.rs"]
mod directory;
#[path = "support/machine.rs"]
mod machine;
#[path = "../../wasi-shim/core/tests/support/passthrough.rs"]
mod passthrough;
#[path = "support/sealed.rs"]
mod sealed;

use std::fs;

use boot_protocol::command_line::Console;
use boot_protocol::run_spec::{
    Access, Limit, LogLevel, ModuleSource, Mount, MountSource, Preload, RunSpec, Terminals,
};

use self::directory::Directory;
use self::machine::{Files, Machine, echo, refused, spec};
use self::passthrough::{Client, Config};

#[test]
fn a_module_alone_runs_with_the_words_of_the_command_line() {
    let mut machine = Machine {
        payload: Some(echo("boot").leak()),
        ..Machine::default()
    };
    let status = machine.run("--env B=2 -- one two", &[("A", "1")]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "boot:boot-module.wasm\0one\0two\0A=1\0B=2\0");
    assert_eq!(machine.console, Some(Console::Raw));
    assert_eq!(machine.log.get(), Some(LogLevel::Warn));
}

#[test]
fn the_greeting_runs_without_a_payload_or_if_the_description_says_so() {
    let mut bare = Machine::bare();
    assert_eq!(bare.run("", &[]).code, 0);
    assert_eq!(bare.output(), "embedded:embedded.wasm\0");

    let greeting = RunSpec {
        module: ModuleSource::Embedded,
        ..spec()
    };
    let mut described = Machine::with_payload(&[("run.spec", &greeting.encode())]);
    assert_eq!(described.run("--console=framed", &[]).code, 0);
    assert_eq!(described.output(), "embedded:m\0two words\0A=1\0");
    assert_eq!(described.console, Some(Console::Framed));
}

#[test]
fn a_payload_without_a_module_is_an_error() {
    let module = echo("other");
    refused(
        &Machine::with_payload(&[("hello.wasm", &module)]).run("", &[]),
        127,
        &["module.wasm", "-f"],
    );
    refused(
        &Machine::with_payload(&[("run.spec", &spec().encode())]).run("", &[]),
        127,
        &["`m`", "module.wasm"],
    );
    let mut machine = Machine::bare();
    machine.files = Some(Files {
        files: [("/s".to_owned(), spec().encode())].into(),
        open: None,
    });
    refused(&machine.run("--spec=/s", &[]), 127, &["no payload"]);
}

#[test]
fn a_payload_describes_its_run() {
    let directory = Directory::new();
    fs::write(directory.join("file"), b"x").unwrap();
    let described = RunSpec {
        mounts: vec![
            Mount {
                source: MountSource::Tmpfs { size: None },
                guest: "/tmp".into(),
                access: Access::ReadWrite,
            },
            Mount {
                source: MountSource::VirtioFs { tag: "root".into() },
                guest: "/".into(),
                access: Access::ReadOnly,
            },
        ],
        terminals: Terminals::ALL,
        log: Some(LogLevel::Info),
        ..spec()
    };
    let mut machine = Machine::with_payload(&[
        ("run.spec", &described.encode()),
        ("module.wasm", &echo("payload")),
    ]);
    machine.root = Some(Client::new(&directory, Config::default()));
    let status = machine.run("--console=shared", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "payload:m\0two words\0A=1\0");
    assert_eq!(machine.log.get(), Some(LogLevel::Info));
    assert_eq!(machine.asked.take(), [("root".to_owned(), Some(0))]);
}

#[test]
fn a_function_is_called_that_imports_from_members_of_the_payload() {
    let library = wat::parse_str(r#"(module (global (export "g") i32 (i32.const 40)))"#).unwrap();
    let module = wat::parse_str(
        r#"(module (import "l" "g" (global i32))
            (func (export "add") (param i32) (result i32) (i32.add (global.get 0) (local.get 0))))"#,
    )
    .unwrap();
    let members = [("module.wasm", module.as_slice()), ("l.wasm", &library)];
    let mut machine = Machine::with_payload(&members);
    let status = machine.run("--invoke add --preload l=l.wasm 2", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(machine.output(), "42\n");

    let described = RunSpec {
        argv: vec!["m".into(), "-41".into()],
        entry: Some("add".into()),
        preloads: vec![Preload {
            name: "l".into(),
            member: "l.wasm".into(),
        }],
        ..RunSpec::default()
    };
    let mut machine =
        Machine::with_payload(&[members.as_slice(), &[("run.spec", &described.encode())]].concat());
    assert_eq!(machine.run("", &[]).code, 0);
    assert_eq!(machine.output(), "-1\n");

    refused(
        &Machine::with_payload(&members).run("--invoke add --preload l=l.wasm", &[]),
        2,
        &["not enough arguments for `add`"],
    );
    refused(
        &Machine::with_payload(&members).run("--invoke sub --preload l=l.wasm", &[]),
        126,
        &["no func export named `sub` found", "`add`"],
    );
    refused(
        &Machine::with_payload(&members).run("--invoke add --preload l=k.wasm 2", &[]),
        127,
        &["preload `l`", "no member \"k.wasm\""],
    );
    let mut bare = Machine {
        payload: Some(module.leak()),
        ..Machine::default()
    };
    refused(
        &bare.run("--invoke add --preload l=l.wasm 2", &[]),
        127,
        &["preload `l`", "no payload that is a tar archive"],
    );
}

#[test]
fn the_command_lines_log_level_goes_before_the_descriptions() {
    let described = RunSpec {
        log: Some(LogLevel::Trace),
        ..spec()
    };
    let mut machine = Machine::with_payload(&[
        ("run.spec", &described.encode()),
        ("module.wasm", &echo("payload")),
    ]);
    assert_eq!(machine.run("--log=error", &[]).code, 0);
    assert_eq!(machine.log.get(), Some(LogLevel::Error));
}

#[test]
fn nothing_may_contradict_a_description() {
    let module = echo("payload");
    let members: [(&str, &[u8]); 2] = [("run.spec", &spec().encode()), ("module.wasm", &module)];
    for (line, word) in [
        ("-f /m", "-f"),
        ("--argv0=x", "--argv0"),
        ("--env=A=1", "--env"),
        ("--tmpfs=/tmp", "--tmpfs"),
        ("--terminals=", "--terminals"),
        ("-- argument", "argument"),
    ] {
        let mut machine = Machine::with_payload(&members);
        refused(
            &machine.run(line, &[]),
            2,
            &[word, "run.spec", "--log and --console"],
        );
        assert_eq!(machine.output(), "");
    }
    let mut machine = Machine::with_payload(&members);
    refused(&machine.run("", &[("A", "1")]), 2, &["env=", "run.spec"]);
    let mut machine = Machine::with_payload(&members);
    refused(&machine.run("--spec=/s", &[]), 2, &["two descriptions", "/s"]);
}

#[test]
fn a_file_of_uhyves_describes_a_run() {
    let described = RunSpec {
        module: ModuleSource::Path("/m.wasm".into()),
        argv: Vec::new(),
        ..spec()
    };
    let files = Files {
        files: [
            ("/run.spec".to_owned(), described.encode()),
            ("/m.wasm".to_owned(), echo("mapped")),
        ]
        .into(),
        open: None,
    };
    let machine = || Machine {
        files: Some(files.clone()),
        ..Machine::default()
    };
    let mut good = machine();
    assert_eq!(good.run("--spec=/run.spec", &[]).message, None);
    assert_eq!(good.output(), "mapped:m.wasm\0A=1\0");
    refused(
        &machine().run("--spec=/none", &[]),
        2,
        &["--spec /none", "no such file"],
    );
    refused(
        &machine().run("--spec=/run.spec -f /m.wasm", &[]),
        2,
        &["-f", "/run.spec"],
    );
    refused(&machine().run("--spec=/m.wasm", &[]), 2, &["/m.wasm", "HWRS"]);
    refused(&Machine::bare().run("--spec=/run.spec", &[]), 2, &["only uhyve"]);
}

#[test]
fn a_description_that_cannot_be_used_is_refused() {
    let mut bytes = spec().encode();
    bytes[4] = 9;
    let mut machine = Machine::with_payload(&[("run.spec", &bytes), ("module.wasm", b"\0asm")]);
    refused(&machine.run("", &[]), 2, &["run.spec", "version 9"]);
    assert_eq!(machine.console, Some(Console::Raw));
    let mut damaged = Machine::with_payload(&[("run.spec", b"x"), ("module.wasm", b"\0asm")]);
    let mut archive = damaged.payload.unwrap().to_vec();
    archive[1030] ^= 1;
    damaged.payload = Some(archive.leak());
    refused(&damaged.run("", &[]), 2, &["payload is damaged"]);
}

#[test]
fn wrong_words_are_reported_in_the_way_that_was_probably_meant() {
    for (line, console) in [
        ("--frobnicate", Console::Raw),
        ("--frobnicate --console=framed", Console::Framed),
        ("--console shared --frobnicate", Console::Framed),
    ] {
        let mut machine = Machine::bare();
        refused(&machine.run(line, &[]), 2, &["unknown option --frobnicate"]);
        assert_eq!(machine.console, Some(console));
    }
}

#[test]
fn words_are_checked_as_a_description_is() {
    let mut machine = Machine::bare();
    let status = machine.run("--tmpfs /a --tmpfs /a", &[]);
    refused(&status, 2, &["kernel command line", "/a"]);
    assert_eq!(machine.output(), "");
}

#[test]
fn a_module_of_a_device_and_one_that_is_not_there() {
    let directory = Directory::new();
    fs::write(directory.join("m.wasm"), echo("device")).unwrap();
    let machine = || Machine {
        root: Some(Client::new(&directory, Config::default())),
        ..Machine::bare()
    };
    let mut good = machine();
    assert_eq!(good.run("-f root/m.wasm -- x", &[]).message, None);
    assert_eq!(good.output(), "device:m.wasm\0x\0");
    refused(
        &machine().run("-f root/n.wasm", &[]),
        127,
        &["`n.wasm`", "no such file"],
    );
    refused(
        &machine().run("-f other/m.wasm", &[]),
        127,
        &["no virtio-fs device"],
    );
}

#[test]
fn many_arguments_and_variables_arrive() {
    let many = RunSpec {
        argv: (0..100_000).map(|number| number.to_string()).collect(),
        env: (0..16_384)
            .map(|number| (format!("V{number}"), "v".repeat(60)))
            .collect(),
        ..RunSpec::default()
    };
    let mut machine = Machine::with_payload(&[("run.spec", &many.encode()), ("module.wasm", &echo("m"))]);
    assert_eq!(machine.run("", &[]).message, None);
    let expected: usize = many.argv.iter().map(|argument| argument.len() + 1).sum::<usize>()
        + many
            .env
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum::<usize>();
    assert_eq!(machine.output().len(), "m:".len() + expected);
    assert!(machine.output().ends_with("v\0"));
}

#[test]
fn a_limit_ends_the_guest_with_its_code_and_the_deadline_is_the_machines() {
    let mut machine = Machine::bare();
    let status = machine.run("--limit max-output-bytes=5 --limit timeout=250ms", &[]);
    assert_eq!(machine.deadline.get(), Some(250_000_000));
    assert_eq!(
        (status.ending().reached(), machine.output().as_str()),
        (Some(Limit::OutputBytes.of(5)), "embed")
    );
    let mut machine = Machine::bare();
    assert_eq!(machine.run("--limit fuel=1000000", &[]).code, 0);
    assert_eq!(machine.deadline.get(), None);
    let mut machine = Machine::bare();
    let status = machine.run("--limit fuel=10", &[]);
    assert_eq!(status.ending().reached(), Some(Limit::Fuel.of(10)), "{status:?}");
    let usage = Machine::bare().run("--limit feul=1", &[]);
    assert_eq!(usage.code, 2);
    assert!(usage.message.unwrap().contains("fuel, timeout"));
}

#[test]
fn the_least_values_of_limits_end_the_guest_or_are_not_reached() {
    for (word, reached) in [
        ("fuel=0", Some(Limit::Fuel)),
        ("max-memory-size=0", Some(Limit::Memory)),
        ("max-wasm-stack=0", Some(Limit::Stack)),
        ("max-output-bytes=0", Some(Limit::OutputBytes)),
        ("max-table-elements=0", None),
        ("max-descriptors=0", Some(Limit::Descriptors)),
        ("max-file-bytes=0", None),
    ] {
        let mut machine = Machine::bare();
        let ending = machine.run(&format!("--limit {word}"), &[]).ending();
        assert_eq!(ending.reached(), reached.map(|limit| limit.of(0)), "{word}");
        assert_eq!(machine.output().is_empty(), reached.is_some(), "{word}");
    }
    // The streams and a directory.
    for (limit, code) in [(3, 246), (4, 0)] {
        let mut machine = Machine::bare();
        let status = machine.run(&format!("--limit max-descriptors={limit} --tmpfs /"), &[]);
        assert_eq!(status.code, code, "{limit}: {status:?}");
    }
}

#[test]
fn a_deterministic_run_needs_its_memory_and_shows_no_terminal() {
    let status = Machine::bare().run("--deterministic 7", &[]);
    let message = status.message.unwrap();
    assert!(
        status.code == 125 && message.contains("192 MiB") && message.contains("max-memory-size"),
        "{message}"
    );
    let line = "--deterministic 7 --limit max-memory-size=16MiB";
    let outputs = ["", "--terminals=stdin,stdout,stderr", "--terminals="].map(|terminals| {
        let mut machine = Machine::bare();
        let status = machine.run(&format!("{line} {terminals} --tmpfs / -- x"), &[]);
        assert_eq!((status.code, status.message), (0, None));
        machine.output()
    });
    assert!(outputs.iter().all(|output| *output == outputs[0]), "{outputs:?}");
}
