//! A machine that runs, with a debugger that looks at it: where it is, its pages, its end.
//!
//! Layer: host tests.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use hermit_page_tables::{Format as _, Mapping, aarch64, riscv64, x86_64};
use test_qemu::{Arch, Qemu};

use crate::gdb::Debugger;
use crate::pages::{self, PAGE};

/// Seconds after which a machine is ended. Far more than any takes.
const LIMIT: u32 = 400;

/// A machine to be, with a debugger.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// Its architecture; the machine is the usual one.
    pub arch: Arch,
    /// What its directory is called after.
    pub name: &'a str,
    /// What is booted.
    pub image: &'a Path,
    /// At its end it is stopped, and QEMU with all of its state stays.
    pub stays: bool,
}

impl Boot<'_> {
    /// Starts it with the boot module that `module` makes in a directory.
    ///
    /// # Errors
    /// If there is no such module, or QEMU does not start.
    pub fn start(&self, module: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<Machine> {
        let &Self { arch, stays, .. } = self;
        let id = std::process::id();
        let directory =
            std::env::temp_dir().join(format!("hermit-wasm-inside-{id}-{}-{}", arch.name(), self.name));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let socket = directory.join("gdb");
        let file = module(&directory)?;
        let qemu = Qemu {
            kernel: Some(self.image),
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
        let mut machine = Machine {
            arch,
            input: input.context("no standard input")?,
            output: output.context("no standard output")?,
            qemu,
            debugger: Debugger::connect(&socket)?,
        };
        machine.debugger.resume()?;
        Ok(machine)
    }
}

/// A machine that runs, and what may be done to it.
#[derive(Debug)]
pub struct Machine {
    /// Its architecture.
    pub arch: Arch,
    // Ends QEMU, if it has not ended.
    /// The debugger that looks at it.
    pub debugger: Debugger,
    /// Its standard input.
    pub input: ChildStdin,
    output: ChildStdout,
    qemu: Running,
}

/// QEMU under its limit, and its files: both go with the value.
#[derive(Debug)]
struct Running {
    limited: Child,
    directory: PathBuf,
}

impl Machine {
    /// Reads what the machine prints up to the line `begun`.
    ///
    /// # Errors
    /// If it ends before.
    pub fn wait_for_begin(&mut self) -> Result<String> {
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
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Where it is.
    ///
    /// # Errors
    /// If the debugger does not answer.
    pub fn program_counter(&mut self) -> Result<u64> {
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
    ///
    /// # Errors
    /// If there are none.
    pub fn interrupt_handlers(&mut self) -> Result<Vec<u64>> {
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
    ///
    /// # Errors
    /// If there is no place for it.
    pub fn recurse(&mut self) -> Result<()> {
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

    /// What it still prints until it ends, and how QEMU ended.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn end(&mut self) -> Result<(String, ExitStatus)> {
        let mut text = Vec::new();
        self.output.read_to_end(&mut text)?;
        let status = self.qemu.limited.wait()?;
        Ok((String::from_utf8_lossy(&text).into_owned(), status))
    }

    /// The machine ends by itself, with the message and the status of a failure.
    ///
    /// # Errors
    /// If it ends otherwise.
    pub fn check_end(&mut self) -> Result<()> {
        let (text, status) = self.end()?;
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
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub fn pages(&mut self) -> Result<Vec<Mapping>> {
        match self.arch {
            Arch::X86_64 => {
                let root = self.shown("CR3=")?;
                pages::all::<x86_64::Entries>(&mut self.debugger, x86_64::Entries::address(root))
            }
            Arch::Aarch64 => {
                let root = self.debugger.register("TTBR0_EL1")?;
                pages::all::<aarch64::Entries>(&mut self.debugger, aarch64::Entries::address(root))
            }
            Arch::Riscv64 => {
                let root = self.debugger.register("satp")?;
                ensure!(root >> 60 == 8, "satp is {root:#x}: not Sv39");
                pages::all::<riscv64::Entries>(&mut self.debugger, (root & ((1 << 44) - 1)) << 12)
            }
        }
    }

    /// Looks at the page tables, wherever the machine is stopped; it executes what is at `code`.
    ///
    /// # Errors
    /// If a page is not as it should be.
    pub fn check_pages(&mut self, code: u64) -> Result<()> {
        let pages = self.pages()?;
        pages::check_rights(&pages)?;
        pages::check_null(&pages)?;
        pages::check_heap(&pages)?;
        let code =
            pages::find(&pages, code).with_context(|| format!("no page at {code:#x}, which is executed"))?;
        ensure!(
            code.rights.execute,
            "what is executed is not executable: {code:x?}"
        );
        let stack = if self.arch == Arch::X86_64 { "rsp" } else { "sp" };
        let stack = self.debugger.register(stack)?;
        // rustc does not probe stacks on riscv64, so a page would be too little there.
        let guard = if self.arch == Arch::Riscv64 {
            16 * PAGE
        } else {
            PAGE
        };
        pages::check_stack(&pages, stack, guard)?;
        let loader = match self.arch {
            Arch::X86_64 => 0x10_0000,
            Arch::Aarch64 => 0x4018_0000,
            Arch::Riscv64 => 0x8020_0000,
        };
        let mut stacks = vec![pages::first_stack(&pages, loader)?];
        for pointer in self.other_stacks()? {
            let stack = pages::check_stack(&pages, pointer, PAGE);
            stacks.push(stack.context("a stack for interrupts and faults")?);
        }
        stacks.sort_by_key(|stack| stack.start);
        stacks.dedup();
        let expected = match self.arch {
            // The first, and for interrupts (each task's own), double faults, NMIs and machine checks.
            Arch::X86_64 => 5,
            // The first, on which faults are reported, and the one of the task's system calls and interrupts.
            Arch::Aarch64 => 2,
            Arch::Riscv64 => 1,
        };
        ensure!(
            stacks.len() == expected,
            "{expected} stacks expected: {stacks:x?}"
        );
        Ok(())
    }

    /// Where the stacks begin to which the processor changes by itself.
    fn other_stacks(&mut self) -> Result<Vec<u64>> {
        match self.arch {
            // Intel SDM volume 3, 8.7: seven of them in the task-state segment. The kernel uses four.
            Arch::X86_64 => {
                let registers = self.debugger.monitor("info registers")?;
                let segment = registers.split_once("TR =").context("no task register")?.1;
                let base = segment.split_whitespace().nth(1).unwrap_or_default();
                let base = u64::from_str_radix(base, 16).with_context(|| base.to_owned())?;
                let table = self.debugger.memory(base + 36, 4 * 8)?;
                let pointers = table.as_chunks::<8>().0.iter().copied().map(u64::from_le_bytes);
                Ok(pointers.collect())
            }
            Arch::Aarch64 => Ok(vec![self.debugger.register("SP_EL1")?]),
            Arch::Riscv64 => Ok(Vec::new()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.limited.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
