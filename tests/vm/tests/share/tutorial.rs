//! The tutorial (`docs/tutorial.md`): a program that copies a file, with and without the directories it needs. Another
//! runtime must give the same exit codes and the same words, which hold the errnos that the guest sees.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use vm_tests::environment;

use crate::Test;
use crate::machine::{Ended, Machine, Running, Scratch};

pub(crate) const TESTS: &[Test] = &[("tutorial-c", in_c), ("tutorial-rust", in_rust)];

fn in_c(machine: &Machine) -> Result<()> {
    tutorial(
        machine,
        "copy-c",
        &[
            "cannot open test.txt: Capabilities insufficient (errno 76)",
            "cannot create /tmp/../etc/passwd: Operation not permitted (errno 63)",
            "cannot open link: Operation not permitted (errno 63)",
            "cannot open missing: No such file or directory (errno 44)",
        ],
    )
}

fn in_rust(machine: &Machine) -> Result<()> {
    tutorial(
        machine,
        "copy-rust",
        &[
            "cannot read test.txt: ",
            "cannot write /tmp/../etc/passwd: Operation not permitted (os error 63)",
            "cannot read link: Operation not permitted (os error 63)",
            "cannot read missing: No such file or directory (os error 44)",
        ],
    )
}

/// All steps of the tutorial.
fn tutorial(machine: &Machine, guest: &str, refusals: &[&str; 4]) -> Result<()> {
    let module = machine.guest(guest);
    let module = module.to_string_lossy();
    let reference = environment::words(environment::REFERENCE);
    if reference.is_empty() {
        eprintln!(
            "SKIP the tutorial under another runtime: {} names none",
            environment::REFERENCE
        );
    }
    let places = ["home", "tmp", "var-tmp"].map(|name| Scratch::new(&format!("{guest}-{name}")));
    let [home, tmp, var_tmp] = places;
    let (home, tmp, var_tmp) = (home?, tmp?, var_tmp?);
    fs::write(home.path().join("test.txt"), "hello world\n")?;
    std::os::unix::fs::symlink("/etc/passwd", home.path().join("link"))?;
    let to_tmp = tmp.word("::/tmp");
    let to_var_tmp = var_tmp.word("::/tmp");
    let given = ["--dir", ".", "--dir", to_tmp.as_str()];
    // On us, and on the other runtime: flags, arguments, the exit code, and what is said or written.
    let both = |flags: &[&str], args: [&str; 2], code: i32, said: &str| -> Result<()> {
        let words = [flags, &[&module], &args].concat();
        let ours = machine.run(home.path(), &words)?;
        check(&ours, code, said)?;
        if let Some((program, first)) = reference.split_first() {
            let theirs = run_reference(program, first, home.path(), &words)?;
            ensure!(
                (theirs.code, &theirs.stderr) == (ours.code, &ours.stderr),
                "{words:?}: another runtime ends with {:?} and says {:?}; here: {:?}, {:?}",
                theirs.code,
                theirs.stderr,
                ours.code,
                ours.stderr
            );
        }
        Ok(())
    };
    let [nothing_given, above, link, missing] = refusals;
    both(&[], ["test.txt", "/tmp/out.txt"], 1, nothing_given)?;
    both(&given, ["test.txt", "/tmp/out.txt"], 0, "")?;
    ensure!(fs::read_to_string(tmp.path().join("out.txt"))? == "hello world\n");
    both(
        &["--dir", ".", "--dir", &to_var_tmp],
        ["test.txt", "/tmp/out.txt"],
        0,
        "",
    )?;
    ensure!(fs::read_to_string(var_tmp.path().join("out.txt"))? == "hello world\n");
    both(&given, ["test.txt", "/tmp/../etc/passwd"], 1, above)?;
    both(&given, ["link", "/tmp/out.txt"], 1, link)?;
    both(&given, ["missing", "/tmp/out.txt"], 1, missing)?;

    // A directory to be read only stays as it is. The errno is ours: another runtime has another.
    let read_only = format!("{}:ro", to_tmp);
    let refused = machine.run(
        home.path(),
        &[
            "--dir",
            ".",
            "--dir",
            &read_only,
            &module,
            "test.txt",
            "/tmp/new.txt",
        ],
    )?;
    check(&refused, 1, "69")?;
    ensure!(
        !tmp.path().join("new.txt").exists(),
        "a file was made in a directory given with :ro"
    );
    Ok(())
}

fn check(ended: &Ended, code: i32, said: &str) -> Result<()> {
    ensure!(
        ended.code == Some(code) && ended.stdout.is_empty() && ended.stderr.contains(said),
        "expected {code} and {said:?}: {ended:?}"
    );
    ensure!(!said.is_empty() || ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

fn run_reference(program: &str, first: &[String], directory: &Path, words: &[&str]) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(first).arg("run").args(words).current_dir(directory);
    Running::start(command)?.end()
}
