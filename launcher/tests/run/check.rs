//! `hermit-wasm check` on hosts that are made of scripts: what is there, what is old, and what is not there at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{Done, Scratch, finish, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("check::what_is_installed_is_shown_with_its_version", installed),
        test("check::what_is_missing_is_said_with_what_to_do", missing),
        test("check::a_qemu_without_seccomp_is_limited", unconfined),
        test("check::json_says_the_same", json),
        test("check::what_native_code_needs", native),
    ]
}

/// A QEMU that confines itself, and one that was built without that.
const QEMU: &str = "#!/bin/sh\necho 'QEMU emulator version 9.9'\n";
const UNCONFINED: &str = "#!/bin/sh\ncase \"$1\" in -sandbox) echo 'no sandbox in this QEMU' >&2; exit 1;; esac\n\
                          echo 'QEMU emulator version 9.9'\n";

fn check(programs: &[(&str, &str)], flags: &[&str]) -> Done {
    check_with(programs, flags, &[])
}

/// The same with these variables.
fn check_with(programs: &[(&str, &str)], flags: &[&str], variables: &[(&str, &str)]) -> Done {
    let scratch = Scratch::new();
    for (name, script) in programs {
        let path = scratch.file(name, script.as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command
        .arg("check")
        .args(flags)
        .env("PATH", scratch.path())
        .env("XDG_CACHE_HOME", scratch.path())
        .env("HERMIT_WASM_COMPILER", "/nonexistent/compiler")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(&mut command)
}

/// What is said of one thing: its line, and those below.
fn paragraph(done: &Done, name: &str) -> String {
    let text = String::from_utf8(done.stdout.clone()).unwrap();
    let mut lines = text.lines().skip_while(|line| !line.starts_with(name));
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("nothing of {name}: {text}"));
    let rest = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn expect(paragraph: &str, parts: &[&str]) {
    for part in parts {
        assert!(paragraph.contains(part), "'{part}' is missing: {paragraph}");
    }
}

const VIRTIOFSD: &str = "#!/bin/sh\necho 'virtiofsd 1.99.0'\n";
const UHYVE: &str = "#!/bin/sh\necho 'uhyve 0.99'\n";

fn native() {
    let done = check(&[], &[]);
    expect(
        &paragraph(&done, "compiler"),
        &["missing", "/nonexistent/compiler", "→ modules are interpreted"],
    );
    expect(
        &paragraph(&done, "code cache"),
        &[" ok ", "/hermit-wasm", "runs natively from then on"],
    );
    let variables = [
        ("HERMIT_WASM_COMPILER", "/bin/sh"),
        ("XDG_CACHE_HOME", "/proc/nowhere"),
    ];
    let done = check_with(&[], &[], &variables);
    expect(&paragraph(&done, "compiler"), &[" ok ", "/bin/sh"]);
    expect(
        &paragraph(&done, "code cache"),
        &["missing", "/proc/nowhere", "--engine native"],
    );
}

fn installed() {
    let programs = [
        ("qemu-system-x86_64", QEMU),
        ("qemu-system-aarch64", QEMU),
        ("virtiofsd", VIRTIOFSD),
        ("uhyve", UHYVE),
    ];
    let done = check(&programs, &[]).expect_code(0).expect_silence();
    for arch in ["x86_64", "aarch64"] {
        let name = format!("QEMU {arch}");
        expect(
            &paragraph(&done, &name),
            &[" ok ", "QEMU emulator version 9.9", "runs with --arch"],
        );
    }
    expect(
        &paragraph(&done, "virtiofsd"),
        &[" ok ", "virtiofsd 1.99.0", "--dir works"],
    );
    // Without KVM it is missing, and is not asked.
    paragraph(&done, "uhyve");
    for name in ["KVM", "jail", "Landlock", "seccomp", "cgroup"] {
        expect(&paragraph(&done, name), &["→"]);
    }
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.ends_with("Modules can be run here.\n"), "{text}");
}

fn missing() {
    let old = "#!/bin/sh\necho 'virtiofsd version 7.2.22'\n";
    let done = check(&[("virtiofsd", old)], &[]).expect_code(exit_code::VM_FAILED);
    for (arch, packages) in [
        ("x86_64", ["qemu-system-x86", "qemu-system-x86-core"]),
        ("riscv64", ["qemu-system-misc", "qemu-system-riscv-core"]),
    ] {
        let paragraph = paragraph(&done, &format!("QEMU {arch}"));
        expect(
            &paragraph,
            &[
                " missing ",
                "not in PATH",
                "apt install",
                "dnf install",
                "pacman -S",
            ],
        );
        expect(&paragraph, &packages);
    }
    // One of the distribution's elsewhere would be found.
    let share = paragraph(&done, "virtiofsd");
    assert!(
        share.contains(" ok ") || share.contains("old one of QEMU 7"),
        "{share}"
    );
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.contains("\nNo module can be run here: QEMU is not installed"),
        "{text}"
    );
}

fn unconfined() {
    let done = check(&[("qemu-system-x86_64", UNCONFINED)], &[]);
    expect(
        &paragraph(&done, "QEMU x86_64"),
        &[
            " limited ",
            "version 9.9",
            "no sandbox in this QEMU",
            "--jail off",
        ],
    );
}

fn json() {
    let done = check(&[("qemu-system-x86_64", QEMU)], &["--json"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.starts_with("{\"possible\":"), "{text}");
    for name in ["KVM", "jail", "QEMU x86_64", "virtiofsd"] {
        assert!(
            text.contains(&format!("{{\"name\":\"{name}\",\"state\":\"")),
            "{text}"
        );
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}
