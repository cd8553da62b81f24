//! Packed files as `tests/fuzz` makes them.

use boot_protocol::arch::Arch;
use boot_protocol::payload::{self as names, SEAL};

use super::trailer::Trailer;

/// A payload of these members, an archive of which nothing need be right but the seal.
#[must_use]
pub fn payload_of(members: &[u8]) -> Vec<u8> {
    let seal = names::seal(blake3::hash(members).as_bytes());
    [&seal[..], members].concat()
}

/// An executable of this program, behind which such a payload is, for a machine with so many bytes of memory.
#[must_use]
pub fn executable_of(program: &[u8], members: &[u8], memory: u64) -> Vec<u8> {
    let payload = payload_of(members);
    let mut seal = [0; SEAL];
    seal.iter_mut().zip(&payload).for_each(|(to, from)| *to = *from);
    let place = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let trailer = Trailer {
        arch: Arch::X86_64,
        payload: (place(program.len()), place(payload.len())),
        memory,
    };
    [program, &payload, &trailer.encode(&seal)].concat()
}
