//! The kernel's calls for memory, code, faults and devices, by an application that does nothing else:
//! `tests/system-calls`.
//!
//! What a debugger finds in the page tables after code has been published is looked at from outside.
//! Environment: `CALLS` and `ARCH` of `environment.rs`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use hermit_page_tables::{Mapping, Rights};
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Arch;
use vm_tests::environment;
use vm_tests::machine::{Boot, Machine};
use vm_tests::pages;
use vm_tests::wire::{Wire, Wired};

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;

/// A test: its name and what it does.
type Test = (&'static str, fn(Arch) -> Result<()>);

const TESTS: &[Test] = &[
    ("calls/memory", memory),
    ("calls/tables", tables),
    ("calls/faults", faults),
    ("calls/unhandled", unhandled),
    ("calls/elsewhere", elsewhere),
    ("frames/mmio", frames_by_mmio),
    ("frames/pci", frames_by_pci),
    ("frames/asleep", asleep),
    ("frames/none", no_device),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let arch = match environment::arch() {
        Ok(arch) => arch,
        Err(error) => {
            eprintln!("error: the tests of the kernel's calls cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = TESTS.iter().map(|&(name, test)| {
        Trial::test(name, move || {
            test(arch).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The application with an order: what its source says of it.
fn start(arch: Arch, order: &str) -> Result<Machine> {
    let image = environment::needed(environment::CALLS)?.join(format!("{}.img", arch.name()));
    let boot = Boot {
        arch,
        name: &format!("calls-{order}"),
        image: &image,
        stays: false,
    };
    boot.start(|directory| {
        let file = directory.join("order");
        // The order, and pages for code.
        let mut bytes = format!("{order}\n").into_bytes();
        bytes.resize(4 * 4096, 0);
        std::fs::write(&file, bytes)?;
        Ok(file)
    })
}

/// All lines are there, and the last of them.
fn expect(arch: Arch, order: &str, lines: &[&str]) -> Result<()> {
    let (text, status) = start(arch, order)?.end()?;
    for line in lines.iter().chain(&["done"]) {
        ensure!(
            text.lines().any(|printed| printed.trim_end() == *line),
            "no line '{line}' in {text:?}, {status}"
        );
    }
    Ok(())
}

fn memory(arch: Arch) -> Result<()> {
    let lines = [
        "what is refused",
        "what is backed is clear",
        "what is backed as it is",
        "parts of large pages",
        "nothing is lost",
    ];
    expect(arch, "memory", &lines)
}

fn faults(arch: Arch) -> Result<()> {
    let lines = ["kinds of faults", "neighbours", "what is refused", "unpublished"];
    expect(arch, "faults", &lines)
}

/// Pages of a range and of the boot module, and large ones, have been published.
fn tables(arch: Arch) -> Result<()> {
    let mut machine = start(arch, "tables")?;
    let text = machine.wait_for_begin()?;
    machine.debugger.stop()?;
    let pages = machine.pages()?;
    pages::check_rights(&pages)?;
    let mut published = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("published ")) {
        let (start, len) = line.trim().split_once(' ').context("a range")?;
        let start = u64::from_str_radix(start, 16)?;
        check_published(&pages, start, start + u64::from_str_radix(len, 16)?)?;
        published += 1;
    }
    ensure!(published == 3, "not three ranges in {text:?}");
    Ok(())
}

/// What lies between two addresses is code, what lies around it is not, and by no other address it is written to.
fn check_published(pages: &[Mapping], start: u64, end: u64) -> Result<()> {
    let code = Rights {
        write: false,
        execute: true,
    };
    let mut address = start;
    while address < end {
        let page = pages::find(pages, address).with_context(|| format!("no page at {address:#x}"))?;
        ensure!(page.rights == code, "published, but {page:x?}");
        let frame = page.target + (address - page.address);
        let others = pages.iter().filter(|other| {
            other.address != page.address && other.target <= frame && frame < other.target + other.size
        });
        for other in others {
            ensure!(
                !other.rights.write && !other.rights.execute,
                "{frame:#x} is published, and {other:x?}"
            );
        }
        address += 4096;
    }
    for beside in [start - 1, end] {
        let page = pages::find(pages, beside).with_context(|| format!("no page at {beside:#x}"))?;
        ensure!(
            page.rights.write && !page.rights.execute,
            "not published, but {page:x?}"
        );
    }
    Ok(())
}

/// A handler that returns leaves the fault to the kernel.
fn unhandled(arch: Arch) -> Result<()> {
    let text = fault(arch, "unhandled")?;
    ensure!(
        text.starts_with("not mine") || text.contains("\nnot mine"),
        "{text:?}"
    );
    Ok(())
}

/// A fault of code that was not published is the kernel's, whatever handler there is.
fn elsewhere(arch: Arch) -> Result<()> {
    fault(arch, "elsewhere").map(|_| ())
}

/// The machine ends with the kernel's message.
fn fault(arch: Arch, order: &str) -> Result<String> {
    let (text, status) = start(arch, order)?.end()?;
    let message = match arch {
        Arch::X86_64 => "Page fault (#PF)!",
        Arch::Aarch64 => "Unable to handle page fault at ",
        Arch::Riscv64 => "Interrupt: Exception(LoadPageFault)",
    };
    ensure!(
        text.matches(message).count() == 1,
        "no '{message}' in {text:?}, {status}"
    );
    for wrong in ["done", "FAILED", "Another fault"] {
        ensure!(!text.contains(wrong), "{text:?}");
    }
    check_report(arch, &text)?;
    Ok(text)
}

/// What is known of a fault is said in full, whatever the build leaves out of what is derived to show it.
fn check_report(arch: Arch, text: &str) -> Result<()> {
    let numbers: &[&str] = match arch {
        Arch::X86_64 => &[
            "page_fault_linear_address = ",
            "error_code = ",
            "fs = ",
            "gs = ",
            "instruction pointer ",
            "code segment ",
            "flags ",
            "stack pointer ",
            "stack segment ",
        ],
        Arch::Aarch64 => &[
            "Current stack pointer ",
            "Unable to handle page fault at ",
            "Exception return address ",
            "Table Base Register ",
            "Exception Syndrome Register ",
        ],
        Arch::Riscv64 => &["ra = ", "sp = ", "gp = ", "stval = ", "sepc = ", "sstatus = "],
    };
    for name in numbers {
        let number = text.split(name).nth(1).and_then(|rest| rest.strip_prefix("0x"));
        ensure!(
            number.is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_hexdigit())),
            "no number after '{name}' in {text:?}"
        );
    }
    let words: &[&str] = match arch {
        Arch::X86_64 => &[": read, not mapped"],
        Arch::Aarch64 => &[],
        Arch::Riscv64 => &["a0 to a7 = [", "s0 to s11 = [", "t0 to t6 = ["],
    };
    for word in words {
        ensure!(text.contains(word), "no '{word}' in {text:?}");
    }
    Ok(())
}

/// Machines on which devices have memory-mapped registers, by how they differ from the usual one; the launcher's first.
const fn mmio_machines(arch: Arch) -> &'static [(&'static str, &'static str)] {
    match arch {
        // Without ACPI, devices are where they are, or QEMU names them on the command line. With it they interrupt by a
        // controller of their own, or by other pins.
        Arch::X86_64 => &[
            (
                "launcher",
                "microvm,acpi=off,auto-kernel-cmdline=off,rtc=off,pit=off,pic=off,isa-serial=on",
            ),
            ("words", "microvm,acpi=off"),
            ("acpi", "microvm"),
            ("acpi-pins", "microvm,ioapic2=off"),
        ],
        Arch::Aarch64 => &[
            ("launcher", "virt,gic-version=3,its=off"),
            ("usual", "virt,gic-version=3"),
        ],
        Arch::Riscv64 => &[("launcher", "virt")],
    }
}

fn frames_by_mmio(arch: Arch) -> Result<()> {
    for (name, machine) in mmio_machines(arch) {
        echo(arch, name, machine, "virtio-net-device").with_context(|| machine.to_string())?;
    }
    Ok(())
}

fn frames_by_pci(arch: Arch) -> Result<()> {
    let machines: &[&str] = match arch {
        Arch::X86_64 => &["q35", "pc"],
        Arch::Aarch64 => &["virt,gic-version=3"],
        Arch::Riscv64 => &["virt"],
    };
    for (index, machine) in machines.iter().enumerate() {
        let name = format!("pci-{index}");
        echo(arch, &name, machine, "virtio-net-pci").with_context(|| machine.to_string())?;
    }
    Ok(())
}

/// A machine without the device is told from one with a device that does not work.
fn no_device(arch: Arch) -> Result<()> {
    let (text, status) = start(arch, "frames")?.end()?;
    ensure!(
        text.contains("no network device: Missing"),
        "it printed {text:?}, {status}"
    );
    Ok(())
}

/// Frames of all lengths come back with their addresses exchanged, each before the next one is sent: so the machine
/// sleeps in between, without a limit, and the device's interrupt wakes it. Then several at once.
fn echo(arch: Arch, name: &str, machine: &str, device: &str) -> Result<()> {
    let mut wire = wired(arch, name, machine, device, b"frames\n")?;
    let text = wire.wait_for("mtu 1500")?;
    ensure!(
        text.contains("address 52:54:00:12:34:56\n"),
        "it printed {text:?}"
    );
    let lengths = [60, 61, 1513, 1514].into_iter().chain((62..1513).step_by(37));
    let mut sent = 0;
    for length in lengths {
        let frame = frame(length, sent);
        wire.send(&frame)?;
        check_echo(&wire, &frame)?;
        sent += 1;
    }
    // Several times as many as there are buffers.
    for _ in 0..100 {
        // As few as a socket takes by default while nobody reads.
        let frames: Vec<_> = (0..8).map(|number| frame(1514, sent + number)).collect();
        for frame in &frames {
            wire.send(frame)?;
        }
        for frame in &frames {
            check_echo(&wire, frame)?;
        }
        sent += 8;
    }
    let mut last = frame(60, 0);
    last[12..15].copy_from_slice(b"end");
    wire.send(&last)?;
    check_echo(&wire, &last)?;
    let text = wire.end()?;
    for line in [&*format!("frames {}", sent + 1), "slept", "done"] {
        ensure!(
            text.lines().any(|printed| printed == line),
            "no line '{line}' in {text:?}"
        );
    }
    Ok(())
}

/// A machine that waits for a frame, and for input as well, sleeps until its time is up.
fn asleep(arch: Arch) -> Result<()> {
    for (name, machine) in mmio_machines(arch) {
        let name = format!("asleep-{name}");
        let wire = wired(arch, &name, machine, "virtio-net-device", b"asleep\n")?;
        let text = wire.end()?;
        for line in ["slept", "slept with an ear on input", "done"] {
            ensure!(
                text.lines().any(|printed| printed == line),
                "{machine}: no line '{line}' in {text:?}"
            );
        }
    }
    Ok(())
}

/// Starts the application on a machine with a network device.
fn wired(arch: Arch, name: &str, machine: &str, device: &str, order: &[u8]) -> Result<Wire> {
    let image = environment::needed(environment::CALLS)?.join(format!("{}.img", arch.name()));
    let wired = Wired {
        arch,
        machine,
        device: &format!("{device},mac=52:54:00:12:34:56"),
        image: &image,
        module: order,
        sleep_is_free: order == b"asleep\n",
    };
    wired.start(name)
}

/// A frame to the machine, whose content is its own.
fn frame(length: usize, number: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..6].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    for (index, byte) in frame[14..].iter_mut().enumerate() {
        *byte = ((index + number) * 7 % 251).to_le_bytes()[0];
    }
    frame
}

fn check_echo(wire: &Wire, frame: &[u8]) -> Result<()> {
    let echo = wire.receive()?;
    let (to, rest) = frame.split_at(6);
    let (from, rest) = rest.split_at(6);
    let is_echo = echo.starts_with(from) && echo[6..].starts_with(to) && echo[12..] == *rest;
    ensure!(is_echo, "to a frame of {} bytes: {echo:x?}", frame.len());
    Ok(())
}
