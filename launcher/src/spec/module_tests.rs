//! Tests of what the launcher says about files that are, or are not, modules.

use super::*;
use boot_protocol::exit_code::{MODULE_NOT_FOUND, MODULE_REFUSED};

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Interrupt;

/// A directory that is deleted at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hermit-wasm-module-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The failure of opening a file with these bytes; its message must be one line that names the file.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let scratch = Scratch::new(&format!("refusal-{name}"));
    let path = scratch.file(name, bytes);
    let error = Error::from(Module::open(&path).unwrap_err());
    assert_eq!(error.exit_code(), MODULE_REFUSED);
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    message
}

/// The module's bytes.
fn bytes(module: &Module) -> Vec<u8> {
    let mut bytes = Vec::new();
    module.write_to(&mut bytes, &Deadline::never()).unwrap();
    assert_eq!(module.length(), u64::try_from(bytes.len()).unwrap());
    bytes
}

/// The exit code and the message of opening what cannot be opened.
fn unreadable(path: &Path) -> (u8, String) {
    let error = Error::from(Module::open(path).unwrap_err());
    (error.exit_code(), error.to_string())
}

const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn a_binary_module_is_handed_over_unchanged() {
    let scratch = Scratch::new("binary");
    for name in ["m.wasm", "no-extension", "a,b c=d.wasm", "-m.wasm"] {
        let path = scratch.file(name, EMPTY_MODULE);
        let module = Module::open(&path).unwrap();
        assert_eq!(bytes(&module), EMPTY_MODULE);
        assert_eq!(module.path(), path.canonicalize().ok());
        // Clones and earlier readers do not matter.
        assert_eq!(bytes(&module.clone()), EMPTY_MODULE);
    }
}

#[test]
fn text_is_translated_whatever_the_file_is_called() {
    let scratch = Scratch::new("text");
    for (name, text) in [
        ("m.wat", "(module)"),
        ("m.txt", "  \n (module)"),
        ("m.wasm", ";; comment\n(module)"),
        ("c.wasm", "(; comment ;) (module)"),
    ] {
        let path = scratch.file(name, text.as_bytes());
        let module = Module::open(&path).unwrap();
        assert!(bytes(&module).starts_with(EMPTY_MODULE), "{name}");
        assert_eq!(module.path(), None);
    }
}

fn fifo(scratch: &Scratch) -> PathBuf {
    let path = scratch.0.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    path
}

#[test]
fn a_pipe_is_a_module_too() {
    let scratch = Scratch::new("pipe");
    let path = fifo(&scratch);
    let text = format!("(module) {}", " ".repeat(200_000));
    for content in [EMPTY_MODULE, text.as_bytes()] {
        let writer = {
            let (path, content) = (path.clone(), content.to_vec());
            std::thread::spawn(move || {
                let mut pipe = File::options().write(true).open(path).unwrap();
                // In pieces: a reader that does not wait finds nothing in between.
                for part in content.chunks(100_000) {
                    pipe.write_all(part).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        };
        let module = Module::open(&path).unwrap();
        writer.join().unwrap();
        assert_eq!(bytes(&module), EMPTY_MODULE);
    }
}

#[test]
fn a_pipe_that_stays_silent_is_waited_for_as_long_as_the_run_may_last() {
    let scratch = Scratch::new("silent");
    let path = fifo(&scratch);
    let soon = Duration::from_millis(20);
    let open = |deadline| Module::open_until(&path, DEFAULT_MEMORY, &deadline).unwrap_err();
    let in_time = || Deadline::since(Instant::now(), soon);
    // Nobody writes; somebody does not write; somebody does not go on.
    assert!(matches!(open(in_time()), Error::Timeout { .. }));
    let mut both = File::options().read(true).write(true).open(&path).unwrap();
    assert!(matches!(open(in_time()), Error::Timeout { .. }));
    for begun in [b"\0asm\x01\0\0\0".as_slice(), b"(module"] {
        both.write_all(begun).unwrap();
        let error = open(in_time());
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(error.to_string().contains("silent"), "{error}");
    }
    let interrupt = Interrupt::new().unwrap();
    let deadline = Deadline::never().interrupt(interrupt.clone());
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(soon);
        interrupt.stop();
    });
    assert!(matches!(open(deadline), Error::Stopped(_)));
    stopper.join().unwrap();
}

/// However much comes, no more is read than can be of use.
#[test]
fn a_pipe_without_end_is_refused() {
    let scratch = Scratch::new("endless");
    let path = fifo(&scratch);
    for (start, part) in [
        (b"\0asm\x01\0\0\0".as_slice(), "--memory"),
        (b"(module (;", "--memory"),
    ] {
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut pipe = File::options().write(true).open(path).unwrap();
                let mut written = 0usize;
                pipe.write_all(start).unwrap();
                while pipe.write_all(&[b' '; 1 << 16]).is_ok() {
                    written += 1 << 16;
                }
                written
            })
        };
        let error = Module::open_until(&path, 16 << 20, &Deadline::never()).unwrap_err();
        assert_eq!(error.exit_code(), MODULE_REFUSED);
        assert!(error.to_string().contains(part), "{error}");
        let written = writer.join().unwrap();
        assert!(written < 24 << 20, "{written} bytes were read");
    }
    let error = Module::open("/dev/zero").unwrap_err().to_string();
    assert!(error.contains("zero bytes"), "{error}");
    // A file's length is known before it is read.
    let large = scratch.0.join("large.wat");
    fs::write(&large, format!("(module) {}", " ".repeat(file_kind::START))).unwrap();
    File::options()
        .write(true)
        .open(&large)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let error = Module::open(&large).unwrap_err().to_string();
    assert!(error.contains("of WebAssembly text"), "{error}");
}

#[test]
fn a_module_is_not_copied_past_the_deadline() {
    let scratch = Scratch::new("copied");
    let module = Module::open(scratch.file("m.wasm", EMPTY_MODULE)).unwrap();
    let result = module.write_to(&mut Vec::new(), &Deadline::passed());
    assert!(matches!(result, Err(WriteError::Over(Error::Timeout { .. }))));
}

#[test]
fn what_is_not_there_or_cannot_be_read() {
    let scratch = Scratch::new("missing");
    let (code, message) = unreadable(&scratch.0.join("missing.wasm"));
    assert_eq!(code, MODULE_NOT_FOUND);
    assert!(message.contains("missing.wasm': no such file"), "{message}");

    let (code, message) = unreadable(&scratch.0);
    assert_eq!(code, MODULE_NOT_FOUND);
    assert!(message.contains("it is a directory"), "{message}");

    let file = scratch.file("file", b"");
    let (code, message) = unreadable(&file.join("m.wasm"));
    assert_eq!(code, MODULE_NOT_FOUND);
    assert!(message.contains("Not a directory"), "{message}");

    let secret = scratch.file("secret.wasm", EMPTY_MODULE);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    if File::open(&secret).is_err() {
        assert!(unreadable(&secret).1.contains("permission denied"));
    }
    let error = io::Error::from(io::ErrorKind::PermissionDenied);
    let message = super::unreadable(Path::new("m.wasm"), &error).to_string();
    assert!(
        message.contains("permission denied; check its permissions"),
        "{message}"
    );
}

#[test]
fn a_file_that_changes_its_length_is_noticed() {
    let scratch = Scratch::new("changed");
    let path = scratch.file("m.wasm", &[EMPTY_MODULE, &[0; 100]].concat());
    let module = Module::open(&path).unwrap();
    fs::write(&path, EMPTY_MODULE).unwrap();
    assert!(matches!(
        module.write_to(&mut Vec::new(), &Deadline::never()),
        Err(WriteError::Module(..))
    ));
    // Replaced, the old one is still what runs, and its path is no longer its own.
    let path = scratch.file("n.wasm", EMPTY_MODULE);
    let module = Module::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    scratch.file("n.wasm", b"other");
    assert_eq!((bytes(&module).as_slice(), module.path()), (EMPTY_MODULE, None));
}

#[test]
fn a_broken_text_is_refused_with_its_place() {
    let message = refusal(
        "broken.wat",
        b"(module\n  (func $f (result i32)\n    i32.konst 1))\n",
    );
    assert!(message.contains("broken.wat:3:5"), "{message}");
    assert!(message.contains("i32.konst"), "{message}");
    assert!(refusal("latin1.wat", b"(module) ;; \xe4").contains("offset 12 is not UTF-8"));
    // By its name it is text: it is read as such.
    assert!(refusal("hello.wat", b"hello").contains("not valid WebAssembly text"));
}

#[test]
fn components_are_called_by_their_name() {
    for version in [0x0a, 0x0d] {
        let message = refusal("component.wasm", &[0, b'a', b's', b'm', version, 0, 1, 0]);
        assert!(message.contains("is a WebAssembly component"), "{message}");
        assert!(message.contains("wasm32-wasip1"), "{message}");
    }
    let text = refusal("component.wat", b"(component)");
    assert!(text.contains("component"), "{text}");
}

#[test]
fn other_versions_and_truncated_headers() {
    assert!(refusal("v2.wasm", b"\0asm\x02\0\0\0").contains("unknown version 2"));
    assert!(refusal("short.wasm", b"\0asm").contains("ends within its first 8 bytes"));
    assert!(refusal("shorter.wasm", b"\0asm\x01\0\0").contains("truncated"));
}

#[test]
fn other_files_are_called_what_they_are() {
    for (bytes, what) in [
        (b"".as_slice(), "the file is empty"),
        (b"\x7fELF\x02\x01", "an ELF file"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "ZIP"),
        (b"#!/bin/sh\n", "a script"),
        (b"<!DOCTYPE html>", "an HTML page"),
        (b"hello\n", "it is text"),
        ("grüße\n".as_bytes(), "it is text"),
        (b"\0\0\0\0", "zero bytes"),
        (b"\0as", "ends within its first 8 bytes"),
        (
            b"\xde\xad\xbe\xef\x01",
            "begins with de ad be ef instead of 00 61 73 6d",
        ),
        (b"abc\x01def", "begins with 61 62 63 01"),
    ] {
        let message = refusal("other.wasm", bytes);
        assert!(message.contains(what), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}
