//! Several launchers on one pipe, socket or terminal: what `poll` promises to all of them, one of them takes. The
//! others still keep their deadline, and still listen to signals.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use boot_protocol::exit_code;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::OpenptFlags;

use crate::harness::{Scratch, expect_ended_by_itself, expect_no_qemu, tcg, test, until, wait_for_end};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("shared_streams::output_on_one_pipe", output_on_one_pipe),
        test("shared_streams::output_on_one_socket", output_on_one_socket),
        test("shared_streams::output_on_one_terminal", output_on_one_terminal),
        test("shared_streams::messages_on_one_pipe", messages_on_one_pipe),
        test("shared_streams::input_from_one_pipe", input_from_one_pipe),
        test("shared_streams::input_from_one_socket", input_from_one_socket),
        test("shared_streams::input_from_one_terminal", input_from_one_terminal),
        test("shared_streams::signals_are_listened_to", signals_are_listened_to),
        test(
            "shared_streams::a_fifo_that_has_been_left",
            a_fifo_that_has_been_left,
        ),
    ]
}

/// Enough for a race in almost every turn.
const LAUNCHERS: usize = 6;

/// Long enough for all of them to be at it.
const LIMIT: &str = "3s";

/// How long the other end does a little now and then, before it does nothing more.
const TURNS: usize = 250;
const PAUSE: Duration = Duration::from_millis(8);

/// Starts launchers that end at their deadline; `connect` gives each its streams.
fn start(scratch: &Scratch, scenario: &str, connect: impl Fn(&mut Command)) -> Vec<Child> {
    (0..LAUNCHERS)
        .map(|number| {
            let mut command = tcg(scratch, scenario);
            command
                .args(["--timeout", LIMIT, "--status-file", &status_file(number)])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            connect(&mut command);
            command.spawn().unwrap()
        })
        .collect()
}

fn status_file(number: usize) -> String {
    format!("status-{number}.json")
}

/// Each ends by itself, at its deadline.
fn expect_timeouts(scratch: &Scratch, launchers: Vec<Child>) {
    for (number, mut launcher) in launchers.into_iter().enumerate() {
        let status = wait_for_end(&mut launcher);
        assert_eq!(status.code(), Some(i32::from(exit_code::TIMEOUT)));
        expect_ended_by_itself(scratch, &status_file(number));
    }
    expect_no_qemu(scratch, LAUNCHERS);
}

/// Reads a little now and then, and nothing in the end, or until nobody writes any more: on a slow machine all may have
/// ended before that. The stream is given back: it must not be closed.
fn read_slowly(mut stream: impl std::io::Read + Send + 'static) -> JoinHandle<Box<dyn Send>> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        for _ in 0..TURNS {
            if stream.read_exact(&mut buffer).is_err() {
                break;
            }
            thread::sleep(PAUSE);
        }
        Box::new(stream) as Box<dyn Send>
    })
}

/// Writes a byte now and then, and nothing in the end.
fn write_slowly(mut stream: impl std::io::Write + Send + 'static) -> JoinHandle<Box<dyn Send>> {
    thread::spawn(move || {
        for _ in 0..TURNS {
            stream.write_all(b"x").unwrap();
            thread::sleep(PAUSE);
        }
        Box::new(stream) as Box<dyn Send>
    })
}

/// A pseudo terminal's master, and the terminal.
fn terminal() -> (File, OwnedFd) {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut raw = rustix::termios::tcgetattr(&slave).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &raw).unwrap();
    (master.into(), slave.into())
}

fn output(reader: impl std::io::Read + Send + 'static, writer: OwnedFd) {
    let scratch = Scratch::new();
    let launchers = start(&scratch, "flood", |command| {
        command.stdout(writer.try_clone().unwrap());
    });
    let reader = read_slowly(reader);
    expect_timeouts(&scratch, launchers);
    drop(writer);
    reader.join().unwrap();
}

fn output_on_one_pipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Room for one write: whoever comes second waits.
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    output(reader, writer.into());
}

fn output_on_one_socket() {
    let (reader, writer) = UnixStream::pair().unwrap();
    output(reader, writer.into());
}

fn output_on_one_terminal() {
    let (master, slave) = terminal();
    output(master, slave);
}

/// The launcher's own messages, of which -vv makes many, and what the guest writes to standard error.
fn messages_on_one_pipe() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let launchers = start(&scratch, "flood stderr", |command| {
        command.arg("-vv").stderr(writer.try_clone().unwrap());
    });
    let reader = read_slowly(reader);
    expect_timeouts(&scratch, launchers);
    drop(writer);
    reader.join().unwrap();
}

fn input(reader: &OwnedFd, writer: impl std::io::Write + Send + 'static) {
    let scratch = Scratch::new();
    let launchers = start(&scratch, "cat", |command| {
        command.stdin(reader.try_clone().unwrap());
    });
    let writer = write_slowly(writer);
    expect_timeouts(&scratch, launchers);
    writer.join().unwrap();
}

fn input_from_one_pipe() {
    let (reader, writer) = std::io::pipe().unwrap();
    input(&reader.into(), writer);
}

fn input_from_one_socket() {
    let (reader, writer) = UnixStream::pair().unwrap();
    input(&reader.into(), writer);
}

fn input_from_one_terminal() {
    let (master, slave) = terminal();
    input(&slave, master);
}

fn signals_are_listened_to() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut launchers: Vec<Child> = (0..LAUNCHERS)
        .map(|number| {
            let mut command = tcg(&scratch, "flood");
            command.args(["--status-file", &status_file(number)]);
            command.stdout(writer.try_clone().unwrap()).stderr(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    until("all machines run", || scratch.started().len() == LAUNCHERS);
    let reader = read_slowly(reader).join().unwrap();
    for (number, launcher) in launchers.iter_mut().enumerate() {
        kill_process(Pid::from_child(launcher), Signal::TERM).unwrap();
        let status = wait_for_end(launcher);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
        expect_ended_by_itself(&scratch, &status_file(number));
    }
    drop(reader);
    expect_no_qemu(&scratch, LAUNCHERS);
}

/// Whose writer has gone before the launcher looks: what is in it is read, then it is at its end.
fn a_fifo_that_has_been_left() {
    for content in ["", "content"] {
        let scratch = Scratch::new();
        let path = scratch.path().join("fifo");
        let owner = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, owner, 0).unwrap();
        let both = File::options().read(true).write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        (&both).write_all(content.as_bytes()).unwrap();
        drop(both);
        let child = tcg(&scratch, "cat").stdin(reader).spawn().unwrap();
        let done = crate::harness::wait(child);
        done.expect_code(0).expect_output(content);
    }
}
