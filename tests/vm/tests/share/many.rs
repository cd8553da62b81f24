//! What is large, many or odd in a shared directory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context as _, Result, ensure};

use crate::Test;
use crate::machine::{Machine, Scratch};

pub(crate) const TESTS: &[Test] = &[
    ("100000-files", many_files),
    ("beyond-4-gib", beyond_4_gib),
    ("odd-names", odd_names),
];

/// 100,000 files are listed, opened, read and closed: neither the guest's memory nor the daemon's descriptors grow.
fn many_files(machine: &Machine) -> Result<()> {
    const FILES: usize = 100_000;
    let scratch = Scratch::new("many")?;
    for index in 0..FILES {
        fs::write(scratch.path().join(index.to_string()), "x")?;
    }
    let guest = machine.guest("share");
    let guest = guest.to_string_lossy();
    machine
        .run(scratch.path(), &["--dir", ".::/", &guest, "count", "/"])?
        .said(&format!("{FILES} entries\n"))?;
    // A machine with hardly more memory than it needs to boot.
    let words = [
        "--memory",
        "24M",
        "--dir",
        ".::/",
        &guest,
        "open",
        "/",
        &FILES.to_string(),
    ];
    let mut run = machine.start(scratch.path(), &words)?;
    run.wait_for(&format!("{FILES} files opened"))?;
    let counts = run
        .daemons()?
        .into_iter()
        .map(|id| Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count()));
    let open = counts.collect::<Result<Vec<_>>>()?.into_iter().max();
    let open = open.context("no virtiofsd below the launcher")?;
    ensure!(
        open < 200,
        "the daemon has {open} descriptors open after {FILES} files"
    );
    run.go_on()?;
    run.end()?.said("ready\n")
}

/// The end of a file of more than 4 GiB.
fn beyond_4_gib(machine: &Machine) -> Result<()> {
    const SIZE: u64 = (5 << 30) + 123;
    let scratch = Scratch::new("large")?;
    let mut file = File::create(scratch.path().join("file"))?;
    // Nothing but its end takes room.
    file.seek(SeekFrom::Start(SIZE - 10))?;
    file.write_all(b"the end...")?;
    let guest = machine.guest("share");
    machine
        .run(
            scratch.path(),
            &["--dir", ".::/", &guest.to_string_lossy(), "tail", "/file"],
        )?
        .said(&format!("the end... at {}\n", SIZE - 10))
}

/// All names that are UTF-8 come through. A listing that has another fails with ILSEQ (25), as elsewhere; what else is
/// in the directory can be opened nevertheless.
fn odd_names(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("names")?;
    let guest = machine.guest("share");
    let words = ["--dir", ".::/", &guest.to_string_lossy(), "names", "/"];
    let long = "x".repeat(255);
    let names = [
        "-dash",
        "a b",
        "file",
        "new\nline",
        "tab\there",
        long.as_str(),
        "ä",
    ];
    for name in names {
        fs::write(scratch.path().join(name), "x")?;
    }
    machine
        .run(scratch.path(), &words)?
        .said(&format!("{names:?}\n"))?;
    fs::write(scratch.path().join(OsStr::from_bytes(b"broken \xff")), "x")?;
    machine
        .run(scratch.path(), &words)?
        .said("list: errno 25\nfile: \"x\"\n")
}
