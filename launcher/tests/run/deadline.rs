//! `--timeout` and signals hold from the first moment on: while the module is read and translated, while directories
//! are copied and their daemons start, and where the kernel itself waits.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boot_protocol::exit_code;
use hermit_wasm_vm::vmm::qemu::Qemu;
use hermit_wasm_vm::{Access, Deadline, Error, Input, Interrupt, Module, Run, Stop};
use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    MODULE, Scratch, WATCHED, expect_no_qemu, finish, tcg_module, test, until, wait, wait_for_end,
    wait_however_it_ends,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "deadline::a_module_that_nobody_writes",
            a_module_that_nobody_writes,
        ),
        test("deadline::an_input_that_stays_silent", an_input_that_stays_silent),
        test("deadline::a_text_that_takes_long", a_text_that_takes_long),
        test(
            "deadline::a_text_that_takes_much_memory",
            a_text_that_takes_much_memory,
        ),
        test(
            "deadline::a_virtiofsd_that_does_not_say_what_it_is",
            a_virtiofsd_that_does_not_say_what_it_is,
        ),
        test(
            "deadline::a_virtiofsd_that_does_not_answer",
            a_virtiofsd_that_does_not_answer,
        ),
        test("deadline::the_kernel_waits", the_kernel_waits),
        test("deadline::the_library_too", the_library_too),
    ]
}

/// Long enough for the launcher to be where it is to be stopped, mostly; if it is not, it is stopped all the same.
const LIMIT: &str = "500ms";

/// The launcher ends at its deadline, and by a signal, before a machine starts. `there` says that it is where it waits.
fn expect_ends(scratch: &Scratch, command: impl Fn() -> Command, there: impl Fn(&Child) -> bool) {
    let mut timed = command();
    timed.args(["--timeout", LIMIT]);
    finish(&mut with_module(scratch, timed))
        .expect_code(exit_code::TIMEOUT)
        .expect_message(&["hermit-wasm: --timeout: ", "did not end within 500ms"]);
    for signal in [Signal::INT, Signal::TERM] {
        let child = with_module(scratch, command()).spawn().unwrap();
        until("it waits", || there(&child));
        kill_process(Pid::from_child(&child), signal).unwrap();
        wait(child).expect_signal(signal.as_raw());
    }
    expect_no_qemu(scratch, 0);
}

/// Flags come before the module, which is the file `module` if there is one.
fn with_module(scratch: &Scratch, mut command: Command) -> Command {
    let module = scratch.path().join("module");
    if !command.get_args().any(|word| word == "/dev/stdin") && module.exists() {
        command.arg(module);
    }
    command
}

/// Whether the launcher listens to signals, and sleeps.
fn sleeps(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
            .trim()
    };
    let caught = u64::from_str_radix(line("SigCgt:"), 16).unwrap_or(0);
    caught >> (Signal::INT.as_raw() - 1) & 1 == 1 && line("State:").starts_with(['S', 'D'])
}

fn a_module_that_nobody_writes() {
    let scratch = Scratch::new();
    let path = scratch.path().join("module");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    expect_ends(&scratch, || tcg_module(&scratch, "hello"), sleeps);
    // Somebody has opened it, and does not write.
    let _writer = File::options().read(true).write(true).open(&path).unwrap();
    expect_ends(&scratch, || tcg_module(&scratch, "hello"), sleeps);
}

fn an_input_that_stays_silent() {
    let scratch = Scratch::new();
    let (reader, _writer) = std::io::pipe().unwrap();
    let command = |flags: &[&str]| {
        let mut command = tcg_module(&scratch, "hello");
        command.args(flags).arg("/dev/stdin");
        command.stdin(reader.try_clone().unwrap());
        command
    };
    finish(&mut command(&["--timeout", LIMIT]))
        .expect_code(exit_code::TIMEOUT)
        .expect_message(&["'/dev/stdin' did not end within"]);
    let mut child = command(&[]).spawn().unwrap();
    until("it waits", || sleeps(&child));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(wait_for_end(&mut child).signal(), Some(2));
    expect_no_qemu(&scratch, 0);
}

/// Functions, of nothing else: some seconds of translation.
fn functions(scratch: &Scratch) -> PathBuf {
    scratch.file(
        "module",
        format!("(module {})", "(func)".repeat(1 << 20)).as_bytes(),
    )
}

fn a_text_that_takes_long() {
    let scratch = Scratch::new();
    functions(&scratch);
    let command = || {
        let mut command = tcg_module(&scratch, "hello");
        command.args(["--memory", "4G"]);
        command
    };
    // It waits for its child, which translates.
    let translates = |child: &Child| {
        let id = child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        sleeps(child) && !children.trim().is_empty()
    };
    expect_ends(&scratch, command, translates);
}

fn a_text_that_takes_much_memory() {
    let scratch = Scratch::new();
    let path = functions(&scratch);
    finish(tcg_module(&scratch, "hello").args(["--memory", "64M"]).arg(&path))
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["6 MiB of WebAssembly text", "--memory 64 MiB", "wat2wasm"]);
    expect_no_qemu(&scratch, 0);
}

/// A virtiofsd of a test's own.
fn daemon(scratch: &Scratch, script: &str) -> Command {
    let path = scratch.file("virtiofsd", format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    scratch.file("module", MODULE);
    let mut command = tcg_module(scratch, "hello");
    command.arg("--virtiofsd").arg(path).args(["--dir", "."]);
    command
}

fn a_virtiofsd_that_does_not_say_what_it_is() {
    let scratch = Scratch::new();
    expect_ends(&scratch, || daemon(&scratch, "exec sleep 1000"), sleeps);
}

fn a_virtiofsd_that_does_not_answer() {
    let scratch = Scratch::new();
    let script = "[ \"$1\" = --version ] && { echo virtiofsd 1.14.0; exit; }\nexec sleep 1000";
    expect_ends(&scratch, || daemon(&scratch, script), sleeps);
}

/// A file system whose program never answers: what asks it for anything waits in the kernel, and hears no signal.
fn the_kernel_waits() {
    // The launcher has the program's end open too, so the file system lasts as long as the launcher.
    const MOUNT: &str = "exec 3<>/dev/fuse || exit 77
        mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none \"$1\" || exit 77
        shift; exec \"$@\"";
    let scratch = Scratch::new();
    let directory = scratch.path().join("silent");
    fs::create_dir(&directory).unwrap();
    let mounted = |command: &[&str]| {
        let mut shell = Command::new("unshare");
        shell
            .args(["-Urm", "sh", "-c", MOUNT, "sh"])
            .arg(&directory)
            .args(command);
        shell
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        shell
    };
    if !mounted(&["true"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIP deadline::the_kernel_waits: no FUSE in a namespace of one's own here");
        return;
    }
    let path = |name: &str| directory.join(name).display().to_string();
    let (module, copy, dir) = (
        path("m.wasm"),
        format!("{}::/d", path("")),
        format!("{}::/d", path("")),
    );
    for flags in [
        vec![module.as_str()],
        vec!["--copy-dir", &copy, "--greet"],
        vec!["--dir", &dir, "--virtiofsd", "/bin/true", "--greet"],
    ] {
        let launcher = |more: &[&str]| {
            let command = tcg_module(&scratch, "hello");
            let program: Vec<String> = std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(|word| word.to_str().unwrap().to_string())
                .collect();
            let words: Vec<&str> = program.iter().map(String::as_str).collect();
            let mut mounted = mounted(&[&words, more, flags.as_slice()].concat());
            mounted.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
            mounted
        };
        let done = wait_however_it_ends(launcher(&["--timeout", LIMIT]).spawn().unwrap());
        // A module is opened on another thread.
        assert_eq!(done.stderr.contains(WATCHED), flags.len() > 1, "{done:?}");
        done.expect_code(exit_code::TIMEOUT)
            .expect_message(&["hermit-wasm: --timeout: "]);
        let mut child = launcher(&[]).spawn().unwrap();
        until("it waits", || is_launcher(&child) && sleeps(&child));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(wait_for_end(&mut child).signal(), Some(15));
    }
    expect_no_qemu(&scratch, 0);
}

/// Whether the process has become the launcher.
fn is_launcher(child: &Child) -> bool {
    fs::read_link(format!("/proc/{}/exe", child.id()))
        .is_ok_and(|exe| exe.file_name() == Path::new(env!("CARGO_BIN_EXE_hermit-wasm")).file_name())
}

/// A run of the library's is stopped while it is prepared, and its clock may have started before it.
fn the_library_too() {
    let scratch = Scratch::new();
    let command = daemon(&scratch, "exec sleep 1000");
    let virtiofsd = command
        .get_args()
        .skip_while(|word| *word != "--virtiofsd")
        .nth(1)
        .unwrap();
    let run = || {
        let qemu = Qemu {
            program: Some(std::env::current_exe().unwrap()),
            virtiofsd: Some(virtiofsd.into()),
        };
        Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
            .dir(scratch.path(), "/d", Access::ReadOnly)
            .hypervisor(qemu)
            .stdin(Input::Null)
    };
    let running = run().start().unwrap();
    running.kill();
    let error = running.wait().unwrap_err();
    assert!(matches!(error, Error::Stopped(Stop::Asked)), "{error}");

    let soon = Duration::from_millis(100);
    let interrupt = Interrupt::new().unwrap();
    for run in [
        run().timeout(soon),
        run().deadline(Deadline::since(Instant::now(), soon)),
        run()
            .timeout(soon)
            .deadline(Deadline::never().interrupt(interrupt.clone())),
    ] {
        let error = run.run().unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(
            error.to_string().contains("'m.wasm' did not end within 100ms"),
            "{error}"
        );
    }
    interrupt.stop();
    let stopped = run().deadline(Deadline::never().interrupt(interrupt));
    let error = stopped.run().unwrap_err();
    assert!(matches!(error, Error::Stopped(Stop::Asked)), "{error}");
}
