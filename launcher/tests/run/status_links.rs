//! Links where a status file is to be: whose are followed, and how far.

use std::fs;
use std::os::unix::fs::symlink;

use libtest_mimic::Trial;
use serde_json::json;

use crate::harness::{Scratch, finish, tcg, test};
use crate::status::{expect, read};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "status_links::a_link_of_a_guests_leads_nowhere",
            a_link_of_a_guests_leads_nowhere,
        ),
        test(
            "status_links::links_that_the_system_would_not_follow",
            links_that_the_system_would_not_follow,
        ),
    ]
}

fn a_link_of_a_guests_leads_nowhere() {
    let scratch = Scratch::new();
    let precious = scratch.file("precious", b"of the host's");
    let shared = scratch.path().join("d");
    fs::create_dir(&shared).unwrap();
    symlink("../precious", shared.join("link")).unwrap();
    symlink("..", shared.join("up")).unwrap();
    symlink("inside", shared.join("harmless")).unwrap();
    fs::write(shared.join("inside"), "").unwrap();
    let run = |file: &str| {
        let mut command = tcg(&scratch, "hello");
        // No virtiofsd is here: the status comes first.
        command.args([
            "--virtiofsd",
            "/nonexistent",
            "--dir",
            "d::/d",
            "--status-file",
            file,
        ]);
        finish(&mut command)
    };
    for file in ["d/link", "d/up/precious", "d/up/new"] {
        run(file)
            .expect_code(2)
            .expect_message(&["--status-file", file, "leads out of 'd'"]);
    }
    assert_eq!(fs::read(&precious).unwrap(), b"of the host's");
    assert!(!scratch.path().join("new").exists());
    for file in ["d/harmless", "d/new"] {
        run(file).expect_code(125);
    }
    expect(&read(&shared.join("inside")), &[("end", json!("launcher_error"))]);
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
