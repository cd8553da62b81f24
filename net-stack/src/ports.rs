//! Ports that the stack chooses.

/// The first port that may be chosen, to the last there is: RFC 6335's dynamic ports.
const FIRST: u16 = 49152;

/// A free port: the first from a random one on, RFC 6056's first algorithm.
pub(crate) fn find(random: u64, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
    let [low, high, ..] = random.to_le_bytes();
    let start = u16::from_le_bytes([low, high]) | FIRST;
    (start..=u16::MAX).chain(FIRST..start).find(|port| is_free(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_may_be_chosen_and_no_other() {
        assert_eq!(find(0, |_| true), Some(49152));
        assert_eq!(find(0xffff, |_| true), Some(65535));
        assert_eq!(find(0xffff, |port| port != 65535), Some(49152));
        assert_eq!(find(0xf000, |port| port < 50000), Some(49152));
        assert_eq!(find(1, |_| false), None);
    }
}
