//! The bootable image that this program carries: loader, Hermit kernel, interpreter and a module that greets.

/// The image for x86_64, made or found by `build.rs`.
pub(crate) const X86_64: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.img"));

/// A name for exactly this image, for files that are kept of it or about it: FNV-1a, 64 bits. It is no protection
/// against anyone; it tells one build from another.
pub(crate) fn fingerprint(image: &[u8]) -> u64 {
    image.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_fnv_1a() {
        // From the algorithm's published test vectors.
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn there_is_an_image() {
        assert!(!X86_64.is_empty());
    }
}
