//! Which engine a run gets: what was compiled before, what is compiled first, what is interpreted meanwhile; and that
//! code which nobody here has compiled does not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boot_protocol::arch::Arch;
use boot_protocol::exit_code;
use hermit_wasm_vm::Engine;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::fake_compiler::{asked, code, compiler, processes, with_compiler};
use crate::harness::{Done, MODULE, Scratch, finish, runs, tcg_module, test, until, wait};

pub(crate) fn tests() -> Vec<Trial> {
    if !Engine::Native.is_carried(Arch::host()) {
        println!("SKIP: engines NOT TRIED: the launcher was built without a native image");
        return Vec::new();
    }
    vec![
        test(
            "engines::a_small_module_is_compiled_once",
            a_small_module_is_compiled_once,
        ),
        test(
            "engines::a_large_module_is_compiled_meanwhile",
            a_large_module_is_compiled_meanwhile,
        ),
        test(
            "engines::what_only_native_code_has_comes_first",
            what_only_native_code_has_comes_first,
        ),
        test("engines::the_interpreter_on_demand", the_interpreter_on_demand),
        test("engines::a_deterministic_run", a_deterministic_run),
        test("engines::without_a_compiler", without_a_compiler),
        test(
            "engines::a_module_that_cannot_be_compiled",
            a_module_that_cannot_be_compiled,
        ),
        test("engines::damaged_code_is_not_used", damaged_code_is_not_used),
        test("engines::code_of_others", code_of_others),
        test("engines::several_modules", several_modules),
        test("engines::as_process_1", as_process_1),
        test(
            "engines::a_cache_that_cannot_be_used",
            a_cache_that_cannot_be_used,
        ),
        test(
            "engines::a_compilation_ends_with_the_run",
            a_compilation_ends_with_the_run,
        ),
        test("engines::a_command_for_native_code", a_command_for_native_code),
        test("engines::another_processor", another_processor),
    ]
}

/// More code than is compiled while somebody waits: functions that do nothing.
pub(crate) fn large() -> Vec<u8> {
    let functions = 20_000;
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        loop {
            let more = number >= 0x80;
            bytes.push(u8::try_from(number & 0x7f).unwrap() | if more { 0x80 } else { 0 });
            number >>= 7;
            if !more {
                return bytes;
            }
        }
    };
    let mut module = [MODULE, &[1, 4, 1, 0x60, 0, 0]].concat();
    for (section, one) in [(3, &[0][..]), (10, &[2, 0, 0x0b])] {
        let content = [leb(functions), one.repeat(functions)].concat();
        module.push(section);
        module.extend(leb(content.len()));
        module.extend(content);
    }
    module
}

/// A launcher of this module whose compiler plays `scenario`; the machine tells what it was given.
pub(crate) fn launcher(scratch: &Scratch, scenario: &str, module: &[u8]) -> Command {
    let mut command = tcg_module(scratch, "given");
    with_compiler(&mut command, &compiler(scratch, scenario));
    command.arg("--status-file").arg(scratch.path().join("status"));
    scratch.file("m.wasm", module);
    command
}

/// Runs it to its end, with more flags.
pub(crate) fn run(command: &mut Command, flags: &[&str]) -> Done {
    finish(command.args(flags).arg("m.wasm"))
}

/// The engine that the status file names.
pub(crate) fn engine(scratch: &Scratch) -> serde_json::Value {
    let status = fs::read_to_string(scratch.path().join("status")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["engine"].clone()
}

pub(crate) const NATIVE: &str = "code at a multiple of 4096\n";
pub(crate) const INTERPRETED: &str = "module\n";

fn a_small_module_is_compiled_once() {
    let scratch = Scratch::new();
    for reason in [
        "the engine is native: only 0 bytes of code",
        "the module was compiled before",
    ] {
        let done = run(&mut launcher(&scratch, "compile", MODULE), &["-v"]);
        done.expect_code(0)
            .expect_output(NATIVE)
            .expect_message(&[reason]);
        assert_eq!((asked(&scratch), engine(&scratch)), (1, "native".into()));
    }
    // Nothing is said of it.
    let done = run(
        &mut launcher(&scratch, "compile", MODULE),
        &["--engine", "native"],
    );
    done.expect_code(0).expect_output(NATIVE).expect_silence();
    assert_eq!(asked(&scratch), 1);
}

fn a_large_module_is_compiled_meanwhile() {
    let scratch = Scratch::new();
    let done = run(&mut launcher(&scratch, "compile", &large()), &[]);
    done.expect_code(0).expect_output(INTERPRETED).expect_silence();
    assert_eq!(engine(&scratch), "interp");
    until("it is compiled", || asked(&scratch) == 1);
    until("its code is kept", || {
        let done = run(&mut launcher(&scratch, "compile", &large()), &[]).expect_code(0);
        done.stdout == NATIVE.as_bytes()
    });
    assert_eq!((asked(&scratch), engine(&scratch)), (1, "native".into()));
}

fn what_only_native_code_has_comes_first() {
    let scratch = Scratch::new();
    // A tag, of the type of a function without parameters.
    let module = [&large()[..], &[13, 3, 1, 0, 0]].concat();
    let done = run(&mut launcher(&scratch, "compile", &module), &["-v"]);
    done.expect_code(0)
        .expect_output(NATIVE)
        .expect_message(&["the engine is native: the module needs exception handling"]);
    let scratch = Scratch::new();
    let mut command = launcher(&scratch, "compile", &module);
    with_compiler(&mut command, Path::new("/nonexistent/compiler"));
    run(&mut command, &[])
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_message(&[
            "'m.wasm' needs exception handling, which only native code has: ",
            "/nonexistent/compiler",
        ]);
}

fn the_interpreter_on_demand() {
    let scratch = Scratch::new();
    let done = run(
        &mut launcher(&scratch, "compile", MODULE),
        &["--engine", "interp"],
    );
    done.expect_code(0).expect_output(INTERPRETED).expect_silence();
    assert_eq!((asked(&scratch), engine(&scratch)), (0, "interp".into()));
}

/// What was compiled before decides nothing; and natively, the code is another.
fn a_deterministic_run() {
    let scratch = Scratch::new();
    run(&mut launcher(&scratch, "compile", MODULE), &[]).expect_output(NATIVE);
    for flag in ["--deterministic", "--deterministic=7"] {
        run(&mut launcher(&scratch, "compile", MODULE), &["-v", flag])
            .expect_code(0)
            .expect_output(INTERPRETED)
            .expect_message(&["the engine is interp: the run is deterministic"]);
        assert_eq!(asked(&scratch), 1);
    }
    for _ in 0..2 {
        let flags = ["--deterministic", "--engine", "native"];
        run(&mut launcher(&scratch, "compile", MODULE), &flags)
            .expect_code(0)
            .expect_output(NATIVE)
            .expect_silence();
        assert_eq!(asked(&scratch), 2);
    }
    run(&mut launcher(&scratch, "compile", MODULE), &["--deterministic=x"])
        .expect_code(exit_code::USAGE)
        .expect_message(&["--deterministic"]);
}

fn without_a_compiler() {
    let scratch = Scratch::new();
    for module in [MODULE.to_vec(), large()] {
        let without = || {
            let mut command = launcher(&scratch, "compile", &module);
            with_compiler(&mut command, Path::new("/nonexistent/compiler"));
            command
        };
        run(&mut without(), &[])
            .expect_code(0)
            .expect_output(INTERPRETED)
            .expect_silence();
        run(&mut without(), &["-v"])
            .expect_code(0)
            .expect_message(&["the engine is interp: ", "/nonexistent/compiler"]);
        run(&mut without(), &["--engine", "native"])
            .expect_code(exit_code::VM_FAILED)
            .expect_message(&["HERMIT_WASM_COMPILER names '/nonexistent/compiler'"]);
    }
    assert_eq!(asked(&scratch), 0);
}

fn a_module_that_cannot_be_compiled() {
    let scratch = Scratch::new();
    // What is wrong with it is for the application to say.
    let done = run(&mut launcher(&scratch, "invalid", MODULE), &[]);
    done.expect_code(0).expect_output(INTERPRETED).expect_silence();
    run(
        &mut launcher(&scratch, "invalid", MODULE),
        &["--engine", "native"],
    )
    .expect_code(exit_code::MODULE_REFUSED)
    .expect_message(&["'m.wasm' is not a valid module: it is nonsense"]);
}

/// The one file of code in the cache.
fn kept(scratch: &Scratch) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![scratch.path().join("cache")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "cwasm") {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn damaged_code_is_not_used() {
    let scratch = Scratch::new();
    run(&mut launcher(&scratch, "compile", MODULE), &[]).expect_output(NATIVE);
    let path = kept(&scratch);
    let good = fs::read(&path).unwrap();
    // In the header, in the code, in the trailer, in its digest.
    let mut compiled = 1;
    for at in [0, 48, 2500, 5000, 5030, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let done = run(&mut launcher(&scratch, "compile", MODULE), &[]);
        compiled += 1;
        // It is compiled again: what runs is never what was damaged.
        done.expect_code(0)
            .expect_output(NATIVE)
            .expect_message(&["code that was compiled before is not used: "]);
        assert_eq!(asked(&scratch), compiled, "byte {at}");
        assert_eq!(fs::read(kept(&scratch)).unwrap(), good, "byte {at}");
    }
    // The same for a command line, which hands the code over too.
    let mut bad = good.clone();
    bad[2500] ^= 1;
    fs::write(&path, bad).unwrap();
    let mut command = tcg_module(&scratch, "given");
    with_compiler(&mut command, &compiler(&scratch, "compile"));
    run(&mut command, &["--print-command=files", "--engine", "native"]).expect_code(0);
    let payload = fs::read(scratch.path().join("files/payload.tar")).unwrap();
    assert!(payload[4096..].starts_with(&good));
}

fn code_of_others() {
    let scratch = Scratch::new();
    run(&mut launcher(&scratch, "compile", MODULE), &[]).expect_output(NATIVE);
    let good = fs::read(kept(&scratch)).unwrap();
    let mut damaged = good.clone();
    damaged[3000] ^= 1;
    let precompiled = |content: &[u8], flags: &[&str]| {
        scratch.file("m.cwasm", content);
        let mut command = launcher(&scratch, "compile", MODULE);
        finish(command.args(flags).arg("m.cwasm"))
    };
    precompiled(&good, &[])
        .expect_code(0)
        .expect_output(NATIVE)
        .expect_silence();
    precompiled(&damaged, &[])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_output("")
        .expect_message(&["'m.cwasm'", "--allow-precompiled"]);
    precompiled(&damaged, &["--allow-precompiled"])
        .expect_code(0)
        .expect_output(NATIVE);
    precompiled(&good, &["--engine", "interp"])
        .expect_code(exit_code::USAGE)
        .expect_message(&["--engine interp: 'm.cwasm' is native code"]);
    precompiled(&code(1), &[])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["another program made it"]);
    precompiled(&code(2), &["--allow-precompiled"])
        .expect_code(exit_code::MODULE_REFUSED)
        .expect_message(&["'m.cwasm' is the native code of a WebAssembly component"]);
    let other = if Arch::host() == Arch::Aarch64 {
        "riscv64"
    } else {
        "aarch64"
    };
    precompiled(&good, &["--arch", other])
        .expect_code(exit_code::USAGE)
        .expect_message(&["'m.cwasm' is native code for --arch"]);
}

/// What others import from is compiled too, is aligned like the program's code, and is kept for itself.
fn several_modules() {
    const NATIVE: &str = "code at a multiple of 4096\npreload-0.cwasm at a multiple of 4096\npreload-1.cwasm at a multiple \
                          of 4096\n";
    const INTERPRETED: &str = "module\npreload-0.wasm\npreload-1.wasm\n";
    let scratch = Scratch::new();
    scratch.file("a.wasm", &[MODULE, &[0, 2, 1, b'a']].concat());
    scratch.file("b.wasm", &[MODULE, &[0, 2, 1, b'b']].concat());
    let flags = ["--preload", "a=a.wasm", "--preload=b=b.wasm"];
    let run_all = |module: &[u8], more: &[&str]| {
        let mut command = launcher(&scratch, "compile", module);
        run(&mut command, &[&flags[..], more].concat())
    };
    for reason in ["only 0 bytes of code", "the module was compiled before"] {
        run_all(MODULE, &["-v"])
            .expect_code(0)
            .expect_output(NATIVE)
            .expect_message(&[reason]);
        assert_eq!((asked(&scratch), engine(&scratch)), (3, "native".into()));
    }
    // One that is new has them all interpreted, or is compiled alone if that is demanded.
    let large = large();
    run_all(&large, &[]).expect_code(0).expect_output(INTERPRETED);
    until("the module is compiled", || asked(&scratch) == 4);
    let other = [MODULE, &[0, 2, 1, b'o']].concat();
    run_all(&other, &["--engine", "native"])
        .expect_code(0)
        .expect_output(NATIVE);
    assert_eq!(asked(&scratch), 5);
    run_all(&other, &["--engine", "interp"])
        .expect_code(0)
        .expect_output(INTERPRETED);

    // Several at the same time, with nothing kept.
    let fresh = Scratch::new();
    fresh.file("a.wasm", &[MODULE, &[0, 2, 1, b'a']].concat());
    fresh.file("b.wasm", &[MODULE, &[0, 2, 1, b'b']].concat());
    let mut command = launcher(&fresh, "compile", MODULE);
    run(&mut command, &[&flags[..], &["--engine", "native"]].concat())
        .expect_code(0)
        .expect_output(NATIVE);
    assert_eq!(asked(&fresh), 3);

    // Native code among them decides for all.
    let third = Scratch::new();
    run(&mut launcher(&third, "compile", MODULE), &[]).expect_code(0);
    fs::copy(kept(&third), scratch.path().join("a.cwasm")).unwrap();
    let mut command = launcher(&scratch, "compile", MODULE);
    run(
        &mut command,
        &[
            "--allow-precompiled",
            "--preload",
            "a=a.cwasm",
            "--engine",
            "interp",
        ],
    )
    .expect_code(exit_code::USAGE)
    .expect_message(&["--engine interp: 'a.cwasm' is native code"]);
    let mut command = launcher(&scratch, "compile", MODULE);
    run(&mut command, &["--allow-precompiled", "--preload", "a=a.cwasm"])
        .expect_code(0)
        .expect_output("code at a multiple of 4096\npreload-0.cwasm at a multiple of 4096\n");
}

fn as_process_1() {
    const UNSHARE: [&str; 5] = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let works = Command::new("unshare").args(UNSHARE).arg("true").status();
    if !works.is_ok_and(|status| status.success()) {
        return println!("SKIP: NOT TRIED as process 1: unshare does not work here");
    }
    let scratch = Scratch::new();
    let launcher = launcher(&scratch, "compile", &large());
    let mut command = Command::new("unshare");
    command
        .args(UNSHARE)
        .arg(launcher.get_program())
        .args(launcher.get_args());
    for (name, value) in launcher.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .current_dir(scratch.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    run(&mut command, &["-v"])
        .expect_code(0)
        .expect_output(INTERPRETED)
        .expect_message(&["the module is not compiled: this is the first process"]);
    assert_eq!(asked(&scratch), 0);
}

fn a_cache_that_cannot_be_used() {
    let scratch = Scratch::new();
    for module in [MODULE.to_vec(), large()] {
        let without = || {
            let mut command = launcher(&scratch, "compile", &module);
            command.env("XDG_CACHE_HOME", "/proc/nowhere");
            command
        };
        run(&mut without(), &[])
            .expect_code(0)
            .expect_output(INTERPRETED)
            .expect_silence();
        assert_eq!(asked(&scratch), 0);
    }
    // On demand it is compiled for this run.
    let mut command = launcher(&scratch, "compile", MODULE);
    command.env("XDG_CACHE_HOME", "/proc/nowhere");
    run(&mut command, &["--engine", "native"])
        .expect_code(0)
        .expect_output(NATIVE);
    assert_eq!(asked(&scratch), 1);
}

fn a_compilation_ends_with_the_run() {
    let scratch = Scratch::new();
    run(
        &mut launcher(&scratch, "wait", MODULE),
        &["--timeout", "700ms", "--engine", "native"],
    )
    .expect_code(exit_code::TIMEOUT)
    .expect_message(&["--timeout: 'm.wasm' did not end within 700ms"]);
    let mut interrupted = launcher(&scratch, "wait", MODULE);
    interrupted.args(["--engine", "native"]);
    let before = asked(&scratch);
    let child = interrupted.arg("m.wasm").spawn().unwrap();
    until("it is compiled", || asked(&scratch) > before);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    wait(child).expect_signal(Signal::INT.as_raw()).expect_silence();
    for pid in processes(&scratch) {
        until("the compiler is gone", || !runs(pid));
    }
    assert_eq!(scratch.started(), [0; 0]);
}

fn a_command_for_native_code() {
    let scratch = Scratch::new();
    let print = |flags: &[&str]| {
        // Without a status file, which a command has none of.
        let mut command = tcg_module(&scratch, "given");
        with_compiler(&mut command, &compiler(&scratch, "compile"));
        scratch.file("m.wasm", MODULE);
        run(&mut command, flags)
    };
    let interpreted = print(&["--print-command"]).expect_code(0);
    let text = String::from_utf8(interpreted.stdout).unwrap();
    assert!(text.contains("m.wasm") && !text.contains("native"), "{text}");
    print(&["--print-command", "--engine", "native"])
        .expect_code(exit_code::USAGE)
        .expect_message(&["--print-command=DIRECTORY"]);
    let native = print(&["--print-command=files", "--engine", "native"]).expect_code(0);
    let text = String::from_utf8(native.stdout).unwrap();
    assert!(text.contains("hermit-wasm-native-"), "{text}");
    let payload = fs::read(scratch.path().join("files/payload.tar")).unwrap();
    assert!(payload[4096..].starts_with(&code(1)));
}

fn another_processor() {
    let scratch = Scratch::new();
    let [own, other] = match Arch::host() {
        Arch::X86_64 => ["x86-64-v3", "armv8-a"],
        Arch::Aarch64 => ["armv8.1-a", "rv64gcv"],
        Arch::Riscv64 => ["rv64gc", "x86-64"],
    };
    run(&mut launcher(&scratch, "compile", MODULE), &["--cpu", own]).expect_output(NATIVE);
    run(&mut launcher(&scratch, "compile", MODULE), &["--cpu", other])
        .expect_code(exit_code::USAGE)
        .expect_message(&["--cpu", other, "--arch"]);
}
