//! What decides about code besides the module: one number for it, which compiler, launcher and cache compare.
//!
//! A launcher takes code only of a compiler that was built from the same settings and the same libraries, and keeps it
//! under this number.

use crate::WASMTIME_VERSION;

/// The sources that decide: settings, levels, what the compiler says and is told, and all that it is made of. What it
/// refuses counts too: code of a compiler that refused less must not be found any more.
const SOURCES: [&[u8]; 10] = [
    include_bytes!("cpu.rs"),
    include_bytes!("protocol.rs"),
    include_bytes!("settings.rs"),
    include_bytes!("../../compiler/src/arguments.rs"),
    include_bytes!("../../compiler/src/main.rs"),
    include_bytes!("../../compiler/src/progress.rs"),
    include_bytes!("../../compiler/src/refusal.rs"),
    include_bytes!("../../compiler/src/settings.rs"),
    include_bytes!("../../compiler/Cargo.toml"),
    include_bytes!("../../compiler/Cargo.lock"),
];

/// Differs if the settings or the compiler's libraries differ.
pub const COMPATIBILITY: u64 = {
    let mut hash = add(OFFSET, WASMTIME_VERSION.as_bytes());
    let mut at = 0;
    while at < SOURCES.len() {
        hash = add(hash, SOURCES[at]);
        at += 1;
    }
    hash
};

// FNV-1a: computed while this is compiled. Nobody is kept out by it; the keyed digests are for that.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

const fn add(mut hash: u64, bytes: &[u8]) -> u64 {
    // A length, so that bytes cannot move from one into the other unseen.
    let length = bytes.len().to_le_bytes();
    let mut at = 0;
    while at < length.len() {
        hash = (hash ^ length[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn all_of_the_compiler_counts() {
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../compiler/src");
        let mut number = 0;
        for file in std::fs::read_dir(sources).unwrap() {
            let file = file.unwrap().path();
            let bytes = std::fs::read(&file).unwrap();
            assert!(SOURCES.contains(&&*bytes), "{} is not in SOURCES", file.display());
            number += 1;
        }
        assert!(number > 1);
    }

    #[test]
    fn each_byte_counts_and_where_it_is() {
        let of = |parts: [&[u8]; 2]| add(add(OFFSET, parts[0]), parts[1]);
        let all = [
            of([b"ab", b"c"]),
            of([b"a", b"bc"]),
            of([b"ab", b"d"]),
            of([b"", b"abc"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
        assert_ne!(COMPATIBILITY, OFFSET);
    }
}
