//! Whom the link was asked for lately, and the question that smoltcp does not ask.
//!
//! After a question for one neighbour, smoltcp 0.14.0 asks for no other during a second (`NeighborCache::SILENT_TIME`).
//! So a connection would wait a second if a name was looked up before, as the name's server is another neighbour. Here
//! each neighbour has a second of its own.

use alloc::vec;

use smoltcp::{
    iface::Interface,
    socket::tcp::{Socket, SocketBuffer},
    wire::{IpAddress, IpCidr},
};

use crate::{lone::Lone, net::instant, phy::Port};

/// For so long smoltcp's sockets wait for a neighbour before they are asked again.
pub(crate) const SILENCE: u64 = 1_000_000;

/// So many neighbours are remembered: with more in one second, one may be asked for twice.
const REMEMBERED: usize = 8;

/// The neighbours that were asked for, and when.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    last: [Option<(IpAddress, u64)>; REMEMBERED],
    next: usize,
}

impl Asked {
    /// Notes that a neighbour is asked for now, unless it was asked for just before. Says whether it was not.
    pub(crate) fn note(&mut self, neighbour: IpAddress, now: u64) -> bool {
        let is_recent =
            |(asked, at): &(IpAddress, u64)| *asked == neighbour && now.saturating_sub(*at) < SILENCE;
        if self.last.iter().flatten().any(is_recent) {
            return false;
        }
        if let Some(place) = self.last.get_mut(self.next) {
            *place = Some((neighbour, now));
        }
        self.next = self
            .next
            .checked_add(1)
            .filter(|next| *next < REMEMBERED)
            .unwrap_or(0);
        true
    }
}

/// Asks for `neighbour` through an interface that knows nobody: its socket, which is none that anybody uses, has to
/// ask.
pub(crate) fn ask(
    mut interface: Interface,
    addresses: &[IpCidr],
    port: &mut Port<'_>,
    neighbour: IpAddress,
    now: u64,
) {
    interface.update_ip_addrs(|own| {
        let _ = own.extend_from_slice(addresses);
    });
    let buffer = || SocketBuffer::new(vec![]);
    let mut lone = Lone::new(Socket::new(buffer(), buffer()));
    // Any ports will do: no segment is sent.
    if lone
        .socket_mut()
        .connect(interface.context(), (neighbour, 1), 1)
        .is_ok()
    {
        let _ = interface.poll_egress(instant(now), port, lone.set());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_neighbour_has_a_second_of_its_own() {
        let address = |last| IpAddress::v4(10, 0, 0, last);
        let mut asked = Asked::default();
        assert!(asked.note(address(1), 5));
        assert!(asked.note(address(2), 6));
        assert!(!asked.note(address(1), SILENCE));
        assert!(asked.note(address(1), SILENCE + 5));
        for last in 0..=255 {
            asked.note(address(last), 2 * SILENCE);
        }
        assert!(!asked.note(address(255), 2 * SILENCE));
    }
}
