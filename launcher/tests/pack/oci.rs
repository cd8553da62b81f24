//! Container images: by our own commands, and by tools of others, where these are installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hermit_wasm_vm::pack::{Format, OciKind, Packed};
use serde_json::Value;

use super::{done, launcher, pack, refused, scratch};

const SAID: &str =
    "FROM m.wat\nARGV one \"two words\"\nENV A=1\nCOPY data /data\nMAP [\"d:/shared\"]\nEXPOSE 8080\n";

fn oci<'a>(kind: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--format", "oci", "--oci", kind][..], more].concat()
}

#[test]
fn a_sealed_image_is_inspected_unpacked_and_packed_again() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("Hermitfile"), SAID).unwrap();
    for (output, again) in [("image", "again"), ("image.tar", "again.tar")] {
        let path = pack(&scratch, output, &oci("sealed", &["-f", "Hermitfile"]));
        let packed = Packed::open(&path).unwrap().unwrap();
        assert!(matches!(packed.format(), Format::Oci(image) if image.kind == OciKind::Sealed));
        let text = done(&launcher(scratch.path(), &["inspect", output]));
        for line in [
            "format      oci",
            "argument    two words",
            "directory   /shared (of the host, given with --dir)",
            "manifest    EXPOSE 8080",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
        }
        let json = done(&launcher(scratch.path(), &["inspect", "--json", output]));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["format"], "oci");
        let parts = format!("parts-{again}");
        done(&launcher(scratch.path(), &["unpack", output, &parts]));
        pack(&scratch, again, &oci("sealed", &[&parts]));
    }
    assert!(fs::read(at("image.tar")).unwrap() == fs::read(at("again.tar")).unwrap());
    assert_eq!(tree(&at("image")), tree(&at("again")));
    // As any file and directory that is made: less what the umask says.
    assert_eq!(
        at("image").metadata().unwrap().permissions().mode() & 0o555,
        0o555
    );
    assert_eq!(
        at("image.tar").metadata().unwrap().permissions().mode() & 0o777,
        0o644
    );
}

/// The files below a directory, with their bytes.
fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let blobs = directory.join("blobs/sha256");
    let mut files = Vec::new();
    for directory in [directory, &blobs] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read(path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

#[test]
fn each_kind_is_the_same_whenever_and_wherever_it_is_made() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("elsewhere")).unwrap();
    fs::write(scratch.path().join("Hermitfile"), SAID).unwrap();
    for (kind, flags) in [
        ("plain", &["-f", "Hermitfile"][..]),
        (
            "plain",
            &["-f", "Hermitfile", "--every-arch", "--tag", "localhost/app:1"],
        ),
        ("sealed", &["-f", "Hermitfile", "--every-arch"]),
        ("wasi", &["-f", "Hermitfile"]),
        ("artifact", &["m.wat"]),
    ] {
        let made = |output: &str| fs::read(pack(&scratch, output, &oci(kind, flags))).unwrap();
        let first = made("first.tar");
        assert!(first == made("elsewhere/second.tar"), "{kind} {flags:?}");
        // Nothing of this host.
        let path = scratch.path().to_str().unwrap().as_bytes();
        assert!(!first.windows(path.len()).any(|bytes| bytes == path), "{kind}");
    }
}

#[test]
fn of_another_image_one_sentence_says_what_to_use() {
    let scratch = scratch();
    for kind in ["plain", "wasi", "artifact"] {
        for output in [kind.to_string(), format!("{kind}.tar")] {
            pack(&scratch, &output, &oci(kind, &["m.wat"]));
            for command in [
                &["inspect", &output][..],
                &["unpack", &output, "parts"],
                &["run", &output],
            ] {
                refused(
                    &launcher(scratch.path(), command),
                    126,
                    &[&output, "skopeo inspect"],
                );
            }
        }
    }
    assert!(!scratch.path().join("parts").exists());
}

#[test]
fn flags_that_make_no_sense_together_are_refused() {
    let scratch = scratch();
    for (flags, words) in [
        (&["--oci", "plain"][..], &["--oci", "--format oci"][..]),
        (
            &["--format", "exe", "--every-arch"],
            &["--every-arch", "--format oci"],
        ),
        (&["--format", "initrd", "--tag", "a"], &["--tag", "--format oci"]),
        (&["--format", "oci", "--memory", "1G"], &["--memory", "engine"]),
        (
            &["--format", "oci", "--every-arch", "--arch", "riscv64"],
            &["--arch and --every-arch"],
        ),
        (
            &["--format", "oci", "--oci", "wasi", "--arch", "x86_64"],
            &["--arch", "wasi"],
        ),
        (
            &["--format", "oci", "--oci", "artifact", "--every-arch"],
            &["--every-arch", "artifact"],
        ),
        (&["--format", "oci", "--argv0", "a"], &["--argv0", "sealed"]),
        (&["--format", "oci", "--tag", "a b"], &["--tag 'a b'"]),
        (&["--format", "oci", "-W", "fuel=1"], &["fuel", "--oci sealed"]),
        (
            &["--format", "oci", "--timeout", "1s"],
            &["--timeout", "pass it to 'run'"],
        ),
    ] {
        let words_of = [&["pack", "-o", "x"], flags, &["m.wat"]].concat();
        refused(&launcher(scratch.path(), &words_of), 2, words);
    }
    assert!(!scratch.path().join("x").exists());
}

#[test]
fn what_is_there_is_not_replaced_by_a_directory() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("file"), "old").unwrap();
    fs::create_dir(at("empty")).unwrap();
    symlink("nowhere", at("link")).unwrap();
    let made = |output: &str| {
        let words = [&["pack", "-o", output], &oci("plain", &["m.wat"])[..]].concat();
        launcher(scratch.path(), &words)
    };
    for output in ["file", "empty", "link", "data"] {
        refused(&made(output), 2, &[output, "is there already"]);
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"old");
    // An archive takes the place of a file, as other packed files do, and of nothing else.
    fs::create_dir(at("d.tar")).unwrap();
    refused(&made("d.tar"), 2, &["d.tar", "not a regular file"]);
    fs::write(at("f.tar"), "old").unwrap();
    done(&made("f.tar"));
    refused(&made("not/there"), 125, &["container image"]);
}

/// Runs a tool of others; `None`: it is not installed.
fn tool(directory: &Path, words: &[&str]) -> Option<Output> {
    let (name, words) = words.split_first().unwrap();
    let run = Command::new(name)
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!(
                "SKIP: container images NOT READ BY {name}: it is not here; Debian's package `{name}` has it"
            );
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// What skopeo says of an image, as JSON.
fn skopeo(directory: &Path, words: &[&str]) -> Option<Value> {
    let words = [&["skopeo", "inspect"], words].concat();
    let output = tool(directory, &words)?;
    Some(serde_json::from_str(&done(&output)).unwrap())
}

#[test]
fn skopeo_reads_each_kind() {
    let scratch = scratch();
    let directory = scratch.path();
    fs::write(directory.join("Hermitfile"), SAID).unwrap();
    for (kind, platform) in [
        ("plain", ["linux", "arm64"]),
        ("sealed", ["linux", "arm64"]),
        ("wasi", ["wasi", "wasm"]),
    ] {
        let mut flags = oci(kind, &["-f", "Hermitfile"]);
        if kind != "wasi" {
            flags.extend(["--arch", "aarch64"]);
        }
        let archive = format!("{kind}.tar");
        pack(&scratch, kind, &flags);
        pack(&scratch, &archive, &flags);
        let Some(seen) = skopeo(directory, &["--override-arch", "arm64", &format!("oci:{kind}")]) else {
            return;
        };
        assert_eq!([&seen["Os"], &seen["Architecture"]], platform);
        assert_eq!(seen["Env"][0], "A=1");
        let again = skopeo(directory, &[&format!("oci-archive:{archive}")]).unwrap();
        assert_eq!(again["Digest"], seen["Digest"]);
        // Nothing is wrong with a digest or a length, or it would not copy.
        let copy = [
            "skopeo",
            "copy",
            "--quiet",
            &format!("oci:{kind}"),
            &format!("oci-archive:copy-{archive}"),
        ];
        done(&tool(directory, &copy).unwrap());
        let config = skopeo(directory, &["--config", &format!("oci-archive:copy-{archive}")]).unwrap();
        assert!(
            config["config"]["ExposedPorts"]["8080/tcp"].is_object(),
            "{config}"
        );
        assert!(config["config"]["Volumes"]["/shared"].is_object(), "{config}");
        // What it has compressed is a packed file no more, and says so.
        if kind == "sealed" {
            let output = launcher(directory, &["inspect", &format!("copy-{archive}")]);
            refused(&output, 126, &["compressed", "umoci unpack"]);
        }
    }
    pack(&scratch, "artifact", &oci("artifact", &["m.wat"]));
    let manifest = skopeo(directory, &["--raw", "oci:artifact"]).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let copy = ["skopeo", "copy", "--quiet", "oci:artifact", "oci:copy"];
    done(&tool(directory, &copy).unwrap());
    assert_eq!(skopeo(directory, &["--raw", "oci:copy"]).unwrap(), manifest);
    // Of an index, the image for an architecture.
    let tagged = ["--every-arch", "--tag", "localhost/app:1", "m.wat"];
    pack(&scratch, "every", &oci("plain", &tagged));
    for arch in ["amd64", "arm64", "riscv64"] {
        let seen = skopeo(directory, &["--override-arch", arch, "oci:every:localhost/app:1"]).unwrap();
        assert_eq!(seen["Architecture"], arch);
    }
}

#[test]
fn umoci_unpacks_what_was_packed() {
    let scratch = scratch();
    let directory = scratch.path();
    let at = |name: &str| directory.join(name);
    fs::write(at("Hermitfile"), SAID).unwrap();
    for kind in ["plain", "sealed"] {
        pack(&scratch, kind, &oci(kind, &["-f", "Hermitfile"]));
        let (image, bundle) = (format!("{kind}:latest"), format!("bundle-{kind}"));
        let words = ["umoci", "unpack", "--rootless", "--image", &image, &bundle];
        let Some(output) = tool(directory, &words) else {
            return;
        };
        done(&output);
        let config = fs::read(at(&bundle).join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let root = at(&bundle).join("rootfs");
        assert!(root.join("shared").is_dir());
        assert_eq!(config["process"]["cwd"], "/");
        let env = config["process"]["env"].as_array().unwrap();
        assert!(env.contains(&Value::from("A=1")), "{env:?}");
        let args = &config["process"]["args"];
        if kind == "plain" {
            assert_eq!(*args, serde_json::json!(["/app.wasm", "one", "two words"]));
            let module = fs::read(root.join("app.wasm")).unwrap();
            assert_eq!(module, wat::parse_str(super::MODULE).unwrap());
            assert_eq!(fs::read(root.join("data/file")).unwrap(), b"content");
        } else {
            assert_eq!(*args, serde_json::json!(["/app.hermit"]));
            let alone = pack(&scratch, "alone", &["-f", "Hermitfile"]);
            assert!(fs::read(root.join("app.hermit")).unwrap() == fs::read(alone).unwrap());
        }
    }
}
