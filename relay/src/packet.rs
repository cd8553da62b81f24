//! Reads the guest's frames, and writes those it gets: by their bytes, and none of them is believed.
//!
//! Formats: RFC 791, 8200, 9293, 768, 792, 4443, 826 and 4861.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use boot_protocol::network::inside::{self, GATEWAY, GATEWAY_LINK, GATEWAY_V6, GUEST, is_guest};

use crate::checksum::{fold, sum, sum_ends, sum_transport};

/// An address on the link.
pub(crate) type Link = [u8; 6];

/// The length of Ethernet's header.
pub(crate) const ETHERNET: usize = 14;
/// The longest frame.
pub(crate) const LONGEST: usize = ETHERNET + 1500;
/// The length of a UDP header.
const UDP: usize = 8;

const TCP_PROTOCOL: u8 = 6;
const UDP_PROTOCOL: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// TCP's flags.
pub(crate) mod flags {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
}

/// What a frame of the guest's is.
#[derive(Debug)]
pub(crate) enum Packet<'f> {
    /// It asks for the link's address of an address that is ours to answer for.
    Question(Question),
    /// A segment of TCP.
    Tcp(Segment<'f>),
    /// A datagram.
    Udp(Datagram<'f>),
}

/// A question for an address on the link.
#[derive(Debug)]
pub(crate) struct Question {
    asker: IpAddr,
    target: IpAddr,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

impl Ends {
    pub(crate) const fn reversed(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }
}

/// A segment of TCP.
#[derive(Debug)]
pub(crate) struct Segment<'f> {
    pub(crate) ends: Ends,
    pub(crate) flags: u8,
    /// All of it, with the header.
    pub(crate) bytes: &'f [u8],
    /// The packet's beginning, for reports about it.
    packet: &'f [u8],
}

/// A datagram.
#[derive(Debug)]
pub(crate) struct Datagram<'f> {
    pub(crate) ends: Ends,
    pub(crate) data: &'f [u8],
    packet: &'f [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv4Addr::from_octets(*bytes.get(at..)?.first_chunk()?).into())
}

fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from_octets(*bytes.get(at..)?.first_chunk()?).into())
}

impl<'f> Packet<'f> {
    /// Reads a frame. `None`: malformed, not for us, not from whom it should be, or nothing that is answered.
    pub(crate) fn read(frame: &'f [u8], guest: Link) -> Option<Self> {
        let (header, payload) = frame.split_at_checked(ETHERNET)?;
        if frame.len() > LONGEST || header.get(6..12)? != guest {
            return None;
        }
        match word(header, 12)? {
            0x0806 => arp(payload, guest),
            0x0800 if header.get(..6)? == GATEWAY_LINK => ipv4(payload),
            0x86dd => ipv6(payload, header.get(..6)? == GATEWAY_LINK),
            _ => None,
        }
    }
}

fn arp<'f>(packet: &[u8], guest: Link) -> Option<Packet<'f>> {
    // Ethernet, IPv4, lengths 6 and 4, a question.
    if packet.get(..8)? != [0, 1, 8, 0, 6, 4, 0, 1] || packet.get(8..14)? != guest {
        return None;
    }
    let (asker, target) = (v4(packet, 14)?, v4(packet, 24)?);
    (is_guest(asker) && is_answered_for(target)).then_some(Packet::Question(Question { asker, target }))
}

/// Whether we are whoever has the address on the link: the guest's own is the guest's.
fn is_answered_for(address: IpAddr) -> bool {
    !is_guest(address) && inside::contains(address)
}

fn ipv4(packet: &[u8]) -> Option<Packet<'_>> {
    let first = *packet.first()?;
    let length = usize::from(first & 15) * 4;
    let header = packet.get(..length)?;
    let packet = packet.get(..word(packet, 2)?.into())?;
    // No fragments: nobody here sends any, and what is in them cannot be seen.
    let whole = word(header, 6)? & 0x3fff == 0;
    if first >> 4 != 4 || length < 20 || !whole || fold(sum(header)) != 0xffff {
        return None;
    }
    transport(
        *header.get(9)?,
        v4(header, 12)?,
        v4(header, 16)?,
        packet,
        packet.get(length..)?,
    )
}

fn ipv6(packet: &[u8], to_us: bool) -> Option<Packet<'_>> {
    let header = packet.get(..40)?;
    let payload = packet.get(40..)?.get(..word(header, 4)?.into())?;
    let (source, destination) = (v6(header, 8)?, v6(header, 24)?);
    match *header.get(6)? {
        _ if header.first()? >> 4 != 6 => None,
        // Sent to a group, mostly. From this link, by its hop limit.
        ICMP_V6 if *header.get(7)? == 255 && payload.get(..2)? == [135, 0] => {
            let target = v6(payload, 8)?;
            let is_link_local = matches!(source, IpAddr::V6(source) if source.is_unicast_link_local());
            ((is_guest(source) || is_link_local) && is_answered_for(target)).then_some(Packet::Question(
                Question {
                    asker: source,
                    target,
                },
            ))
        }
        protocol if to_us => transport(
            protocol,
            source,
            destination,
            packet.get(..40 + payload.len())?,
            payload,
        ),
        _ => None,
    }
}

fn transport<'f>(
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    packet: &'f [u8],
    payload: &'f [u8],
) -> Option<Packet<'f>> {
    let ends = Ends {
        from: SocketAddr::new(source, word(payload, 0)?),
        to: SocketAddr::new(destination, word(payload, 2)?),
    };
    if !is_guest(source) || ends.from.port() == 0 || ends.to.port() == 0 {
        return None;
    }
    match protocol {
        TCP_PROTOCOL => {
            let header = usize::from(*payload.get(12)? >> 4) * 4;
            payload.get(20..header.max(20)).filter(|_| header >= 20)?;
            Some(Packet::Tcp(Segment {
                ends,
                flags: *payload.get(13)?,
                bytes: payload,
                packet,
            }))
        }
        UDP_PROTOCOL => {
            let datagram = payload.get(..word(payload, 4)?.into())?;
            let data = datagram.get(UDP..)?;
            let unchecked = word(datagram, 6)? == 0 && source.is_ipv4();
            let sum = sum_transport(ends, UDP_PROTOCOL, datagram, &[]);
            (unchecked || fold(sum) == 0xffff).then_some(Packet::Udp(Datagram { ends, data, packet }))
        }
        _ => None,
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = at.checked_add(value.len()).and_then(|end| bytes.get_mut(at..end)) {
        place.copy_from_slice(value);
    }
}

/// Writes the headers of the link and of the network behind `out`.
fn head(out: &mut Vec<u8>, links: [Link; 2], from: IpAddr, to: IpAddr, protocol: u8, length: usize) {
    let [source, destination] = links;
    out.extend_from_slice(&destination);
    out.extend_from_slice(&source);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[8, 0]);
            let total = u16::try_from(length.saturating_add(20)).unwrap_or_default();
            let mut header = [0; 20];
            put(&mut header, 0, &[0x45, 0]);
            put(&mut header, 2, &total.to_be_bytes());
            // Never in fragments.
            put(&mut header, 6, &[0x40, 0, 64, protocol]);
            put(&mut header, 12, &from.octets());
            put(&mut header, 16, &to.octets());
            let checksum = !fold(sum(&header));
            put(&mut header, 10, &checksum.to_be_bytes());
            out.extend_from_slice(&header);
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            out.extend_from_slice(&u16::try_from(length).unwrap_or_default().to_be_bytes());
            // The question for a neighbour, and its answer, need the highest limit.
            out.extend_from_slice(&[protocol, if protocol == ICMP_V6 { 255 } else { 64 }]);
            out.extend_from_slice(&octets(from));
            out.extend_from_slice(&octets(to));
        }
    }
}

/// Writes a segment's frame with other ends than it had. Its checksum is right if it was.
pub(crate) fn translate(out: &mut Vec<u8>, links: [Link; 2], segment: &[u8], old: Ends, new: Ends) {
    head(
        out,
        links,
        new.from.ip(),
        new.to.ip(),
        TCP_PROTOCOL,
        segment.len(),
    );
    let start = out.len();
    out.extend_from_slice(segment);
    let Some(bytes) = out.get_mut(start..) else { return };
    let Some(checksum) = word(bytes, 16) else { return };
    put(bytes, 0, &new.from.port().to_be_bytes());
    put(bytes, 2, &new.to.port().to_be_bytes());
    // RFC 1624, equation 3.
    let without = u32::from(!checksum) + u32::from(!fold(sum_ends(old)));
    let checksum = !fold(without + u32::from(fold(sum_ends(new))));
    put(bytes, 16, &checksum.to_be_bytes());
}

/// The segment in a frame of IPv4 without options, and its ends.
pub(crate) fn inner(frame: &[u8]) -> Option<(Ends, u8, &[u8])> {
    let packet = frame.get(ETHERNET..)?;
    let segment = packet.get(20..)?;
    let ends = Ends {
        from: SocketAddr::new(v4(packet, 12)?, word(segment, 0)?),
        to: SocketAddr::new(v4(packet, 16)?, word(segment, 2)?),
    };
    (frame.get(12..14)? == [8, 0] && *packet.get(9)? == TCP_PROTOCOL).then_some((
        ends,
        *segment.get(13)?,
        segment,
    ))
}

/// Whom a frame of ARP asks for, if it is a question.
pub(crate) fn arp_question(frame: &[u8]) -> Option<([u8; 4], [u8; 4])> {
    (frame.get(12..22)? == [8, 6, 0, 1, 8, 0, 6, 4, 0, 1])
        .then_some((*frame.get(28..)?.first_chunk()?, *frame.get(38..)?.first_chunk()?))
}

/// Answers a question of ARP's: `target` is at `link`.
pub(crate) fn arp_answer(out: &mut Vec<u8>, link: Link, target: [u8; 4], asker: Link, asks: [u8; 4]) {
    write_arp(out, 2, (link, target), (asker, asks));
}

/// Asks whether the guest is there, by ARP.
pub(crate) fn ask_for_guest(out: &mut Vec<u8>, guest: Link) {
    write_arp(out, 1, (GATEWAY_LINK, GATEWAY.octets()), (guest, GUEST.octets()));
}

fn write_arp(out: &mut Vec<u8>, operation: u8, from: (Link, [u8; 4]), to: (Link, [u8; 4])) {
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, operation];
    let parts: [&[u8]; 7] = [&to.0, &from.0, &kind, &from.0, &from.1, &to.0, &to.1];
    for part in parts {
        out.extend_from_slice(part);
    }
}

impl Question {
    /// Writes the answer: it is at ours.
    pub(crate) fn answer(&self, out: &mut Vec<u8>, guest: Link) {
        match (self.target, self.asker) {
            (IpAddr::V4(target), IpAddr::V4(asker)) => {
                arp_answer(out, GATEWAY_LINK, target.octets(), guest, asker.octets());
            }
            (IpAddr::V6(target), asker) => {
                // Solicited, and counts instead of what was known before; with our address on the link.
                let mut message = [0; 32];
                put(&mut message, 0, &[136, 0, 0, 0, 0x60]);
                put(&mut message, 8, &target.octets());
                put(&mut message, 24, &[2, 1]);
                put(&mut message, 26, &GATEWAY_LINK);
                icmp(out, guest, self.target, asker, ICMP_V6, &mut message);
            }
            _ => {}
        }
    }
}

fn icmp(out: &mut Vec<u8>, guest: Link, from: IpAddr, to: IpAddr, protocol: u8, message: &mut [u8]) {
    let checksum = match protocol {
        ICMP_V6 => {
            let ends = Ends {
                from: SocketAddr::new(from, 0),
                to: SocketAddr::new(to, 0),
            };
            sum_transport(ends, protocol, message, &[])
        }
        _ => sum(message),
    };
    put(message, 2, &(!fold(checksum)).to_be_bytes());
    head(out, [GATEWAY_LINK, guest], from, to, protocol, message.len());
    out.extend_from_slice(message);
}

/// Why a packet is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was not granted.
    Prohibited,
    /// Nobody is there, or no way leads there.
    Unreachable,
    /// Nobody listens there.
    Port,
}

/// Reports to the guest that a packet of its is not delivered.
fn report(out: &mut Vec<u8>, guest: Link, to: IpAddr, packet: &[u8], why: Why) {
    let (from, protocol, code, most): (IpAddr, _, _, _) = if to.is_ipv4() {
        let code = match why {
            Why::Prohibited => 13,
            Why::Unreachable => 1,
            Why::Port => 3,
        };
        (GATEWAY.into(), ICMP, [3, code], 60 + 8)
    } else {
        let code = match why {
            Why::Prohibited => 1,
            Why::Unreachable => 3,
            Why::Port => 4,
        };
        (GATEWAY_V6.into(), ICMP_V6, [1, code], 40 + 20)
    };
    let mut message = vec![0; 8];
    put(&mut message, 0, &code);
    message.extend_from_slice(packet.get(..most).unwrap_or(packet));
    icmp(out, guest, from, to, protocol, &mut message);
}

impl Segment<'_> {
    /// Whether it opens a connection.
    pub(crate) fn opens(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
    }

    /// Answers that it is not delivered: nobody listens there ([`Why::Port`]) is a reset.
    pub(crate) fn reject(&self, out: &mut Vec<u8>, guest: Link, why: Why) {
        match why {
            Why::Port => self.reset(out, guest),
            _ => report(out, guest, self.ends.from.ip(), self.packet, why),
        }
    }

    /// Answers with a reset, unless it is one: RFC 9293, 3.10.7.1.
    pub(crate) fn reset(&self, out: &mut Vec<u8>, guest: Link) {
        if self.flags & flags::RST != 0 {
            return;
        }
        let Some((sequence, acknowledged)) = number(self.bytes, 4).zip(number(self.bytes, 8)) else {
            return;
        };
        let mut header = [0; 20];
        let ends = self.ends.reversed();
        put(&mut header, 0, &ends.from.port().to_be_bytes());
        put(&mut header, 2, &ends.to.port().to_be_bytes());
        put(&mut header, 12, &[0x50, flags::RST]);
        if self.flags & flags::ACK == 0 {
            let length = self.bytes.len() - usize::from(self.bytes.get(12).map_or(0, |at| at >> 4)) * 4;
            let control = u32::from(self.flags & flags::SYN != 0) + u32::from(self.flags & flags::FIN != 0);
            let next = sequence
                .wrapping_add(u32::try_from(length).unwrap_or_default())
                .wrapping_add(control);
            put(&mut header, 8, &next.to_be_bytes());
            put(&mut header, 13, &[flags::RST | flags::ACK]);
        } else {
            put(&mut header, 4, &acknowledged.to_be_bytes());
        }
        let checksum = !fold(sum_transport(ends, TCP_PROTOCOL, &header, &[]));
        put(&mut header, 16, &checksum.to_be_bytes());
        head(
            out,
            [GATEWAY_LINK, guest],
            ends.from.ip(),
            ends.to.ip(),
            TCP_PROTOCOL,
            header.len(),
        );
        out.extend_from_slice(&header);
    }
}

impl Datagram<'_> {
    /// Answers that it is not delivered.
    pub(crate) fn reject(&self, out: &mut Vec<u8>, guest: Link, why: Why) {
        report(out, guest, self.ends.from.ip(), self.packet, why);
    }
}

/// Writes a datagram for the guest. One that is too long for a frame is not written.
pub(crate) fn datagram(out: &mut Vec<u8>, guest: Link, ends: Ends, data: &[u8]) {
    let network = if ends.to.is_ipv4() { 20 } else { 40 };
    if data.len() + UDP + network + ETHERNET > LONGEST {
        return;
    }
    let header = udp_header(ends, data);
    head(
        out,
        [GATEWAY_LINK, guest],
        ends.from.ip(),
        ends.to.ip(),
        UDP_PROTOCOL,
        UDP + data.len(),
    );
    out.extend_from_slice(&header);
    out.extend_from_slice(data);
}

fn udp_header(ends: Ends, data: &[u8]) -> [u8; UDP] {
    let mut header = [0; UDP];
    put(&mut header, 0, &ends.from.port().to_be_bytes());
    put(&mut header, 2, &ends.to.port().to_be_bytes());
    let length = u16::try_from(UDP + data.len()).unwrap_or_default();
    put(&mut header, 4, &length.to_be_bytes());
    // 0 would mean that there is none.
    let checksum = match !fold(sum_transport(ends, UDP_PROTOCOL, &header, data)) {
        0 => 0xffff,
        checksum => checksum,
    };
    put(&mut header, 6, &checksum.to_be_bytes());
    header
}

/// Reports to the guest that a datagram of its, from and to `ends`, found nobody who listens.
pub(crate) fn undelivered(out: &mut Vec<u8>, guest: Link, ends: Ends, why: Why) {
    let mut frame = Vec::new();
    let header = udp_header(ends, &[]);
    head(
        &mut frame,
        [guest, GATEWAY_LINK],
        ends.from.ip(),
        ends.to.ip(),
        UDP_PROTOCOL,
        UDP,
    );
    frame.extend_from_slice(&header);
    let packet = frame.get(ETHERNET..).unwrap_or_default();
    report(out, guest, ends.from.ip(), packet, why);
}
