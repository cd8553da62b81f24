//! The configuration: addresses, names, and every bound. Whatever the wire does, the stack holds no more than this.

use alloc::{string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

/// A second, in the unit of all times here.
pub(crate) const SECOND: u64 = 1_000_000;

/// An address of this machine, and how many of its bits are the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix: at most 32, for IPv6 at most 128.
    pub prefix: u8,
}

/// Where the IPv4 address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4 {
    /// It is given.
    Static {
        /// The address of this machine.
        address: Ipv4Addr,
        /// The length of the network's prefix.
        prefix: u8,
        /// The router to everything else.
        gateway: Option<Ipv4Addr>,
    },
    /// A DHCP server gives it, with a router and DNS servers. Until then the stack has none.
    #[cfg(feature = "dhcp")]
    Dhcp,
    /// There is none.
    None,
}

/// The configuration of a [`Stack`](crate::Stack). Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The IPv4 address.
    pub ipv4: Ipv4,
    /// The IPv6 address and its prefix, beside the link-local one, which is made of the device's.
    #[cfg(feature = "ipv6")]
    pub ipv6: Option<(core::net::Ipv6Addr, u8)>,
    /// The router to all IPv6 networks but our own.
    #[cfg(feature = "ipv6")]
    pub ipv6_gateway: Option<core::net::Ipv6Addr>,
    /// Names that are known without asking anybody. They are looked up before any server is asked.
    pub names: Vec<(String, IpAddr)>,
    /// DNS servers: at most three are used. DHCP's are used if these are none.
    #[cfg(feature = "dns")]
    pub dns_servers: Vec<IpAddr>,

    /// The receive buffer of a TCP connection: the most that the peer may send ahead of the application.
    pub receive_buffer: usize,
    /// The transmit buffer of a TCP connection: the most that the application may write ahead of the peer's
    /// acknowledgements.
    pub send_buffer: usize,
    /// TCP connections, whatever their state, with those that only end. Two buffers each.
    pub connections: usize,
    /// Pairs of buffers that are kept for connections to come, not cleared.
    pub pooled: usize,
    /// Listeners.
    pub listeners: usize,
    /// Connections that a listener keeps for the application to accept: the most that its backlog may be.
    pub backlog: usize,
    /// Handshakes that peers began and did not finish, of all listeners: some 300 bytes each, no buffers. A newer one
    /// takes the place of the oldest.
    pub half_open: usize,
    /// Connections that ended and are remembered, so that what is left of them on the wire does no harm: some 80 bytes
    /// each, and a newer one takes the place of the oldest.
    pub time_wait: usize,

    /// UDP sockets.
    #[cfg(feature = "udp")]
    pub udp_sockets: usize,
    /// Each of the two buffers of a UDP socket, in bytes.
    #[cfg(feature = "udp")]
    pub udp_buffer: usize,
    /// The datagrams that each of these two buffers holds at most.
    #[cfg(feature = "udp")]
    pub udp_datagrams: usize,
    /// Lookups of names at once.
    pub lookups: usize,

    /// For so long a connection may be in the making.
    pub connect_timeout: u64,
    /// For so long a peer may be silent while it owes us an acknowledgement.
    pub peer_timeout: u64,
    /// For so long a connection that the application has closed may go on sending what was written before.
    pub linger: u64,
    /// For so long a handshake that a peer began may be finished.
    pub half_open_timeout: u64,
    /// For so long a connection that ended is remembered: twice the life of a packet.
    pub time_wait_timeout: u64,
    /// Frames that one poll takes from the device before it transmits and returns.
    pub frames_per_poll: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ipv4: Ipv4::None,
            #[cfg(feature = "ipv6")]
            ipv6: None,
            #[cfg(feature = "ipv6")]
            ipv6_gateway: None,
            names: Vec::new(),
            #[cfg(feature = "dns")]
            dns_servers: Vec::new(),
            receive_buffer: 64 << 10,
            send_buffer: 64 << 10,
            connections: 512,
            pooled: 16,
            listeners: 64,
            backlog: 128,
            half_open: 512,
            time_wait: 1024,
            #[cfg(feature = "udp")]
            udp_sockets: 64,
            #[cfg(feature = "udp")]
            udp_buffer: 16 << 10,
            #[cfg(feature = "udp")]
            udp_datagrams: 32,
            lookups: 16,
            connect_timeout: 60 * SECOND,
            peer_timeout: 600 * SECOND,
            linger: 60 * SECOND,
            half_open_timeout: 30 * SECOND,
            time_wait_timeout: 60 * SECOND,
            frames_per_poll: 64,
        }
    }
}
