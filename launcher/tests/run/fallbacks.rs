//! Another engine than the one that was begun with: where code cannot be used, where the interpreter lacks something,
//! where compiling takes too long. Whoever waits gets the run all the same.

use std::path::Path;
use std::process::{Command, Stdio};

use boot_protocol::arch::Arch;
use boot_protocol::exit_code;
use hermit_wasm_vm::Engine;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::engines::{INTERPRETED, NATIVE, engine, large, launcher, run};
use crate::fake_compiler::{asked, with_compiler};
use crate::harness::{MODULE, Scratch, test, until, wait};

pub(crate) fn tests() -> Vec<Trial> {
    if !Engine::Native.is_carried(Arch::host()) {
        println!("SKIP: fallbacks NOT TRIED: the launcher was built without a native image");
        return Vec::new();
    }
    vec![
        test(
            "fallbacks::code_that_the_machine_refuses",
            code_that_the_machine_refuses,
        ),
        test(
            "fallbacks::what_a_machine_says_late_is_not_believed",
            what_a_machine_says_late_is_not_believed,
        ),
        test(
            "fallbacks::code_that_does_not_fit_is_interpreted",
            code_that_does_not_fit_is_interpreted,
        ),
        test(
            "fallbacks::what_the_interpreter_lacks_is_compiled",
            what_the_interpreter_lacks_is_compiled,
        ),
        test(
            "fallbacks::a_small_module_that_takes_long_is_compiled_meanwhile",
            a_small_module_that_takes_long_is_compiled_meanwhile,
        ),
        test(
            "fallbacks::nobody_waits_for_another_compilation",
            nobody_waits_for_another_compilation,
        ),
    ]
}

/// A launcher whose machine plays `guest`.
fn with_guest(scratch: &Scratch, scenario: &str, module: &[u8], guest: &str) -> Command {
    let mut command = launcher(scratch, scenario, module);
    command.env(crate::fake_qemu::SCENARIO, guest);
    command
}

fn code_that_the_machine_refuses() {
    let scratch = Scratch::new();
    let refusing = |flags: &[&str], code: u8| {
        let mut command = launcher(&scratch, "compile", MODULE);
        command.env(crate::fake_qemu::SCENARIO, "refuse code");
        run(&mut command, flags).expect_code(code)
    };
    refusing(&[], 0).expect_output(INTERPRETED).expect_message(&[
        "cannot load the code",
        "hermit-wasm: 'm.wasm' is interpreted instead",
    ]);
    assert_eq!(engine(&scratch), "interp");
    // Not tried again soon.
    refusing(&["-v"], 0)
        .expect_output(INTERPRETED)
        .expect_message(&["the engine is interp: ", "a machine could not load its code"]);
    assert_eq!(asked(&scratch), 1);
    refusing(&["--engine", "native"], exit_code::MODULE_REFUSED)
        .expect_output("")
        .expect_message(&["cannot load the code"]);
}

fn what_a_machine_says_late_is_not_believed() {
    let scratch = Scratch::new();
    // The guest has run, and is not run again.
    run(
        &mut with_guest(&scratch, "compile", MODULE, "refuse code late"),
        &[],
    )
    .expect_code(exit_code::MODULE_REFUSED)
    .expect_output("effects\n");
    run(&mut launcher(&scratch, "compile", MODULE), &[]).expect_output(NATIVE);
    assert_eq!(asked(&scratch), 1);
}

fn code_that_does_not_fit_is_interpreted() {
    let scratch = Scratch::new();
    // What the machine finds out.
    for _ in 0..2 {
        run(
            &mut with_guest(&scratch, "compile", MODULE, "no room for code"),
            &[],
        )
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_message(&["'m.wasm' is interpreted instead"]);
    }
    // It counts as good code: another machine has room for it.
    run(&mut launcher(&scratch, "compile", MODULE), &[]).expect_output(NATIVE);
    assert_eq!(asked(&scratch), 1);
    // What shows before, the first time and the second.
    let scratch = Scratch::new();
    for _ in 0..2 {
        run(
            &mut launcher(&scratch, "compile much", MODULE),
            &["--memory", "64M"],
        )
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_silence();
    }
    run(
        &mut launcher(&scratch, "compile much", MODULE),
        &["--memory", "64M", "--engine", "native"],
    )
    .expect_code(exit_code::MODULE_REFUSED)
    .expect_message(&["--memory"]);
    run(&mut launcher(&scratch, "compile much", MODULE), &[]).expect_output(NATIVE);
    assert_eq!(asked(&scratch), 1);
}

fn what_the_interpreter_lacks_is_compiled() {
    let scratch = Scratch::new();
    let lacking = |scenario: &str| with_guest(&scratch, scenario, &large(), "lack a proposal");
    run(&mut lacking("invalid"), &["--engine", "interp"])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_output("");
    let done = run(&mut lacking("compile"), &[]);
    done.expect_code(0).expect_output(NATIVE).expect_message(&[
        "the interpreter lacks a proposal",
        "'m.wasm' is run as native code instead",
    ]);
    assert_eq!(engine(&scratch), "native");
    run(&mut lacking("compile"), &[])
        .expect_code(0)
        .expect_output(NATIVE)
        .expect_silence();
    // Where that cannot be done, the interpreter's word stands.
    let scratch = Scratch::new();
    let mut command = with_guest(&scratch, "compile", &large(), "lack a proposal");
    with_compiler(&mut command, Path::new("/nonexistent/compiler"));
    run(&mut command, &[])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_output("")
        .expect_message(&[
            "the interpreter lacks a proposal",
            "cannot be run as native code either",
        ]);
}

fn a_small_module_that_takes_long_is_compiled_meanwhile() {
    let scratch = Scratch::new();
    run(&mut launcher(&scratch, "compile slowly", MODULE), &[])
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_silence();
    until("its code is kept", || {
        let done = run(&mut launcher(&scratch, "compile slowly", MODULE), &[]).expect_code(0);
        done.stdout == NATIVE.as_bytes()
    });
}

fn nobody_waits_for_another_compilation() {
    let scratch = Scratch::new();
    let launcher = launcher(&scratch, "wait", MODULE);
    let mut holder = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    for (name, value) in launcher.get_envs() {
        holder.env(name, value.unwrap_or_default());
    }
    let holder = holder
        .args(["compile", "--jail", "off", "m.wasm"])
        .current_dir(scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it is compiled", || asked(&scratch) == 1);
    let mut launcher = launcher;
    run(&mut launcher, &["-v"])
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_message(&["the engine is interp: another process compiles the module"]);
    assert_eq!(asked(&scratch), 1);
    kill_process(Pid::from_child(&holder), Signal::TERM).unwrap();
    wait(holder).expect_signal(Signal::TERM.as_raw());
}
