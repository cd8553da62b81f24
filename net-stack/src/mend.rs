//! A workaround: the sequence numbers of smoltcp's acknowledgements.
//!
//! When its timer makes smoltcp 0.14.0 send again, it also goes back with the number that its acknowledgements carry
//! (`remote_last_seq`), where RFC 9293 demands the highest one sent (SND.NXT). The peer takes such an acknowledgement
//! for an old segment and does not read what it acknowledges. If both ends do so at once, neither ever gets on. So an
//! acknowledgement without data gets the number it should have. `tests/transfers.rs`, `everything_goes_wrong`, hangs
//! without.

use smoltcp::wire::{
    ETHERNET_HEADER_LEN, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, TcpPacket,
    TcpSeqNumber,
};

use crate::frame::bits;

/// The highest sequence number that a connection has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Highest {
    number: Option<u32>,
    /// Whether the peer has no room. A single byte then only asks for room, and is sent again.
    pub(crate) peer_is_full: bool,
}

impl Highest {
    /// Reads a frame that the connection sends, and mends it.
    pub(crate) fn mend(&mut self, frame: &mut [u8]) {
        let Ok(ethernet) = EthernetFrame::new_checked(&*frame) else {
            return;
        };
        let (source, destination, header): (IpAddress, IpAddress, usize) = match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let Ok(packet) = Ipv4Packet::new_checked(ethernet.payload()) else {
                    return;
                };
                if packet.next_header() != IpProtocol::Tcp {
                    return;
                }
                (
                    packet.src_addr().into(),
                    packet.dst_addr().into(),
                    packet.header_len().into(),
                )
            }
            #[cfg(feature = "ipv6")]
            EthernetProtocol::Ipv6 => {
                let Ok(packet) = smoltcp::wire::Ipv6Packet::new_checked(ethernet.payload()) else {
                    return;
                };
                if packet.next_header() != IpProtocol::Tcp {
                    return;
                }
                (
                    packet.src_addr().into(),
                    packet.dst_addr().into(),
                    packet.header_len(),
                )
            }
            _ => return,
        };
        let Some(segment) = frame
            .get_mut(ETHERNET_HEADER_LEN..)
            .and_then(|packet| packet.get_mut(header..))
        else {
            return;
        };
        let length = segment.len();
        let Ok(mut segment) = TcpPacket::new_checked(segment) else {
            return;
        };
        let data = u32::try_from(length.saturating_sub(segment.header_len().into())).unwrap_or_default();
        let control = u32::from(segment.syn()) | u32::from(segment.fin());
        let end = bits(segment.seq_number())
            .wrapping_add(data)
            .wrapping_add(control);
        match self.number {
            Some(highest) if end.wrapping_sub(highest).cast_signed() < 0 => {
                if data == 0 && control == 0 && !segment.rst() {
                    segment.set_seq_number(TcpSeqNumber(highest.cast_signed()));
                    segment.fill_checksum(&source, &destination);
                }
            }
            _ if self.peer_is_full && data == 1 => {}
            _ => self.number = Some(end),
        }
    }
}
