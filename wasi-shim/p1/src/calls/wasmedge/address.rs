//! Addresses in the guest's memory, as WasmEdge has them: read as a whole, written into room that was checked before.
//!
//! Layer: calls.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    abi::{
        Errno,
        types::Size,
        wasmedge::{Address, AddressFamily, Storage},
    },
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Bytes of an IPv4 address.
const INET4: Size = 4;

/// Bytes of an IPv6 address.
const INET6: Size = 16;

/// A port as a parameter arrives. WasmEdge takes its lower half.
pub(in crate::calls) fn port(raw: u32) -> Result<u16, Errno> {
    u16::try_from(raw).map_err(|_| Errno::INVAL)
}

/// The address that lies there, with a port. Of no other length than 4, 16 and 128 is one.
pub(in crate::calls) fn read(
    mem: &GuestMemory<'_>,
    address: Ptr<Address>,
    port: u16,
) -> Result<SocketAddr, Error> {
    let Address { buf, buf_len } = mem.read(address)?;
    let bytes = mem.bytes(Ptr::new(buf), buf_len)?;
    let ip = match buf_len {
        INET4 => inet4(bytes),
        INET6 => inet6(bytes),
        Storage::SIZE => {
            let family = bytes.first_chunk().copied().map(u16::from_le_bytes);
            let rest = bytes.get(Storage::ADDRESS..).unwrap_or_default();
            match family {
                Some(family) if family == u16::from(AddressFamily::Inet4.raw()) => inet4(rest),
                Some(family) if family == u16::from(AddressFamily::Inet6.raw()) => inet6(rest),
                _ => None,
            }
        }
        _ => None,
    };
    let ip = ip.ok_or(Errno::INVAL)?;
    Ok(SocketAddr::new(ip, port))
}

fn inet4(bytes: &[u8]) -> Option<IpAddr> {
    let octets: &[u8; 4] = bytes.first_chunk()?;
    Some(Ipv4Addr::from(*octets).into())
}

fn inet6(bytes: &[u8]) -> Option<IpAddr> {
    let octets: &[u8; 16] = bytes.first_chunk()?;
    Some(Ipv6Addr::from(*octets).into())
}

/// The family of an address.
pub(in crate::calls) const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet4,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Room for an address, all of which lies in memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::calls) struct Room {
    start: u32,
    len: Size,
}

impl Room {
    /// The room that lies there.
    pub(in crate::calls) fn new(mem: &GuestMemory<'_>, address: Ptr<Address>) -> Result<Self, Error> {
        let Address { buf, buf_len } = mem.read(address)?;
        mem.bytes(Ptr::new(buf), buf_len)?;
        Ok(Self {
            start: buf,
            len: buf_len,
        })
    }

    /// The same, if it has one of these lengths; else INVAL.
    pub(in crate::calls) fn of_length(self, lengths: &[Size]) -> Result<Self, Errno> {
        match lengths.contains(&self.len) {
            true => Ok(self),
            false => Err(Errno::INVAL),
        }
    }

    /// Writes an address: its bytes alone, or its family and its bytes if it is a storage, which holds either; `None`
    /// is of no family. Whether there was room.
    pub(in crate::calls) fn write(
        self,
        mem: &mut GuestMemory<'_>,
        ip: Option<IpAddr>,
    ) -> Result<bool, Error> {
        if self.len != Storage::SIZE {
            return self.write_bare(mem, ip);
        }
        let room = mem.bytes_mut(Ptr::new(self.start), self.len)?;
        let (head, rest) = room.split_at_mut_checked(Storage::ADDRESS).ok_or(Errno::FAULT)?;
        let family = ip.map_or(AddressFamily::Unspec, family);
        head.copy_from_slice(&u16::from(family.raw()).to_le_bytes());
        Ok(put(rest, ip))
    }

    /// Writes an address' bytes alone. Whether there was room.
    pub(in crate::calls) fn write_bare(
        self,
        mem: &mut GuestMemory<'_>,
        ip: Option<IpAddr>,
    ) -> Result<bool, Error> {
        Ok(put(mem.bytes_mut(Ptr::new(self.start), self.len)?, ip))
    }
}

/// Writes an address' bytes, if there is one. Whether there was room.
fn put(room: &mut [u8], ip: Option<IpAddr>) -> bool {
    match ip {
        None => true,
        Some(IpAddr::V4(ip)) => room.first_chunk_mut().map(|room| *room = ip.octets()).is_some(),
        Some(IpAddr::V6(ip)) => room.first_chunk_mut().map(|room| *room = ip.octets()).is_some(),
    }
}
