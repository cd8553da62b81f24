//! Tests of what is said to other programs' habits.

use super::*;
use boot_protocol::exit_code;
use hermit_wasm_vm::Limits;
use std::os::unix::ffi::OsStringExt as _;

fn words(words: &[&str]) -> Vec<OsString> {
    std::iter::once("hermit-wasm")
        .chain(words.iter().copied())
        .map(OsString::from)
        .collect()
}

/// What is said to a command line that is wrong.
fn said(line: &[&str]) -> String {
    match parse(&words(line)) {
        Err(Refusal::Ours(error)) => {
            assert_eq!(error.exit_code(), exit_code::USAGE, "{line:?}");
            error.to_string()
        }
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn flags_of_other_programs_have_one_sentence_each() {
    for (line, sentence) in [
        (["-e", "A=x y"].as_slice(), "-e: write --env A=…"),
        (&["-eA=1"], "-e: write --env A=…"),
        (&["-env=A=1"], "-env: write --env A=…"),
        (&["-m", "512m"], "-m: write --memory 512m"),
        (&["-m512m"], "-m: write --memory 512m"),
        (&["--mem"], "--mem: write --memory SIZE"),
        (
            &["--max-memory-size", "64M"],
            "--max-memory-size: write -W max-memory-size=64M",
        ),
        (
            &["--max-wasm-stack"],
            "--max-wasm-stack: write -W max-wasm-stack=SIZE",
        ),
        (
            &["--deterministic", "5"],
            "--deterministic takes its seed behind an equals sign: write --deterministic=5",
        ),
        (
            &["--volume", "/h:/g"],
            "--volume: write --dir /h::/g (or --copy-dir for a copy whose changes are discarded)",
        ),
        (
            &["--volume=./a b:/g:ro,z"],
            "--volume: write --dir './a b::/g:ro' (or --copy-dir for a copy whose changes are discarded)",
        ),
        (
            &["-v/h:/g"],
            "-v: write --dir /h::/g (or --copy-dir for a copy whose changes are discarded)",
        ),
        (
            &["--mount", "type=bind,source=/h,target=/g,readonly"],
            "--mount: write --dir /h::/g:ro (or --copy-dir for a copy whose changes are discarded)",
        ),
        (
            &["-mount=/h:/g:ro"],
            "-mount: write --dir /h::/g:ro (or --copy-dir for a copy whose changes are discarded)",
        ),
        (
            &["--mapdir", "/g::h"],
            "--mapdir: write --dir h::/g, with the host's directory first",
        ),
        (
            &["--mapdir=/g:h"],
            "--mapdir: write --dir h::/g, with the host's directory first",
        ),
        (&["--rm", "-it"], "--rm: omit it: a run leaves nothing behind"),
        (
            &["-timeout", "3s"],
            "-timeout: long flags take two dashes: write --timeout",
        ),
        (
            &["-verbose"],
            "-verbose: long flags take two dashes: write --verbose",
        ),
    ] {
        let with_module = [&["run"], line, &["m.wasm"]].concat();
        assert_eq!(said(&with_module), sentence);
        // 'run' may be left out.
        assert_eq!(said(&with_module[1..]), sentence);
    }
}

#[test]
fn every_habit_is_met_as_it_is_typed() {
    for (flags, _) in TABLE {
        for flag in flags.split(' ') {
            // The launcher's own; with its value attached it is Docker's.
            let line = if flag == "-v" { "-v/a:/b" } else { flag };
            let sentence = said(&["run", line, "m.wasm"]);
            assert!(sentence.starts_with(&format!("{flag}: ")), "{flag}: {sentence}");
            assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "{sentence}");
        }
    }
}

#[test]
fn flags_that_are_recommended_exist() {
    let texts = TABLE.iter().map(|(_, advice)| match advice {
        Advice::Variable => "--env".to_string(),
        Advice::Write(flag, _) => (*flag).to_string(),
        Advice::Limit(word, _) => {
            let mut limits = Limits::NONE;
            assert!(limits.apply(&format!("{word}=1")).is_ok(), "{word}");
            String::new()
        }
        Advice::Leave(text) | Advice::Say(text) => (*text).to_string(),
        Advice::Mount | Advice::MountGuestFirst => "--dir --copy-dir --tmpfs".to_string(),
    });
    let mut found = 0;
    for text in texts {
        for word in text.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()) {
            if let Some(long) = word.strip_prefix("--") {
                assert!(Cli::knows(long), "{text}");
                found += 1;
            }
        }
    }
    assert!(found > 15, "{found}");
}

#[test]
fn a_habit_is_found_wherever_it_stands() {
    for line in [
        ["--memory", "1G", "--network", "none", "m.wasm"].as_slice(),
        &["run", "--env", "A=--x", "--network=none", "m.wasm"],
    ] {
        assert!(said(line).starts_with("--network: name what the guest may connect to"));
    }
    // After the module, all is the guest's.
    assert!(parse(&words(&["run", "m.wasm", "--network", "-e", "-it"])).is_ok());
    assert!(said(&["run", "-it", "m.wasm"]).starts_with("-it: omit it"));
    assert!(said(&["run", "-ti", "m.wasm"]).starts_with("-ti: omit it"));
    assert!(said(&["run", "-v", "-d", "m.wasm"]).starts_with("-d: "));
}

#[test]
fn what_is_no_habit_is_left_to_clap() {
    for line in [["--nonsense", "m"], ["--memroy", "m"], ["-x", "m"]] {
        let line = words(&line);
        let error = Cli::try_parse_from(&line).unwrap_err();
        assert_eq!(explain(&error, &line), None);
    }
    let line = words(&["--memory", "lots", "m"]);
    let error = Cli::try_parse_from(&line).unwrap_err();
    assert_eq!(explain(&error, &line), None);
    // Bytes that are no text are no reason to fail.
    let mut line = words(&["-e"]);
    line.push(OsString::from_vec(b"A=\xff".to_vec()));
    let error = Cli::try_parse_from(&line).unwrap_err();
    assert_eq!(explain(&error, &line).as_deref(), Some("-e: write --env A=…"));
}

#[test]
fn claps_tip_about_two_dashes_goes() {
    for (line, wanted) in [(["-x", "m"], "'-x'"), (["--memroy", "m"], "'--memory'")] {
        let Err(Refusal::Claps(error)) = parse(&words(&line)) else {
            panic!("{line:?} is not clap's to refuse");
        };
        let text = error.to_string();
        assert!(text.contains(wanted) && text.contains("Usage: "), "{text}");
        assert!(!text.contains("as a value"), "{text}");
    }
    for line in [["--help"].as_slice(), &["help"], &["help", "run"], &["--version"]] {
        let Err(Refusal::Claps(error)) = parse(&words(line)) else {
            panic!("{line:?} asks for help");
        };
        assert_eq!(error.exit_code(), 0);
    }
}

#[test]
fn words_that_look_like_commands_are_no_files() {
    for word in ["serve", "completion", "build", "exec", "version"] {
        let message = said(&[word, "m.wasm"]);
        assert!(
            message.starts_with(&format!(
                "'{word}' is not a command; the commands are 'run', 'replay', 'compile', 'pack', 'inspect', 'unpack', \
                 'hypervisors', 'check', 'oci', 'completions'"
            )),
            "{message}"
        );
        // Asked for by name, it is a module, which is not found later.
        assert!(parse(&words(&["run", word])).is_ok());
    }
    // A file of that name is a module. The tests run in the package's directory.
    assert!(parse(&words(&["Cargo.toml"])).is_ok());
    assert!(parse(&words(&["nothing"])).is_ok());
}

#[test]
fn docker_is_not_verbose() {
    assert_eq!(
        said(&["run", "-v", "data:/data", "m.wasm"]),
        "-v is --verbose here; to share a directory, write --dir data::/data"
    );
    assert!(parse(&words(&["run", "-v", "m.wasm", "a:b"])).is_ok());
}

#[test]
fn a_module_that_a_flag_took_is_named() {
    for (line, part) in [
        (["--env", "hello.wat"].as_slice(), "--env took 'hello.wat'"),
        (&["--memory", "1G", "--dir", "a/b.wasm"], "--dir took 'a/b.wasm'"),
        (&["--memory", "1G"], "--greet"),
        (&["--env=hello.wat"], "--greet"),
    ] {
        let message = said(&[&["run"], line].concat());
        assert!(message.starts_with("the module is missing: "), "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert!(said(&["run", ""]).contains("is empty"));
    assert!(said(&["run", "", "more"]).contains("is empty"));
    for line in [["run", "--greet"].as_slice(), &["--greet"]] {
        assert!(matches!(parse(&words(line)), Ok(Command::Run(run)) if run.greet));
    }
}

#[test]
fn spellings_of_directories() {
    let exists = |path: &str| ["a", "b:c", "odd:rw", "odd:RO"].contains(&path);
    for (value, right) in [
        ("a:/g", Some("a::/g")),
        ("a:/g:ro", Some("a::/g:ro")),
        ("a:/g:rw", Some("a::/g")),
        ("a:/g:ro,z", Some("a::/g:ro")),
        ("a:rw", Some("a")),
        ("a:RO", Some("a:ro")),
        ("a::/g:RO", Some("a::/g:ro")),
        ("a::/g:rw", Some("a::/g")),
        ("a::/g:Z", Some("a::/g")),
        // Right as they are.
        ("a", None),
        ("a:ro", None),
        ("a::/g", None),
        ("a::/g:ro", None),
        ("a::b:c", None),
        ("b:c", None),
        ("b:c:ro", None),
        ("odd:rw", None),
        ("odd:RO", None),
        // Neither is there: what is missing is said later.
        ("x:/g", None),
        ("x", None),
        ("", None),
        (":ro", None),
        (":", None),
    ] {
        assert_eq!(right_spelling(value, exists).as_deref(), right, "{value}");
    }
    for (value, right) in [
        ("/tmp:rw,size=64m", Some("/tmp,size=64m")),
        ("/tmp:ro", Some("/tmp")),
        ("/tmp", None),
        ("/a:b", None),
        (":ro", None),
    ] {
        assert_eq!(tmpfs_without_options(value).as_deref(), right, "{value}");
    }
}
