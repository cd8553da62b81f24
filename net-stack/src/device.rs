//! What the machine has to provide: a device for frames, and entropy.

/// A device that receives and transmits Ethernet frames, without their checksum at the end (FCS).
///
/// It lends its own buffers, so that a frame is copied once: between them and a socket's buffer. Nothing here waits.
pub trait FrameDevice {
    /// The device's own address on the link. It is asked for once, by [`Stack::new`](crate::Stack::new).
    fn address(&self) -> [u8; 6];

    /// The longest IP packet that a frame carries; a frame is 14 bytes longer. It is asked for once.
    fn mtu(&self) -> u16 {
        1500
    }

    /// Hands the oldest frame that was received to `read`, and forgets it. `None`: there is none.
    ///
    /// A frame may have any length and any content.
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R>;

    /// Whether [`transmit`](Self::transmit) would find a buffer.
    fn can_transmit(&mut self) -> bool;

    /// Lends a buffer of `length` bytes (at most 14 more than the MTU) to `write`, which fills all of it, and transmits
    /// it. What the buffer held before does not matter. Called only right after [`can_transmit`](Self::can_transmit)
    /// said yes. `write` is called whatever happens; a frame that cannot be transmitted counts as lost on the wire.
    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R;
}

/// A source of random bytes that an attacker cannot guess: first sequence numbers, ports, identities of DNS queries and
/// the keys of the hash tables come from it.
///
/// Whoever has no such source must not have a network: with numbers that can be guessed, a host that is not on the path
/// can write into connections.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A number from `entropy`.
pub(crate) fn number(entropy: &mut impl Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
