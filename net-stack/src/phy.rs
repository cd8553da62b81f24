//! The devices that smoltcp sees: one frame and room for its answer, and the real device for one frame to transmit.

use alloc::vec::Vec;

use smoltcp::{
    phy::{Device, DeviceCapabilities, RxToken, TxToken},
    time::Instant,
    wire::{ETHERNET_HEADER_LEN, EthernetAddress, EthernetFrame, EthernetProtocol, IpVersion},
};

use crate::{device::FrameDevice, mend::Highest};

/// The length of an Ethernet header.
pub(crate) const HEADER: usize = ETHERNET_HEADER_LEN;

/// Room for one frame.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    length: usize,
}

impl Reply {
    /// The frame, if there is one.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The frame, to change it.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    /// There is none from now on.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// Becomes a frame of `headroom` and `length` bytes, and lends the latter. smoltcp asks for no more than a frame.
    pub(crate) fn room(&mut self, headroom: usize, length: usize) -> &mut [u8] {
        self.length = headroom.saturating_add(length);
        if self.bytes.len() < self.length {
            self.bytes.resize(self.length, 0);
        }
        self.bytes.get_mut(headroom..self.length).unwrap_or_default()
    }

    /// Writes the Ethernet header of the packet of IP that is behind its room.
    pub(crate) fn address(&mut self, us: EthernetAddress, neighbour: EthernetAddress, version: IpVersion) {
        let Some(bytes) = self
            .bytes
            .get_mut(..self.length)
            .filter(|bytes| bytes.len() >= HEADER)
        else {
            return;
        };
        let mut frame = EthernetFrame::new_unchecked(bytes);
        frame.set_src_addr(us);
        frame.set_dst_addr(neighbour);
        frame.set_ethertype(match version {
            IpVersion::Ipv4 => EthernetProtocol::Ipv4,
            #[cfg(feature = "ipv6")]
            IpVersion::Ipv6 => EthernetProtocol::Ipv6,
        });
    }
}

/// A device with one frame to receive, and room for one answer.
pub(crate) struct Inlet<'a> {
    pub(crate) frame: Option<&'a [u8]>,
    pub(crate) reply: &'a mut Reply,
    /// What is left before the answer.
    pub(crate) headroom: usize,
    pub(crate) capabilities: &'a DeviceCapabilities,
}

/// The frame.
pub(crate) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// The room for the answer.
pub(crate) struct Answer<'a>(&'a mut Reply, usize);

impl TxToken for Answer<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        write(self.0.room(self.1, length))
    }
}

impl Device for Inlet<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Answer<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Answer<'_>)> {
        Some((Received(self.frame.take()?), Answer(self.reply, self.headroom)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Answer<'_>> {
        Some(Answer(self.reply, self.headroom))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// What asking a socket for a packet came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It has nothing to send now.
    Nothing,
    /// A packet was transmitted.
    Packet,
    /// It has a packet, but the neighbour's address has to be found first: a question was transmitted.
    Question,
    /// It has a packet, and the device has no buffer for it.
    Blocked,
}

/// The device itself, for one frame to transmit.
pub(crate) struct Outlet<'a, D> {
    pub(crate) device: &'a mut D,
    pub(crate) capabilities: &'a DeviceCapabilities,
    pub(crate) sent: Sent,
    /// What the connection has sent, if it is one.
    pub(crate) highest: Option<&'a mut Highest>,
}

/// A buffer of the device.
pub(crate) struct Buffer<'a, D> {
    device: &'a mut D,
    sent: &'a mut Sent,
    highest: Option<&'a mut Highest>,
}

impl<D: FrameDevice> TxToken for Buffer<'_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let Self {
            device,
            sent,
            highest,
        } = self;
        device.transmit(length, |buffer| {
            let result = write(buffer);
            if let Some(highest) = highest {
                highest.mend(buffer);
            }
            *sent = if is_question(buffer) {
                Sent::Question
            } else {
                Sent::Packet
            };
            result
        })
    }
}

/// Whether a frame of ours asks for a neighbour's address. Of ICMPv6, a socket sends nothing else.
fn is_question(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => true,
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58),
        _ => false,
    }
}

impl<D: FrameDevice> Device for Outlet<'_, D> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Buffer<'t, D>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Buffer<'_, D>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Buffer<'_, D>> {
        if !self.device.can_transmit() {
            self.sent = Sent::Blocked;
            return None;
        }
        Some(Buffer {
            device: self.device,
            sent: &mut self.sent,
            highest: self.highest.as_deref_mut(),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}
