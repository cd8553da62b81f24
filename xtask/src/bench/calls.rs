//! What one WASI call costs, on our shim and on `wasmi_wasi`: same interpreter, same modules, one run.
//!
//! Each figure is a difference of two differences: a loop with the call (and what puts things back) against the same
//! loop without it, each for two numbers of rounds. So start-up, the loop and what puts things back cancel. What is
//! left is the guest's call instruction, the interpreter's way out and in, and the function.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Figure, grouped, has_valgrind, precise};
use crate::differential;

/// One row: what a round does, and what it does without the call.
pub(super) struct Case {
    pub(super) name: &'static str,
    body: &'static str,
    base: &'static str,
    /// Rounds for counting instructions, and more of them for measuring time.
    rounds: u32,
    timed: u32,
}

const SEEK: &str = "(call $fd_seek (global.get $file) (i64.const 0) (i32.const 0) (i32.const 8))";

pub(super) const CASES: [Case; 9] = [
    Case {
        name: "fd_write, 1 byte",
        body: "(call $fd_seek (global.get $file) (i64.const 0) (i32.const 0) (i32.const 8))
               (call $fd_write (global.get $file) (i32.const 16) (i32.const 1) (i32.const 8))",
        base: SEEK,
        rounds: 1000,
        timed: 200_000,
    },
    Case {
        name: "fd_write, 64 KiB",
        body: "(call $fd_seek (global.get $file) (i64.const 0) (i32.const 0) (i32.const 8))
               (call $fd_write (global.get $file) (i32.const 24) (i32.const 1) (i32.const 8))",
        base: SEEK,
        rounds: 200,
        timed: 20_000,
    },
    Case {
        name: "fd_read, 1 byte",
        body: "(call $fd_seek (global.get $file) (i64.const 0) (i32.const 0) (i32.const 8))
               (call $fd_read (global.get $file) (i32.const 16) (i32.const 1) (i32.const 8))",
        base: SEEK,
        rounds: 1000,
        timed: 200_000,
    },
    Case {
        name: "fd_read, 64 KiB",
        body: "(call $fd_seek (global.get $file) (i64.const 0) (i32.const 0) (i32.const 8))
               (call $fd_read (global.get $file) (i32.const 24) (i32.const 1) (i32.const 8))",
        base: SEEK,
        rounds: 200,
        timed: 20_000,
    },
    Case {
        name: "clock_time_get, monotonic",
        body: "(call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 8))",
        base: "(i32.const 0)",
        rounds: 1000,
        timed: 200_000,
    },
    Case {
        name: "random_get, 32 bytes",
        body: "(call $random_get (i32.const 1024) (i32.const 32))",
        base: "(i32.const 0)",
        rounds: 1000,
        timed: 200_000,
    },
    Case {
        name: "path_open + fd_close",
        body: "(call $path_open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 0)
                   (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 8))
               (call $fd_close (i32.load (i32.const 8)))",
        base: "(i32.const 0)",
        rounds: 1000,
        timed: 50_000,
    },
    Case {
        name: "path_filestat_get",
        body: "(call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 64))",
        base: "(i32.const 0)",
        rounds: 1000,
        timed: 50_000,
    },
    Case {
        name: "fd_readdir, 1,000 entries",
        body: "(call $fd_readdir (i32.const 3) (i32.const 65536) (i32.const 65536) (i64.const 0) (i32.const 8))",
        base: "(i32.const 0)",
        rounds: 20,
        timed: 500,
    },
];

/// A module that makes 1,000 files, keeps the last of them open (`f`, 64 KiB), and then does a body so many times.
/// Every call has to succeed.
fn module(body: &str, rounds: u32) -> String {
    // The sum of the errnos: each call of the body leaves one.
    let calls = body.matches("(call").count().max(1);
    let sum = "(i32.or)".repeat(calls - 1);
    format!(
        r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (memory (export "memory") 3)
    ;; A buffer of one byte, one of 64 KiB, and a name.
    (data (i32.const 16) "\00\00\01\00\01\00\00\00" "\00\00\01\00\00\00\01\00" "f")
    (data (i32.const 40) "0000")
    (global $file (mut i32) (i32.const 0))
    (func $check (param i32) (if (local.get 0) (then (unreachable))))
    (func $create (param $name i32) (param $length i32) (result i32)
        (call $check (call $path_open (i32.const 3) (i32.const 0) (local.get $name) (local.get $length) (i32.const 1)
            (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 8)))
        (i32.load (i32.const 8)))
    (func (export "_start") (local $n i32)
        (loop $files
            (i32.store8 (i32.const 40) (i32.add (i32.const 48) (i32.div_u (local.get $n) (i32.const 1000))))
            (i32.store8 (i32.const 41)
                (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 100)) (i32.const 10))))
            (i32.store8 (i32.const 42)
                (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
            (i32.store8 (i32.const 43) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
            (call $check (call $fd_close (call $create (i32.const 40) (i32.const 4))))
            (br_if $files (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 999))))
        (global.set $file (call $create (i32.const 32) (i32.const 1)))
        (call $check (call $fd_write (global.get $file) (i32.const 24) (i32.const 1) (i32.const 8)))
        (local.set $n (i32.const {rounds}))
        (loop $again
            {body} {sum}
            (call $check)
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
    )
}

/// A side of the comparison.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Theirs,
}

/// Instructions of each call on our shim.
pub(super) fn figures() -> Result<Vec<Figure>> {
    let host = differential::build()?.join("wasi-host");
    let costs = costs(|module| instructions(&host, module))?;
    Ok(CASES.iter().map(|case| case.name.to_owned()).zip(costs).collect())
}

/// What each call costs, if `count` says what a module does.
pub(super) fn costs(count: impl Fn(&Path) -> Result<u64>) -> Result<Vec<u64>> {
    let work = super::work()?;
    let mut bases: Vec<(&str, u32, f64)> = Vec::new();
    let mut costs = Vec::new();
    for case in &CASES {
        let cost = |body| slope(&work, body, case.rounds, |module| Ok(precise(count(module)?)));
        let known = bases
            .iter()
            .find(|(body, rounds, _)| (*body, *rounds) == (case.base, case.rounds));
        let base = match known {
            Some((.., base)) => *base,
            None => {
                let base = cost(case.base)?;
                bases.push((case.base, case.rounds, base));
                base
            }
        };
        costs.push(whole(cost(case.body)? - base));
    }
    Ok(costs)
}

/// Instructions of a whole run of a module on our shim.
pub(super) fn instructions(host: &Path, module: &Path) -> Result<u64> {
    count(host, &super::work()?, Side::Ours, module).map(whole)
}

/// The fuel that a module without imports uses.
pub(super) fn fuel(host: &Path, module: &Path) -> Result<u64> {
    let mut command = Command::new(host);
    command.args(["--wasi", "shim", "--fuel"]).arg(module);
    number(&said(command)?, "fuel:").map(whole)
}

/// Prints the table.
pub(super) fn run_all() -> Result<()> {
    if !has_valgrind() {
        println!(
            "What a call costs: not measured: valgrind is not here (Debian's package `valgrind`; `scripts/setup --for bench` installs it)"
        );
        return Ok(());
    }
    let host = differential::build()?.join("wasi-host");
    let work = super::work()?;
    println!(
        "What a call costs: user-mode instructions, and CPU time with the host kernel's in it (least of {TRIES})\n"
    );
    println!(
        "{:28} {:>12} {:>12} {:>6} {:>12} {:>12} {:>6}",
        "", "ours", "wasmi_wasi", "ratio", "ours ns", "wasmi_w. ns", "ratio"
    );
    for case in &CASES {
        let mut instructions = Vec::new();
        let mut times = Vec::new();
        for side in [Side::Ours, Side::Theirs] {
            let counts = |body| {
                slope(&work, body, case.rounds, |module| {
                    count(&host, &work, side, module)
                })
            };
            instructions.push(counts(case.body)? - counts(case.base)?);
            let timed = |body| slope(&work, body, case.timed, |module| time(&host, &work, side, module));
            times.push(timed(case.body)? - timed(case.base)?);
        }
        let [ours, theirs, our_time, their_time] = [instructions[0], instructions[1], times[0], times[1]];
        println!(
            "{:28} {:>12} {:>12} {:>6.2} {:>12} {:>12} {:>6.2}",
            case.name,
            rounded(ours),
            rounded(theirs),
            ours / theirs,
            rounded(our_time),
            rounded(their_time),
            our_time / their_time
        );
    }
    Ok(())
}

/// How often each time is measured.
const TRIES: usize = 3;

/// What a round adds, from runs with so many rounds and with eleven times as many.
fn slope(work: &Path, body: &str, rounds: u32, measure: impl Fn(&Path) -> Result<f64>) -> Result<f64> {
    let few = super::module(work, "few", &module(body, rounds))?;
    let many = super::module(work, "many", &module(body, rounds * 11))?;
    Ok((measure(&many)? - measure(&few)?) / f64::from(rounds * 10))
}

/// The command that runs a module, after a wrapper such as valgrind.
fn command(wrapper: &[&str], host: &Path, work: &Path, side: Side, module: &Path) -> Result<Command> {
    let mut words = wrapper.iter().map(PathBuf::from).chain([host.into()]);
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).arg("--time");
    match side {
        Side::Ours => command.args(["--wasi", "shim", "--tmpfs", "/"]),
        Side::Theirs => {
            let directory = work.join("directory");
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory)?;
            command
                .args(["--wasi", "wasmi-wasi", "--dir"])
                .arg(format!("{}::/", directory.display()))
        }
    };
    command.arg(module).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// Runs it; what it says on standard error.
fn said(mut command: Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{}: {command:?}: {said}", output.status);
    }
    Ok(said)
}

/// The number after a word.
fn number(said: &str, word: &str) -> Result<f64> {
    let (_, rest) = said
        .split_once(word)
        .with_context(|| format!("no `{word}` in: {said}"))?;
    let number = rest.split_whitespace().next().context("no number")?;
    number.parse().with_context(|| format!("no number: {number}"))
}

/// Instructions of a whole run in user mode.
fn count(host: &Path, work: &Path, side: Side, module: &Path) -> Result<f64> {
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    number(
        &said(command(&valgrind, host, work, side, module)?)?,
        "Collected :",
    )
}

/// CPU time of a whole run in nanoseconds.
fn time(host: &Path, work: &Path, side: Side, module: &Path) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        least = least.min(number(
            &said(command(&[], host, work, side, module)?)?,
            "cpu-time:",
        )?);
    }
    Ok(least)
}

/// A figure as a whole number, to be read.
fn rounded(number: f64) -> String {
    grouped(whole(number))
}

/// A figure as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of instructions and nanoseconds are far below 2^53, and never negative"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_well_formed() {
        for case in &CASES {
            for body in [case.body, case.base] {
                wat::parse_str(module(body, 1)).expect(case.name);
            }
        }
    }

    #[test]
    fn figures_are_found() {
        let said = "==1== Collected : 1234\ncpu-time: 55 ns\n";
        assert_eq!(number(said, "Collected :").unwrap(), 1234.0);
        assert_eq!(number(said, "cpu-time:").unwrap(), 55.0);
        assert!(number(said, "Nothing :").is_err());
    }
}
