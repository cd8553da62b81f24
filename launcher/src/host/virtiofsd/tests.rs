//! Daemons that are scripts: what is taken, what is refused, and what is said.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::*;

/// A run that nobody stops.
fn start(program: &Path, host: &Path, access: Access) -> Result<Daemon, Error> {
    super::start(program, share(host, access), Jail::Auto, &|| Ok(()))
}

fn share(host: &Path, access: Access) -> Share<'_> {
    Share {
        host,
        access,
        quota: None,
        contained: false,
    }
}

/// A program of this test's own, in a directory that goes with it.
fn program(script: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("virtiofsd");
    // By another process: what is open for writing here, a process that another test starts just now has open too, and
    // then it cannot be run.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let script = format!("#!/bin/sh\n{script}\n");
    io::Write::write_all(&mut writer.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    (directory, path)
}

#[test]
fn a_daemon_that_fails_is_quoted_for_each_wall() {
    let (_directory, path) = program("echo \"[2026 ERROR virtiofsd] cannot do it\" >&2; exit 1");
    let error = start(&path, Path::new("/"), Access::ReadWrite).unwrap_err();
    assert_eq!(error.exit_code(), boot_protocol::exit_code::VM_FAILED);
    let message = error.to_string();
    for word in ["namespace: cannot do it", "chroot: cannot do it"] {
        assert!(message.contains(word), "{}", message);
    }
    // Without a wall only where the user says so.
    assert!(!message.contains("none: "), "{message}");
    assert!(message.contains("--jail off lets it run"), "{message}");
    let strict = super::start(
        &path,
        share(Path::new("/"), Access::ReadWrite),
        Jail::Strict,
        &|| Ok(()),
    );
    let message = strict.unwrap_err().to_string();
    assert!(message.contains("--jail auto takes another wall"), "{message}");
    let off = super::start(
        &path,
        share(Path::new("/"), Access::ReadWrite),
        Jail::Off,
        &|| Ok(()),
    );
    let message = off.unwrap_err().to_string();
    assert!(message.contains("none: cannot do it"), "{message}");
}

#[test]
fn in_a_container_no_link_takes_the_place_of_what_is_served() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().canonicalize().unwrap();
    let (host, outside) = (root.join("volume/data"), root.join("outside"));
    for (directory, word) in [(&host, "meant"), (&outside, "foreign")] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("word"), word).unwrap();
    }
    // The swap comes after the launcher's last look at the name, and before the daemon opens what it serves.
    let (_directory, path) = program(&format!(
        "if test ! -L {0}; then mv {0} {0}-moved && ln -s {1} {0}; fi\n\
         while test \"$1\" != --shared-dir; do shift; done; read word < \"$2\"/word; echo \"$word\" >&2; exit 1",
        host.display(),
        outside.display()
    ));
    let message = |host: &Path| {
        let share = Share {
            contained: true,
            ..share(host, Access::ReadWrite)
        };
        super::start(&path, share, Jail::Auto, &|| Ok(()))
            .unwrap_err()
            .to_string()
    };
    let said = message(&host);
    assert!(host.is_symlink(), "nothing was swapped: {said}");
    assert!(said.contains(": meant") && !said.contains("foreign"), "{said}");
    // Now the link is there from the beginning, as the last name and on the way.
    std::fs::create_dir(outside.join("deep")).unwrap();
    for host in [host.clone(), host.join("deep")] {
        let said = message(&host);
        assert!(
            !said.contains("foreign") && said.contains(host.to_str().unwrap()),
            "{said}"
        );
    }
}

#[test]
fn what_is_advised_depends_on_the_level() {
    let (_directory, path) = program(
        "echo it panicked >&2; echo 'note: run with `RUST_BACKTRACE=1` environment variable' >&2; exit 1",
    );
    let message = |level| {
        let share = share(Path::new("/"), Access::ReadWrite);
        super::start(&path, share, level, &|| Ok(()))
            .unwrap_err()
            .to_string()
    };
    let (auto, strict) = (message(Jail::Auto), message(Jail::Strict));
    assert!(
        auto.contains("behind any wall") && auto.contains("--jail off lets it run"),
        "{auto}"
    );
    assert!(auto.contains(": it panicked"), "{auto}");
    assert!(strict.contains("that --jail strict demands"), "{strict}");
    assert!(
        strict.ends_with("--jail auto takes another wall where there is one"),
        "{strict}"
    );
}

#[test]
fn a_directory_that_this_user_may_not_enter_is_refused_at_once() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIP: root may enter every directory");
        return;
    }
    let (directory, path) = program("exit 1");
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = start(&path, &closed, Access::ReadOnly).unwrap_err();
    assert!(
        matches!(error, Error::Mount(MountError::Unusable { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[test]
fn the_first_wall_that_works_is_taken() {
    // Answers as a daemon would, but not in namespaces. `$2` is the number after --fd.
    let script = r#"case "$*" in *"--sandbox namespace"*) exit 1;; esac
            exec python3 -c 'import socket, sys, time
s, _ = socket.socket(fileno=int(sys.argv[1])).accept()
assert s.recv(12)[:4] == b"\1\0\0\0"
s.sendall(b"\1\0\0\0\5\0\0\0\10\0\0\0" + bytes(8))
s.recv(1)' "$2""#;
    let (_directory, path) = program(script);
    let mut daemon = start(&path, Path::new("/"), Access::ReadOnly).unwrap();
    assert_eq!(daemon.wall, Wall::Mapped(Own::Chroot));
    assert!(daemon.connection().is_some());
    assert!(daemon.ended().is_none());
    // It sees the end of the connection.
    daemon.handed_over();
    assert!(daemon.child.wait().unwrap().success());
    assert!(daemon.ended().is_some());
}

#[test]
fn a_quota_that_was_met_does_not_hide_that_the_daemon_died() {
    let (_directory, path) = program(
        "exec python3 -c 'import socket, sys
s, _ = socket.socket(fileno=int(sys.argv[1])).accept()
assert s.recv(12)[:4] == b\"\\1\\0\\0\\0\"
s.sendall(b\"\\1\\0\\0\\0\\5\\0\\0\\0\\10\\0\\0\\0\" + bytes(8))
sys.exit(\"last words\")' \"$2\"",
    );
    let mut daemon = start(&path, Path::new("/"), Access::ReadOnly).unwrap();
    assert!(!daemon.child.wait().unwrap().success());
    daemon.quota = Some((MIB, Arc::new(AtomicBool::new(true))));
    let complaints = daemon.complaints();
    let [quota, end] = complaints.as_slice() else {
        panic!("{complaints:?}");
    };
    assert!(quota.contains("its quota of 1 MiB"), "{quota}");
    assert!(
        end.contains("ended during the run") && end.contains("(last words)"),
        "{end}"
    );
}

#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_when_the_run_is_stopped() {
    let (_directory, path) = program("exec sleep 1000");
    let asked = std::cell::Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        // Not at once: the daemon has begun by then.
        if asked.get() < 3 {
            Ok(())
        } else {
            Err(Error::Stopped(crate::host::interrupt::Stop::Asked))
        }
    };
    let error = super::start(
        &path,
        share(Path::new("/"), Access::ReadWrite),
        Jail::Auto,
        &go_on,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Stopped(_)), "{error}");
    // One sandbox is tried, not all of them.
    assert_eq!(asked.get(), 4);
}

#[test]
fn one_that_does_not_speak_the_protocol_is_refused() {
    let (_directory, path) = program(
        "exec python3 -c 'import socket, sys
s, _ = socket.socket(fileno=int(sys.argv[1])).accept()
s.sendall(b\"HTTP/1.1 400 Bad Request\")' \"$2\"",
    );
    let message = start(&path, Path::new("/"), Access::ReadWrite)
        .unwrap_err()
        .to_string();
    assert!(message.contains("does not speak vhost-user"), "{}", message);
}

#[test]
fn a_daemon_that_hangs_up_before_it_complains_is_quoted() {
    // `$2` is the number after --fd. Not in the shell itself, where a number of two digits cannot be closed.
    let script = "exec python3 -c 'import os, sys, time
os.close(int(sys.argv[1])); time.sleep(0.1); sys.exit(\"late words\")' \"$2\"";
    let (_directory, path) = program(script);
    let message = start(&path, Path::new("/"), Access::ReadWrite)
        .unwrap_err()
        .to_string();
    assert!(message.contains("namespace: late words"), "{}", message);
}

#[test]
fn what_is_no_directory_is_not_shared() {
    for (path, reason) in [
        ("/nonexistent", "No such file"),
        ("/etc/passwd", "not a directory"),
    ] {
        let error = start(Path::new("/bin/true"), Path::new(path), Access::ReadWrite).unwrap_err();
        assert_eq!(error.exit_code(), boot_protocol::exit_code::USAGE);
        let message = error.to_string();
        assert!(message.contains(reason), "{}", message);
    }
}
