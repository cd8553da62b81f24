//! The commands that pack: the same bytes each time, what is in them, and what is refused. Nothing is booted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use boot_protocol::payload::{SEAL, is_intact};
use boot_protocol::run_spec::{Access, MountSource, RunSpec};
use hermit_wasm_vm::pack::{Format, Packed};
use tempfile::TempDir;

const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")))"#;

fn launcher(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn done(output: &Output) -> String {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {message}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

/// A directory with a module, and a directory to copy.
fn scratch() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("m.wat"), MODULE).unwrap();
    fs::create_dir(at("data")).unwrap();
    fs::write(at("data/file"), "content").unwrap();
    scratch
}

/// What these tests pack.
#[rustfmt::skip]
const FLAGS: [&str; 14] = [
    "--env",
    "A=1",
    "--tmpfs",
    "/tmp",
    "--copy-dir",
    "data::/data:ro",
    "--dir",
    "data::/shared:ro",
    "--preload",
    "l=m.wat",
    "m.wat",
    "one",
    "two words",
    "-x",
];

/// Whether the launcher has an image for this host.
fn has_image() -> bool {
    let output = launcher(Path::new("/"), &["run", "--print-command", "--greet"]);
    !String::from_utf8_lossy(&output.stderr).contains("built without")
}

fn pack(scratch: &TempDir, output: &str, flags: &[&str]) -> PathBuf {
    let words = [&["pack", "-o", output][..], flags].concat();
    assert_eq!(done(&launcher(scratch.path(), &words)), "");
    scratch.path().join(output)
}

#[test]
fn the_same_makes_the_same_bytes_and_is_a_sealed_archive() {
    let scratch = scratch();
    let first = fs::read(pack(&scratch, "first", &FLAGS)).unwrap();
    assert!(first == fs::read(pack(&scratch, "second", &FLAGS)).unwrap());
    assert!(is_intact(&first, |bytes| blake3::hash(bytes).into()));
    // Nothing of this host.
    let path = scratch.path().to_str().unwrap().as_bytes();
    assert!(!first.windows(path.len()).any(|bytes| bytes == path));

    let packed = Packed::open(&scratch.path().join("first")).unwrap().unwrap();
    assert_eq!(packed.format(), Format::Initrd);
    let spec: &RunSpec = packed.spec();
    assert_eq!(spec.argv, ["m.wat", "one", "two words", "-x"]);
    assert_eq!(spec.env, [("A".to_string(), "1".to_string())]);
    let mounts: Vec<_> = spec
        .mounts
        .iter()
        .map(|mount| (&*mount.guest, mount.access))
        .collect();
    assert!(mounts.contains(&("/shared", Access::ReadOnly)), "{mounts:?}");
    let is_shared = |source: &MountSource| matches!(source, MountSource::VirtioFs { .. });
    assert_eq!(
        spec.mounts
            .iter()
            .filter(|mount| is_shared(&mount.source))
            .count(),
        1
    );
}

#[test]
fn what_was_unpacked_packs_to_the_same_bytes() {
    let scratch = scratch();
    for (format, output) in [
        ("initrd", "a.tar"),
        ("exe", "a"),
        ("image", "a.img"),
        ("app", "a.app"),
    ] {
        if !has_image() && ["image", "app"].contains(&format) {
            eprintln!("SKIP format {format}: the launcher was built without images");
            continue;
        }
        // Which directory of the host it is, nobody can tell an executable.
        let flags = FLAGS
            .into_iter()
            .enumerate()
            .filter(|(at, _)| format != "exe" || !(6..8).contains(at));
        let flags: Vec<&str> = ["--format", format]
            .into_iter()
            .chain(flags.map(|(_, flag)| flag))
            .collect();
        let whole = fs::read(pack(&scratch, output, &flags)).unwrap();
        let parts = format!("parts-{format}");
        done(&launcher(scratch.path(), &["unpack", output, &parts]));
        let at = |name: &str| scratch.path().join(&parts).join(name);
        assert_eq!(
            fs::read(at("module.wasm")).unwrap(),
            wat::parse_str(MODULE).unwrap()
        );
        assert!(!at("digest").exists());
        let again = fs::read(pack(&scratch, "again", &["--format", format, &parts])).unwrap();
        assert!(whole == again, "{format}");
        // Nothing is overwritten.
        refused(
            &launcher(scratch.path(), &["unpack", output, &parts]),
            125,
            &["exists"],
        );
    }
}

#[test]
fn an_executable_carries_one_payload() {
    let scratch = scratch();
    let first = pack(&scratch, "first", &["--format", "exe", "m.wat", "a"]);
    assert_eq!(first.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let packed = Packed::open(&first).unwrap().unwrap();
    assert_eq!(packed.format(), Format::Exe);
    let program = fs::read(env!("CARGO_BIN_EXE_hermit-wasm")).unwrap();
    assert!(fs::read(&first).unwrap().starts_with(&program));
}

#[test]
fn inspect_shows_what_is_in_it() {
    let scratch = scratch();
    pack(&scratch, "a.tar", &FLAGS);
    let text = done(&launcher(scratch.path(), &["inspect", "a.tar"]));
    for line in [
        "format      initrd",
        "engine      interp",
        "argument    two words",
        "variable    A=1",
        "directory   /shared (of the host, given with --dir, read-only)",
        "imports     wasi_snapshot_preview1: proc_exit",
        "preload     l (preload-0.wasm)",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    let json = done(&launcher(scratch.path(), &["inspect", "--json", "a.tar"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["run"]["arguments"][2], "two words");
    assert_eq!(json["run"]["directories"][2]["source"], "host");
    assert_eq!(json["imports"]["wasi_snapshot_preview1"][0], "proc_exit");
    assert_eq!(json["members"][1]["name"], "module.wasm");
    assert_eq!(json["members"][1]["sha256"].as_str().unwrap().len(), 64);
    refused(
        &launcher(scratch.path(), &["inspect", "m.wat"]),
        126,
        &["m.wat", "not packed"],
    );
}

#[test]
fn a_damaged_file_is_refused() {
    let scratch = scratch();
    let good = fs::read(pack(&scratch, "a.tar", &["m.wat"])).unwrap();
    let bad = scratch.path().join("bad.tar");
    // Behind the mark by which it is known.
    for at in (7..good.len())
        .step_by(61)
        .chain([SEAL - 1, SEAL, good.len() - 1])
    {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&bad, &bytes).unwrap();
        let error = Packed::open(&bad).unwrap_err();
        assert_eq!(error.exit_code(), 126, "byte {at}: {error}");
    }
    fs::write(&bad, &good[..good.len() - 512]).unwrap();
    for command in [
        &["run", "bad.tar"][..],
        &["inspect", "bad.tar"],
        &["unpack", "bad.tar", "parts"],
    ] {
        refused(
            &launcher(scratch.path(), command),
            126,
            &["bad.tar", "damaged", "digest"],
        );
    }
    assert!(!scratch.path().join("parts").exists());
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let scratch = scratch();
    let manifest = "FROM m.wat\nENV_PWD_IS_HOST_CWD\n";
    fs::write(scratch.path().join("Hermitfile"), manifest).unwrap();
    for (words, named) in [
        (&["pack", "-o", "x"][..], "name a module"),
        (&["pack", "-o", "x", "--timeout", "1s", "m.wat"], "--timeout"),
        (&["pack", "-o", "x", "--greet"], "name a module"),
        (&["pack", "-o", "x", "data"], "run.spec"),
        (&["pack", "-o", "x", "-S", "inherit-env", "m.wat"], "--env"),
        (&["pack", "-o", "x", "-f", "Hermitfile"], "ENV_PWD_IS_HOST_CWD"),
        (
            &["pack", "-o", "x", "--format", "exe", "--dir", "data::/d", "m.wat"],
            "--copy-dir",
        ),
    ] {
        let output = launcher(scratch.path(), words);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && message.contains(named),
            "{words:?}: {message}"
        );
        assert!(!scratch.path().join("x").exists());
    }
    pack(&scratch, "a.tar", &["m.wat"]);
    refused(
        &launcher(scratch.path(), &["pack", "-o", "x", "a.tar"]),
        2,
        &["packed already"],
    );
}
