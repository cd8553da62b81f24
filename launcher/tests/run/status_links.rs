//! Where a status file may be: nowhere that the guest may write, and behind nobody else's link.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use serde_json::json;

use crate::harness::{Scratch, finish, tcg, test};
use crate::status::{expect, read};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "status_links::nothing_is_put_where_the_guest_may_write",
            nothing_is_put_where_the_guest_may_write,
        ),
        test(
            "status_links::links_that_the_system_would_not_follow",
            links_that_the_system_would_not_follow,
        ),
    ]
}

fn nothing_is_put_where_the_guest_may_write() {
    let scratch = Scratch::new();
    let precious = scratch.file("precious", b"of the host's");
    let shared = scratch.path().join("d");
    fs::create_dir_all(shared.join("below")).unwrap();
    fs::write(shared.join("inside"), "").unwrap();
    symlink("../precious", shared.join("link")).unwrap();
    symlink("..", shared.join("up")).unwrap();
    symlink("d/inside", scratch.path().join("to-inside")).unwrap();
    let run = |flag: &str, file: &str| {
        let mut command = tcg(&scratch, "hello");
        // No virtiofsd is here: the status comes first.
        command.args([
            "--virtiofsd",
            "/nonexistent",
            "--dir",
            flag,
            "--status-file",
            file,
        ]);
        finish(&mut command)
    };
    for file in [
        "d/inside",
        "d/new",
        "d/below/new",
        // By links of an earlier run's guest, and of somebody else's.
        "d/link",
        "d/up/precious",
        "d/up/new",
        "to-inside",
    ] {
        run("d::/d", file)
            .expect_code(2)
            .expect_message(&["--status-file", file, "lies in 'd'"]);
    }
    assert_eq!(fs::read(&precious).unwrap(), b"of the host's");
    assert_eq!(fs::read(shared.join("inside")).unwrap(), b"");
    assert!(!scratch.path().join("new").exists());
    // Elsewhere, and where the guest may only read.
    run("d::/d", "new").expect_code(125);
    run("d::/d:ro", "d/new").expect_code(125);
    for file in [scratch.path().join("new"), shared.join("new")] {
        expect(&read(&file), &[("end", json!("launcher_error"))]);
    }
}

fn links_that_the_system_would_not_follow() {
    let scratch = Scratch::new();
    let run = |file: &str| finish(tcg(&scratch, "hello").args(["--status-file", file]));
    symlink("loop", scratch.path().join("loop")).unwrap();
    run("loop")
        .expect_code(2)
        .expect_message(&["--status-file: 'loop' cannot be written"]);
    if !rustix::process::geteuid().is_root() {
        return println!("SKIP: another user's link NOT TRIED: only root can make one");
    }
    let precious = scratch.file("precious", b"of the host's");
    let link = scratch.path().join("link");
    symlink("precious", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65534), Some(65534)).unwrap();
    run("link")
        .expect_code(2)
        .expect_message(&["--status-file: 'link' is a link that another user has made"]);
    assert_eq!(fs::read(precious).unwrap(), b"of the host's");
}
