//! A generator of random bytes from a key: ChaCha with 20 rounds, its stream from the beginning.
//!
//! Layer: core. One place for all who have a key: deterministic runs, and machines that are given entropy as a key. The
//! code is large, so it is compiled once.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// The generator.
#[derive(Debug)]
pub struct Generator(ChaCha20Rng);

impl Generator {
    /// The generator of this key.
    #[inline(never)]
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(key))
    }

    /// Fills `buf` with the next bytes of its stream; what is left of a word of 32 bits is not used.
    #[inline(never)]
    pub fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill_bytes(buf);
    }
}
