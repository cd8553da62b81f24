//! Tells what a file that is no runnable module is instead, before the interpreter sees it.
//!
//! Layer: pure; the WebAssembly binary format's preamble, and the proposals that the interpreter lacks.
//! Source: WebAssembly core specification 2.0, "Modules" (binary format); component model, `Binary.md` (layer).

use alloc::format;
use alloc::string::String;

/// `\0asm`, which begins modules and components alike.
const MAGIC: [u8; 4] = *b"\0asm";
/// Version 1, layer 0: a core module.
const MODULE: [u8; 4] = [1, 0, 0, 0];

/// Checks the first eight bytes of `wasm`.
///
/// # Errors
/// A message that says what the bytes are, if they are not the start of a core module.
pub fn check_preamble(wasm: &[u8]) -> Result<(), String> {
    match wasm {
        [] => Err("it is empty".into()),
        [a, b, c, d, e, f, g, h, ..] if [*a, *b, *c, *d] == MAGIC => match [*e, *f, *g, *h] {
            MODULE => Ok(()),
            // Layer 1; the version before it counts the component model's drafts.
            [_, _, 1, 0] => Err(
                "it is a component, and only core modules run here: build it for wasm32-wasip1, \
                 or extract its core module with `wasm-tools component unbundle`"
                    .into(),
            ),
            version => Err(format!(
                "its binary format has version {}, and only version 1 is known",
                u32::from_le_bytes(version)
            )),
        },
        _ if MAGIC.starts_with(wasm) || wasm.starts_with(&MAGIC) => {
            Err("it is truncated: a module has at least 8 bytes".into())
        }
        _ => Err(format!("it is not WebAssembly: it looks like {}", describe(wasm))),
    }
}

/// What bytes that are not WebAssembly probably are.
fn describe(bytes: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"\x7fELF", "an ELF program (a native executable?)"),
        (b"\x1f\x8b", "gzip data (decompress it first)"),
        (b"\x28\xb5\x2f\xfd", "zstd data (decompress it first)"),
        (b"PK\x03\x04", "a zip archive"),
        (b"#!", "a script"),
        (b"MZ", "a Windows program"),
        (b"BC\xc0\xde", "LLVM bitcode (link it first)"),
        (b"!<arch>", "a static library (link it first)"),
    ];
    let text = bytes.get(..64).unwrap_or(bytes);
    KNOWN
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map_or_else(
            || {
                let first = text.trim_ascii_start();
                if first.starts_with(b"(module")
                    || first.starts_with(b"(component")
                    || first.starts_with(b";;")
                {
                    "WebAssembly's text format (name the file *.wat, or convert it with `wat2wasm`)"
                } else if text
                    .iter()
                    .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
                {
                    "text"
                } else {
                    "binary data of an unknown kind"
                }
            },
            |(_, what)| *what,
        )
}

/// The WebAssembly proposal that a validation error is about, if the interpreter lacks it.
///
/// The interpreter's errors are text only; the words come from its parser's messages, and a test holds one module
/// per proposal against them.
#[must_use]
pub fn missing_proposal(error: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 10] = [
        ("shared", "threads"),
        ("thread", "threads"),
        ("atomic", "threads"),
        ("exception", "exception handling"),
        ("legacy_exceptions", "exception handling"),
        ("simd", "SIMD"),
        ("memory64", "memory64"),
        ("gc ", "garbage collection"),
        ("function references", "typed function references"),
        ("function-references", "typed function references"),
    ];
    let error = error.to_ascii_lowercase();
    let about_support = ["enabled", "support", "require", "proposal", "disallowed"]
        .iter()
        .any(|word| error.contains(word));
    if !about_support {
        return None;
    }
    WORDS
        .iter()
        .find(|(word, _)| error.contains(word))
        .map(|(_, proposal)| *proposal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_passes() {
        assert_eq!(check_preamble(b"\0asm\x01\0\0\0"), Ok(()));
        assert_eq!(check_preamble(b"\0asm\x01\0\0\0rest"), Ok(()));
    }

    #[test]
    fn each_other_thing_is_named() {
        let cases: [(&[u8], &str); 15] = [
            (b"", "empty"),
            (b"\0", "truncated"),
            (b"\0asm", "truncated"),
            (b"\0asm\x01\0\0", "truncated"),
            (b"\0asm\x0d\0\x01\0", "component"),
            (b"\0asm\x0e\0\x01\0xx", "component"),
            (b"\0asm\x02\0\0\0", "version 2"),
            (b"\x7fELF\x02", "ELF"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"#!/bin/sh\n", "script"),
            (b"  (module)", "text format"),
            (b";; c\n(module)", "text format"),
            (b"hello, world\n", "looks like text"),
            (b"\xff\xfe\x00", "unknown kind"),
            (b"\0bsm\x01\0\0\0", "unknown kind"),
        ];
        for (bytes, word) in cases {
            let message = check_preamble(bytes).unwrap_err();
            assert!(message.contains(word), "{bytes:?}: {message}");
        }
    }
}
