//! FNV-1a: a short name for a long sequence of bytes. Layer: pure.

/// FNV-1a, 64 bits. It tells accidents apart and is no protection against somebody who wants two to agree.
///
/// ```
/// use boot_protocol::fingerprint::fingerprint;
/// assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
/// assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
/// ```
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
