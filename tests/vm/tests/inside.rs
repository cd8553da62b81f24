//! What a debugger sees in a machine that runs: the rights of every page, after the kernel's start and at the run's
//! end, and what the kernel makes of a stack that overflows.
//!
//! The images are the real ones. An overflow is made by letting the machine go on with a recursion.
//! Environment: `IMAGES` and `ARCH` of `environment.rs`.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Arch;
use vm_tests::machine::{Boot, Machine};
use vm_tests::{environment, program};

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;
/// How long a machine that has nothing to do is left to itself.
const PAUSE: Duration = Duration::from_millis(300);

/// Says that it has begun and then asks for the time for ever.
const BUSY: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\0c\00\00\00\06\00\00\00\00\00\00\00begun\n")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop (drop (call $time (i32.const 1) (i64.const 0) (i32.const 64))) (br 0))))"#;

/// Says that it has begun, and ends after two bytes of input.
const IDLE: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\0c\00\00\00\06\00\00\00\00\00\00\00begun\n\00\00\40\00\00\00\01\00\00\00")
  (func $read (drop (call $fd_read (i32.const 0) (i32.const 20) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $read) (call $read)))"#;

/// A test: its name and what it does.
type Test = (&'static str, fn(Arch) -> Result<()>);

const TESTS: &[Test] = &[
    ("tables/after-the-start", tables_after_the_start),
    ("tables/at-the-end", tables_at_the_end),
    ("faults/busy", overflow_while_busy),
    ("faults/idle", overflow_while_idle),
];

/// Not on riscv64, whose kernel takes no interrupts while a task runs: the idle task asks for them.
const INTERRUPT_TESTS: &[Test] = &[("faults/interrupt", overflow_in_an_interrupt)];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let arch = match environment::arch() {
        Ok(arch) => arch,
        Err(error) => {
            eprintln!("error: the tests inside of machines cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let interrupts = if arch == Arch::Riscv64 {
        &[]
    } else {
        INTERRUPT_TESTS
    };
    let trials = TESTS.iter().chain(interrupts).map(|&(name, test)| {
        Trial::test(name, move || {
            test(arch).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// While a guest runs: the kernel has mapped all it ever does for it.
fn tables_after_the_start(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "busy-tables", BUSY, false)?;
    machine.wait_for_begin()?;
    machine.debugger.stop()?;
    let code = machine.program_counter()?;
    machine.check_pages(code)
}

/// When the kernel has ended the machine.
fn tables_at_the_end(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "end", IDLE, true)?;
    machine.wait_for_begin()?;
    if arch == Arch::Riscv64 {
        return tables_at_the_end_riscv64(&mut machine);
    }
    machine.input.write_all(b"xx")?;
    machine.debugger.wait_for_stop()?;
    let code = machine.program_counter()?;
    machine.check_pages(code)
}

/// QEMU ends at once when it is told by the device that riscv64's machine has for that. So the device's entry is struck
/// from the kernel's device tree, the kernel asks the firmware, and is stopped on the way there.
fn tables_at_the_end_riscv64(machine: &mut Machine) -> Result<()> {
    /// What lies between the loader and the application: among it, the device tree.
    const TREE: Range<u64> = 0x8020_0000..0x8040_0000;
    /// The firmware's extension for resets, as it is called (SBI specification 1.0, 10).
    const RESET: u64 = 0x5352_5354;
    const CALL_FROM_SUPERVISOR: u64 = 9;

    machine.debugger.stop()?;
    let name = b"sifive,test0";
    let memory = machine.debugger.memory(TREE.start, 0x20_0000)?;
    let mut places = (TREE.start..)
        .zip(memory.windows(name.len()))
        .filter(|(_, window)| window == name);
    let mut found = 0;
    for (place, _) in places.by_ref() {
        machine.debugger.set_memory(place, b"-")?;
        found += 1;
    }
    ensure!(found > 0, "no device tree with {name:?}");
    let firmware = machine.debugger.register("mtvec")? & !3;
    machine.debugger.set_breakpoint(firmware)?;
    machine.debugger.resume()?;
    machine.input.write_all(b"xx")?;
    loop {
        machine.debugger.wait_for_stop()?;
        if machine.debugger.register("mcause")? == CALL_FROM_SUPERVISOR
            && machine.debugger.register("a7")? == RESET
        {
            break;
        }
        machine.debugger.remove_breakpoint(firmware)?;
        machine.debugger.step()?;
        machine.debugger.set_breakpoint(firmware)?;
        machine.debugger.resume()?;
    }
    let code = machine.debugger.register("mepc")?;
    machine.check_pages(code)
}

/// In the application or a system call of it, wherever the machine is stopped.
fn overflow_while_busy(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "busy", BUSY, false)?;
    machine.wait_for_begin()?;
    machine.debugger.stop()?;
    machine.recurse()?;
    machine.check_end()
}

/// In the kernel's idle task, which runs on the stack that it was started on.
fn overflow_while_idle(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "idle", IDLE, false)?;
    machine.wait_for_begin()?;
    // The application is about to wait. It is the idle task that runs from when it does.
    sleep(PAUSE);
    machine.debugger.stop()?;
    machine.recurse()?;
    // A processor that has been halted goes on with an interrupt only. The application reads a byte and waits again.
    machine.input.write_all(b"x")?;
    machine.check_end()
}

/// Where an interrupt has just been taken: on a stack other than the application's.
fn overflow_in_an_interrupt(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "interrupt", BUSY, false)?;
    machine.wait_for_begin()?;
    machine.debugger.stop()?;
    let handlers = machine.interrupt_handlers()?;
    for &handler in &handlers {
        machine.debugger.set_breakpoint(handler)?;
    }
    machine.debugger.resume()?;
    machine.input.write_all(b"x")?;
    machine.debugger.wait_for_stop()?;
    for &handler in &handlers {
        machine.debugger.remove_breakpoint(handler)?;
    }
    let here = machine.program_counter()?;
    ensure!(
        handlers.contains(&here),
        "stopped at {here:#x} instead of a handler"
    );
    machine.recurse()?;
    machine.check_end()
}

/// Starts the usual machine with a module. `stays`: at its end it is stopped, and QEMU with all of its state stays.
fn start(arch: Arch, name: &str, module: &str, stays: bool) -> Result<Machine> {
    let engine = environment::engine()?;
    let image = environment::needed(environment::IMAGES)?
        .join(arch.name())
        .join(program::image_name(engine, "hermit-wasm.img"));
    let boot = Boot {
        arch,
        name,
        image: &image,
        stays,
    };
    boot.start(|directory| {
        let file = directory.join("module.wasm");
        std::fs::write(&file, wat::parse_str(module)?)?;
        program::of(&file, arch, None, engine, directory)
    })
}
