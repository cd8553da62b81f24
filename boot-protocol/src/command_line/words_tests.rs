//! The words' grammar, each refusal, and that what is written is read back.

use super::*;
use crate::command_line::CommandLine;
use crate::run_spec::LogLevel;
use alloc::format;
use alloc::vec;

/// Without a payload.
fn parse_words<'a>(words: &[&'a str]) -> Result<Words<'a>, WordError> {
    parse(words.iter().copied(), [], false)
}

/// The guest's arguments behind `argv[0]`.
fn args(words: &[&str]) -> Vec<String> {
    parse_words(words).unwrap().run.argv.split_off(1)
}

fn mount_of(source: MountSource, guest: &str, access: Access) -> Mount {
    Mount {
        source,
        guest: guest.into(),
        access,
    }
}

fn mounts() -> Vec<Mount> {
    vec![
        mount_of(
            MountSource::Copy {
                member: "d.tar".into(),
            },
            "/",
            Access::ReadWrite,
        ),
        mount_of(MountSource::Tmpfs { size: None }, "/tmp", Access::ReadWrite),
        mount_of(MountSource::Tmpfs { size: Some(65536) }, "/s", Access::ReadWrite),
        mount_of(
            MountSource::Copy {
                member: "e.tar".into(),
            },
            "a::b",
            Access::ReadOnly,
        ),
        mount_of(MountSource::VirtioFs { tag: "s".into() }, ".", Access::ReadOnly),
        mount_of(
            MountSource::UhyveMap {
                path: "/root/d".into(),
            },
            "d",
            Access::ReadWrite,
        ),
    ]
}

#[test]
fn nothing_means_the_payload_or_the_greeting_on_a_raw_console() {
    for (payload, module) in [(true, ModuleSource::Payload), (false, ModuleSource::Embedded)] {
        let expected = Words {
            console: Console::Raw,
            spec: None,
            run: RunSpec {
                module,
                terminals: Terminals::ALL,
                ..RunSpec::default()
            },
            run_word: None,
        };
        assert_eq!(parse([], [], payload), Ok(expected));
    }
    assert_eq!(
        parse_words(&["--console=shared"]).unwrap().console,
        Console::SharedMemory
    );
}

#[test]
fn every_option_in_both_forms() {
    let expected = Words {
        console: Console::Framed,
        spec: None,
        run: RunSpec {
            module: ModuleSource::Path("/m.wasm".into()),
            argv: ["m", "one", "two"].map(String::from).into(),
            env: [("A", "1"), ("B", "x=y"), ("C", "")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            mounts: mounts(),
            terminals: Terminals::NONE,
            log: Some(LogLevel::Debug),
            ..RunSpec::default()
        },
        run_word: Some("-f"),
    };
    let apart = "-f /m.wasm --argv0 m --env A=1 --env B=x=y --env C= --console framed --log debug --copy-dir d.tar::/ \
                 --tmpfs /tmp --tmpfs /s,size=65536 --copy-dir e.tar::a::b:ro --share s::.:ro --map /root/d::d -- one two";
    let joined = "--file=/m.wasm --argv0=m --env=A=1 --env=B=x=y --env=C= --console=framed --log=DEBUG \
                  --copy-dir=d.tar::/ --tmpfs=/tmp --tmpfs=/s,size=65536 --copy-dir=e.tar::a::b:ro --share=s::.:ro --map=/root/d::d one two";
    assert_eq!(parse(apart.split(' '), [], true), Ok(expected.clone()));
    let expected = Words {
        run_word: Some("--file"),
        ..expected
    };
    assert_eq!(parse(joined.split(' '), [], true), Ok(expected));
}

/// Libraries, as a launcher names their members and as a person does.
fn preloads() -> Vec<Preload> {
    [("env", "preload-0.wasm"), ("", "a=b")]
        .map(|(name, member)| Preload {
            name: name.into(),
            member: member.into(),
        })
        .into()
}

#[test]
fn a_function_and_libraries() {
    for entry in ["--entry", "--invoke"] {
        let words = [
            entry,
            "add",
            "--preload",
            "env=preload-0.wasm",
            "--preload==a=b",
            "1",
            "-2",
        ];
        let run = parse(words, [], true).unwrap().run;
        assert_eq!((run.entry.as_deref(), &run.preloads), (Some("add"), &preloads()));
        assert_eq!(run.invoked, entry == "--invoke");
        assert_eq!(run.argv, ["boot-module.wasm", "1", "-2"]);
        assert_eq!(parse(words, [], true).unwrap().run_word, Some(entry));
    }
}

#[test]
fn what_follows_the_first_argument_is_the_guests() {
    assert_eq!(args(&["a", "--env", "X"]), ["a", "--env", "X"]);
    assert_eq!(args(&["--", "--", "-f"]), ["--", "-f"]);
    assert_eq!(args(&["-", "-f"]), ["-", "-f"]);
    assert_eq!(args(&["", "-f"]), ["", "-f"]);
}

#[test]
fn argv0_is_the_files_name_unless_given() {
    let argv = |words: &[&str], payload| parse(words.iter().copied(), [], payload).unwrap().run.argv;
    assert_eq!(argv(&["-f", "/root/m.wasm", "a"], true), ["m.wasm", "a"]);
    assert_eq!(argv(&["-f", "/root/m.wasm", "--argv0", "x"], true), ["x"]);
    assert_eq!(argv(&["a"], true), ["boot-module.wasm", "a"]);
    assert_eq!(argv(&["a"], false), ["embedded.wasm", "a"]);
    // Nothing is said: the application chooses.
    assert!(argv(&["-f", "/root/m.wasm"], true).is_empty());
}

#[test]
fn the_last_value_of_a_variable_counts_and_keeps_its_place() {
    let words = parse(["--env", "A=2", "--env", "C=3"], [("A", "1"), ("B", "1")], true).unwrap();
    let expected = [("A", "2"), ("B", "1"), ("C", "3")];
    assert_eq!(
        words.run.env,
        expected.map(|(name, value)| (name.to_string(), value.to_string()))
    );
    assert_eq!(words.run_word, Some("env="));
}

#[test]
fn terminals_follow_the_console_unless_listed() {
    let of = |words: &[&str]| parse_words(words).unwrap().run.terminals;
    assert_eq!(of(&[]), Terminals::ALL);
    for console in ["framed", "shared"] {
        assert_eq!(of(&["--console", console]), Terminals::NONE);
    }
    assert_eq!(
        of(&["--console", "framed", "--terminals", "stderr,stdin"]),
        Terminals {
            stdout: false,
            ..Terminals::ALL
        }
    );
    assert_eq!(of(&["--terminals="]), Terminals::NONE);
    assert!(parse_words(&["--terminals", "stdout,tty"]).is_err());
}

#[test]
fn a_description_and_what_may_stand_beside_it() {
    let words = parse_words(&["--log=info", "--console=framed", "--spec=/run.spec"]).unwrap();
    assert_eq!(words.spec, Some("/run.spec"));
    assert_eq!(words.run.log, Some(LogLevel::Info));
    assert_eq!(words.run_word, None);
    for (line, word) in [
        ("--spec /s -f m", "-f"),
        ("--argv0=m --spec=/s", "--argv0"),
        ("--spec=/s -- arg", "arg"),
        ("--spec=/s --tmpfs=/tmp --env=A=1", "--tmpfs"),
        ("--terminals=stdin", "--terminals"),
    ] {
        assert_eq!(
            parse(line.split(' '), [], true).unwrap().run_word,
            Some(word),
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (word, option) in [
        ("--frobnicate", "--frobnicate"),
        ("-x=1", "-x=1"),
        ("--frobnicate=1", "--frobnicate"),
    ] {
        assert_eq!(parse_words(&[word]), Err(WordError::UnknownOption(option.into())));
    }
    for option in OPTIONS.into_iter().chain(network::OPTIONS) {
        assert_eq!(
            parse_words(&[option]),
            Err(WordError::MissingValue(option.into()))
        );
    }
    for (option, value) in [
        ("--env", "A"),
        ("--env", "=1"),
        ("--console", "colour"),
        ("--log", "loud"),
        ("--copy-dir", "/host"),
        ("--share", "tag"),
        ("--map", "/root"),
        ("--copy-dir", "::/"),
        ("--copy-dir", "d.tar::"),
        ("--copy-dir", "d.tar:::ro"),
        ("--tmpfs", ""),
        ("--tmpfs", ",size=1"),
        ("--tmpfs", "/t,size="),
        ("--tmpfs", "/t,size=1M"),
        ("--spec", ""),
        ("--preload", "preload-0.wasm"),
        ("--preload", "env="),
        ("--deterministic", "18446744073709551616"),
        ("--deterministic", "x"),
    ] {
        let error = parse_words(&[option, value]).unwrap_err().to_string();
        assert!(
            error.starts_with("kernel command line: ") && error.contains(option) && error.contains(value),
            "{error}"
        );
    }
}

#[test]
fn what_is_written_is_read_back() {
    let full = RunSpec {
        module: ModuleSource::Path("/m.wasm".into()),
        argv: ["--env=odd\n", "one", "--", "-f", ""].map(String::from).into(),
        env: vec![("A".into(), "x=y z".into()), ("B".into(), String::new())],
        mounts: mounts(),
        terminals: Terminals {
            stdin: false,
            ..Terminals::ALL
        },
        entry: Some("add=".into()),
        invoked: true,
        preloads: preloads(),
        deterministic: Some(u64::MAX),
        ..RunSpec::default()
    };
    let smallest = RunSpec::default();
    let greeting = RunSpec {
        module: ModuleSource::Embedded,
        ..RunSpec::default()
    };
    for run in [full, smallest, greeting] {
        let payload = run.module != ModuleSource::Embedded;
        for console in Console::ALL {
            let line = CommandLine {
                console,
                ..CommandLine::default()
            };
            let words = line.words_with(&run).unwrap();
            let words = words.iter().map(String::as_str).skip_while(|word| *word != "--");
            let read = parse(words.skip(1), [], payload).unwrap();
            assert_eq!((read.run, read.console), (run.clone(), console));
        }
    }
}

#[test]
fn what_words_cannot_say_is_refused() {
    for mount in [
        mount_of(MountSource::Tmpfs { size: None }, "/tmp", Access::ReadOnly),
        mount_of(
            MountSource::Tmpfs { size: Some(1) },
            "/a,size=2",
            Access::ReadWrite,
        ),
        mount_of(
            MountSource::VirtioFs { tag: "a::b".into() },
            "/",
            Access::ReadWrite,
        ),
        mount_of(MountSource::VirtioFs { tag: "a:".into() }, "/", Access::ReadWrite),
        mount_of(
            MountSource::VirtioFs { tag: "a".into() },
            "/x:ro",
            Access::ReadWrite,
        ),
    ] {
        let run = RunSpec {
            mounts: vec![mount],
            ..RunSpec::default()
        };
        let error = format!("{}", write(&run, Console::Raw).unwrap_err());
        assert!(
            error.starts_with("the kernel command line cannot say "),
            "{error}"
        );
    }
}

#[test]
fn a_library_whose_name_has_an_equals_sign_cannot_be_told_by_words() {
    let run = RunSpec {
        preloads: vec![Preload {
            name: "a=b".into(),
            member: "c".into(),
        }],
        ..RunSpec::default()
    };
    let error = format!("{}", write(&run, Console::Raw).unwrap_err());
    assert!(error.ends_with("the name a=b"), "{error}");
}

#[test]
fn the_greeting_and_a_payload_cannot_be_told_by_words() {
    let copy = MountSource::Copy {
        member: "dir-0.tar".into(),
    };
    let greeting = RunSpec {
        module: ModuleSource::Embedded,
        mounts: vec![mount_of(copy, "/", Access::ReadWrite)],
        ..RunSpec::default()
    };
    let error = format!("{}", write(&greeting, Console::Raw).unwrap_err());
    assert!(error.contains("the built-in greeting"), "{error}");
}

#[test]
fn what_would_not_be_read_back_is_refused() {
    // Variables are set once each, so the words would describe another run.
    let run = RunSpec {
        env: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
        ..RunSpec::default()
    };
    for console in Console::ALL {
        let error = format!("{}", write(&run, console).unwrap_err());
        assert!(error.ends_with("all of this run"), "{error}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn many_words_take_no_longer_than_their_number() {
    let words: Vec<String> = (0..50_000).map(|number| format!("--env=V{number}=1")).collect();
    let rest = (0..100_000).map(|_| "arg");
    let all = words.iter().map(String::as_str).chain(rest);
    let run = parse(all, [], true).unwrap().run;
    assert_eq!((run.env.len(), run.argv.len()), (50_000, 100_001));
}
