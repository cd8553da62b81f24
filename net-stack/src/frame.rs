//! Reads of a frame what decides who handles it. Nothing is believed yet: checksums are verified by whoever handles it.

#[cfg(feature = "ipv6")]
use smoltcp::wire::{Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, Ipv6Packet, Ipv6Repr};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr,
        IpAddress, IpEndpoint, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr, TcpPacket, TcpRepr,
    },
};

use crate::{error::Error, key::Key};

/// Who handles a frame.
#[derive(Debug)]
pub(crate) enum Frame<'f> {
    /// Nobody: malformed, a fragment, or not for us.
    Nobody,
    /// The link: ARP and, within ICMPv6, neighbour discovery. Somebody may be found by it.
    Neighbour,
    /// Whoever answers for the machine: echo requests, protocols that are not here.
    Machine,
    /// A connection, a listener, or what is remembered of one.
    Tcp(Segment<'f>),
    /// A socket for datagrams, the resolver, or DHCP's client.
    #[cfg(feature = "datagrams")]
    Udp(Key),
    /// Who sent the packet that a router or the peer could not deliver.
    Undelivered(Undelivered),
}

/// A segment of TCP: the header's numbers, and the packet to look at more closely.
#[derive(Debug)]
pub(crate) struct Segment<'f> {
    pub(crate) key: Key,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) rst: bool,
    pub(crate) fin: bool,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) length: usize,
    /// The sender has no room for what it is sent.
    pub(crate) is_full: bool,
    /// The sender's address on the link.
    pub(crate) sender: EthernetAddress,
    network: EthernetFrame<&'f [u8]>,
}

/// What an ICMP message says of a packet that we sent.
#[derive(Debug)]
pub(crate) struct Undelivered {
    pub(crate) key: Key,
    pub(crate) tcp: bool,
    pub(crate) error: Error,
}

impl<'f> Frame<'f> {
    /// Reads `bytes`, as the machine with the address `us` on the link.
    pub(crate) fn read(bytes: &'f [u8], us: EthernetAddress) -> Self {
        Self::checked(bytes, us).unwrap_or(Self::Nobody)
    }

    fn checked(bytes: &'f [u8], us: EthernetAddress) -> Result<Self, smoltcp::wire::Error> {
        let ethernet = EthernetFrame::new_checked(bytes)?;
        let to_us = ethernet.dst_addr() == us;
        match ethernet.ethertype() {
            EthernetProtocol::Arp => Ok(Self::Neighbour),
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(ethernet.payload())?;
                // Without reassembly, a fragment would be taken for a whole packet.
                if packet.more_frags() || packet.frag_offset() != 0 {
                    return Ok(Self::Nobody);
                }
                let (source, destination) = (packet.src_addr().into(), packet.dst_addr().into());
                match packet.next_header() {
                    IpProtocol::Tcp if to_us => segment(ethernet, source, destination, packet.payload()),
                    IpProtocol::Tcp => Ok(Self::Nobody),
                    #[cfg(feature = "datagrams")]
                    IpProtocol::Udp => datagram(source, destination, packet.payload()),
                    IpProtocol::Icmp => undelivered_v4(packet.payload()),
                    _ => Ok(Self::Machine),
                }
            }
            #[cfg(feature = "ipv6")]
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(ethernet.payload())?;
                let (source, destination) = (packet.src_addr().into(), packet.dst_addr().into());
                match packet.next_header() {
                    IpProtocol::Tcp if to_us => segment(ethernet, source, destination, packet.payload()),
                    IpProtocol::Tcp => Ok(Self::Nobody),
                    #[cfg(feature = "datagrams")]
                    IpProtocol::Udp => datagram(source, destination, packet.payload()),
                    IpProtocol::Icmpv6 => undelivered_v6(&packet),
                    // Also TCP behind extension headers, which nobody sends: it is refused.
                    _ => Ok(Self::Machine),
                }
            }
            _ => Ok(Self::Nobody),
        }
    }
}

fn segment<'f>(
    ethernet: EthernetFrame<&'f [u8]>,
    source: IpAddress,
    destination: IpAddress,
    payload: &[u8],
) -> Result<Frame<'f>, smoltcp::wire::Error> {
    let packet = TcpPacket::new_checked(payload)?;
    let length = payload.len().saturating_sub(packet.header_len().into());
    Ok(Frame::Tcp(Segment {
        key: Key {
            local: IpEndpoint::new(destination, packet.dst_port()),
            remote: IpEndpoint::new(source, packet.src_port()),
        },
        syn: packet.syn(),
        ack: packet.ack(),
        rst: packet.rst(),
        fin: packet.fin(),
        sequence: bits(packet.seq_number()),
        acknowledged: bits(packet.ack_number()),
        length,
        is_full: packet.window_len() == 0,
        sender: ethernet.src_addr(),
        network: ethernet,
    }))
}

/// A sequence number as it is on the wire.
pub(crate) fn bits(number: smoltcp::wire::TcpSeqNumber) -> u32 {
    number.0.cast_unsigned()
}

impl Segment<'_> {
    /// The segment without its payload, if all checksums are right.
    pub(crate) fn verified(&self) -> Option<TcpRepr<'static>> {
        let capabilities = ChecksumCapabilities::default();
        let payload = self.network.payload();
        let (ip, payload) = match self.network.ethertype() {
            #[cfg(feature = "ipv6")]
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(payload).ok()?;
                (IpRepr::Ipv6(Ipv6Repr::parse(&packet).ok()?), packet.payload())
            }
            _ => {
                let packet = Ipv4Packet::new_checked(payload).ok()?;
                (
                    IpRepr::Ipv4(Ipv4Repr::parse(&packet, &capabilities).ok()?),
                    packet.payload(),
                )
            }
        };
        let packet = TcpPacket::new_checked(payload).ok()?;
        let tcp = TcpRepr::parse(&packet, &ip.src_addr(), &ip.dst_addr(), &capabilities).ok()?;
        Some(TcpRepr { payload: &[], ..tcp })
    }
}

#[cfg(feature = "datagrams")]
fn datagram<'f>(
    source: IpAddress,
    destination: IpAddress,
    payload: &[u8],
) -> Result<Frame<'f>, smoltcp::wire::Error> {
    let (source_port, destination_port) = ports(payload).ok_or(smoltcp::wire::Error)?;
    Ok(Frame::Udp(Key {
        local: IpEndpoint::new(destination, destination_port),
        remote: IpEndpoint::new(source, source_port),
    }))
}

/// What a datagram with an answer of DNS says of how it went. See RFC 1035, 4.1.1.
#[cfg(feature = "dns")]
pub(crate) fn response_code(bytes: &[u8]) -> Option<u8> {
    /// A header of UDP's, and where the code is behind it.
    const AT: usize = 8 + 3;
    let ethernet = EthernetFrame::new_checked(bytes).ok()?;
    let code = |datagram: &[u8]| datagram.get(AT).map(|byte| byte & 0xf);
    match ethernet.ethertype() {
        #[cfg(feature = "ipv6")]
        EthernetProtocol::Ipv6 => code(Ipv6Packet::new_checked(ethernet.payload()).ok()?.payload()),
        _ => code(Ipv4Packet::new_checked(ethernet.payload()).ok()?.payload()),
    }
}

/// The first two fields of TCP and of UDP.
fn ports(payload: &[u8]) -> Option<(u16, u16)> {
    let (ports, _) = payload.split_first_chunk::<4>()?;
    let [a, b, c, d] = *ports;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn undelivered_v4<'f>(payload: &[u8]) -> Result<Frame<'f>, smoltcp::wire::Error> {
    let packet = Icmpv4Packet::new_checked(payload)?;
    let Icmpv4Repr::DstUnreachable { reason, header, data } =
        Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default())?
    else {
        return Ok(Frame::Machine);
    };
    let error = match reason {
        Icmpv4DstUnreachable::PortUnreachable | Icmpv4DstUnreachable::ProtoUnreachable => {
            Error::ConnectionRefused
        }
        Icmpv4DstUnreachable::NetUnreachable
        | Icmpv4DstUnreachable::DstNetUnknown
        | Icmpv4DstUnreachable::NetUnreachToS => Error::NetworkUnreachable,
        Icmpv4DstUnreachable::NetProhibited
        | Icmpv4DstUnreachable::HostProhibited
        | Icmpv4DstUnreachable::CommProhibited => Error::Prohibited,
        // A report about one packet, not about its destination.
        Icmpv4DstUnreachable::FragRequired => return Ok(Frame::Nobody),
        _ => Error::HostUnreachable,
    };
    Ok(undelivered(
        header.src_addr.into(),
        header.dst_addr.into(),
        header.next_header,
        data,
        error,
    ))
}

#[cfg(feature = "ipv6")]
fn undelivered_v6<'f>(packet: &Ipv6Packet<&[u8]>) -> Result<Frame<'f>, smoltcp::wire::Error> {
    let message = Icmpv6Packet::new_checked(packet.payload())?;
    if message.msg_type().is_ndisc() {
        return Ok(Frame::Neighbour);
    }
    let capabilities = ChecksumCapabilities::default();
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let Icmpv6Repr::DstUnreachable { reason, header, data } =
        Icmpv6Repr::parse(&source, &destination, &message, &capabilities)?
    else {
        return Ok(Frame::Machine);
    };
    let error = match reason {
        Icmpv6DstUnreachable::PortUnreachable => Error::ConnectionRefused,
        Icmpv6DstUnreachable::NoRoute => Error::NetworkUnreachable,
        Icmpv6DstUnreachable::AdminProhibit => Error::Prohibited,
        _ => Error::HostUnreachable,
    };
    Ok(undelivered(
        header.src_addr.into(),
        header.dst_addr.into(),
        header.next_header,
        data,
        error,
    ))
}

fn undelivered<'f>(
    source: IpAddress,
    destination: IpAddress,
    protocol: IpProtocol,
    data: &[u8],
    error: Error,
) -> Frame<'f> {
    let tcp = match protocol {
        IpProtocol::Tcp => true,
        IpProtocol::Udp => false,
        _ => return Frame::Nobody,
    };
    let Some((source_port, destination_port)) = ports(data) else {
        return Frame::Nobody;
    };
    let key = Key {
        local: IpEndpoint::new(source, source_port),
        remote: IpEndpoint::new(destination, destination_port),
    };
    Frame::Undelivered(Undelivered { key, tcp, error })
}
