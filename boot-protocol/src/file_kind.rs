//! Tells what a file is by its first bytes: a module, or which of the things that people take for one.
//!
//! Layer: pure. Both sides ask here: the launcher before it starts a machine, the application before it interprets.
//! Source: WebAssembly core specification 2.0, "Modules" (binary format); component model, `Binary.md` (layer).

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// How many of a file's first bytes decide what it is.
pub const START: usize = 512;

/// `\0asm`, which begins modules and components alike.
const MAGIC: &[u8; 4] = b"\0asm";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A core WebAssembly module: version 1, layer 0.
    Module,
    /// A WebAssembly component, of the given version.
    Component(u16),
    /// WebAssembly of a version (and layer) that does not exist yet.
    OtherVersion(u32),
    /// It ends within the first eight bytes of WebAssembly.
    Truncated,
    /// WebAssembly's text format.
    WasmText,
    /// No bytes.
    Empty,
    /// Native code that wasmtime's compiler made of a module: an ELF file marked as such.
    NativeCode,
    /// A native program, library or object file.
    Elf,
    /// A Windows program.
    Pe,
    /// A macOS program.
    MachO,
    /// LLVM bitcode.
    Bitcode,
    /// A static library.
    Ar,
    /// A tar archive.
    Tar,
    /// A zip archive.
    Zip,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by zstd.
    Zstd,
    /// Compressed by xz.
    Xz,
    /// Compressed by bzip2.
    Bzip2,
    /// A program for an interpreter that its first line names.
    Script,
    /// A web page.
    Html,
    /// Any other text.
    Text,
    /// Zero bytes.
    Zeros,
    /// Something else.
    Unknown,
}

/// What these kinds begin with.
const MAGICS: [(&[u8], FileKind); 17] = [
    (b"\x7fELF", FileKind::Elf),
    (b"MZ", FileKind::Pe),
    (b"\xcf\xfa\xed\xfe", FileKind::MachO),
    (b"\xce\xfa\xed\xfe", FileKind::MachO),
    (b"\xfe\xed\xfa\xcf", FileKind::MachO),
    (b"\xfe\xed\xfa\xce", FileKind::MachO),
    (b"BC\xc0\xde", FileKind::Bitcode),
    (b"\xde\xc0\x17\x0b", FileKind::Bitcode),
    (b"!<arch>\n", FileKind::Ar),
    (b"!<thin>\n", FileKind::Ar),
    (b"PK\x03\x04", FileKind::Zip),
    (b"PK\x05\x06", FileKind::Zip),
    (b"\x1f\x8b", FileKind::Gzip),
    (b"\x28\xb5\x2f\xfd", FileKind::Zstd),
    (b"\xfd7zXZ\0", FileKind::Xz),
    (b"BZh", FileKind::Bzip2),
    (b"#!", FileKind::Script),
];

/// What wasmtime's ELF files begin with, and the byte at this place which tells them from all others: their system.
const NATIVE_CODE: (&[u8], usize, u8) = (b"\x7fELF", 7, 200);

/// Where a tar archive has its mark, and the mark.
const TAR: (usize, &[u8]) = (257, b"ustar");

impl FileKind {
    /// Looks at a file's first bytes: [`START`] of them, or all if it is shorter. More do no harm.
    #[must_use]
    pub fn of(start: &[u8]) -> Self {
        let start = start.get(..START).unwrap_or(start);
        match start {
            [] => Self::Empty,
            [0, b'a', b's', b'm', version @ ..] => match *version {
                [1, 0, 0, 0, ..] => Self::Module,
                [low, high, 1, 0, ..] => Self::Component(u16::from_le_bytes([low, high])),
                [a, b, c, d, ..] => Self::OtherVersion(u32::from_le_bytes([a, b, c, d])),
                _ => Self::Truncated,
            },
            _ if MAGIC.starts_with(start) => Self::Truncated,
            _ => Self::by_magic(start),
        }
    }

    /// What is not WebAssembly in binary form.
    fn by_magic(start: &[u8]) -> Self {
        let (elf, system_at, wasmtime) = NATIVE_CODE;
        if start.starts_with(elf) && start.get(system_at) == Some(&wasmtime) {
            return Self::NativeCode;
        }
        let known = MAGICS.iter().find(|(magic, _)| start.starts_with(magic));
        let (at, mark) = TAR;
        match known {
            Some((_, kind)) => *kind,
            None if start.get(at..).is_some_and(|rest| rest.starts_with(mark)) => Self::Tar,
            None if start.iter().all(|byte| *byte == 0) => Self::Zeros,
            None if is_text(start) => Self::by_text(start.trim_ascii_start()),
            None => Self::Unknown,
        }
    }

    /// What text is.
    fn by_text(text: &[u8]) -> Self {
        let begins = |with: &[u8]| {
            text.get(..with.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        // A parenthesis, a comment. Whether the rest is WebAssembly is for a parser to say.
        if begins(b"(") || begins(b";;") {
            Self::WasmText
        } else if begins(b"<!doctype html") || begins(b"<html") {
            Self::Html
        } else {
            Self::Text
        }
    }

    /// The kind as a noun: "an ELF file (a native program or library)".
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Module => "a WebAssembly module",
            Self::Component(_) => "a WebAssembly component",
            Self::OtherVersion(_) => "WebAssembly of an unknown version",
            Self::Truncated => "a truncated WebAssembly file",
            Self::WasmText => "WebAssembly's text format",
            Self::Empty => "an empty file",
            Self::NativeCode => "native code, compiled from a WebAssembly module",
            Self::Elf => "an ELF file, a native program or library",
            Self::Pe => "a Windows program",
            Self::MachO => "a macOS program",
            Self::Bitcode => "LLVM bitcode",
            Self::Ar => "a static library",
            Self::Tar => "a tar archive",
            Self::Zip => "a ZIP archive",
            Self::Gzip => "compressed with gzip",
            Self::Zstd => "compressed with zstd",
            Self::Xz => "compressed with xz",
            Self::Bzip2 => "compressed with bzip2",
            Self::Script => "a script",
            Self::Html => "an HTML page",
            Self::Text => "text",
            Self::Zeros => "nothing but zero bytes",
            Self::Unknown => "unknown data",
        }
    }

    /// What to do, for somebody who meant to run it.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Component(_) => Some(
                "build it for WASI preview 1 (in Rust: --target wasm32-wasip1), or extract its core module with \
                 `wasm-tools component unbundle`",
            ),
            Self::WasmText => Some("name the file *.wat, or convert it with `wat2wasm`"),
            Self::Elf | Self::Pe | Self::MachO => Some("build for the target wasm32-wasip1 instead"),
            Self::Bitcode => Some("compile and link it to a module first"),
            Self::Ar => Some("link it to a module first"),
            Self::Tar | Self::Zip | Self::Gzip | Self::Zstd | Self::Xz | Self::Bzip2 => {
                Some("unpack it first")
            }
            Self::Html => Some("was it a failed download?"),
            Self::Text => Some("WebAssembly text begins with '(module'"),
            _ => None,
        }
    }
}

/// Why a file that begins with `start` cannot run, as the rest of a sentence whose subject is the file ("is a
/// WebAssembly component, …"); `None` for a module.
///
/// ```
/// use boot_protocol::file_kind::refusal;
/// assert_eq!(refusal(b"\0asm\x01\0\0\0"), None);
/// assert_eq!(refusal(b"#!/bin/sh").unwrap(), "is not a WebAssembly module: it is a script");
/// ```
#[must_use]
pub fn refusal(start: &[u8]) -> Option<String> {
    let kind = FileKind::of(start);
    let advice = match kind.advice() {
        Some(advice) => format!("; {advice}"),
        None => String::new(),
    };
    Some(match kind {
        FileKind::Module => return None,
        FileKind::Component(version) => format!(
            "is a WebAssembly component (version {version:#04x}), not a module, and components are not supported{advice}"
        ),
        FileKind::OtherVersion(version) => {
            format!("is WebAssembly of the unknown version {version}; only version 1 can be run")
        }
        FileKind::Truncated => "is not a complete WebAssembly module: it ends within its first 8 bytes; \
                                is it truncated?"
            .to_string(),
        FileKind::Empty => "is not a WebAssembly module: the file is empty".to_string(),
        FileKind::Unknown => {
            let first: Vec<String> = start.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!(
                "is not a WebAssembly module: it is unknown data that begins with {} instead of 00 61 73 6d",
                first.join(" ")
            )
        }
        kind => format!("is not a WebAssembly module: it is {}{advice}", kind.noun()),
    })
}

/// Whether bytes are text in UTF-8, whose last character may be cut, without control characters that text does not have.
fn is_text(bytes: &[u8]) -> bool {
    let utf8 = core::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
    let control = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    utf8 && !bytes.iter().any(control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_module_passes() {
        for bytes in [b"\0asm\x01\0\0\0".as_slice(), b"\0asm\x01\0\0\0rest"] {
            assert_eq!(FileKind::of(bytes), FileKind::Module);
            assert_eq!(refusal(bytes), None);
        }
    }

    #[test]
    fn each_other_thing_is_told_apart_and_named() {
        let cases: &[(&[u8], FileKind, &str)] = &[
            (b"", FileKind::Empty, "the file is empty"),
            (b"\0", FileKind::Truncated, "truncated"),
            (b"\0asm", FileKind::Truncated, "within its first 8 bytes"),
            (b"\0asm\x01\0\0", FileKind::Truncated, "truncated"),
            (
                b"\0asm\x0d\0\x01\0",
                FileKind::Component(13),
                "component (version 0x0d)",
            ),
            (b"\0asm\x0e\0\x01\0xx", FileKind::Component(14), "wasm32-wasip1"),
            (b"\0asm\x02\0\0\0", FileKind::OtherVersion(2), "version 2"),
            (
                b"\0asm\x01\0\x02\0",
                FileKind::OtherVersion(0x2_0001),
                "version 131073",
            ),
            (b"\x7fELF\x02", FileKind::Elf, "an ELF file"),
            (b"\x7fELF\x02\x01\x01\x03", FileKind::Elf, "an ELF file"),
            (
                b"\x7fELF\x02\x01\x01\xc8",
                FileKind::NativeCode,
                "native code, compiled from",
            ),
            (b"MZ\x90", FileKind::Pe, "a Windows program"),
            (b"\xcf\xfa\xed\xfe", FileKind::MachO, "a macOS program"),
            (b"BC\xc0\xde", FileKind::Bitcode, "bitcode"),
            (b"!<arch>\nx", FileKind::Ar, "a static library"),
            (b"PK\x03\x04", FileKind::Zip, "ZIP"),
            (b"\x1f\x8b\x08", FileKind::Gzip, "gzip"),
            (b"\x28\xb5\x2f\xfd", FileKind::Zstd, "zstd"),
            (b"\xfd7zXZ\0", FileKind::Xz, "xz"),
            (b"BZh9", FileKind::Bzip2, "bzip2"),
            (b"#!/bin/sh\n", FileKind::Script, "a script"),
            (b"<!DOCTYPE html>", FileKind::Html, "an HTML page"),
            (b"\n<HTML>", FileKind::Html, "download"),
            (b"  (module)", FileKind::WasmText, "text format"),
            (b";; c\n(module)", FileKind::WasmText, "text format"),
            (b"(; c ;) (module)", FileKind::WasmText, "text format"),
            (b"hello, world\n", FileKind::Text, "it is text"),
            ("grüße\n".as_bytes(), FileKind::Text, "it is text"),
            (b"\0\0\0\0", FileKind::Zeros, "zero bytes"),
            (
                b"\xff\xfe\x00",
                FileKind::Unknown,
                "begins with ff fe 00 instead of",
            ),
            (b"\0bsm\x01\0\0\0", FileKind::Unknown, "begins with 00 62 73 6d"),
            (b"abc\x01def", FileKind::Unknown, "begins with 61 62 63 01"),
        ];
        for (bytes, kind, words) in cases {
            assert_eq!(FileKind::of(bytes), *kind, "{bytes:?}");
            let message = refusal(bytes).unwrap();
            assert!(message.starts_with("is ") && message.contains(words), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_archive_is_known_by_its_mark() {
        let mut header = vec![0; START];
        header[..4].copy_from_slice(b"name");
        header[257..262].copy_from_slice(b"ustar");
        assert_eq!(FileKind::of(&header), FileKind::Tar);
        assert_eq!(FileKind::of(&header[..261]), FileKind::Unknown);
    }

    #[test]
    fn a_character_that_the_start_cuts_in_two_is_still_text() {
        let mut long = vec![b'x'; START - 1];
        long.extend("ä".as_bytes());
        assert_eq!(FileKind::of(&long), FileKind::Text);
    }
}
