//! What a debugger sees in a machine that runs: the rights of every page, after the kernel's start and at the run's
//! end, and what the kernel makes of a stack that overflows.
//!
//! The images are the real ones. An overflow is made by letting the machine go on with a recursion.
//! Environment: `IMAGES` and `ARCH` of `environment.rs`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hermit_page_tables::{ENTRIES, Format, Mapping, aarch64, riscv64, walk, x86_64};
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::{Arch, Qemu};
use vm_tests::gdb::Debugger;
use vm_tests::{environment, program};

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;
/// Seconds after which a machine is ended. Far more than any takes.
const LIMIT: u32 = 120;
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
    let mut machine = Machine::start(arch, "busy-tables", BUSY, false)?;
    machine.wait_for_begin()?;
    machine.debugger.stop()?;
    let code = machine.program_counter()?;
    machine.check_pages(code)
}

/// When the kernel has ended the machine.
fn tables_at_the_end(arch: Arch) -> Result<()> {
    let mut machine = Machine::start(arch, "end", IDLE, true)?;
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
    let mut machine = Machine::start(arch, "busy", BUSY, false)?;
    machine.wait_for_begin()?;
    machine.debugger.stop()?;
    machine.recurse()?;
    machine.check_end()
}

/// In the kernel's idle task, which runs on the stack that it was started on.
fn overflow_while_idle(arch: Arch) -> Result<()> {
    let mut machine = Machine::start(arch, "idle", IDLE, false)?;
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
    let mut machine = Machine::start(arch, "interrupt", BUSY, false)?;
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

/// A machine that runs, and what may be done to it.
struct Machine {
    arch: Arch,
    // Ends QEMU, if it has not ended.
    debugger: Debugger,
    input: ChildStdin,
    output: ChildStdout,
    qemu: Running,
}

/// QEMU under its limit, and its files: both go with the value.
struct Running {
    limited: Child,
    directory: PathBuf,
}

impl Machine {
    /// Starts the usual machine with a module. `stays`: at its end it is stopped, and QEMU with all of its state stays.
    fn start(arch: Arch, name: &str, module: &str, stays: bool) -> Result<Self> {
        let engine = environment::engine()?;
        let image = environment::needed(environment::IMAGES)?
            .join(arch.name())
            .join(program::image_name(engine, "hermit-wasm.img"));
        let id = std::process::id();
        let directory = std::env::temp_dir().join(format!("hermit-wasm-inside-{id}-{}-{name}", arch.name()));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let (file, socket) = (directory.join("module.wasm"), directory.join("gdb"));
        fs::write(&file, wat::parse_str(module)?)?;
        let file = program::of(&file, arch, engine, &directory)?;
        let qemu = Qemu {
            kernel: Some(&image),
            initrd: Some(&file),
            // Its use would end QEMU whatever else is said.
            exit_device: arch == Arch::X86_64 && !stays,
            ..Qemu::usual(arch)
        };
        let mut command = qemu.limited(LIMIT);
        let socket_option = format!("unix:{},server=on,wait=off", socket.display());
        command.args(["-gdb", &socket_option]);
        if stays {
            command.arg("-no-shutdown");
        } else if arch == Arch::Aarch64 {
            command.args(["-semihosting-config", "enable=on"]);
        }
        let qemu = command
            // Nothing happens before the debugger says so.
            .arg("-S")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let mut qemu = Running {
            limited: qemu,
            directory,
        };
        let (input, output) = (qemu.limited.stdin.take(), qemu.limited.stdout.take());
        let mut machine = Self {
            arch,
            input: input.context("no standard input")?,
            output: output.context("no standard output")?,
            qemu,
            debugger: Debugger::connect(&socket)?,
        };
        machine.debugger.resume()?;
        Ok(machine)
    }

    /// Reads what the machine prints up to the guest's first line.
    fn wait_for_begin(&mut self) -> Result<()> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"begun\n") {
            let count = self.output.read(&mut byte)?;
            ensure!(
                count == 1,
                "the machine ended after {:?}",
                String::from_utf8_lossy(&text)
            );
            text.extend(byte);
        }
        Ok(())
    }

    fn program_counter(&mut self) -> Result<u64> {
        self.debugger.register(match self.arch {
            Arch::X86_64 => "rip",
            Arch::Aarch64 | Arch::Riscv64 => "pc",
        })
    }

    /// What QEMU's monitor shows behind a name. Its description of x86_64's control registers for debuggers is wrong.
    fn shown(&mut self, name: &str) -> Result<u64> {
        let registers = self.debugger.monitor("info registers")?;
        let (_, value) = registers.split_once(name).with_context(|| format!("no {name}"))?;
        let value = value.split_whitespace().next().unwrap_or_default();
        u64::from_str_radix(value, 16).with_context(|| format!("{name}{value}"))
    }

    /// Where the processor goes on when the console's interrupt comes.
    fn interrupt_handlers(&mut self) -> Result<Vec<u64>> {
        match self.arch {
            // The kernel's number for COM1 (`src/arch/x86_64/kernel/serial.rs`).
            Arch::X86_64 => {
                const COM1: u64 = 36;
                let gate = self.shown("IDT=")? + COM1 * 16;
                let gate = self.debugger.memory(gate, 16)?;
                let part = |from: usize, length: usize| {
                    let bytes = gate.iter().skip(from).take(length).rev();
                    bytes.fold(0, |sum, &byte| sum << 8 | u64::from(byte))
                };
                Ok(vec![part(0, 2) | part(6, 2) << 16 | part(8, 4) << 32])
            }
            Arch::Aarch64 => {
                let table = self.debugger.register("VBAR")?;
                Ok(vec![table + 0x80, table + 0x280])
            }
            Arch::Riscv64 => bail!("nothing interrupts a task"),
        }
    }

    /// Goes on with a recursion without end.
    ///
    /// It is put where the loader was: its pages are the lowest that are executable, and it has done its work, whereas
    /// any code of the kernel's or the application's may be needed to report the fault.
    fn recurse(&mut self) -> Result<()> {
        let pages = self.pages()?;
        let loader = pages.iter().find(|page| page.rights.execute);
        let loader = loader.context("nothing is executable")?;
        let recursion: &[u8] = match self.arch {
            // call .
            Arch::X86_64 => &[0xe8, 0xfb, 0xff, 0xff, 0xff],
            // stp x29, x30, [sp, #-16]!; b .-4
            Arch::Aarch64 => &[0xfd, 0x7b, 0xbf, 0xa9, 0xff, 0xff, 0xff, 0x17],
            // addi sp, sp, -16; sd ra, 0(sp); j .-8
            Arch::Riscv64 => &[
                0x13, 0x01, 0x01, 0xff, 0x23, 0x30, 0x11, 0x00, 0x6f, 0xf0, 0x9f, 0xff,
            ],
        };
        self.debugger.set_memory(loader.target, recursion)?;
        let counter = if self.arch == Arch::X86_64 { "rip" } else { "pc" };
        self.debugger.set_register(counter, loader.address)?;
        self.debugger.resume()
    }

    /// The machine ends by itself, with the message and the status of a failure.
    fn check_end(&mut self) -> Result<()> {
        let mut text = Vec::new();
        self.output.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let status: ExitStatus = self.qemu.limited.wait()?;
        ensure!(text.contains("Stack overflow: "), "it printed {text:?}, {status}");
        ensure!(
            !text.contains("Another fault"),
            "the report itself failed: {text:?}"
        );
        ensure!(
            status.code() == Some(1),
            "QEMU ended with {status} after {text:?}"
        );
        Ok(())
    }

    /// All pages that are mapped, by address.
    fn pages(&mut self) -> Result<Vec<Mapping>> {
        match self.arch {
            Arch::X86_64 => {
                let root = self.shown("CR3=")?;
                pages::<x86_64::Entries>(&mut self.debugger, x86_64::Entries::address(root))
            }
            Arch::Aarch64 => {
                let root = self.debugger.register("TTBR0_EL1")?;
                pages::<aarch64::Entries>(&mut self.debugger, aarch64::Entries::address(root))
            }
            Arch::Riscv64 => {
                let root = self.debugger.register("satp")?;
                ensure!(root >> 60 == 8, "satp is {root:#x}: not Sv39");
                pages::<riscv64::Entries>(&mut self.debugger, (root & ((1 << 44) - 1)) << 12)
            }
        }
    }

    /// Looks at the page tables, wherever the machine is stopped; it executes what is at `code`.
    fn check_pages(&mut self, code: u64) -> Result<()> {
        let pages = self.pages()?;
        check_rights(&pages)?;
        let code = find(&pages, code).with_context(|| format!("no page at {code:#x}, which is executed"))?;
        ensure!(
            code.rights.execute,
            "what is executed is not executable: {code:x?}"
        );
        let stack = if self.arch == Arch::X86_64 { "rsp" } else { "sp" };
        let stack = self.debugger.register(stack)?;
        // rustc does not probe stacks on riscv64, so a page would be too little there.
        let guard = if self.arch == Arch::Riscv64 {
            64 << 10
        } else {
            4 << 10
        };
        check_guard(&pages, stack, guard)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.limited.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Follows the page tables from their root.
fn pages<F: Format>(debugger: &mut Debugger, root: u64) -> Result<Vec<Mapping>> {
    let mut tables: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut failure = None;
    let mut read = |table: u64, index: usize| {
        let bytes = match tables.entry(table) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match debugger.memory(table, ENTRIES * 8) {
                Ok(bytes) => unknown.insert(bytes),
                Err(error) => {
                    failure = Some(error);
                    return None;
                }
            },
        };
        let entry = bytes.as_chunks::<8>().0.get(index)?;
        Some(u64::from_le_bytes(*entry))
    };
    let mut pages = Vec::new();
    let done = walk::<F>(root, &mut read, &mut |mapping| {
        if !mapping.is_table {
            pages.push(mapping);
        }
    });
    match (done, failure) {
        (Some(()), _) => Ok(pages),
        (None, Some(error)) => Err(error.context("a page table")),
        (None, None) => bail!("a page table is too short"),
    }
}

fn find(pages: &[Mapping], address: u64) -> Option<&Mapping> {
    pages
        .iter()
        .find(|page| page.address <= address && address - page.address < page.size)
}

/// No page is both writable and executable, and nothing that is executable is writable by another address.
fn check_rights(pages: &[Mapping]) -> Result<()> {
    let executable: Vec<_> = pages.iter().filter(|page| page.rights.execute).collect();
    ensure!(
        !executable.is_empty(),
        "nothing is executable among {} pages",
        pages.len()
    );
    for page in pages.iter().filter(|page| page.rights.write) {
        let overlaps =
            |code: &&&Mapping| code.target < page.target + page.size && page.target < code.target + code.size;
        if let Some(code) = executable.iter().find(overlaps) {
            bail!("writable by {page:x?} and executable by {code:x?}");
        }
    }
    Ok(())
}

/// The pages around a stack pointer are a stack: data, of a bounded size, and below them nothing.
fn check_guard(pages: &[Mapping], stack: u64, guard: u64) -> Result<()> {
    /// The largest stack is 1 MiB.
    const LARGEST: u64 = 1 << 20;

    let mut lowest =
        find(pages, stack).with_context(|| format!("no page at the stack pointer {stack:#x}"))?;
    while let Some(below) = lowest.address.checked_sub(1).and_then(|below| find(pages, below)) {
        ensure!(
            stack - below.address <= LARGEST,
            "nothing ends the stack below {stack:#x}"
        );
        lowest = below;
    }
    let end = lowest.address;
    ensure!(lowest.rights.write, "a stack that is not writable: {lowest:x?}");
    let first = (end - guard..end)
        .step_by(4096)
        .find(|&page| find(pages, page).is_some());
    ensure!(
        first.is_none(),
        "{guard:#x} bytes below the stack at {end:#x} should not be mapped, but {first:x?} is"
    );
    Ok(())
}
