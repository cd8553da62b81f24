//! What a run is made of besides flags: a Hermitfile, the host's whole environment, a module on standard input.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};

use libtest_mimic::Trial;

use crate::harness::{MODULE, Scratch, feed, finish, tcg, tcg_module, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("hermitfile::it_describes_a_run", it_describes_a_run),
        test("hermitfile::flags_come_behind_it", flags_come_behind_it),
        test("hermitfile::errors", errors),
        test("hermitfile::the_hosts_environment", the_hosts_environment),
        test(
            "hermitfile::a_module_on_standard_input",
            a_module_on_standard_input,
        ),
    ]
}

/// A directory `there` with a Hermitfile of this text and what it may name.
fn scratch(text: &str) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path().join("there/lib")).unwrap();
    scratch.file("there/m.wasm", MODULE);
    scratch.file("there/other.wat", b"(module)");
    scratch.file("there/Hermitfile", text.as_bytes());
    scratch
}

/// The words for the run that the machine is given, after some flags and arguments.
fn given(scratch: &Scratch, words: &[&str]) -> String {
    let mut command = tcg_module(scratch, "arguments");
    command.args(["--engine", "interp"]).args(words);
    let done = finish(&mut command).expect_code(0).expect_silence();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("module Some(\"\\0asm"), "{text}");
    let run = text.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
    run.to_string()
}

fn it_describes_a_run() {
    let scratch = scratch(
        "FROM m.wasm\nENTRYPOINT f\nARGV [\"-v\", \"two words\"]\nENV A=1 B=\nCOPY lib /lib\n\
         TMPFS /tmp 4K\nCOPY m.wasm /etc/m\nLINK env=other.wat\nFUEL 7\nFDS 9\n",
    );
    assert_eq!(
        given(
            &scratch,
            &[
                "-f",
                "there/Hermitfile",
                "-W",
                "fuel=8,max-descriptors=8",
                "--",
                "-x",
                "m.wat"
            ]
        ),
        "--argv0=m.wasm --env=A=1 --env=B= --entry=f --preload=env=preload-0.wasm --limit=fuel=7 \
         --limit=max-descriptors=8 --copy-dir=dir-0.tar::/lib:ro --tmpfs=/tmp,size=4096 --copy-dir=dir-1.tar::/etc:ro \
         -- -v 'two words' -x m.wat"
    );
}

fn flags_come_behind_it() {
    let scratch = scratch("FROM m.wasm\nENTRYPOINT f\nENV A=1 B=2\nTMPFS /tmp\nENV_PWD_IS_HOST_CWD\n");
    let here = scratch.path().canonicalize().unwrap();
    let words = [
        "--file=there/Hermitfile",
        "--invoke",
        "g",
        "--env",
        "A=3",
        "--tmpfs",
        "/b",
        "--argv0",
        "n",
    ];
    assert_eq!(
        given(&scratch, &words),
        format!(
            "--argv0=n --env=A=3 --env=B=2 --env=PWD={} --invoke=g --tmpfs=/tmp --tmpfs=/b --",
            here.display()
        )
    );
}

fn errors() {
    let scratch = scratch("FROM m.wasm\nFUEL many\n");
    let run = |words: &[&str]| finish(tcg_module(&scratch, "arguments").args(words)).expect_code(2);
    run(&["-f", "there/Hermitfile"])
        .expect_message(&["there/Hermitfile:2:6: 'many': expected a whole number"]);
    scratch.file("there/Hermitfile", b"FROM m.wasm\nMEMORY 1G\n");
    run(&["-f", "there/Hermitfile", "--memory", "512M"]).expect_message(&[
        "there/Hermitfile: MEMORY 1GiB: the machine has only 512 MiB",
        "--memory",
    ]);
    scratch.file("there/Hermitfile", b"FROM m.wasm\nMAP nothing:/data\n");
    run(&["-f", "there/Hermitfile"]).expect_message(&["MAP", "'nothing' (seen from '", "No such file"]);
    scratch.file("there/Hermitfile", b"FROM m.wasm\nCOPY nothing /data\n");
    run(&["-f", "there/Hermitfile"]).expect_message(&["COPY nothing /data: 'there/nothing': No such file"]);
    run(&["-f", "nothing"]).expect_message(&["the Hermitfile 'nothing' cannot be read: No such file"]);
    run(&["-S", "http", "m.wasm"])
        .expect_message(&["'http'", "the options are inherit-env, inherit-network"]);
    scratch.file("there/Hermitfile", b"FROM nothing.wasm\n");
    finish(tcg_module(&scratch, "arguments").args(["-f", "there/Hermitfile", "--status-file", "status"]))
        .expect_code(127)
        .expect_message(&["'there/nothing.wasm'"]);
    let status = fs::read_to_string(scratch.path().join("status")).unwrap();
    assert!(status.contains("there/nothing.wasm"), "{status}");
}

fn the_hosts_environment() {
    let scratch = Scratch::new();
    let run = |flags: &[&str]| {
        let mut command = tcg(&scratch, "arguments");
        command.args(flags).env("OF_THE_HOST", "a b").env("BOTH", "host");
        String::from_utf8(finish(&mut command).expect_code(0).stdout).unwrap()
    };
    let all = run(&["--env", "BOTH=flag", "-S", "inherit-env"]);
    for variable in ["'--env=OF_THE_HOST=a b'", "BOTH=flag", "env=XDG_CACHE_HOME="] {
        assert!(all.contains(variable), "{variable}: {all}");
    }
    assert!(!all.contains("BOTH=host"), "{all}");
    for flags in [
        &["--env", "A=1"][..],
        &["-Sinherit-env=n"],
        &["-S", "inherit-env", "-S", "inherit-env=n"],
    ] {
        assert!(!run(flags).contains("OF_THE_HOST"), "{flags:?}");
    }
}

fn a_module_on_standard_input() {
    let scratch = Scratch::new();
    let command = || {
        let mut command = tcg_module(&scratch, "arguments");
        command.args(["--engine", "interp", "-", "one"]);
        command
    };
    for text in [MODULE, b"(module)"] {
        let done = feed(&mut command(), text).expect_code(0).expect_silence();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(text.contains("module Some(\"\\0asm\\u{1}\\0\\0\\0\")"), "{text}");
        assert!(text.contains("argv0=- "), "{text}");
    }
    // A file from where it stands; the guest finds nothing behind.
    let path = scratch.file("behind", &[b"#!/bin/x\n", MODULE].concat());
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(9)).unwrap();
    let done = finish(command().stdin(file)).expect_code(0);
    assert!(
        String::from_utf8_lossy(&done.stdout).contains("\\0asm"),
        "{done:?}"
    );
    finish(&mut command())
        .expect_code(126)
        .expect_message(&["'-'", "is empty"]);
    let mut cat = tcg_module(&scratch, "cat");
    feed(cat.args(["--engine", "interp", "-"]), MODULE)
        .expect_code(0)
        .expect_output("");
}
