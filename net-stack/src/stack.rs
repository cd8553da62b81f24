//! The stack: everything together, driven by [`Stack::poll`].

use core::{fmt, net::IpAddr};

#[cfg(feature = "dhcp")]
use crate::dhcp::Dhcp;
#[cfg(feature = "udp")]
use crate::udp::Udp;
use crate::{
    config::{Config, Ipv4, Network},
    device::{Entropy, FrameDevice, number},
    frame::Frame,
    key::outer_address,
    names::Names,
    net::{NEVER, Net, is_host},
    tcp::Tcp,
};

/// When to poll next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// At this time, if nothing happens before: a time that has come means at once. Before, whenever the device has
    /// received a frame and whenever an operation of the application may have something to send.
    pub at: Option<u64>,
    /// Also once the device has room to transmit: it had none.
    pub blocked: bool,
}

/// A configuration that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The device's address is a group's or nobody's.
    DeviceAddress,
    /// An address of the machine or of a router can be none.
    Address(IpAddr),
    /// A prefix is longer than its address.
    Prefix(u8),
    /// The buffers of a connection are empty, or larger than 64 MiB.
    Buffer,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceAddress => formatter.write_str("the device's address is no single device's"),
            Self::Address(address) => write!(formatter, "{address} cannot be the address of a machine"),
            Self::Prefix(prefix) => write!(formatter, "a prefix of {prefix} bits is longer than its address"),
            Self::Buffer => formatter.write_str("a connection's buffers hold 1 byte to 64 MiB each"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// The largest buffer of a connection.
const LARGEST_BUFFER: usize = 64 << 20;

/// The stack, on a device for frames. See the crate's documentation.
pub struct Stack<D, E> {
    pub(crate) device: D,
    pub(crate) entropy: E,
    pub(crate) net: Net,
    pub(crate) tcp: Tcp,
    pub(crate) names: Names,
    #[cfg(feature = "udp")]
    pub(crate) udp: Udp,
    #[cfg(feature = "dhcp")]
    dhcp: Option<Dhcp>,
    /// DHCP says which DNS servers are asked.
    #[cfg(all(feature = "dhcp", feature = "dns"))]
    names_are_leased: bool,
    frames_per_poll: usize,
}

impl<D: FrameDevice, E: Entropy> Stack<D, E> {
    /// A stack. It transmits nothing before the first [`poll`](Self::poll).
    ///
    /// # Errors
    /// A configuration that cannot be.
    pub fn new(device: D, mut entropy: E, config: &Config) -> Result<Self, ConfigError> {
        check(config, &device)?;
        let net = Net::new(&device, config, number(&mut entropy));
        Ok(Self {
            tcp: Tcp::new(config, &mut entropy),
            names: Names::new(config),
            #[cfg(feature = "udp")]
            udp: Udp::new(config, &net),
            #[cfg(feature = "dhcp")]
            dhcp: (config.ipv4 == Ipv4::Dhcp).then(Dhcp::new),
            #[cfg(all(feature = "dhcp", feature = "dns"))]
            names_are_leased: config.dns_servers.is_empty(),
            device,
            entropy,
            net,
            frames_per_poll: config.frames_per_poll.max(1),
        })
    }

    /// Takes frames from the device, serves the sockets, and says when to come again. `now` is the time in microseconds
    /// on a clock that never goes back.
    ///
    /// The work is bounded: so many frames as configured, and what the sockets may send.
    pub fn poll(&mut self, now: u64) -> Next {
        self.net.set_now(now);
        let more = self.receive_frames();
        let blocked = self.transmit();
        let at = if more { now } else { self.next() };
        Next {
            at: (at != NEVER).then_some(at),
            blocked,
        }
    }

    /// Handles frames that the device has received. Says whether there may be more.
    fn receive_frames(&mut self) -> bool {
        for _ in 0..self.frames_per_poll {
            let Self {
                device,
                entropy,
                net,
                tcp,
                ..
            } = self;
            #[cfg(feature = "datagrams")]
            let names = &mut self.names;
            #[cfg(feature = "udp")]
            let udp = &mut self.udp;
            #[cfg(feature = "dhcp")]
            let dhcp = &mut self.dhcp;
            let received = device.receive(|bytes| {
                let frame = Frame::read(bytes, net.us());
                match &frame {
                    Frame::Nobody => {}
                    Frame::Neighbour | Frame::Machine => net.receive(bytes, None),
                    Frame::Tcp(segment) => tcp.receive(net, entropy, bytes, segment),
                    #[cfg(feature = "datagrams")]
                    Frame::Udp(key) => {
                        #[cfg(feature = "dhcp")]
                        if dhcp.as_mut().is_some_and(|dhcp| dhcp.receive(net, bytes, key)) {
                            return false;
                        }
                        #[cfg(feature = "dns")]
                        if names.receive(net, bytes, key) {
                            return false;
                        }
                        #[cfg(feature = "udp")]
                        if let Some(inbox) = udp.receiver(net, key) {
                            net.receive(bytes, Some(inbox.set()));
                            return false;
                        }
                        let _ = (&names, key);
                        net.receive(bytes, None);
                    }
                    Frame::Undelivered(undelivered) if undelivered.tcp => tcp.undelivered(undelivered),
                    #[cfg(feature = "udp")]
                    Frame::Undelivered(undelivered) => udp.undelivered(undelivered),
                    #[cfg(not(feature = "udp"))]
                    Frame::Undelivered(_) => {}
                }
                matches!(frame, Frame::Neighbour)
            });
            let Some(neighbour) = received else { return false };
            net.answer(device);
            if neighbour {
                self.touch_all();
            }
        }
        true
    }

    /// Everything has to be served: an address was found or lost.
    fn touch_all(&mut self) {
        self.tcp.touch_all();
        #[cfg(feature = "udp")]
        self.udp.touch_all();
        #[cfg(feature = "dns")]
        self.names.touch();
        #[cfg(feature = "dhcp")]
        self.dhcp.iter_mut().for_each(Dhcp::touch);
    }

    /// Serves the sockets. Says whether the device has no room.
    fn transmit(&mut self) -> bool {
        #[cfg(feature = "dhcp")]
        if let Some(dhcp) = &mut self.dhcp {
            let (blocked, lease) = dhcp.transmit(&mut self.net, &mut self.device);
            if let Some(lease) = lease {
                self.tcp.touch_all();
                #[cfg(feature = "dns")]
                if self.names_are_leased {
                    self.names.set_servers(lease.servers.into_iter().map(Into::into));
                }
                #[cfg(not(feature = "dns"))]
                let _ = lease;
            }
            if blocked {
                return true;
            }
        }
        #[cfg(feature = "dns")]
        if self.names.transmit(&mut self.net, &mut self.device) {
            return true;
        }
        #[cfg(feature = "udp")]
        if self.udp.transmit(&mut self.net, &mut self.device) {
            return true;
        }
        self.tcp.transmit(&mut self.net, &mut self.device)
    }

    fn next(&mut self) -> u64 {
        let next = self.tcp.next();
        #[cfg(feature = "udp")]
        let next = next.min(self.udp.next());
        #[cfg(feature = "dns")]
        let next = next.min(self.names.next());
        #[cfg(feature = "dhcp")]
        let next = next.min(self.dhcp.as_ref().map_or(NEVER, Dhcp::next));
        next
    }

    /// Says how many bytes of memory new buffers may take from now on; at first without a limit. Where there are too
    /// few, a peer's handshake is not answered, and an operation is [`TooMany`](crate::Error::TooMany).
    pub fn set_free_memory(&mut self, bytes: usize) {
        self.tcp.pool.set_free(bytes);
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// The addresses of this machine, with their networks.
    pub fn addresses(&self) -> impl Iterator<Item = Network> {
        let network = |cidr: &smoltcp::wire::IpCidr| Network {
            address: outer_address(cidr.address()),
            prefix: cidr.prefix_len(),
        };
        self.net.addresses().iter().map(network)
    }

    /// The longest IP packet.
    pub fn mtu(&self) -> usize {
        self.net.mtu()
    }

    /// Closes all sockets, as a program's exit does, but loses nothing: what was written is sent, and then that nothing
    /// follows. Poll until [`is_drained`](Self::is_drained), or until it has taken too long.
    pub fn close_all(&mut self) {
        self.tcp.close_all();
        #[cfg(feature = "udp")]
        self.udp.close_all();
    }

    /// Whether every peer has acknowledged what was written and that nothing follows, or is gone.
    pub fn is_drained(&self) -> bool {
        #[cfg(feature = "udp")]
        if !self.udp.is_drained() {
            return false;
        }
        self.tcp.is_drained()
    }
}

fn check(config: &Config, device: &impl FrameDevice) -> Result<(), ConfigError> {
    let address = device.address();
    if address[0] & 1 == 1 || address == [0; 6] {
        return Err(ConfigError::DeviceAddress);
    }
    let host = |address: IpAddr| match crate::key::inner_address(address) {
        Ok(inner) if is_host(inner) && !address.is_loopback() => Ok(()),
        _ => Err(ConfigError::Address(address)),
    };
    let length = |prefix: u8, bits| {
        if prefix <= bits {
            Ok(())
        } else {
            Err(ConfigError::Prefix(prefix))
        }
    };
    if let Ipv4::Static {
        address,
        prefix,
        gateway,
    } = config.ipv4
    {
        host(address.into())?;
        length(prefix, 32)?;
        gateway.map_or(Ok(()), |gateway| host(gateway.into()))?;
    }
    #[cfg(feature = "ipv6")]
    {
        if let Some((address, prefix)) = config.ipv6 {
            host(address.into())?;
            length(prefix, 128)?;
        }
        config
            .ipv6_gateway
            .map_or(Ok(()), |gateway| host(gateway.into()))?;
    }
    let buffers = 1..=LARGEST_BUFFER;
    if !buffers.contains(&config.receive_buffer) || !buffers.contains(&config.send_buffer) {
        return Err(ConfigError::Buffer);
    }
    Ok(())
}
