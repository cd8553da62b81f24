//! `sock_getaddrinfo`: the addresses of a name.
//!
//! Layer: calls. The guest brings the list that is filled; all of it that can be needed is checked before a name is
//! looked up.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wasi_core::System;

use super::address::family;
use crate::{
    abi::{
        Errno,
        types::Size,
        wasmedge::{AddressFamily, Addrinfo, Protocol, SockType, Sockaddr},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Elements that can be told at most: eight addresses, for two kinds of sockets each.
const ELEMENTS: usize = 16;

/// Tells the addresses of a name.
///
/// ```c
/// errno sock_getaddrinfo(const uint8_t *node, size node_len, const uint8_t *service, size service_len,
///                        const addrinfo *hints, addrinfo **res, size max_res_len, size *res_len);
/// ```
///
/// - `node`, `node_len`: the name, or an address in digits; it may end with a zero byte. Without one: the address of
///   this machine itself, or any address if the hint says `AI_PASSIVE`.
/// - `service`, `service_len`: the port in digits, or `http`, `https` or `domain`; none: 0.
/// - `hints`: what is wanted: flags, family, kind of socket, protocol; 0 for any.
/// - `res`: where the first element of a list lies. Each leads to the next, to room for a `sockaddr` and that to room
///   for its bytes.
/// - `max_res_len`: how many elements the list has.
/// - `res_len`: gets how many are filled.
///
/// An address whose bytes do not fit the room of its element is left out. Names of machines are not told: the length of
/// `ai_canonname` becomes 0.
///
/// **Errors:**
/// - ACCES: the guest has no network, or may not know that name.
/// - AINONAME: there is neither a node nor a service; the name is not known, or is none; it is not in digits, and the
///   hint says `AI_NUMERICHOST`, or the service and `AI_NUMERICSERV`.
/// - AISERVICE: the service is another, or its port is above 65535.
/// - AIMEMORY: the list has no element, or none with room for an address; NOBUFS in the network.
/// - AIBADFLAG: the hint has an unknown flag; or `AI_CANONNAME` without a node.
/// - AIFAMILY: the hint's family is neither 0, 1 nor 2. AIADDRFAMILY: the name has no address of that family.
/// - NOSYS: the hint's kind of socket or its protocol has a number above 2.
/// - AISOCKTYPE: the hint's protocol is not one of that kind of socket.
/// - AIAGAIN: nobody could tell now.
///
/// **Traps:** `node`, `service`, `hints`, `res` or `res_len` out of bounds; an element of the list, its `sockaddr` or
/// the room for that one's bytes out of bounds; all but bytes not a multiple of 4. Of the list at most 16 elements are
/// looked at.
///
/// **Layout:** an `addrinfo` has 28 bytes: flags u16le at 0, family u8 at 2, kind u8 at 3, protocol u8 at 4, length of
/// the address on the host u32le at 8, and where the `sockaddr` lies u32le at 12, the name u32le at 16, its length
/// u32le at 20, the next element u32le at 24. A `sockaddr` has 12 bytes: family u8 at 0, room for its bytes, then how
/// many there are, u32le at 4, where they lie u32le at 8. They are, for IPv4, the port u16be at 0, the address at 2, 8
/// zeros; for IPv6, the port u16be at 0, 4 zeros, the address at 6, 4 zeros.
///
/// **Deviations:** WasmEdge knows all services of its host, tells the name, and writes without regard to the room.
#[expect(clippy::too_many_arguments, reason = "WasmEdge's")]
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn sock_getaddrinfo<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    node: Ptr<u8>,
    node_len: Size,
    service: Ptr<u8>,
    service_len: Size,
    hints: Ptr<Addrinfo>,
    res: Ptr<Ptr<Addrinfo>>,
    max_res_len: Size,
    res_len: Ptr<Size>,
) -> Result<(), Error> {
    // No question is answered without a network, so that a guest sees no other errno then than elsewhere.
    ctx.core.require_network()?;
    let node = text(mem.bytes(node, node_len)?);
    let service = text(mem.bytes(service, service_len)?);
    let hint = mem.read(hints)?;
    let first = mem.read(res)?;
    mem.check(res_len)?;
    let question = Question::new(node, service, &hint)?;
    if max_res_len == 0 {
        return Err(Errno::AIMEMORY.into());
    }
    let elements = list(mem, first, max_res_len)?;

    let (port, kinds) = (question.port, question.kinds());
    let addresses = question.addresses(|name| ctx.core.look_up(name))?;
    let mut free = elements.iter().peekable();
    let mut count: Size = 0;
    for ip in addresses {
        let data = Data::new(ip, port);
        for (kind, protocol) in kinds.into_iter().flatten() {
            let fits = |element: &&Element| element.room >= data.len();
            if let Some(element) = free.next_if(|element| fits(element)) {
                element.fill(mem, hint.ai_flags, kind, protocol, ip, &data)?;
                count = count.saturating_add(1);
            }
        }
    }
    if count == 0 {
        return Err(Errno::AIMEMORY.into());
    }
    mem.write(res_len, count)
}

/// A text, which C ends with a zero byte.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What is asked for.
struct Question<'a> {
    node: &'a str,
    port: u16,
    flags: u16,
    family: Option<AddressFamily>,
    stream: bool,
    datagrams: bool,
}

impl<'a> Question<'a> {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn new(node: &'a [u8], service: &[u8], hint: &Addrinfo) -> Result<Self, Errno> {
        if node.is_empty() && service.is_empty() {
            return Err(Errno::AINONAME);
        }
        let flags = hint.ai_flags;
        if flags & !Addrinfo::ALL_FLAGS != 0 || (flags & Addrinfo::CANONNAME_WANTED != 0 && node.is_empty()) {
            return Err(Errno::AIBADFLAG);
        }
        let family = match AddressFamily::of(hint.ai_family) {
            Some(AddressFamily::Unspec) => None,
            Some(family @ (AddressFamily::Inet4 | AddressFamily::Inet6)) => Some(family),
            Some(AddressFamily::Unix) | None => return Err(Errno::AIFAMILY),
        };
        let kind = SockType::of(hint.ai_socktype).ok_or(Errno::NOSYS)?;
        let protocol = Protocol::of(hint.ai_protocol).ok_or(Errno::NOSYS)?;
        let stream = kind != SockType::Dgram && protocol != Protocol::Udp;
        let datagrams = kind != SockType::Stream && protocol != Protocol::Tcp;
        if !stream && !datagrams {
            return Err(Errno::AISOCKTYPE);
        }
        Ok(Self {
            node: core::str::from_utf8(node).map_err(|_| Errno::AINONAME)?,
            port: port(service, flags)?,
            flags,
            family,
            stream,
            datagrams,
        })
    }

    /// The kinds of sockets that an address is told for, and their protocols.
    fn kinds(&self) -> [Option<(SockType, Protocol)>; 2] {
        let stream = self.stream.then_some((SockType::Stream, Protocol::Tcp));
        let datagrams = self.datagrams.then_some((SockType::Dgram, Protocol::Udp));
        [stream, datagrams]
    }

    /// The addresses; `look_up` knows those of a name.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn addresses(
        &self,
        look_up: impl FnOnce(&str) -> Result<Vec<IpAddr>, Errno>,
    ) -> Result<Vec<IpAddr>, Errno> {
        let mut found = match self.node.parse() {
            Ok(ip) => Vec::from([ip]),
            Err(_) if self.node.is_empty() => self.own(),
            Err(_) if self.flags & Addrinfo::NUMERICHOST != 0 => return Err(Errno::AINONAME),
            Err(_) => look_up(self.node).map_err(|errno| match errno {
                Errno::INVAL | Errno::NOENT => Errno::AINONAME,
                Errno::TIMEDOUT => Errno::AIAGAIN,
                Errno::NOBUFS => Errno::AIMEMORY,
                errno => errno,
            })?,
        };
        found.retain(|ip| self.family.is_none_or(|wanted| wanted == family(*ip)));
        match found.is_empty() {
            true => Err(Errno::AIADDRFAMILY),
            false => Ok(found),
        }
    }

    /// The addresses of a machine itself.
    fn own(&self) -> Vec<IpAddr> {
        match self.flags & Addrinfo::PASSIVE != 0 {
            true => Vec::from([Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            false => Vec::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        }
    }
}

/// The port of a service.
fn port(service: &[u8], flags: u16) -> Result<u16, Errno> {
    let digits = !service.is_empty() && service.iter().all(u8::is_ascii_digit);
    match service {
        b"" => Ok(0),
        _ if digits => {
            let number = core::str::from_utf8(service)
                .ok()
                .and_then(|text| text.parse().ok());
            number.ok_or(Errno::AISERVICE)
        }
        _ if flags & Addrinfo::NUMERICSERV != 0 => Err(Errno::AINONAME),
        b"domain" => Ok(53),
        b"http" => Ok(80),
        b"https" => Ok(443),
        _ => Err(Errno::AISERVICE),
    }
}

/// An element of the guest's list, all of which lies in memory.
struct Element {
    place: Ptr<Addrinfo>,
    info: Addrinfo,
    room: usize,
    data: u32,
}

/// The elements of a list that starts there, as many as can be needed.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn list(mem: &GuestMemory<'_>, first: Ptr<Addrinfo>, count: Size) -> Result<Vec<Element>, Error> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(ELEMENTS);
    let mut elements = Vec::with_capacity(count);
    let mut place = first;
    for _ in 0..count {
        let info = mem.read(place)?;
        let Sockaddr {
            sa_data_len, sa_data, ..
        } = mem.read(Ptr::new(info.ai_addr))?;
        let room = mem.bytes(Ptr::new(sa_data), sa_data_len)?.len();
        elements.push(Element {
            place,
            info,
            room,
            data: sa_data,
        });
        place = Ptr::new(info.ai_next);
    }
    Ok(elements)
}

impl Element {
    /// Tells an address.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn fill(
        &self,
        mem: &mut GuestMemory<'_>,
        flags: u16,
        kind: SockType,
        protocol: Protocol,
        ip: IpAddr,
        data: &Data,
    ) -> Result<(), Error> {
        let family = family(ip).raw();
        let info = Addrinfo {
            ai_flags: flags,
            ai_family: family,
            ai_socktype: kind.raw(),
            ai_protocol: protocol.raw(),
            // The family itself stands before these on the host.
            ai_addrlen: data.size().saturating_add(2),
            ai_canonname_len: 0,
            ..self.info
        };
        let address = Sockaddr {
            sa_family: family,
            sa_data_len: data.size(),
            sa_data: self.data,
        };
        mem.bytes_mut(Ptr::new(self.data), data.size())?
            .copy_from_slice(data.bytes());
        mem.write(Ptr::new(info.ai_addr), address)?;
        mem.write(self.place, info)
    }
}

/// The bytes of an address in a list.
struct Data {
    bytes: [u8; Sockaddr::INET6_DATA],
    len: usize,
}

impl Data {
    fn new(ip: IpAddr, port: u16) -> Self {
        let mut bytes = [0; Sockaddr::INET6_DATA];
        bytes[..2].copy_from_slice(&port.to_be_bytes());
        let len = match ip {
            IpAddr::V4(ip) => {
                bytes[2..6].copy_from_slice(&ip.octets());
                Sockaddr::INET4_DATA
            }
            IpAddr::V6(ip) => {
                bytes[6..22].copy_from_slice(&ip.octets());
                Sockaddr::INET6_DATA
            }
        };
        Self { bytes, len }
    }

    const fn len(&self) -> usize {
        self.len
    }

    fn size(&self) -> Size {
        // 26 at most.
        Size::try_from(self.len).unwrap_or(0)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
