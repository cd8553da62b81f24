//! What goes wrong on the host while a guest works in its directory: the guest gets an errno, the user a message, and
//! nothing hangs.

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::Test;
use crate::machine::{Machine, Running, Scratch};

pub(crate) const TESTS: &[Test] = &[
    ("daemon-killed", daemon_killed),
    ("file-cut-short", file_cut_short),
    ("directory-removed", directory_removed),
    ("disk-full", disk_full),
    ("not-a-directory", not_a_directory),
    ("link-to-a-directory", link_to_a_directory),
    ("no-daemon", no_daemon),
    ("few-capabilities", few_capabilities),
];

/// virtiofsd is killed: what was synced is there, and the guest gets EIO (29) from then on.
fn daemon_killed(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("killed")?;
    let guest = machine.guest("share");
    let mut run = machine.start(
        scratch.path(),
        &["--dir", ".::/", &guest.to_string_lossy(), "daemon", "/"],
    )?;
    run.wait_for("ready")?;
    let daemons = run.daemons()?;
    ensure!(!daemons.is_empty(), "no virtiofsd below the launcher");
    let killed = Command::new("kill").arg("-KILL").args(&daemons).status()?;
    ensure!(killed.success(), "kill: {killed}");
    run.go_on()?;
    let ended = run.end()?;
    ended.said("write: errno 29\nopen: errno 29\nlist: errno 29\n")?;
    ensure!(
        ended
            .stderr
            .contains("virtiofsd, which served '.', ended during the run"),
        "no message of the launcher: {:?}",
        ended.stderr
    );
    ensure!(fs::read(scratch.path().join("synced"))? == b"synced");
    Ok(())
}

/// The host makes a file shorter: the guest reads what there is.
fn file_cut_short(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("cut")?;
    let path = scratch.path().join("file");
    fs::write(&path, vec![7; 1_000_000])?;
    let guest = machine.guest("share");
    let mut run = machine.start(
        scratch.path(),
        &["--dir", ".::/", &guest.to_string_lossy(), "cut", "/file"],
    )?;
    run.wait_for("ready")?;
    File::options().write(true).open(&path)?.set_len(4096)?;
    run.go_on()?;
    // It has read 2,048 bytes before.
    run.end()?.said("rest: 2048\nsize: 4096\n")
}

/// The host removes a directory: what is open works on, and names in it are NOENT (44).
fn directory_removed(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("removed")?;
    let inside = scratch.path().join("d");
    fs::create_dir(&inside)?;
    let guest = machine.guest("share");
    let mut run = machine.start(
        scratch.path(),
        &["--dir", ".::/", &guest.to_string_lossy(), "removed", "/d"],
    )?;
    run.wait_for("ready")?;
    fs::remove_dir_all(&inside)?;
    run.go_on()?;
    run.end()?
        .said("open file: 11\nby its name: errno 44\nnew file: errno 44\nlist: errno 44\n")
}

/// The host's disk is full: NOSPC (51), and nothing that was written is lost.
fn disk_full(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("full")?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(scratch.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP share/disk-full: a small file system can be mounted only by root");
        return Ok(());
    }
    let guest = machine.guest("share");
    let result = machine.run(
        scratch.path(),
        &["--dir", ".::/", &guest.to_string_lossy(), "fill", "/file"],
    );
    let unmounted = Command::new("umount").arg(scratch.path()).status()?;
    ensure!(unmounted.success(), "umount: {unmounted}");
    result?.said("full: errno 51\nkept: true\nroom again: ()\n")
}

/// What cannot be shared is refused with its name, before anything boots.
fn not_a_directory(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("wrong")?;
    fs::write(scratch.path().join("file"), "x")?;
    for (host, word) in [("missing", "No such file"), ("file", "not a directory")] {
        let guest = machine.guest("greet");
        machine
            .run(scratch.path(), &["--dir", host, &guest.to_string_lossy()])?
            .failed(2, &["--dir", host, word])?;
    }
    Ok(())
}

/// A link is followed where the user names it.
fn link_to_a_directory(machine: &Machine) -> Result<()> {
    let scratch = Scratch::new("link")?;
    fs::create_dir(scratch.path().join("real"))?;
    fs::write(scratch.path().join("real/file"), "x")?;
    std::os::unix::fs::symlink("real", scratch.path().join("link"))?;
    let guest = machine.guest("share");
    let words = ["--dir", "link::/", &guest.to_string_lossy(), "names", "/"];
    machine.run(scratch.path(), &words)?.said("[\"file\"]\n")
}

/// Without a daemon, or with one that is none, the message says what to do.
fn no_daemon(machine: &Machine) -> Result<()> {
    let guest = machine.guest("greet");
    let guest = guest.to_string_lossy();
    for (daemon, words) in [
        ("/nonexistent", ["--virtiofsd", "/nonexistent"]),
        ("/bin/false", ["does not serve '/tmp'", "/bin/false"]),
    ] {
        let mut command = Command::new(machine.launcher());
        command.args(["run", "--virtiofsd", daemon, "--dir", "/tmp", &guest]);
        Running::start(command)?.end()?.failed(125, &words)?;
    }
    Ok(())
}

/// In a container, root has only some capabilities, or none: virtiofsd does without the others.
fn few_capabilities(machine: &Machine) -> Result<()> {
    let is_root = Command::new("id").arg("-u").output()?.stdout == b"0\n";
    let setpriv = Command::new("setpriv").arg("true").status();
    if !is_root || !setpriv.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: few-capabilities needs root, and setpriv to give capabilities up");
        return Ok(());
    }
    let docker = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,\
                  +sys_chroot,+mknod,+audit_write,+setfcap";
    for bounding in [docker, "-all"] {
        let scratch = Scratch::new("capabilities")?;
        fs::write(scratch.path().join("a"), "content")?;
        let run = machine.command(
            scratch.path(),
            &["--dir", ".::/", &machine.guest("files").to_string_lossy()],
        );
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", bounding, "--inh-caps", "-all", "--clear-groups"])
            .arg(run.get_program())
            .args(run.get_args())
            .args([
                "cat", "/a", ",", "put", "/x", "written", ",", "mv", "/x", "/y", ",", "ls", "/",
            ])
            .current_dir(scratch.path());
        let ended = Running::start(command)?.end()?;
        if bounding == "-all" && ended.stderr.contains("behind any wall") {
            eprintln!(
                "SKIP share/few-capabilities with none: without Landlock nothing walls virtiofsd in then"
            );
            continue;
        }
        ended.said("cat /a: \"content\"\nput /x written: done\nmv /x /y: done\nls /: [a y]\n")?;
        ensure!(fs::read(scratch.path().join("y"))? == b"written");
    }
    Ok(())
}
