//! The wire format of WasmEdge's calls for sockets: numbers, sizes and offsets, and nothing that acts.
//!
//! Layer: abi. Implements what WasmEdge's `wasi/api.hpp` says, which has no witx text; the programs that use these
//! calls are built with crate `wasmedge_wasi_socket`, whose layouts are the same.

use super::{
    Errno,
    layout::{Decode, Encode, Wire, field, put},
    types::{Param, Size, enums},
};

enums! {
    /// A family of addresses.
    AddressFamily(u8) {
        /// Any.
        Unspec = 0,
        /// IPv4.
        Inet4 = 1,
        /// IPv6.
        Inet6 = 2,
        /// Paths of the host.
        Unix = 3,
    }

    /// A kind of socket.
    SockType(u8) {
        /// Any.
        Any = 0,
        /// Datagrams.
        Dgram = 1,
        /// A stream of bytes.
        Stream = 2,
    }

    /// Whose an option is.
    SockOptLevel(u8) {
        /// The socket's.
        SolSocket = 0,
    }

    /// An option of a socket.
    SockOptSo(u8) {
        /// Whether an address may be listened on that was in use just now.
        Reuseaddr = 0,
        /// The socket's kind, a [`SockType`]; only to read.
        Type = 1,
        /// The error that waits to be told, an errno or 0; only to read.
        Error = 2,
        /// Whether to send to neighbours only.
        Dontroute = 3,
        /// Whether datagrams may go to everybody.
        Broadcast = 4,
        /// Bytes that wait to be sent at most.
        Sndbuf = 5,
        /// Bytes that wait to be received at most.
        Rcvbuf = 6,
        /// Whether a silent peer is asked whether it is there.
        Keepalive = 7,
        /// Whether urgent data stands among the rest.
        Oobinline = 8,
        /// Whether closing waits.
        Linger = 9,
        /// Bytes that receiving waits for.
        Rcvlowat = 10,
        /// How long receiving waits.
        Rcvtimeo = 11,
        /// How long sending waits.
        Sndtimeo = 12,
        /// Whether it listens; only to read.
        Acceptconn = 13,
        /// The device that it is bound to.
        Bindtodevice = 14,
    }

    /// A protocol.
    Protocol(u8) {
        /// Any.
        Ip = 0,
        /// TCP.
        Tcp = 1,
        /// UDP.
        Udp = 2,
    }
}

/// `address`: where an address lies, and how long it is. 4 bytes are an IPv4 address, 16 an IPv6 address; 128 are a
/// storage for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// First byte of the address.
    pub buf: u32,
    /// Its length in bytes.
    pub buf_len: Size,
}

impl Address {
    /// Bytes in guest memory.
    pub const SIZE: usize = 8;
    /// Offset of `buf`.
    pub const BUF: usize = 0;
    /// Offset of `buf_len`.
    pub const BUF_LEN: usize = 4;
}

impl Wire<{ Address::SIZE }> for Address {
    const ALIGN: u32 = 4;
}

impl Decode<{ Address::SIZE }> for Address {
    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        Ok(Self {
            buf: field!(bytes, Address::BUF, u32),
            buf_len: field!(bytes, Address::BUF_LEN, u32),
        })
    }
}

/// The storage for an address of any family: its family in 2 bytes, then its bytes.
pub struct Storage;

impl Storage {
    /// Bytes in guest memory.
    pub const SIZE: Size = 128;
    /// Offset of the family, a [`AddressFamily`] as u16le.
    pub const FAMILY: usize = 0;
    /// Offset of the address.
    pub const ADDRESS: usize = 2;
}

/// `addrinfo`: what `sock_getaddrinfo` is to look for, and an element of the list that it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addrinfo {
    /// What kind of answer is wanted.
    pub ai_flags: u16,
    /// The family of the address.
    pub ai_family: u8,
    /// The kind of socket that it is for.
    pub ai_socktype: u8,
    /// The protocol that it is for.
    pub ai_protocol: u8,
    /// Bytes of the address as the host has it; 0: none.
    pub ai_addrlen: Size,
    /// Where its [`Sockaddr`] lies.
    pub ai_addr: u32,
    /// Where room for the name is.
    pub ai_canonname: u32,
    /// Length of the name; 0: none.
    pub ai_canonname_len: Size,
    /// Where the next element lies.
    pub ai_next: u32,
}

impl Addrinfo {
    /// Bytes in guest memory.
    pub const SIZE: usize = 28;
    /// Offset of `ai_flags`.
    pub const FLAGS: usize = 0;
    /// Offset of `ai_family`.
    pub const FAMILY: usize = 2;
    /// Offset of `ai_socktype`.
    pub const SOCKTYPE: usize = 3;
    /// Offset of `ai_protocol`.
    pub const PROTOCOL: usize = 4;
    /// Offset of `ai_addrlen`.
    pub const ADDRLEN: usize = 8;
    /// Offset of `ai_addr`.
    pub const ADDR: usize = 12;
    /// Offset of `ai_canonname`.
    pub const CANONNAME: usize = 16;
    /// Offset of `ai_canonname_len`.
    pub const CANONNAME_LEN: usize = 20;
    /// Offset of `ai_next`.
    pub const NEXT: usize = 24;

    /// Any address of those that the machine has, to listen on.
    pub const PASSIVE: u16 = 1 << 0;
    /// The name is wanted as well.
    pub const CANONNAME_WANTED: u16 = 1 << 1;
    /// The node is an address in digits.
    pub const NUMERICHOST: u16 = 1 << 2;
    /// The service is a port in digits.
    pub const NUMERICSERV: u16 = 1 << 3;
    /// All flags: these, and those that IPv4-mapped addresses and the machine's own addresses are about.
    pub const ALL_FLAGS: u16 = 0x7f;
}

impl Wire<{ Addrinfo::SIZE }> for Addrinfo {
    const ALIGN: u32 = 4;
}

impl Decode<{ Addrinfo::SIZE }> for Addrinfo {
    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        Ok(Self {
            ai_flags: field!(bytes, Addrinfo::FLAGS, u16),
            ai_family: bytes[Addrinfo::FAMILY],
            ai_socktype: bytes[Addrinfo::SOCKTYPE],
            ai_protocol: bytes[Addrinfo::PROTOCOL],
            ai_addrlen: field!(bytes, Addrinfo::ADDRLEN, u32),
            ai_addr: field!(bytes, Addrinfo::ADDR, u32),
            ai_canonname: field!(bytes, Addrinfo::CANONNAME, u32),
            ai_canonname_len: field!(bytes, Addrinfo::CANONNAME_LEN, u32),
            ai_next: field!(bytes, Addrinfo::NEXT, u32),
        })
    }
}

impl Encode<{ Addrinfo::SIZE }> for Addrinfo {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Addrinfo::FLAGS, self.ai_flags, u16);
        bytes[Addrinfo::FAMILY] = self.ai_family;
        bytes[Addrinfo::SOCKTYPE] = self.ai_socktype;
        bytes[Addrinfo::PROTOCOL] = self.ai_protocol;
        put!(bytes, Addrinfo::ADDRLEN, self.ai_addrlen, u32);
        put!(bytes, Addrinfo::ADDR, self.ai_addr, u32);
        put!(bytes, Addrinfo::CANONNAME, self.ai_canonname, u32);
        put!(bytes, Addrinfo::CANONNAME_LEN, self.ai_canonname_len, u32);
        put!(bytes, Addrinfo::NEXT, self.ai_next, u32);
        bytes
    }
}

/// `sockaddr`: an address in a list of [`Addrinfo`], with its bytes elsewhere: the port, then what the host's own
/// structure has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockaddr {
    /// The family of the address.
    pub sa_family: u8,
    /// Bytes at `sa_data`: before the call its room, behind it what of that is used.
    pub sa_data_len: Size,
    /// Where the bytes lie.
    pub sa_data: u32,
}

impl Sockaddr {
    /// Bytes in guest memory.
    pub const SIZE: usize = 12;
    /// Offset of `sa_family`.
    pub const FAMILY: usize = 0;
    /// Offset of `sa_data_len`.
    pub const DATA_LEN: usize = 4;
    /// Offset of `sa_data`.
    pub const DATA: usize = 8;

    /// Bytes at `sa_data` for IPv4: the port as u16be, the address, 8 bytes of zeros.
    pub const INET4_DATA: usize = 14;
    /// Bytes at `sa_data` for IPv6: the port as u16be, 4 bytes of flow, the address, 4 bytes of scope.
    pub const INET6_DATA: usize = 26;
}

impl Wire<{ Sockaddr::SIZE }> for Sockaddr {
    const ALIGN: u32 = 4;
}

impl Decode<{ Sockaddr::SIZE }> for Sockaddr {
    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        Ok(Self {
            sa_family: bytes[Sockaddr::FAMILY],
            sa_data_len: field!(bytes, Sockaddr::DATA_LEN, u32),
            sa_data: field!(bytes, Sockaddr::DATA, u32),
        })
    }
}

impl Encode<{ Sockaddr::SIZE }> for Sockaddr {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[Sockaddr::FAMILY] = self.sa_family;
        put!(bytes, Sockaddr::DATA_LEN, self.sa_data_len, u32);
        put!(bytes, Sockaddr::DATA, self.sa_data, u32);
        bytes
    }
}

const _: () = assert!(
    Address::BUF_LEN + 4 == Address::SIZE
        && Addrinfo::PROTOCOL < Addrinfo::ADDRLEN
        && Addrinfo::ADDR == Addrinfo::ADDRLEN + 4
        && Addrinfo::CANONNAME == Addrinfo::ADDR + 4
        && Addrinfo::CANONNAME_LEN == Addrinfo::CANONNAME + 4
        && Addrinfo::NEXT == Addrinfo::CANONNAME_LEN + 4
        && Addrinfo::NEXT + 4 == Addrinfo::SIZE
        && Sockaddr::DATA + 4 == Sockaddr::SIZE
        && Sockaddr::INET4_DATA == 2 + 4 + 8
        && Sockaddr::INET6_DATA == 2 + 4 + 16 + 4
);
