//! What work in a shared directory costs: our machine and a small Linux, on the same virtiofsd, under the same
//! emulator.
//!
//! Counted by a plugin of its own (`xtask/bench/requests.c`) which can hold the processor until the server has
//! answered: without that, instructions of waiting are counted too, and how many these are depends on the machine's
//! load. Requests are counted in virtiofsd's log. Each figure is a difference: the work against the same with nothing
//! to do.

mod others;
mod run;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::grouped;
use super::linux::Linux;
use crate::toolchain::{find, root, run as succeed};
use crate::{guests, image};

use run::{Machine, Serving};

/// All that is read or written in one row.
const BYTES: u64 = 64 << 20;

/// The files that are opened in one row.
const FILES: u32 = 10_000;

/// Where the files lie that are not in the shared directory itself.
const DEEP: &str = "one/two/three/";

/// One row: a job of `guests/rust/src/bin/share-cost.rs`.
struct Job {
    name: &'static str,
    what: &'static str,
    /// Bytes of a call, or the directory of the files.
    with: &'static str,
    times: u32,
    /// Whether Linux can do it past its page cache.
    direct: bool,
}

const fn transfer(name: &'static str, what: &'static str, with: &'static str, times: u32) -> Job {
    Job {
        name,
        what,
        with,
        times,
        direct: true,
    }
}

const fn open(name: &'static str, with: &'static str) -> Job {
    Job {
        name,
        what: "open",
        with,
        times: FILES,
        direct: false,
    }
}

const JOBS: [Job; 6] = [
    transfer("write 64 MiB, 64 KiB a call", "write", "65536", 1024),
    transfer("write 64 MiB, 1 MiB a call", "write", "1048576", 64),
    transfer("read 64 MiB, 64 KiB a call", "read", "65536", 1024),
    transfer("read 64 MiB, 1 MiB a call", "read", "1048576", 64),
    open("open and close 10,000 files", "."),
    open("the same, three directories down", DEEP),
];

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    instructions: u64,
    /// Those of them that are iterations with a `rep` prefix.
    repeated: u64,
    requests: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    fn since(self, earlier: Self) -> Self {
        Self {
            instructions: self.instructions.saturating_sub(earlier.instructions),
            repeated: self.repeated.saturating_sub(earlier.repeated),
            requests: self.requests.saturating_sub(earlier.requests),
        }
    }
}

/// Prints the tables.
pub(super) fn run_all() -> Result<()> {
    let Some(virtiofsd) = find("virtiofsd") else {
        println!(
            "Shared directories: not measured: virtiofsd is not here (scripts/setup --for bench brings it)"
        );
        return Ok(());
    };
    image::build(crate::arch::Arch::X86_64, &image::default_out())?;
    let guests = root().join("target/guests");
    guests::build(&root(), &guests)?;
    let work = root().join("target/bench/share");
    fs::create_dir_all(&work)?;
    let plugin = work.join("requests.so");
    succeed(
        Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
            .arg(&plugin)
            .arg(root().join("xtask/bench/requests.c")),
    )?;
    let machine = Machine {
        virtiofsd,
        plugin,
        module: guests.join("share-cost.wasm"),
        directory: work.join("directory"),
        work: work.clone(),
    };
    fill(&machine.directory)?;
    let linux = others::prepare(&work);

    println!("Shared directories: guest instructions (q35, QEMU TCG, -icount shift=0) and FUSE requests");
    if let Err(reason) = &linux {
        println!("Linux: not measured: {reason}");
    }
    for serving in [Serving::AtOnce, Serving::AsItComes] {
        println!("\n{}\n", serving.title());
        print_table(&machine, linux.as_ref().ok(), serving)?;
    }
    Ok(())
}

/// Makes what is shared: the file that is read, and the files that are opened.
fn fill(directory: &Path) -> Result<()> {
    for place in [directory.to_path_buf(), directory.join(DEEP)] {
        fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        for number in 0..FILES {
            fs::write(place.join(format!("{number:05}")), b"")?;
        }
    }
    Ok(())
}

/// Measures all rows with one way of serving, and prints them.
fn print_table(machine: &Machine, linux: Option<&Linux>, serving: Serving) -> Result<()> {
    let sides = ["ours", "Linux", "Linux, O_DIRECT"];
    print!("{:34}", "");
    for side in sides {
        print!(" | {side:>14} {:>12} {:>8}", "of them rep", "requests");
    }
    println!();
    let others = linux
        .map(|linux| others::measure(linux, machine, serving))
        .transpose()?;
    for (index, job) in JOBS.iter().enumerate() {
        let words = |times: u32| [job.what.to_owned(), job.with.to_owned(), times.to_string()];
        let ours = machine
            .ours(serving, &words(job.times))?
            .since(machine.ours(serving, &words(0))?);
        let theirs = |direct| others.as_ref().and_then(|all| all.get(&(index, direct)).copied());
        print!("{:34}", job.name);
        for counts in [Some(ours), theirs(false), theirs(true)] {
            match counts {
                Some(counts) => print!(
                    " | {:>14} {:>12} {:>8}",
                    grouped(counts.instructions),
                    grouped(counts.repeated),
                    // The log that they are counted in slows the server, so there is none when that matters.
                    match serving {
                        Serving::AtOnce => grouped(counts.requests),
                        Serving::AsItComes => String::new(),
                    }
                ),
                None => print!(" | {:>14} {:>12} {:>8}", "", "", ""),
            }
        }
        println!();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_are_as_long_as_the_table_says() {
        for job in JOBS.iter().filter(|job| job.direct) {
            let size: u64 = job.with.parse().unwrap();
            assert_eq!(size * u64::from(job.times), BYTES, "{}", job.name);
        }
    }

    #[test]
    fn differences_are_of_each_count() {
        let counts = |instructions, repeated, requests| Counts {
            instructions,
            repeated,
            requests,
        };
        assert_eq!(counts(9, 5, 3).since(counts(2, 4, 3)), counts(7, 1, 0));
    }
}
