//! How a run ends: exit codes, failures of the machine, time limits, signals, and readers that go away.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use boot_protocol::exit_code;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Scratch, expect_ended_by_itself, expect_no_qemu, finish, runs, tcg, test, until, wait, wait_for_end,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "ends::the_guests_exit_code_comes_out",
            the_guests_exit_code_comes_out,
        ),
        test("ends::exit_does_not_wait_for_qemu", exit_does_not_wait_for_qemu),
        test("ends::a_panic_is_shown", a_panic_is_shown),
        test(
            "ends::a_frame_that_is_cut_off_is_shown",
            a_frame_that_is_cut_off_is_shown,
        ),
        test("ends::qemu_that_refuses_is_quoted", qemu_that_refuses_is_quoted),
        test("ends::a_single_line_is_the_reason", a_single_line_is_the_reason),
        test("ends::a_silent_end_is_an_error", a_silent_end_is_an_error),
        test(
            "ends::children_of_qemu_are_not_waited_for",
            children_of_qemu_are_not_waited_for,
        ),
        test("ends::another_protocol_is_an_error", another_protocol_is_an_error),
        test(
            "ends::too_many_requests_are_an_error",
            too_many_requests_are_an_error,
        ),
        test("ends::the_timeout_ends_what_hangs", the_timeout_ends_what_hangs),
        test(
            "ends::the_timeout_does_not_wait_for_readers",
            the_timeout_does_not_wait_for_readers,
        ),
        test(
            "ends::a_long_timeout_does_not_matter",
            a_long_timeout_does_not_matter,
        ),
        test(
            "ends::signals_end_launcher_and_qemu",
            signals_end_launcher_and_qemu,
        ),
        test(
            "ends::the_first_process_of_a_container_exits_as_by_the_signal",
            the_first_process_of_a_container_exits_as_by_the_signal,
        ),
        test("ends::sigkill_ends_qemu_too", sigkill_ends_qemu_too),
        test(
            "ends::an_ignored_signal_stays_ignored",
            an_ignored_signal_stays_ignored,
        ),
        test(
            "ends::a_reader_that_leaves_ends_the_run",
            a_reader_that_leaves_ends_the_run,
        ),
        test(
            "ends::output_that_cannot_be_written_is_an_error",
            output_that_cannot_be_written_is_an_error,
        ),
    ]
}

fn the_guests_exit_code_comes_out() {
    let scratch = Scratch::new();
    for code in [0, 1, 2, 3, 42, 124, 125, 134, 255] {
        finish(&mut tcg(&scratch, &format!("exit:{code}")))
            .expect_code(code)
            .expect_silence();
    }
}

fn exit_does_not_wait_for_qemu() {
    let scratch = Scratch::new();
    finish(&mut tcg(&scratch, "exit and stay"))
        .expect_code(5)
        .expect_output("done\n")
        .expect_silence();
    finish(tcg(&scratch, "exit and stay").args(["--log", "info"]))
        .expect_code(5)
        .expect_output("done\n");
    expect_no_qemu(&scratch, 2);
}

fn a_panic_is_shown() {
    finish(&mut tcg(&Scratch::new(), "panic"))
        .expect_code(exit_code::VM_FAILED)
        .expect_output("before ")
        .expect_message(&[
            "[vm] [0][PANIC] panicked at src/mm.rs:1:\n[vm] out of memory\n",
            "hermit-wasm: the virtual machine ended while the guest was running (QEMU: exit status: 1)",
            "--memory",
        ]);
    finish(&mut tcg(&Scratch::new(), "panic after exit"))
        .expect_code(0)
        .expect_message(&["[vm] kernel panicked while it shut down\n"]);
}

fn a_frame_that_is_cut_off_is_shown() {
    finish(&mut tcg(&Scratch::new(), "cut"))
        .expect_code(exit_code::VM_FAILED)
        .expect_output("")
        .expect_message(&["ended while the guest was running (QEMU: exit status: 1): last words. "]);
}

fn qemu_that_refuses_is_quoted() {
    finish(&mut tcg(&Scratch::new(), "refuse"))
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&[
            "[qemu] qemu-system-x86_64: -machine microvm: unsupported machine type\n",
            "[qemu] Use -machine help",
            "hermit-wasm: the virtual machine could not start (QEMU: exit status: 1). It had",
        ]);
}

/// One line is no list: it becomes the reason in the one message.
fn a_single_line_is_the_reason() {
    for (scenario, words) in [
        ("one line", "hermit-loader: too little memory"),
        ("qemu's line", "no guest memory"),
    ] {
        let done = finish(&mut tcg(&Scratch::new(), scenario)).expect_code(exit_code::VM_FAILED);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        done.expect_message(&[
            "hermit-wasm: the virtual machine could not start",
            words,
            "--memory",
        ]);
    }
}

fn a_silent_end_is_an_error() {
    finish(&mut tcg(&Scratch::new(), "silent end"))
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["hermit-wasm: the virtual machine could not start (QEMU: exit status: 0)"]);
}

fn children_of_qemu_are_not_waited_for() {
    let scratch = Scratch::new();
    finish(&mut tcg(&scratch, "leave a child"))
        .expect_code(exit_code::VM_FAILED)
        .expect_output("gone\n");
    let journal = scratch.journal();
    let child = journal
        .iter()
        .find_map(|line| line.strip_prefix("child "))
        .unwrap();
    let child = child.parse().unwrap();
    assert!(runs(child));
    kill(child, Signal::KILL);
}

fn another_protocol_is_an_error() {
    let scratch = Scratch::new();
    finish(&mut tcg(&scratch, "other version"))
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["version 99 of the console protocol"]);
    expect_no_qemu(&scratch, 1);
}

fn too_many_requests_are_an_error() {
    let scratch = Scratch::new();
    finish(tcg(&scratch, "greedy").stdin(Stdio::piped()))
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["without waiting for answers"]);
    expect_no_qemu(&scratch, 1);
}

fn the_timeout_ends_what_hangs() {
    for scenario in ["hang", "hang after hello", "flood stderr", "stubborn"] {
        let scratch = Scratch::new();
        finish(tcg(&scratch, scenario).args(["--timeout", "300ms"]))
            .expect_code(exit_code::TIMEOUT)
            .expect_message(&["hermit-wasm: --timeout: the embedded module did not end within 300ms"]);
        expect_no_qemu(&scratch, 1);
    }
    // Waiting for input that does not come, too.
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    wait(
        tcg(&scratch, "cat")
            .args(["--timeout", "300ms"])
            .stdin(reader)
            .spawn()
            .unwrap(),
    )
    .expect_code(exit_code::TIMEOUT);
    drop(writer);
    expect_no_qemu(&scratch, 1);
}

/// Nobody reads what the guest writes, and the message of the timeout has no place in the full pipe either.
fn the_timeout_does_not_wait_for_readers() {
    let scratch = Scratch::new();
    for scenario in ["flood", "flood stderr"] {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut child = tcg(&scratch, scenario)
            .args(["--timeout", "300ms", "--status-file", "status.json"])
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .unwrap();
        assert_eq!(wait_for_end(&mut child).code(), Some(exit_code::TIMEOUT.into()));
        expect_ended_by_itself(&scratch, "status.json");
    }
    expect_no_qemu(&scratch, 2);
}

fn a_long_timeout_does_not_matter() {
    for timeout in ["1h", "18446744073s"] {
        finish(tcg(&Scratch::new(), "hello").args(["--timeout", timeout]))
            .expect_code(0)
            .expect_output("out\n");
    }
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// Starts a launcher and waits until its guest runs.
fn start(command: &mut Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut started = [0; 8];
    child.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
    assert_eq!(&started, b"started\n");
    child
}

/// The same command with signals as in a shell's foreground: a job in its background, as these tests may be, has
/// been told to ignore SIGINT, and so would the launcher.
fn with_default_signals(command: &Command) -> Command {
    let mut wrapped = Command::new("env");
    wrapped
        .arg("--default-signal=INT,TERM,HUP")
        .arg(command.get_program())
        .args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    wrapped
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    wrapped
}

fn signals_end_launcher_and_qemu() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for scenario in ["hang after hello", "stubborn"] {
            let scratch = Scratch::new();
            let child = start(&mut with_default_signals(&tcg(&scratch, scenario)));
            kill(pid(&child), signal);
            wait(child).expect_signal(signal.as_raw()).expect_silence();
            expect_no_qemu(&scratch, 1);
        }
    }
    // As a shell reports it.
    let scratch = Scratch::new();
    let command = tcg(&scratch, "hang");
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "\"$@\" & pid=$!; until test -s journal; do sleep 0.01; done; kill $pid; wait $pid",
        "sh",
    ]);
    shell
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(scratch.path());
    shell.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let status = wait_for_end(&mut shell.spawn().unwrap());
    assert_eq!(status.code(), Some(exit_code::from_signal(15).into()));
    expect_no_qemu(&scratch, 1);
}

/// Process 1 of its namespace is not ended by a signal's default action, so it exits with the code that a shell shows.
fn the_first_process_of_a_container_exits_as_by_the_signal() {
    // With a user namespace for whoever is not root.
    let namespaces = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let namespaces = if rustix::process::geteuid().is_root() {
        &namespaces[2..]
    } else {
        &namespaces[..]
    };
    let trial = Command::new("unshare").args(namespaces).arg("true").status();
    if !trial.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: unshare {namespaces:?} does not work here: the launcher as process 1 is not tested"
        );
        return;
    }
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let scratch = Scratch::new();
        let launcher = with_default_signals(&tcg(&scratch, "hang after hello"));
        let mut unshare = Command::new("unshare");
        unshare
            .args(namespaces)
            .arg(launcher.get_program())
            .args(launcher.get_args())
            .envs(launcher.get_envs().filter_map(|(key, value)| Some((key, value?))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let unshare = start(&mut unshare);
        let number = pid(&unshare);
        let children = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap();
        kill(children.trim().parse().unwrap(), signal);
        wait(unshare).expect_code(code).expect_silence();
    }
}

fn sigkill_ends_qemu_too() {
    let scratch = Scratch::new();
    let child = start(&mut tcg(&scratch, "hang after hello"));
    kill(pid(&child), Signal::KILL);
    wait(child).expect_signal(9);
    expect_no_qemu(&scratch, 1);
}

fn an_ignored_signal_stays_ignored() {
    let scratch = Scratch::new();
    let command = tcg(&scratch, "hang after hello");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = start(&mut shell);
    kill(pid(&child), Signal::HUP);
    kill(pid(&child), Signal::INT);
    kill(pid(&child), Signal::TERM);
    // The first that is not ignored.
    wait(child).expect_signal(15);
    expect_no_qemu(&scratch, 1);
}

fn a_reader_that_leaves_ends_the_run() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let child = tcg(&scratch, "flood").stdout(writer).spawn().unwrap();
    let mut some = [0; 1000];
    (&reader).read_exact(&mut some).unwrap();
    drop(reader);
    wait(child).expect_signal(13).expect_silence();

    // Gone before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    wait(tcg(&scratch, "flood").stdout(writer).spawn().unwrap()).expect_signal(13);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    wait(tcg(&scratch, "flood stderr").stderr(writer).spawn().unwrap()).expect_signal(13);
    expect_no_qemu(&scratch, 3);
}

fn output_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    wait(tcg(&scratch, "flood").stdout(full).spawn().unwrap())
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["standard output cannot be written: No space left on device"]);
    expect_no_qemu(&scratch, 1);
    until("nothing is left", || {
        scratch.started().iter().all(|pid| !runs(*pid))
    });
}
