//! Directories that payloads were unpacked into, packed again.

use std::fs;
use std::path::Path;

use boot_protocol::run_spec::{Mount, RunSpec};
use hermit_wasm_vm::pack::Packed;

use super::{done, launcher, pack, refused, scratch};

#[test]
fn a_directory_says_all_that_is_packed() {
    let scratch = scratch();
    pack(&scratch, "a.tar", &["m.wat"]);
    done(&launcher(scratch.path(), &["unpack", "a.tar", "parts"]));
    for words in [
        &["--env", "A=1", "parts"][..],
        &["--tmpfs", "/t", "parts"],
        &["--invoke", "f", "parts"],
        &["--preload", "l=m.wat", "parts"],
        &["-W", "fuel=1", "parts"],
        &["-S", "inherit-env", "parts"],
        &["--argv0", "a", "parts"],
        &["--deterministic", "parts"],
        &["--engine", "native", "parts"],
        &["--cpu", "x86-64", "parts"],
        &["parts", "word"],
    ] {
        let words = [&["pack", "-o", "x"], words].concat();
        let output = launcher(scratch.path(), &words);
        refused(&output, 2, &["combined with a directory", "says it all"]);
    }
    assert!(!scratch.path().join("x").exists());
}

#[test]
fn memory_is_as_the_hermitfile_grants_it() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("Hermitfile"), "FROM m.wat\nMEMORY 512MiB\n").unwrap();
    let memory = |path: &Path| Packed::open(path).unwrap().unwrap().memory().unwrap() >> 20;
    let whole = pack(&scratch, "a", &["--format", "exe"]);
    assert_eq!(memory(&whole), 704);
    done(&launcher(scratch.path(), &["unpack", "a", "parts"]));
    let again = pack(&scratch, "again", &["--format", "exe", "parts"]);
    assert!(fs::read(&whole).unwrap() == fs::read(again).unwrap());
    // What was demanded besides is in no member.
    let demanded = ["--format", "exe", "--memory", "1G"];
    let whole = pack(&scratch, "b", &[&demanded[..], &["-f", "Hermitfile"]].concat());
    assert_eq!(memory(&whole), 1024);
    let again = pack(&scratch, "again", &[&demanded[..], &["parts"]].concat());
    assert!(fs::read(whole).unwrap() == fs::read(again).unwrap());
    // A limit of a flag grants nothing.
    let whole = pack(
        &scratch,
        "c",
        &["--format", "exe", "-W", "max-memory-size=512MiB", "m.wat"],
    );
    assert_eq!(memory(&whole), 256);
    done(&launcher(scratch.path(), &["unpack", "c", "limited"]));
    let again = pack(&scratch, "again", &["--format", "exe", "limited"]);
    assert!(fs::read(whole).unwrap() == fs::read(again).unwrap());
}

#[test]
fn what_nobody_could_read_is_not_made() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    pack(&scratch, "a.tar", &["--copy-dir", "data::/data:ro", "m.wat"]);
    done(&launcher(scratch.path(), &["unpack", "a.tar", "parts"]));
    let good = RunSpec::decode(&fs::read(at("parts/run.spec")).unwrap()).unwrap();
    let mut twice = good.clone();
    twice.mounts.push(Mount {
        guest: "/other".into(),
        ..good.mounts[0].clone()
    });
    fs::write(at("x"), "old").unwrap();
    for format in ["initrd", "exe"] {
        let made = || launcher(scratch.path(), &["pack", "-o", "x", "--format", format, "parts"]);
        fs::write(at("parts/run.spec"), twice.encode()).unwrap();
        refused(&made(), 126, &["'x' was not made", "two members have one name"]);
        fs::write(at("parts/run.spec"), good.encode()).unwrap();
        fs::write(at("parts/Hermitfile"), "FROM other.wat\nARGV more\n").unwrap();
        refused(
            &made(),
            126,
            &[
                "'x' was not made",
                "its Hermitfile and its run description differ",
            ],
        );
        fs::write(at("parts/Hermitfile"), "NONE\n").unwrap();
        refused(&made(), 126, &["'x' was not made"]);
        assert_eq!(fs::read(at("x")).unwrap(), b"old");
    }
}
