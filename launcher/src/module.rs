//! The module on the host: found, looked at, and made ready to be handed to the VM.
//!
//! Only what can be seen from outside is checked here. Whether the module is valid and what it imports is the
//! application's to say, which has to look anyway.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use crate::failure::Failure;
use crate::files::QemuFile;

/// A module that looks like one.
#[derive(Debug)]
pub(crate) struct Module {
    /// For QEMU's `-initrd`.
    pub(crate) file: QemuFile,
    /// Its size in bytes, of the binary form.
    pub(crate) length: u64,
}

/// How many bytes are looked at first.
const START: u64 = 256;
/// No module is longer: the interpreter's limit, which is that of the JavaScript API's specification.
const LONGEST: u64 = 1 << 30;

/// First bytes of every WebAssembly binary.
const MAGIC: &[u8; 4] = b"\0asm";
/// What follows them in a module: version 1, layer 0.
const MODULE_VERSION: [u8; 4] = [1, 0, 0, 0];

/// Opens `path` and checks that it is a module, in binary or in text form.
pub(crate) fn open(path: &Path) -> Result<Module, Failure> {
    let shown = path.display();
    let mut file = File::open(path).map_err(|error| cannot_open(path, &error))?;
    let metadata = file.metadata().map_err(|error| cannot_open(path, &error))?;
    if metadata.is_dir() {
        return Err(Failure::not_found(format!(
            "cannot read the module '{shown}': it is a directory; name a .wasm or .wat file in it"
        )));
    }
    let cannot_read =
        |error: io::Error| Failure::not_found(format!("cannot read the module '{shown}': {error}"));

    // What it begins with tells whether the rest, which may be endless, is worth reading.
    let mut bytes = Vec::new();
    (&file).take(START).read_to_end(&mut bytes).map_err(cannot_read)?;
    if bytes.starts_with(MAGIC) {
        check_binary(path, &bytes)?;
        if metadata.is_file() {
            file.rewind().map_err(cannot_read)?;
            let length = metadata.len();
            let file = QemuFile::open(file, path).map_err(cannot_read)?;
            return Ok(Module { file, length });
        }
    } else {
        check_text(path, &bytes)?;
    }
    // Text has to be translated. A pipe (`<(…)`, /dev/stdin) can be read once only, and QEMU wants to know its size.
    (&file)
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(cannot_read)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
        return Err(Failure::refused(format!(
            "'{shown}' is longer than 1 GiB, and no module is"
        )));
    }
    from_bytes(path, bytes)
}

/// The module in `bytes`, in either form.
fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Module, Failure> {
    let binary = if bytes.starts_with(MAGIC) {
        bytes
    } else {
        translate(path, &bytes)?
    };
    check_binary(path, &binary)?;
    let file = QemuFile::from_bytes("module.wasm", &binary)
        .map_err(|error| Failure::machine(format!("cannot keep the module in memory for QEMU: {error}")))?;
    // A usize always fits; there is no infallible conversion for it.
    let length = u64::try_from(binary.len()).unwrap_or(u64::MAX);
    Ok(Module { file, length })
}

fn cannot_open(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let advice = match error.kind() {
        io::ErrorKind::NotFound if path == Path::new("run") => "; the command 'run' stands before all flags",
        io::ErrorKind::NotFound if !path.as_os_str().as_encoded_bytes().contains(&b'/') => {
            "; it is looked for in the current directory"
        }
        io::ErrorKind::PermissionDenied => "; you have no right to read it",
        _ => "",
    };
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        _ => error.to_string(),
    };
    Failure::not_found(format!("cannot read the module '{shown}': {reason}{advice}"))
}

/// Checks the header of what begins like a binary module.
fn check_binary(path: &Path, start: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    let Some(version) = start.get(4..8) else {
        return Err(Failure::refused(format!(
            "'{shown}' is not a complete WebAssembly module: it ends within its first 8 bytes; is it truncated?"
        )));
    };
    match version {
        version if version == MODULE_VERSION => Ok(()),
        // Version, then a layer that is not 0: a component of whatever version.
        [version, _, layer, _] if *layer != 0 => Err(Failure::refused(format!(
            "'{shown}' is a WebAssembly component (version {version:#04x}), not a module, and components are not \
             supported; build it for WASI preview 1 (in Rust: --target wasm32-wasip1)"
        ))),
        version => Err(Failure::refused(format!(
            "'{shown}' is WebAssembly of the unknown version {version:02x?}; only version 1 can be run"
        ))),
    }
}

/// Checks that what does not begin like a binary module may be text.
fn check_text(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    let is_wat = path.extension().is_some_and(|extension| extension == "wat");
    if bytes.is_empty() {
        return Err(Failure::refused(format!(
            "'{shown}' is not a WebAssembly module: the file is empty"
        )));
    }
    if !is_wat && !looks_like_wat(bytes) {
        return Err(Failure::refused(format!(
            "'{shown}' is not a WebAssembly module: it is {}",
            looks_like(bytes)
        )));
    }
    Ok(())
}

/// Turns the text form into the binary form.
fn translate(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Failure::refused(format!(
            "'{shown}' is not WebAssembly text: the byte at offset {} is not UTF-8",
            error.valid_up_to()
        ))
    })?;
    wat::parse_str(text).map_err(|mut error| {
        error.set_path(path);
        Failure::refused(format!("'{shown}' is not valid WebAssembly text: {error}"))
    })
}

/// Whether bytes begin as WebAssembly text does, whatever the file is called: with a parenthesis or a comment.
fn looks_like_wat(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}

/// What bytes that are no WebAssembly look like, as a noun.
fn looks_like(bytes: &[u8]) -> String {
    const KNOWN: &[(&[u8], &str)] = &[
        (
            b"\x7fELF",
            "an ELF file, a native program or library; build for the target wasm32-wasip1 instead",
        ),
        (b"\x1f\x8b", "compressed with gzip; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
        (b"\xfd7zXZ\0", "compressed with xz; unpack it first"),
        (b"BZh", "compressed with bzip2; unpack it first"),
        (b"PK\x03\x04", "a ZIP archive; unpack it first"),
        (
            b"!<arch>\n",
            "an archive of object files; link it to a module first",
        ),
        (
            b"BC\xc0\xde",
            "LLVM bitcode; compile and link it to a module first",
        ),
        (
            b"MZ",
            "a Windows program; build for the target wasm32-wasip1 instead",
        ),
        (
            b"\xcf\xfa\xed\xfe",
            "a macOS program; build for the target wasm32-wasip1 instead",
        ),
        (b"#!", "a script"),
        (b"<!DOCTYPE", "an HTML page; was it a failed download?"),
        (b"<html", "an HTML page; was it a failed download?"),
    ];
    for (start, what) in KNOWN {
        if bytes.starts_with(start) {
            return (*what).to_string();
        }
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return "nothing but zero bytes".to_string();
    }
    let head = bytes.get(..256).unwrap_or(bytes);
    // A character may be cut at the end of the head.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    } && !head
        .iter()
        .any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127));
    if is_text {
        return "text; WebAssembly text begins with '(module'".to_string();
    }
    let first: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "unknown data that begins with {} instead of 00 61 73 6d",
        first.join(" ")
    )
}

#[cfg(test)]
#[path = "module_tests.rs"]
mod tests;
