//! smoltcp's interface to the network, driven socket by socket.
//!
//! smoltcp looks for a packet's socket among all, and asks all for what they have to send. Here every socket is in a
//! set of its own: whoever knows for which socket a frame is hands both over, and only sockets that may have something
//! to send are asked. So a packet costs the same among a thousand connections as on one.

use alloc::vec::Vec;

use smoltcp::{
    iface::{Config as InterfaceConfig, Context, Interface, SocketSet},
    phy::{DeviceCapabilities, Medium},
    time::Instant,
    wire::{
        EthernetAddress, EthernetFrame, HardwareAddress, IpAddress, IpCidr, IpProtocol, IpRepr, TcpPacket,
        TcpRepr,
    },
};

use crate::{
    asked::{Asked, SILENCE, ask},
    config::{Config, Ipv4},
    device::FrameDevice,
    error::Error,
    frame::bits,
    key::Key,
    mend::Highest,
    phy::{Answer, HEADER, Outlet, Port, Reply, Sent},
};

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// A time in smoltcp's form.
pub(crate) fn instant(time: u64) -> Instant {
    Instant::from_micros(i64::try_from(time).unwrap_or(i64::MAX))
}

/// The interface, and what it takes to hand it one frame.
pub(crate) struct Net {
    interface: Interface,
    capabilities: DeviceCapabilities,
    /// The answer to the frame that was handed over last.
    reply: Reply,
    /// The set for frames of no socket.
    nobody: SocketSet<'static>,
    us: EthernetAddress,
    now: u64,
    asked: Asked,
}

impl Net {
    /// An interface with the addresses of `config`, which are valid ones.
    pub(crate) fn new(device: &impl FrameDevice, config: &Config, seed: u64) -> Self {
        let us = EthernetAddress(device.address());
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        // What smoltcp can do, and below what IPv6 demands.
        let mtu = usize::from(device.mtu().clamp(1280, 9216));
        capabilities.max_transmission_unit = EthernetFrame::<&[u8]>::buffer_len(mtu);
        let reply = Reply::default();
        let interface = interface(&capabilities, HardwareAddress::Ethernet(us), seed, 0);
        let nobody = SocketSet::new(Vec::new());
        let mut net = Self {
            interface,
            capabilities,
            reply,
            nobody,
            us,
            now: 0,
            asked: Asked::default(),
        };
        if let Ipv4::Static {
            address,
            prefix,
            gateway,
        } = config.ipv4
        {
            net.set_ipv4(Some((IpCidr::new(address.into(), prefix), gateway)));
        }
        #[cfg(feature = "ipv6")]
        net.set_ipv6(config);
        net
    }

    /// Replaces the IPv4 address and the router.
    pub(crate) fn set_ipv4(&mut self, address: Option<(IpCidr, Option<core::net::Ipv4Addr>)>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.retain(|address| !matches!(address, IpCidr::Ipv4(_)));
            // First: there is room for four.
            if let Some((address, _)) = address {
                let _ = addresses.insert(0, address);
            }
        });
        self.interface.routes_mut().remove_default_ipv4_route();
        if let Some((_, Some(gateway))) = address {
            // There is room for two.
            let _ = self.interface.routes_mut().add_default_ipv4_route(gateway);
        }
    }

    #[cfg(feature = "ipv6")]
    fn set_ipv6(&mut self, config: &Config) {
        let [a, b, c, d, e, f] = self.us.0;
        // RFC 4291, appendix A.
        let words = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
        let link_local = core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, words[0], words[1], words[2], words[3]);
        self.interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(link_local.into(), 64));
            if let Some((address, prefix)) = config.ipv6 {
                let _ = addresses.push(IpCidr::new(address.into(), prefix));
            }
        });
        if let Some(gateway) = config.ipv6_gateway {
            let _ = self.interface.routes_mut().add_default_ipv6_route(gateway);
        }
    }

    /// The addresses, with their networks.
    pub(crate) fn addresses(&self) -> &[IpCidr] {
        self.interface.ip_addrs()
    }

    pub(crate) fn has(&self, address: IpAddress) -> bool {
        self.addresses().iter().any(|own| own.address() == address)
    }

    /// Our own address on the link.
    pub(crate) fn us(&self) -> EthernetAddress {
        self.us
    }

    /// The longest IP packet.
    pub(crate) fn mtu(&self) -> usize {
        self.capabilities.ip_mtu()
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// What time it is: never before what it was.
    pub(crate) fn set_now(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// The address from which `remote` is reached.
    pub(crate) fn source(&self, remote: IpAddress) -> Result<IpAddress, Error> {
        if !is_host(remote) {
            return Err(Error::InvalidAddress);
        }
        if !is_link_local(remote) && self.addresses().iter().all(|own| is_link_local(own.address())) {
            return Err(Error::NetworkDown);
        }
        let family = |address: &IpCidr| address.address().version() == remote.version();
        let routes = self.interface.routes();
        let routed = match remote {
            IpAddress::Ipv4(_) => routes.get_default_ipv4_route().is_some(),
            #[cfg(feature = "ipv6")]
            IpAddress::Ipv6(_) => routes.get_default_ipv6_route().is_some(),
        };
        let near = self
            .addresses()
            .iter()
            .any(|own| family(own) && own.contains_addr(&remote));
        // Nothing loops back.
        if !(near || routed) || self.has(remote) || is_loopback(remote) {
            return Err(Error::NetworkUnreachable);
        }
        let source = self
            .interface
            .get_source_address(&remote)
            .ok_or(Error::NetworkUnreachable)?;
        self.has(source)
            .then_some(source)
            .ok_or(Error::NetworkUnreachable)
    }

    /// Hands a frame to the socket in `set`, or to none. What it is answered is sent by [`answer`](Self::answer).
    pub(crate) fn receive(&mut self, frame: &[u8], set: Option<&mut SocketSet<'static>>) {
        self.reply.clear();
        let mut port = Port {
            frame: Some(frame),
            out: &mut Answer {
                reply: &mut self.reply,
                headroom: 0,
            },
            capabilities: &self.capabilities,
        };
        let set = set.unwrap_or(&mut self.nobody);
        let _ = self
            .interface
            .poll_ingress_single(instant(self.now), &mut port, set);
    }

    /// Transmits the answer to the last frame, if there is one and the device has room; a lost one is asked for again.
    pub(crate) fn answer(&mut self, device: &mut impl FrameDevice) {
        let bytes = self.reply.bytes();
        if !bytes.is_empty() && device.can_transmit() {
            device.transmit(bytes.len(), |buffer| buffer.copy_from_slice(bytes));
        }
        self.reply.clear();
    }

    /// Mends the answer to the last frame, if it is a connection's.
    pub(crate) fn mend_answer(&mut self, highest: &mut Highest) {
        highest.mend(self.reply.bytes_mut());
    }

    /// Nothing is answered to the last frame.
    pub(crate) fn no_answer(&mut self) {
        self.reply.clear();
    }

    /// Asks the socket in `set` for one packet, which would be for `remote`; if it is a connection's, with what it has
    /// sent.
    pub(crate) fn transmit(
        &mut self,
        device: &mut impl FrameDevice,
        set: &mut SocketSet<'static>,
        remote: Option<IpAddress>,
        highest: Option<&mut Highest>,
    ) -> Sent {
        let mut outlet = Outlet {
            device,
            sent: Sent::Nothing,
            highest,
        };
        let mut port = Port {
            frame: None,
            out: &mut outlet,
            capabilities: &self.capabilities,
        };
        let _ = self.interface.poll_egress(instant(self.now), &mut port, set);
        let sent = outlet.sent;
        if let Some(neighbour) = remote.and_then(|remote| self.neighbour(remote)) {
            match sent {
                Sent::Question => {
                    self.asked.note(neighbour, self.now);
                }
                // It waits from now on, and nobody was asked.
                Sent::Nothing if self.deadline(set) == self.now.saturating_add(SILENCE) => {
                    return self.ask(device, neighbour);
                }
                _ => {}
            }
        }
        sent
    }

    /// The neighbour that a packet to `remote` is handed to.
    fn neighbour(&self, remote: IpAddress) -> Option<IpAddress> {
        if self.addresses().iter().any(|own| own.contains_addr(&remote)) {
            return Some(remote);
        }
        let routes = self.interface.routes();
        let route = match remote {
            IpAddress::Ipv4(_) => routes.get_default_ipv4_route(),
            #[cfg(feature = "ipv6")]
            IpAddress::Ipv6(_) => routes.get_default_ipv6_route(),
        };
        route.map(|route| route.via_router)
    }

    /// Asks the link for a neighbour, unless it was asked just before.
    fn ask(&mut self, device: &mut impl FrameDevice, neighbour: IpAddress) -> Sent {
        if !is_host(neighbour) || !device.can_transmit() || !self.asked.note(neighbour, self.now) {
            return Sent::Nothing;
        }
        let hardware = HardwareAddress::Ethernet(self.us);
        let unknowing = interface(&self.capabilities, hardware, 0, self.now);
        let mut outlet = Outlet {
            device,
            sent: Sent::Nothing,
            highest: None,
        };
        let mut port = Port {
            frame: None,
            out: &mut outlet,
            capabilities: &self.capabilities,
        };
        ask(
            unknowing,
            self.interface.ip_addrs(),
            &mut port,
            neighbour,
            self.now,
        );
        outlet.sent
    }

    /// When the socket in `set` wants to be asked next.
    pub(crate) fn deadline(&mut self, set: &SocketSet<'static>) -> u64 {
        match self.interface.poll_at(instant(self.now), set) {
            Some(time) => u64::try_from(time.total_micros()).unwrap_or(0),
            None => NEVER,
        }
    }

    /// An interface for one handshake, whose first sequence number follows from `seed`: unlike the numbers that an
    /// interface makes one from the other, it tells nothing of the next. It knows no link: its packets are IP's.
    fn for_handshake(&self, seed: u64, time: u64) -> Interface {
        let mut interface = interface(&self.ip_capabilities(), HardwareAddress::Ip, seed, time);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.extend_from_slice(self.addresses());
        });
        interface
    }

    fn ip_capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = self.capabilities.clone();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu();
        capabilities
    }

    /// Hands `segment` to the socket in `set`, as if it came at `time`, through an interface of its own made of `seed`.
    /// What the socket sends then becomes the answer to the last frame, which came from `neighbour`; its sequence
    /// number is returned.
    pub(crate) fn shake(
        &mut self,
        (seed, time): (u64, u64),
        key: &Key,
        segment: &TcpRepr<'static>,
        neighbour: EthernetAddress,
        set: &mut SocketSet<'static>,
    ) -> Option<u32> {
        self.reply.clear();
        let mut packet = [0; 128];
        let ip = header(key.remote.addr, key.local.addr, segment.buffer_len())?;
        let packet = packet.get_mut(..ip.buffer_len())?;
        emit(packet, &ip, segment, &self.capabilities);
        let mut interface = self.for_handshake(seed, time);
        let capabilities = self.ip_capabilities();
        let mut port = Port {
            frame: Some(packet),
            out: &mut Answer {
                reply: &mut self.reply,
                headroom: HEADER,
            },
            capabilities: &capabilities,
        };
        let _ = interface.poll_ingress_single(instant(time), &mut port, set);
        let _ = interface.poll_egress(instant(time), &mut port, set);
        let answer = self.reply.bytes().get(HEADER..)?.get(ip.header_len()..)?;
        let sequence = bits(TcpPacket::new_checked(answer).ok()?.seq_number());
        self.reply.address(self.us, neighbour, ip.version());
        Some(sequence)
    }

    /// Makes `segment` the answer to the last frame, which came from `neighbour`.
    pub(crate) fn reply_with(&mut self, key: &Key, segment: &TcpRepr<'static>, neighbour: EthernetAddress) {
        self.reply.clear();
        let Some(ip) = header(key.local.addr, key.remote.addr, segment.buffer_len()) else {
            return;
        };
        emit(
            self.reply.room(HEADER, ip.buffer_len()),
            &ip,
            segment,
            &self.capabilities,
        );
        self.reply.address(self.us, neighbour, ip.version());
    }

    /// What smoltcp's sockets ask of an interface, with random numbers that follow from `seed`.
    pub(crate) fn with_seed<R>(&self, seed: u64, act: impl FnOnce(&mut Context) -> R) -> R {
        act(self.for_handshake(seed, self.now).context())
    }
}

fn interface(capabilities: &DeviceCapabilities, address: HardwareAddress, seed: u64, time: u64) -> Interface {
    let mut config = InterfaceConfig::new(address);
    config.random_seed = seed;
    let mut port = Port {
        frame: None,
        out: &mut Answer {
            reply: &mut Reply::default(),
            headroom: 0,
        },
        capabilities,
    };
    Interface::new(config, &mut port, instant(time))
}

/// The header of a packet of TCP. `None`: the addresses are of two protocols.
fn header(source: IpAddress, destination: IpAddress, length: usize) -> Option<IpRepr> {
    (source.version() == destination.version())
        .then(|| IpRepr::new(source, destination, IpProtocol::Tcp, length, 64))
}

fn emit(buffer: &mut [u8], ip: &IpRepr, segment: &TcpRepr<'static>, capabilities: &DeviceCapabilities) {
    ip.emit(&mut *buffer, &capabilities.checksum);
    if let Some(payload) = buffer.get_mut(ip.header_len()..) {
        let mut packet = TcpPacket::new_unchecked(payload);
        segment.emit(
            &mut packet,
            &ip.src_addr(),
            &ip.dst_addr(),
            &capabilities.checksum,
        );
    }
}

/// Whether an address may be one machine's.
pub(crate) fn is_host(address: IpAddress) -> bool {
    match address {
        IpAddress::Ipv4(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
        }
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

/// Whether an address is one that a machine gives itself.
fn is_link_local(address: IpAddress) -> bool {
    match address {
        // Nobody gives himself one of these here.
        IpAddress::Ipv4(_) => false,
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(address) => address.is_unicast_link_local(),
    }
}

fn is_loopback(address: IpAddress) -> bool {
    match address {
        IpAddress::Ipv4(address) => address.is_loopback(),
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(address) => address.is_loopback(),
    }
}
