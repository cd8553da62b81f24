//! Recordings that replay: to the same output and the same end, or to where they end.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vm_tests::manifest::Manifest;
use vm_tests::{download, root, virtiofsd};

use crate::guest::{self, CALLS_FOR_EVER, EXITS, TRAPS};
use crate::{Case, Test, equal, equal_with_messages, said};

pub(crate) const TESTS: &[Test] = &[
    ("exits", exits),
    ("traps", traps),
    ("limits", limits),
    ("invoke", invoke),
    ("preload", preload),
    ("deterministic", deterministic),
    ("killed", killed),
    ("timeout", timeout),
    ("deadline", deadline),
    ("large", large),
    ("python", python),
];

fn exits(case: &Case) -> Result<()> {
    let recorded = case.record_guest(EXITS, &[])?.output()?;
    ensure!(recorded.stdout.len() > 40_000, "the guest printed too little");
    equal_with_messages(&recorded, &case.replay(&[])?, 7)
}

fn traps(case: &Case) -> Result<()> {
    let recorded = case.record_guest(TRAPS, &[])?.output()?;
    equal_with_messages(&recorded, &case.replay(&[])?, 134)
}

/// A guest that reaches a limit reaches it again, whether a call notices it or the engine.
fn limits(case: &Case) -> Result<()> {
    let content = fs::read(case.path("files/file"))?;
    for (limit, end, code) in guest::LIMITED {
        fs::create_dir_all(case.path("files"))?;
        fs::write(case.path("files/file"), &content)?;
        let recorded = case.record_guest(end, &["-W", limit])?.output()?;
        equal_with_messages(&recorded, &case.replay(&[])?, code).context(limit)?;
    }
    Ok(())
}

fn invoke(case: &Case) -> Result<()> {
    let module = case.module("guest.wat", guest::INVOKED)?;
    let recorded = case
        .record(&["--invoke", "f"], &module, &["3", "0x10"])?
        .output()?;
    equal_with_messages(&recorded, &case.replay(&[])?, 0)
}

/// A preloaded module counts where it was, or where it is said to be now.
fn preload(case: &Case) -> Result<()> {
    let module = case.module("guest.wat", guest::IMPORTS)?;
    let library = case.module("library.wat", guest::LIBRARY)?;
    let flag = |path: &Path| format!("library={}", path.display());
    let recorded = case
        .record(&["--preload", &flag(&library)], &module, &[])?
        .output()?;
    equal_with_messages(&recorded, &case.replay(&[])?, 0)?;
    let moved = case.path("moved.wat");
    fs::rename(&library, &moved)?;
    equal_with_messages(&recorded, &case.replay(&["--preload", &flag(&moved)])?, 0)
}

/// A run that is the same each time can be recorded too: its recording tells what it did in the field. The replay spends
/// as much fuel.
fn deterministic(case: &Case) -> Result<()> {
    let flags = ["--deterministic=7", "--log", "info"];
    let recorded = case.record_guest(EXITS, &flags)?.output()?;
    let replayed = case.replay(&["--log", "info"])?;
    equal(&recorded, &replayed, 7)?;
    ensure!(recorded.stdout.len() > 40_000, "the guest printed too little");
    let [recorded, replayed] = [&recorded, &replayed].map(|output| {
        let said = said(output);
        let mut lines = said.lines();
        let fuel = lines.find(|line| line.contains("deterministic run: "));
        fuel.map(str::to_string)
    });
    ensure!(
        recorded.is_some() && recorded == replayed,
        "{recorded:?}, {replayed:?}"
    );
    Ok(())
}

/// The launcher's time was over: nobody knows how far the guest had come.
fn timeout(case: &Case) -> Result<()> {
    let recorded = case
        .record_guest(CALLS_FOR_EVER, &["--timeout", "3s"])?
        .output()?;
    ends_here(&recorded, &case.replay(&[])?, 124)
}

/// The machine's own time was over.
fn deadline(case: &Case) -> Result<()> {
    let recorded = case
        .record_guest(CALLS_FOR_EVER, &["-W", "timeout=2s"])?
        .output()?;
    ends_here(&recorded, &case.replay(&[])?, 242)
}

/// The replay comes to where the recorded run was ended, and says so.
fn ends_here(recorded: &Output, replayed: &Output, code: i32) -> Result<()> {
    equal(recorded, replayed, code)?;
    let said = said(replayed);
    ensure!(said.contains("the recording ends here"), "{said}");
    Ok(())
}

/// SIGKILL, once the recording is there: the launcher has no last word.
fn killed(case: &Case) -> Result<()> {
    let out = case.path("stdout");
    let mut child = case
        .record_guest(CALLS_FOR_EVER, &[])?
        .stdout(fs::File::create(&out)?)
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    while length(&case.path("recording")) < 200_000 && start.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    let replayed = case.replay(&[])?;
    let said = said(&replayed);
    ensure!(
        replayed.status.code() == Some(250),
        "{:?}: {said}",
        replayed.status
    );
    ensure!(said.contains("the recording ends here"), "{said}");
    let printed = fs::read(&out).context("what was printed")?;
    ensure!(
        printed.len() > 40_000 && printed == replayed.stdout,
        "another output"
    );
    Ok(())
}

/// A recording that is larger than the machine's memory replays in a larger machine, and does not fit into the same.
fn large(case: &Case) -> Result<()> {
    let module = case.module("guest.wat", guest::LARGE)?;
    let recorded = case.record(&["--memory", "64M"], &module, &[])?.output()?;
    equal_with_messages(&recorded, &case.replay(&[])?, 0)?;
    let refused = case.replay(&["--memory", "64M"])?;
    let said = said(&refused);
    ensure!(refused.status.code() == Some(126), "{:?}: {said}", refused.status);
    ensure!(
        said.contains("the recording '") && said.contains("--memory gives it more"),
        "{said}"
    );
    Ok(())
}

/// A session of CPython replays byte for byte with its files gone.
fn python(case: &Case) -> Result<()> {
    let manifest = Manifest::read(root())?;
    let wanted = manifest
        .downloads
        .iter()
        .find(|download| download.name == "python");
    let directory = root().join("target/downloads");
    if let Err(error) = download::fetch(wanted.context("not in the manifest")?, &directory) {
        eprintln!("SKIP replay/python: it could not be fetched: {error:#}");
        return Ok(());
    }
    let shared = match virtiofsd::missing() {
        None => "--dir",
        Some(reason) => {
            eprintln!("SKIP replay/python from a shared directory, which is copied: {reason}");
            "--copy-dir"
        }
    };
    fs::write(case.path("files/main.py"), guest::SCRIPT)?;
    let files = format!("{}::/", case.path("files").display());
    let flags = [
        "--memory",
        "1G",
        "--env",
        "PYTHONDONTWRITEBYTECODE=1",
        shared,
        &files,
    ];
    let mut child = case
        .record(&flags, &directory.join("python.wasm"), &["/main.py"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("a pipe was asked for")?
        .write_all(b"one\ntwo\n")?;
    let recorded = child.wait_with_output()?;
    let replayed = case.replay(&[])?;
    equal_with_messages(&recorded, &replayed, 3)?;
    let printed = String::from_utf8_lossy(&replayed.stdout);
    for expected in ["['file', 'main.py'] line 0\n", "line 4999\n", "read two\n"] {
        ensure!(printed.contains(expected), "no {expected:?} in {printed}");
    }
    Ok(())
}
