//! The library, with a hypervisor of these tests' own: added by the recipe of `docs/adding-a-hypervisor.md`, it starts
//! the fake QEMU.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use hermit_wasm_vm::vmm::capabilities::{Accelerator, Capabilities, ConsoleKind};
use hermit_wasm_vm::vmm::{Command, Machine, Prepared, Vmm};
use hermit_wasm_vm::{
    Access, Arch, Error, ExitStatus, Input, Interrupt, Jail, LogLevel, Module, Output, Request, Run,
    StartError, Stop,
};
use libtest_mimic::Trial;

use crate::fake_qemu::PLAY;
use crate::harness::{MODULE, Scratch, test, until};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "library::output_and_status_come_back",
            output_and_status_come_back,
        ),
        test(
            "library::a_trap_and_a_refusal_are_told_apart",
            a_trap_and_a_refusal_are_told_apart,
        ),
        test("library::bytes_go_in_and_come_out", bytes_go_in_and_come_out),
        test("library::pipes_are_a_conversation", pipes_are_a_conversation),
        test("library::a_run_can_be_killed", a_run_can_be_killed),
        test(
            "library::a_run_that_is_dropped_is_over",
            a_run_that_is_dropped_is_over,
        ),
        test("library::waiting_has_a_limit", waiting_has_a_limit),
        test(
            "library::one_interrupt_stops_all_runs_that_have_it",
            one_interrupt_stops_all_runs_that_have_it,
        ),
        test(
            "library::the_end_of_a_run_is_no_interrupt_for_another",
            the_end_of_a_run_is_no_interrupt_for_another,
        ),
        test(
            "library::a_timeout_is_an_error_of_its_own",
            a_timeout_is_an_error_of_its_own,
        ),
        test("library::many_run_at_once", many_run_at_once),
        test(
            "library::what_a_hypervisor_cannot_do_is_refused",
            what_a_hypervisor_cannot_do_is_refused,
        ),
        test(
            "library::the_first_hypervisor_that_can_is_used",
            the_first_hypervisor_that_can_is_used,
        ),
        test(
            "library::a_machine_that_fails_is_quoted",
            a_machine_that_fails_is_quoted,
        ),
        test(
            "library::two_mounts_at_one_place_are_refused",
            two_mounts_at_one_place_are_refused,
        ),
        test("library::the_examples_work", the_examples_work),
    ]
}

/// A hypervisor that plays a scenario of the fake QEMU.
#[derive(Debug)]
struct Fake(&'static str);

impl Vmm for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            architectures: &[Arch::X86_64],
            accelerators: &[Accelerator::Tcg],
            copies: false,
            directories: false,
            quotas: false,
            console: ConsoleKind::Framed,
            network: false,
            exit_code: false,
            memory: 0..=1 << 30,
            machines: false,
            commands: false,
        }
    }

    fn program(&self, _: Arch) -> Result<PathBuf, StartError> {
        if self.0 == "not installed" {
            return Err(StartError::NotInstalled("the fake is not installed".to_string()));
        }
        Ok(std::env::current_exe().unwrap())
    }

    fn prepare<'a>(&'a self, request: &'a Request<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        let spec = request.spec(|_, _| Ok(boot_protocol::run_spec::MountSource::Tmpfs { size: None }))?;
        Ok(Box::new(PreparedFake(Command {
            program: self.program(request.arch())?,
            arguments: vec![PLAY.into(), self.0.into(), spec.argv.join(" ").into()],
            descriptors: Vec::new(),
            confinement: request.confinement(),
        })))
    }
}

struct PreparedFake(Command<'static>);

impl Prepared for PreparedFake {
    fn spawn(self: Box<Self>) -> Result<Machine, Error> {
        Machine::spawn("fake", Accelerator::Tcg, &self.0)
    }
}

fn run(scenario: &'static str) -> Run {
    Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
        .arch(Arch::X86_64)
        .hypervisor(Fake(scenario))
}

fn output_and_status_come_back() {
    let result = run("hello").output().unwrap();
    assert_eq!(result.status, ExitStatus::Exited(0));
    assert_eq!(
        (result.stdout.as_slice(), result.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!((result.diagnostic.as_str(), result.transcript.as_str()), ("", ""));
}

fn a_trap_and_a_refusal_are_told_apart() {
    let result = run("trap").output().unwrap();
    assert_eq!((result.status, result.status.code()), (ExitStatus::Trapped, 134));
    assert_eq!(result.diagnostic, "error: it trapped\n");
    // The application's message is no output of the guest's.
    assert_eq!(result.stderr, b"");
    let result = run("refused").output().unwrap();
    assert_eq!(result.status, ExitStatus::Refused(126));
}

fn bytes_go_in_and_come_out() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let result = run("cat").stdin(Input::Bytes(bytes.clone())).output().unwrap();
    assert!(result.stdout == bytes);
    assert_eq!(run("cat").stdin(Input::Null).output().unwrap().stdout, b"");
}

fn pipes_are_a_conversation() {
    let mut running = run("cat")
        .stdin(Input::Pipe)
        .stdout(Output::Pipe)
        .stderr(Output::Null)
        .start()
        .unwrap();
    let (mut stdin, mut stdout) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    for line in ["one\n", "two\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        let mut answer = vec![0; line.len()];
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(answer, line.as_bytes());
    }
    drop(stdin);
    assert!(running.wait().unwrap().status.success());
}

fn a_run_can_be_killed() {
    let running = run("hang").stdin(Input::Null).start().unwrap();
    running.kill();
    let error = running.wait().unwrap_err();
    assert!(matches!(error, Error::Stopped(Stop::Asked)), "{error}");
    assert_eq!(error.exit_code(), 137);
}

fn a_run_that_is_dropped_is_over() {
    let scratch = Scratch::new();
    let file = scratch.path().join("pid");
    // A jail has no place for the file, and another number.
    let run = run("pid and hang").jail(Jail::Off);
    let running = run.arg(file.to_str().unwrap()).start().unwrap();
    let pid = || std::fs::read_to_string(&file).ok()?.trim().parse::<i32>().ok();
    until("the machine has started", || pid().is_some());
    let pid = pid().unwrap();
    assert!(crate::harness::runs(pid));
    drop(running);
    assert!(!crate::harness::runs(pid));
}

fn waiting_has_a_limit() {
    let running = run("hang").start().unwrap();
    let running = running
        .wait_timeout(Duration::from_millis(20))
        .unwrap()
        .unwrap_err();
    running.kill();
    assert!(running.wait_timeout(crate::harness::WATCHDOG).is_err());
    let result = run("hello")
        .stdout(Output::Null)
        .stderr(Output::Null)
        .start()
        .unwrap();
    let result = result.wait_timeout(crate::harness::WATCHDOG).unwrap().unwrap();
    assert!(result.status.success());
}

fn one_interrupt_stops_all_runs_that_have_it() {
    let interrupt = Interrupt::new().unwrap();
    let start = || run("hang").interrupt(interrupt.clone()).start().unwrap();
    let running = [start(), start(), start()];
    interrupt.stop();
    for running in running {
        // Without a limit of time, one that was not stopped would be waited for until the watchdog comes.
        let error = running.wait().unwrap_err();
        assert!(matches!(error, Error::Stopped(Stop::Asked)), "{error}");
    }
    let late = run("hello").interrupt(interrupt).output().unwrap_err();
    assert!(matches!(late, Error::Stopped(Stop::Asked)), "{late}");
}

fn the_end_of_a_run_is_no_interrupt_for_another() {
    let interrupt = Interrupt::new().unwrap();
    let quiet = |scenario| {
        let run = run(scenario).stdout(Output::Null).stderr(Output::Null);
        run.interrupt(interrupt.clone())
    };
    // One that ends, one that is killed, one that is dropped.
    assert!(quiet("hello").start().unwrap().wait().is_ok());
    let killed = quiet("hang").start().unwrap();
    killed.kill();
    assert!(killed.wait().is_err());
    drop(quiet("hang").start().unwrap());
    assert!(quiet("hello").run().unwrap().status.success());
}

fn a_timeout_is_an_error_of_its_own() {
    let error = run("hang")
        .timeout(Duration::from_millis(50))
        .output()
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }));
    assert!(
        error.to_string().contains("'m.wasm' did not end within 50ms"),
        "{error}"
    );
}

fn many_run_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|number| thread::spawn(move || run("echo").arg(format!("number {number}")).output()))
        .collect();
    for (number, thread) in threads.into_iter().enumerate() {
        let result = thread.join().unwrap().unwrap();
        assert_eq!(
            String::from_utf8(result.stdout).unwrap(),
            format!("m.wasm number {number}")
        );
    }
}

fn what_a_hypervisor_cannot_do_is_refused() {
    let refused = |run: Run| run.output().unwrap_err();
    for (run, message) in [
        (
            run("hello").copy_dir("/", "/", Access::ReadOnly),
            "--copy-dir: fake cannot hand the guest a copy of a directory; qemu can: --vmm qemu",
        ),
        (
            run("hello").dir("/", "/", Access::ReadOnly),
            "--dir: fake cannot show the guest a directory of this host; qemu can: --vmm qemu",
        ),
        (
            run("hello").preload("l", Module::from_bytes("l.wasm", MODULE).unwrap()),
            "--preload: fake cannot hand the machine more than one module; qemu can: --vmm qemu",
        ),
        (
            run("hello").arch(Arch::Riscv64),
            "--arch: fake cannot make riscv64 machines here; qemu can: --vmm qemu",
        ),
        (
            run("hello").accelerator(Accelerator::Kvm),
            "--accel: fake cannot use KVM; qemu can: --vmm qemu",
        ),
        (
            run("hello").memory(2 << 30),
            "--memory: fake cannot give a machine 2 GiB of memory; qemu can: --vmm qemu",
        ),
    ] {
        let error = refused(run);
        assert_eq!((error.exit_code(), error.to_string().as_str()), (2, message));
    }
    let error = run("hello").command(None).unwrap_err();
    assert!(
        error.to_string().starts_with("--print-command: fake cannot"),
        "{error}"
    );
}

fn the_first_hypervisor_that_can_is_used() {
    use std::sync::Arc;
    let among = |first: &'static str, second: &'static str| {
        let both: [Arc<dyn Vmm>; 2] = [Arc::new(Fake(first)), Arc::new(Fake(second))];
        Run::new(Module::greeting())
            .arch(Arch::X86_64)
            .hypervisors(both)
            .output()
    };
    assert!(among("not installed", "hello").unwrap().status.success());
    assert_eq!(among("trap", "hello").unwrap().status, ExitStatus::Trapped);
    // Where none is, the first one's reason counts.
    let error = among("not installed", "not installed").unwrap_err();
    assert_eq!(error.to_string(), "the fake is not installed");
    let none: [Arc<dyn Vmm>; 0] = [];
    assert!(Run::new(Module::greeting()).hypervisors(none).output().is_err());
}

fn a_machine_that_fails_is_quoted() {
    let error = run("panic").log(LogLevel::Off).output().unwrap_err();
    assert_eq!(error.exit_code(), 125);
    assert!(
        error
            .to_string()
            .contains("ended while the guest was running (fake: exit status: 1)"),
        "{error}"
    );
}

fn two_mounts_at_one_place_are_refused() {
    let error = run("hello").tmpfs("/a").tmpfs("/a/.").output().unwrap_err();
    assert!(
        error.to_string().contains("both would be '/a' in the guest"),
        "{error}"
    );
    let error = run("hello").env("A=B", "x").output().unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
}

fn the_examples_work() {
    let examples = PathBuf::from(env!("CARGO_BIN_EXE_hermit-wasm"));
    let examples = examples.parent().unwrap().join("examples");
    let scratch = Scratch::new();
    let qemu = format!("qemu-system-{}", Arch::host().name());
    scratch.file("m.wasm", MODULE);
    for (example, scenario, argument, shown) in [
        (
            "capture",
            "hello",
            "x",
            "exit code: 0\nstandard output: out\n\nstandard error: err\n\n",
        ),
        (
            "stream",
            "cat",
            "",
            "sent one, got one\nsent two, got two\nsent three, got three\nexit code: 0\n",
        ),
        (
            "pool",
            "hello",
            "3",
            "0: exit code 0, out\n1: exit code 0, out\n2: exit code 0, out\n",
        ),
    ] {
        scratch.player(&qemu, scenario);
        let output = std::process::Command::new(examples.join(example))
            .args(["m.wasm", argument])
            .current_dir(scratch.path())
            .env("PATH", scratch.path())
            .env("XDG_CACHE_HOME", scratch.path().join("cache"))
            .output()
            .unwrap_or_else(|error| panic!("{example}: {error}; 'cargo test' builds the examples"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), shown, "{output:?}");
        assert!(output.status.success());
    }
}
