//! The commands that pack: the same bytes each time, what is in them, and what is refused. Nothing is booted.
//!
//! - `directory`: what was unpacked, packed again.
//! - `executable`: programs that carry a payload, whole and damaged.
//! - `oci`: container images.

mod directory;
mod executable;
mod oci;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use boot_protocol::payload::{self, SEAL, is_intact};
use boot_protocol::run_spec::{Access, Limit, MountSource, RunSpec};
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
    assert_eq!(json["memory"], serde_json::Value::Null);
    refused(
        &launcher(scratch.path(), &["inspect", "m.wat"]),
        126,
        &["m.wat", "not a packed file"],
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
fn what_is_packed_is_not_overwritten() {
    let scratch = scratch();
    fs::write(scratch.path().join("Hermitfile"), "FROM m.wat\n").unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink("elsewhere", link).unwrap();
    for words in [
        &["pack", "-o", "m.wat", "m.wat"][..],
        &["pack", "-o", "./m.wat", "-f", "Hermitfile"],
        &["pack", "-o", "Hermitfile", "-f", "Hermitfile"],
        &["run", "--record", "m.wat", "m.wat"],
        &["run", "--status-file", "m.wat", "m.wat"],
    ] {
        refused(&launcher(scratch.path(), words), 2, &["would be overwritten"]);
    }
    for other in ["link", "data", "/dev/null"] {
        let output = launcher(scratch.path(), &["pack", "-o", other, "m.wat"]);
        refused(&output, 2, &["not a regular file"]);
    }
    assert_eq!(fs::read_to_string(scratch.path().join("m.wat")).unwrap(), MODULE);
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let scratch = scratch();
    for (words, named) in [
        (&["pack", "-o", "x"][..], "name a module"),
        (&["pack", "-o", "x", "--timeout", "1s", "m.wat"], "--timeout"),
        (&["pack", "-o", "x", "--record", "r", "m.wat"], "--record"),
        (&["pack", "-o", "x", "--vmm", "uhyve", "m.wat"], "--vmm"),
        (&["pack", "-o", "x", "--greet"], "name a module"),
        (&["pack", "-o", "x", "data"], "run.spec"),
        (&["pack", "-o", "x", "-S", "inherit-env", "m.wat"], "--env"),
        (
            &["pack", "-o", "x", "-p", "8080:80", "m.wat"],
            "--publish cannot be packed",
        ),
        (
            &["pack", "-o", "x", "-S", "tcplisten=127.0.0.1:80", "m.wat"],
            "EXPOSE",
        ),
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
        &["already packed"],
    );
}

const HERMITFILE: &str = "# What it may touch.\nFROM m.wat\nARGV one \"two words\"\nENV A=1\nMAP data:/shared:ro\n\
                          COPY data /data\nTMPFS /tmp\nLINK l=m.wat\nFUEL 1000\nDETERMINISTIC 7\n";

#[test]
fn a_hermitfile_is_packed_with_what_it_says() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("Hermitfile"), HERMITFILE).unwrap();
    let whole = fs::read(pack(&scratch, "a.tar", &["-f", "Hermitfile"])).unwrap();
    // It is the one that is looked for.
    assert!(whole == fs::read(pack(&scratch, "b.tar", &[])).unwrap());
    let packed = Packed::open(&at("a.tar")).unwrap().unwrap();
    let manifest = packed.manifest().unwrap().to_string();
    assert!(
        manifest.starts_with("FROM m.wat\nARGV [\"one\", \"two words\"]\n"),
        "{manifest}"
    );
    assert_eq!(packed.spec().argv, ["m.wat", "one", "two words"]);
    assert_eq!(packed.spec().limits.get(Limit::Fuel), Some(1000));
    assert_eq!(packed.spec().deterministic, Some(7));
    let text = done(&launcher(scratch.path(), &["inspect", "a.tar"]));
    for line in [
        "manifest    MAP [\"data:/shared:ro\"]",
        "manifest    FUEL 1000",
        "manifest    DETERMINISTIC 7",
        "limit       fuel: 1000",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    let json = done(&launcher(scratch.path(), &["inspect", "--json", "a.tar"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["manifest"], manifest);
    // What was unpacked packs again, and so does its Hermitfile as an executable's, which MAP tells its directory.
    done(&launcher(scratch.path(), &["unpack", "a.tar", "parts"]));
    assert!(whole == fs::read(pack(&scratch, "again", &["parts"])).unwrap());
    // The directory belongs to the host on which it runs.
    fs::rename(at("data"), at("elsewhere")).unwrap();
    fs::create_dir(at("copied")).unwrap();
    fs::write(at("Hermitfile"), HERMITFILE.replace("COPY data", "COPY copied")).unwrap();
    pack(&scratch, "a", &["--format", "exe", "-f", "Hermitfile"]);
    for packed in ["a.tar", "a"] {
        refused(
            &launcher(scratch.path(), &["run", packed]),
            2,
            &["/shared", "--dir"],
        );
    }
    let ran = Command::new(at("a")).current_dir(&scratch).output().unwrap();
    refused(&ran, 2, &["data", "No such file"]);
    // What is read in it is what holds: another text is refused, whoever has sealed it.
    fs::write(at("parts/Hermitfile"), manifest.replace("two words", "three")).unwrap();
    let other = launcher(scratch.path(), &["pack", "-o", "other.tar", "parts"]);
    refused(&other, 126, &["other.tar", "damaged", "Hermitfile"]);
    assert!(!at("other.tar").exists());
}

#[test]
fn a_hermitfile_says_all_that_is_packed() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let nothing = launcher(scratch.path(), &["pack", "-o", "x"]);
    refused(&nothing, 2, &["name a module to pack", "no Hermitfile"]);
    fs::write(at("Hermitfile"), "FROM m.wat\n").unwrap();
    for flags in [
        &["--env", "A=1"][..],
        &["--tmpfs", "/t"],
        &["--invoke", "f"],
        &["-W", "fuel=1"],
        &["--deterministic"],
        &["word"],
    ] {
        let words = [&["pack", "-o", "x", "-f", "Hermitfile"], flags].concat();
        refused(&launcher(scratch.path(), &words), 2, &["combined with -f"]);
    }
    assert!(!at("x").exists());
    // The engine is chosen when it is built, and a directory of the host is looked for when it runs.
    fs::write(at("Hermitfile"), "FROM m.wat\nMAP not-here:/shared\n").unwrap();
    pack(&scratch, "a.tar", &["--engine", "interp", "-f", "Hermitfile"]);
    let seen = launcher(scratch.path(), &["inspect", "a.tar"]);
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("manifest    ENGINE interp\n"), "{seen}");
}

#[test]
fn what_is_the_hosts_is_open_in_the_file() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let said = "FROM m.wat\nENV A=1\nENV_PWD_IS_HOST_CWD\nENV_EXE_NAME_IS_HOST_EXE_NAME\n";
    fs::write(at("Hermitfile"), said).unwrap();
    pack(&scratch, "a.tar", &["-f", "Hermitfile"]);
    let seen = |flags: &[&str]| {
        let output = launcher(scratch.path(), &[&["inspect"], flags, &["a.tar"]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = seen(&[]);
    for line in [
        "manifest    ENV_PWD_IS_HOST_CWD\n",
        "variable    A=1\nvariable    PWD (given by whoever runs it)\nvariable    EXE_NAME (given by whoever runs it)\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(seen(&["--json"]).contains("\"open\":[\"PWD\",\"EXE_NAME\"]"));
    // The description holds: it must not be open where the Hermitfile does not say so.
    done(&launcher(scratch.path(), &["unpack", "a.tar", "parts"]));
    fs::write(at("parts/Hermitfile"), said.replace("ENV_PWD_IS_HOST_CWD\n", "")).unwrap();
    let other = launcher(scratch.path(), &["pack", "-o", "other.tar", "parts"]);
    refused(&other, 126, &["other.tar", "damaged", "Hermitfile"]);
    assert!(!at("other.tar").exists());
}

/// A payload with these members, which are sealed whatever they are.
fn sealed(members: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, data) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(data.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(*data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    seal(archive)
}

fn seal(archive: Vec<u8>) -> Vec<u8> {
    let digest = blake3::hash(&archive).into();
    [payload::seal(&digest).to_vec(), archive].concat()
}

#[test]
fn what_a_stranger_has_sealed_writes_nothing_elsewhere() {
    let scratch = scratch();
    let spec = RunSpec::default().encode();
    let bad = scratch.path().join("bad.tar");
    for name in [
        &b"../escaped"[..],
        b"/tmp/escaped-from-unpack",
        b"a/b",
        b".hidden",
        b"..",
        b"bad\xff",
        b"line\nbreak",
    ] {
        fs::write(&bad, sealed(&[(b"run.spec", &spec), (name, b"content")])).unwrap();
        let output = launcher(scratch.path(), &["unpack", "bad.tar", "parts"]);
        refused(&output, 126, &["bad.tar", "damaged"]);
        assert!(!scratch.path().join("parts").exists(), "{name:?}");
    }
    assert!(!scratch.path().join("escaped").exists());
    // A directory's links are no way out either: members are new files.
    fs::create_dir(scratch.path().join("linked")).unwrap();
    std::os::unix::fs::symlink("../escaped", scratch.path().join("linked/run.spec")).unwrap();
    pack(&scratch, "good.tar", &["m.wat"]);
    refused(
        &launcher(scratch.path(), &["unpack", "good.tar", "linked"]),
        125,
        &["exists"],
    );
    assert!(!scratch.path().join("escaped").exists());
}

#[test]
fn lengths_that_are_not_there_are_refused_at_once() {
    let scratch = scratch();
    let spec = RunSpec::default().encode();
    let good = sealed(&[(b"run.spec", &spec), (b"module.wasm", b"\0asm")]);
    let bad = scratch.path().join("bad.tar");
    let archive = good[SEAL..].to_vec();
    // The module's header is the third block: its length, in the octal and in the binary form.
    let at = 1024 + 124;
    for length in [
        &b"77777777777\0"[..],
        b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\0\0\0\xff\xff\xff\xff\xff",
        b"99999999999\0",
    ] {
        let mut archive = archive.clone();
        archive[at..at + 12].copy_from_slice(length);
        let sum: u32 = archive[1024..1536]
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
            .sum();
        archive[1024 + 148..1024 + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        fs::write(&bad, seal(archive)).unwrap();
        for command in [
            &["inspect", "bad.tar"][..],
            &["unpack", "bad.tar", "parts"],
            &["run", "bad.tar"],
        ] {
            refused(&launcher(scratch.path(), command), 126, &["bad.tar", "damaged"]);
        }
    }
    // Each shorter file, too.
    for length in (1..good.len()).step_by(256) {
        fs::write(&bad, &good[..length]).unwrap();
        let output = launcher(scratch.path(), &["inspect", "bad.tar"]);
        refused(&output, 126, &["bad.tar"]);
    }
    assert!(!scratch.path().join("parts").exists());
}

/// They may be a packed program's guest's, from anybody: what the relay is started by is no argument.
#[test]
fn no_argument_makes_a_relay() {
    let scratch = scratch();
    let output = launcher(scratch.path(), &["relay-of-a-network", "inherit"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("relay-of-a-network"), "{message}");
    assert!(!message.contains("it is given no wire"), "{message}");
}
