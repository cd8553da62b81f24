//! What the stack takes for its device: frames in memory, on a link where every guest's connection is its own host.
//!
//! The stack that ends the guest's connections has one address, and the guest connects to many; the stack waits for
//! nobody before it answers, and a guest must not hear that it is connected before it is. So every connection gets an
//! *identity*, an address and a port that no other has, as its far end in the stack. Segments are handed to the stack
//! when the host is connected, with the identity in the guest's place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use net_stack::{Config, Entropy, FrameDevice, Ipv4};

use crate::packet::Link;
use crate::wire::Batch;

/// The stack's address on its link.
pub(crate) const LINK: Link = [2, 0, 0, 0, 0, 1];
/// The router's, behind which all identities are.
pub(crate) const ROUTER_LINK: Link = [2, 0, 0, 0, 0, 2];
/// The stack's address: of TEST-NET-1, as it appears nowhere else.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The port at which the stack listens for all that the guest opens.
const LISTENER: u16 = 1;
/// Identities are in 198.18.0.0/15, which is for tests of networks.
const IDENTITIES: u32 = 0xc612_0000;
/// So many identities there may be at once.
pub(crate) const MOST: usize = 1 << 17;

/// Frames that the stack may send before they are taken.
pub(crate) const FRAMES: usize = 64;

/// The device.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) inbox: Batch,
    pub(crate) outbox: Batch,
    /// Frames that may be in the outbox.
    pub(crate) room: usize,
}

impl FrameDevice for Port {
    fn address(&self) -> Link {
        LINK
    }

    /// The guest's packets may have IPv6's longer header.
    fn mtu(&self) -> u16 {
        1480
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.inbox.pop().map(read)
    }

    fn can_transmit(&mut self) -> bool {
        self.outbox.len() < self.room
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        write(self.outbox.append(length))
    }
}

/// The system's random bytes.
#[derive(Debug)]
pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // Once the system has random bytes, this cannot fail but by a filter of system calls that forbids it.
            match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
                Ok(length) => done += length,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => std::process::abort(),
            }
        }
    }
}

/// Where the stack listens.
pub(crate) fn listener() -> SocketAddr {
    at(LISTENER)
}

/// A port of the stack's.
pub(crate) fn at(port: u16) -> SocketAddr {
    SocketAddr::new(ADDRESS.into(), port)
}

/// The identity of a connection.
pub(crate) fn identity(index: usize, generation: u16) -> SocketAddr {
    let index = u32::try_from(index).unwrap_or_default() & 0x1_ffff;
    SocketAddr::new(Ipv4Addr::from_bits(IDENTITIES | index).into(), generation)
}

/// The connection that has an identity.
pub(crate) fn identified(identity: SocketAddr) -> Option<(usize, u16)> {
    match identity.ip() {
        IpAddr::V4(address) if address.to_bits() >> 17 == IDENTITIES >> 17 => {
            let index = usize::try_from(address.to_bits() & 0x1_ffff).ok()?;
            Some((index, identity.port()))
        }
        _ => None,
    }
}

/// The stack's configuration, for so many connections.
pub(crate) fn config(connections: usize, buffer: usize) -> Config {
    const MINUTE: u64 = 60_000_000;
    Config {
        ipv4: Ipv4::Static {
            address: ADDRESS,
            prefix: 30,
            gateway: Some(ROUTER),
        },
        receive_buffer: buffer,
        send_buffer: buffer,
        connections,
        pooled: 64.min(connections),
        listeners: 1,
        backlog: 256,
        half_open: connections,
        // Identities do not come again soon: nothing late can be taken for something new.
        time_wait: 1,
        // The guest may have to boot first, or be busy.
        connect_timeout: 2 * MINUTE,
        peer_timeout: 10 * MINUTE,
        linger: 10 * MINUTE,
        frames_per_poll: 256,
        ..Config::default()
    }
}
