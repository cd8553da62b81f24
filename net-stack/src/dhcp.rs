//! DHCP: the client, which gives the stack its IPv4 address, its router and its DNS servers.

use smoltcp::{
    socket::dhcpv4::{Event, Socket},
    wire::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, IpCidr, Ipv4Address},
};

use crate::{
    device::FrameDevice,
    key::Key,
    lone::Lone,
    net::{Net, is_host},
    phy::Sent,
};

/// The client.
pub(crate) struct Dhcp {
    socket: Lone<Socket<'static>>,
    deadline: u64,
}

/// What a server has given, or that it is over.
pub(crate) struct Lease {
    /// The address and the router.
    pub(crate) address: Option<(IpCidr, Option<Ipv4Address>)>,
    /// The DNS servers.
    #[cfg(feature = "dns")]
    pub(crate) servers: alloc::vec::Vec<Ipv4Address>,
}

impl Dhcp {
    pub(crate) fn new() -> Self {
        Self {
            socket: Lone::new(Socket::new()),
            deadline: 0,
        }
    }

    /// Hands a datagram to the client, if it is for it. Says whether it is.
    pub(crate) fn receive(&mut self, net: &mut Net, frame: &[u8], key: &Key) -> bool {
        if key.local.port != DHCP_CLIENT_PORT || key.remote.port != DHCP_SERVER_PORT {
            return false;
        }
        net.receive(frame, Some(self.socket.set()));
        self.deadline = 0;
        true
    }

    /// The client has to be served.
    pub(crate) fn touch(&mut self) {
        self.deadline = 0;
    }

    /// Serves the client. Says whether the device has no room, and what is new.
    pub(crate) fn transmit(&mut self, net: &mut Net, device: &mut impl FrameDevice) -> (bool, Option<Lease>) {
        if self.deadline > net.now() {
            return (false, None);
        }
        let lease = self.socket.socket_mut().poll().map(lease);
        if let Some(lease) = &lease {
            net.set_ipv4(lease.address);
        }
        let mut sent = Sent::Packet;
        while sent == Sent::Packet {
            sent = net.transmit(device, self.socket.set(), None, None);
        }
        if sent != Sent::Blocked {
            let earliest = net.now().saturating_add(1);
            self.deadline = net.deadline(self.socket.set()).max(earliest);
        }
        (sent == Sent::Blocked, lease)
    }

    /// When the client has to be served next.
    pub(crate) fn next(&self) -> u64 {
        self.deadline
    }
}

fn lease(event: Event<'_>) -> Lease {
    match event {
        // Whoever gives an address that is none gives none.
        Event::Configured(config) if is_host(config.address.address().into()) => {
            let router = config.router.filter(|router| is_host((*router).into()));
            Lease {
                address: Some((config.address.into(), router)),
                #[cfg(feature = "dns")]
                servers: config.dns_servers.iter().copied().collect(),
            }
        }
        _ => Lease {
            address: None,
            #[cfg(feature = "dns")]
            servers: alloc::vec::Vec::new(),
        },
    }
}
