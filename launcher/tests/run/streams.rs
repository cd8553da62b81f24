//! Standard output, standard error, standard input and the clock.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use crate::harness::{JAIL_OFF, MODULE, Scratch, feed, finish, tcg, tcg_module, test, wait};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("streams::output_and_error_go_apart", output_and_error_go_apart),
        test("streams::order_is_kept_on_one_pipe", order_is_kept_on_one_pipe),
        test("streams::a_mebibyte_comes_unchanged", a_mebibyte_comes_unchanged),
        test(
            "streams::machine_text_is_never_output",
            machine_text_is_never_output,
        ),
        test(
            "streams::machine_text_is_shown_when_wanted",
            machine_text_is_shown_when_wanted,
        ),
        test("streams::everything_in_one_write", everything_in_one_write),
        test("streams::input_is_copied_unchanged", input_is_copied_unchanged),
        test(
            "streams::an_empty_input_ends_at_once",
            an_empty_input_ends_at_once,
        ),
        test(
            "streams::no_more_input_is_read_than_asked_for",
            no_more_input_is_read_than_asked_for,
        ),
        test("streams::input_that_comes_late", input_that_comes_late),
        test(
            "streams::reading_nothing_is_not_the_end",
            reading_nothing_is_not_the_end,
        ),
        test("streams::polling_reads_nothing", polling_reads_nothing),
        test("streams::polling_a_file", polling_a_file),
        test(
            "streams::a_guest_waits_for_input_with_a_limit",
            a_guest_waits_for_input_with_a_limit,
        ),
        test(
            "streams::time_does_not_wait_for_input",
            time_does_not_wait_for_input,
        ),
        test(
            "streams::input_that_cannot_be_read_is_at_its_end",
            input_that_cannot_be_read_is_at_its_end,
        ),
        test(
            "streams::closed_streams_are_no_trouble",
            closed_streams_are_no_trouble,
        ),
        test("streams::arguments_arrive", arguments_arrive),
        test(
            "streams::text_modules_are_translated",
            text_modules_are_translated,
        ),
        test(
            "streams::a_printed_command_works_by_hand",
            a_printed_command_works_by_hand,
        ),
        test(
            "streams::a_printed_command_mounts_directories",
            a_printed_command_mounts_directories,
        ),
    ]
}

fn output_and_error_go_apart() {
    let done = finish(&mut tcg(&Scratch::new(), "hello"))
        .expect_code(0)
        .expect_output("out\n");
    assert_eq!(done.stderr, "err\n");
}

fn order_is_kept_on_one_pipe() {
    let scratch = Scratch::new();
    let command = tcg(&scratch, "interleave");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$@\" 2>&1", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let done = finish(&mut shell).expect_code(0);
    // The launcher's own warning comes first.
    let said = String::from_utf8_lossy(&done.stdout);
    let (warning, said) = said.split_once('\n').unwrap();
    assert!(warning.starts_with(JAIL_OFF), "{warning}");
    assert_eq!(said, "abcd");
}

fn a_mebibyte_comes_unchanged() {
    let done = finish(&mut tcg(&Scratch::new(), "bytes"))
        .expect_code(0)
        .expect_silence();
    let expected: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    assert!(done.stdout == expected);
}

fn machine_text_is_never_output() {
    finish(&mut tcg(&Scratch::new(), "noise"))
        .expect_code(0)
        .expect_output("one two")
        .expect_silence();
}

fn machine_text_is_shown_when_wanted() {
    for flag in [["--log", "debug"].as_slice(), &["-v"]] {
        finish(tcg(&Scratch::new(), "noise").args(flag))
            .expect_code(0)
            .expect_output("one two")
            .expect_message(&["[vm] SeaBIOS\n[vm] Booting\n", "kernel says something\n"]);
    }
}

fn everything_in_one_write() {
    finish(&mut tcg(&Scratch::new(), "one write"))
        .expect_code(7)
        .expect_output("x")
        .expect_silence();
    finish(tcg(&Scratch::new(), "one write").arg("-vv"))
        .expect_code(7)
        .expect_output("x")
        .expect_message(&["frame EXIT, code 7"]);
}

fn input_is_copied_unchanged() {
    let mut state = 1u32;
    let bytes: Vec<u8> = (0..3 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    let done = feed(&mut tcg(&Scratch::new(), "cat"), &bytes)
        .expect_code(0)
        .expect_silence();
    assert!(done.stdout == bytes, "{} bytes came back", done.stdout.len());

    // The same from a file.
    let scratch = Scratch::new();
    let file = std::fs::File::open(scratch.file("input", &bytes)).unwrap();
    let done = wait(tcg(&scratch, "cat").stdin(file).spawn().unwrap()).expect_code(0);
    assert!(done.stdout == bytes, "{} bytes came back", done.stdout.len());
}

fn an_empty_input_ends_at_once() {
    finish(&mut tcg(&Scratch::new(), "cat"))
        .expect_code(0)
        .expect_output("")
        .expect_silence();
    feed(&mut tcg(&Scratch::new(), "cat"), b"")
        .expect_code(0)
        .expect_output("");
}

fn no_more_input_is_read_than_asked_for() {
    let scratch = Scratch::new();
    for (input, rest) in [("0123456789\n", "56789\n"), ("01234", ""), ("012", "")] {
        let file = scratch.file("input", input.as_bytes());
        let mut file = std::fs::File::open(file).unwrap();
        let done = wait(
            tcg(&scratch, "read five")
                .stdin(file.try_clone().unwrap())
                .spawn()
                .unwrap(),
        );
        done.expect_code(0).expect_output(&input[..input.len().min(5)]);
        let mut left = String::new();
        file.read_to_string(&mut left).unwrap();
        assert_eq!(left, rest);
    }
    // A pipe's rest is still in the pipe.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"0123456789").unwrap();
    drop(writer);
    let done = wait(
        tcg(&scratch, "read five")
            .stdin(reader.try_clone().unwrap())
            .spawn()
            .unwrap(),
    );
    done.expect_code(0).expect_output("01234");
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert_eq!(left, "56789");
}

/// A conversation: what the guest writes is there before it reads, and each line reaches it alone.
fn input_that_comes_late() {
    let scratch = Scratch::new();
    let mut child = tcg(&scratch, "cat").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        let mut echo = vec![0; line.len()];
        stdout.read_exact(&mut echo).unwrap();
        assert_eq!(echo, line.as_bytes());
    }
    drop(stdin);
    wait(child).expect_code(0);
}

fn reading_nothing_is_not_the_end() {
    feed(&mut tcg(&Scratch::new(), "read nothing"), b"abc")
        .expect_code(0)
        .expect_output("Data { length: 1 }\n");
}

fn polling_reads_nothing() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"abcde").unwrap();
    let scratch = Scratch::new();
    let mut child = tcg(&scratch, "poll and read").stdin(reader).spawn().unwrap();
    // With the writer still there, there is no hang-up.
    let ready = "Ready { eof: false, available: 5 }\n";
    let expected = format!("{ready}{ready}{ready}[97, 98, 99]\n[100, 101]\n");
    let mut stdout = child.stdout.take().unwrap();
    let mut output = vec![0; expected.len()];
    stdout.read_exact(&mut output).unwrap();
    assert_eq!(String::from_utf8(output).unwrap(), expected);
    drop(writer);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "[]\nReady { eof: true, available: 0 }\n");
    wait(child).expect_code(0);
}

fn polling_a_file() {
    let scratch = Scratch::new();
    let file = std::fs::File::open(scratch.file("input", b"abcde")).unwrap();
    let ready = "Ready { eof: false, available: 5 }\n";
    let expected =
        format!("{ready}{ready}{ready}[97, 98, 99]\n[100, 101]\n[]\nReady {{ eof: true, available: 0 }}\n");
    wait(tcg(&scratch, "poll and read").stdin(file).spawn().unwrap())
        .expect_code(0)
        .expect_output(&expected);
}

/// The application's own client: the answer to POLL may come long after it gave up waiting.
fn a_guest_waits_for_input_with_a_limit() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let scratch = Scratch::new();
    let mut child = tcg(&scratch, "poll").arg("-vv").stdin(reader).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let nothing = b"NotReady\nNotReady\n";
    let mut lines = vec![0; nothing.len()];
    stdout.read_exact(&mut lines).unwrap();
    assert_eq!(lines, nothing);
    writer.write_all(b"abc").unwrap();
    drop(writer);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(
        rest,
        "Ready { bytes: 3, hangup: false }\n[97, 98]\n[99]\nReady { bytes: 0, hangup: true }\n"
    );
    let done = wait(child).expect_code(0);
    // One before the input, with whose answer the third wait ended, and one behind it.
    assert_eq!(done.stderr.matches("frame POLL").count(), 2, "{}", done.stderr);
}

fn time_does_not_wait_for_input() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let scratch = Scratch::new();
    let mut child = tcg(&scratch, "time while polling").stdin(reader).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    let line = String::from_utf8(line).unwrap();
    let time: u64 = line
        .strip_prefix("Time(")
        .unwrap()
        .strip_suffix(")\n")
        .unwrap()
        .parse()
        .unwrap();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    assert!(now.abs_diff(time) < 3600 * 1_000_000_000, "{time} is not now");
    writer.write_all(b"!").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "Ready { eof: false, available: 1 }\n");
    wait(child).expect_code(0);
}

fn input_that_cannot_be_read_is_at_its_end() {
    let scratch = Scratch::new();
    let directory = std::fs::File::open(scratch.path()).unwrap();
    wait(tcg(&scratch, "cat").stdin(directory).spawn().unwrap())
        .expect_code(0)
        .expect_output("")
        .expect_message(&["standard input cannot be read: Is a directory"]);
}

fn closed_streams_are_no_trouble() {
    let scratch = Scratch::new();
    for closing in ["<&-", "2>&-", "<&- 2>&-", ">&-"] {
        let command = tcg(&scratch, "hello");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec \"$@\" {closing}")).arg("sh");
        shell.arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = if closing == ">&-" { "" } else { "out\n" };
        finish(&mut shell).expect_code(0).expect_output(output);
    }
}

fn arguments_arrive() {
    let scratch = Scratch::new();
    let name = "-a,b c=d'e.wasm";
    scratch.file(name, MODULE);
    let done = finish(
        tcg_module(&scratch, "arguments")
            .args([
                "--memory", "300M", "--env", "A=x y", "--env", "HOST", "--log", "warn", "--", name,
            ])
            .args(["--memory", "", "it's", "--", "ä\n"])
            .env("HOST", "here"),
    )
    .expect_code(0);
    let output = String::from_utf8(done.stdout).unwrap();
    assert!(output.contains("memory 300M\n"), "{output}");
    assert!(
        output.contains(&format!("module Some({:?})\n", String::from_utf8_lossy(MODULE))),
        "{output}"
    );
    let (_, rest) = output.split_once("command line ").unwrap();
    let (line, run) = rest.split_once("\nrun ").unwrap();
    let line = line.split_once("-- ").unwrap().1;
    assert_eq!(line, "--log=warn --console=shared");
    assert_eq!(
        run,
        "'--argv0=-a,b c=d'\\''e.wasm' '--env=A=x y' --env=HOST=here -- --memory '' 'it'\\''s' -- 'ä\n'\n"
    );

    let done = finish(tcg_module(&scratch, "arguments").args(["--argv0", "name", name])).expect_code(2);
    done.expect_message(&["unexpected argument"]);
    let done = finish(tcg(&scratch, "arguments").args(["--argv0", "name"])).expect_code(0);
    let output = String::from_utf8(done.stdout).unwrap();
    assert!(
        output.contains("module None\n") && output.contains("--argv0=name"),
        "{output}"
    );
}

fn text_modules_are_translated() {
    let scratch = Scratch::new();
    let path = scratch.file("m.wat", b"(module (memory 1))");
    let done = finish(tcg_module(&scratch, "arguments").arg(path)).expect_code(0);
    let output = String::from_utf8(done.stdout).unwrap();
    assert!(
        output.contains("module Some(\"\\0asm\\u{1}\\0\\0\\0\\u{5}"),
        "{output}"
    );
    assert!(output.contains("--argv0=m.wat"), "{output}");
}

fn a_printed_command_works_by_hand() {
    let scratch = Scratch::new();
    let files = scratch.path().join("it's a directory");
    let files = format!("--print-command={}", files.display());
    // A module that travels as it is needs no file of the launcher's.
    for (name, content, print) in [
        ("it's.wasm", MODULE, "--print-command"),
        ("it's.wasm", MODULE, &files),
        ("m.wat", b"(module)", &files),
    ] {
        let path = scratch.file(name, content);
        let mut command = tcg_module(&scratch, "arguments");
        let done = finish(command.arg(print).arg(path).args(["a b", "c"])).expect_code(0);
        let line = done.expect_silence().stdout;
        let line = String::from_utf8(line).unwrap();
        // What is the host's own stays here.
        assert!(
            !line.contains("-freq") && !line.contains("/cache/") && !line.contains("/proc/"),
            "{line}"
        );
        let shown = by_hand(&command, &line);
        assert!(
            shown.contains(&format!("module Some({:?})\n", String::from_utf8_lossy(MODULE))),
            "{shown}"
        );
        assert!(shown.contains("-- 'a b' c\n"), "{shown}");
        assert!(!shown.contains("framed"), "{shown}");
        let image = if print == files {
            " bytes\n"
        } else {
            "kernel hermit-wasm-"
        };
        assert!(shown.contains(image), "{shown}");
    }
    // No QEMU was started for the printing itself.
    assert_eq!(scratch.started().len(), 3);
    // Text must be translated first, and that makes a file.
    finish(tcg_module(&scratch, "arguments").args(["--print-command", "m.wat"]))
        .expect_code(2)
        .expect_message(&["--print-command=DIRECTORY"]);
}

/// Runs a printed command line in a shell; what the fake QEMU shows. It always speaks in frames: look between them.
fn by_hand(printed: &Command, line: &str) -> String {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line);
    shell.envs(printed.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell
        .current_dir(printed.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = finish(&mut shell).expect_code(3).stdout;
    String::from_utf8_lossy(&shown).into_owned()
}

fn a_printed_command_mounts_directories() {
    let scratch = Scratch::new();
    let path = scratch.file("m.wasm", MODULE);
    // Answers nothing, but makes its socket, as virtiofsd does.
    let daemon = scratch.file(
        "virtiofsd",
        b"#!/bin/sh\nexec python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()' \"$2\"\n",
    );
    std::fs::set_permissions(&daemon, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = tcg_module(&scratch, "arguments");
    command.arg("--virtiofsd").arg(&daemon);
    command.args([
        "--dir",
        "/usr::/a b",
        "--tmpfs",
        "/t",
        "--dir",
        "/etc::/e:ro",
        "--print-command",
    ]);
    let done = finish(command.arg(path)).expect_code(0);
    let lines = String::from_utf8(done.expect_silence().stdout).unwrap();
    for part in [
        "--socket-path mount-0.sock --shared-dir /usr &\n",
        "--socket-path mount-1.sock --shared-dir /etc --readonly &\n",
        "memory-backend-memfd",
        "path=mount-1.sock",
    ] {
        assert!(lines.contains(part), "{lines}");
    }
    let shown = by_hand(&command, &lines);
    let words = "'--share=mount-0::/a b' --tmpfs=/t --share=mount-1::/e:ro --\n";
    assert!(shown.contains(words), "{shown}");
}
