//! Programs that carry a payload: they are this program with another mark, and damaged they do nothing.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use hermit_wasm_vm::pack::{Format, Packed};

use super::{done, has_image, launcher, pack, refused, scratch};

#[test]
fn an_executable_carries_one_payload() {
    let scratch = scratch();
    let first = pack(
        &scratch,
        "first",
        &["--format", "exe", "--memory", "300M", "m.wat", "a"],
    );
    assert_eq!(first.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let packed = Packed::open(&first).unwrap().unwrap();
    assert_eq!((packed.format(), packed.memory()), (Format::Exe, Some(300 << 20)));
    let program = fs::read(env!("CARGO_BIN_EXE_hermit-wasm")).unwrap();
    let first = fs::read(&first).unwrap();
    let different = program.iter().zip(&first).filter(|(own, packed)| own != packed);
    assert_eq!(different.count(), 8, "the mark");
    let text = done(&launcher(scratch.path(), &["inspect", "first"]));
    assert!(text.contains("\nmemory      300 MiB\n"), "{text}");
    let json = done(&launcher(scratch.path(), &["inspect", "--json", "first"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["memory"], 300 << 20);
    assert_eq!(json["identity"].is_object(), has_image());
    // A file that another launcher made, whose image is not this one's.
    let mut second = first;
    second[100] ^= 1;
    fs::write(scratch.path().join("second"), second).unwrap();
    assert!(Packed::open(&scratch.path().join("second")).unwrap().is_some());
    let json = done(&launcher(scratch.path(), &["inspect", "--json", "second"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["identity"].is_null(), "{json}");
}

/// Starts a program with a word that means something to the launcher, and checks that it only says that it is damaged.
fn says_that_it_is_damaged(program: &Path, what: &str) {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"", "{what}");
    refused(
        &output,
        126,
        &["whole", "is a damaged packed file", "copy it again"],
    );
}

#[test]
fn a_damaged_executable_is_not_the_launcher() {
    let scratch = scratch();
    let path = pack(&scratch, "whole", &["--format", "exe", "m.wat"]);
    let length = path.metadata().unwrap().len();
    let program = fs::metadata(env!("CARGO_BIN_EXE_hermit-wasm")).unwrap().len();
    let packed = Packed::open(&path).unwrap().unwrap();
    let payload = length - 80 - packed.length();
    let flip = |at: u64, bit: u64| {
        // Closed at once: a file that is open to be written to cannot be started.
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
    };
    // What ends it, and some of the payload.
    for at in (length - 80..length).chain([payload, payload + 700, payload + 1600, length - 81]) {
        flip(at, at % 8);
        says_that_it_is_damaged(&path, &format!("byte {} before the end", length - at));
        flip(at, at % 8);
    }
    let resize = |length| {
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length)
            .unwrap();
    };
    // Down to the program alone.
    for length in [
        length + 1,
        length - 1,
        length - 79,
        length - 80,
        length - 81,
        payload + 1,
        payload,
        program,
    ] {
        resize(length);
        says_that_it_is_damaged(&path, &format!("{length} bytes"));
    }
}
