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

/// Where smoltcp's packets go.
pub(crate) trait Out {
    /// Whether there is room for one.
    fn has_room(&mut self) -> bool;

    /// Lends room for a packet to `write`, once, which fills all of it.
    fn lend(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8]));
}

/// The device that smoltcp sees: at most one frame to receive, and where to send. All of smoltcp's way out is generic
/// over the device, and nearly nothing of it depends on which that is: one type means one copy in an image.
pub(crate) struct Port<'a> {
    pub(crate) frame: Option<&'a [u8]>,
    pub(crate) out: &'a mut dyn Out,
    pub(crate) capabilities: &'a DeviceCapabilities,
}

/// The frame.
pub(crate) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// The room for a packet.
pub(crate) struct Room<'a>(&'a mut dyn Out);

impl TxToken for Room<'_> {
    #[expect(
        clippy::expect_used,
        reason = "each `lend` calls what it is given: a device has no other `R` to return"
    )]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let (mut write, mut result) = (Some(write), None);
        self.0.lend(length, &mut |room| {
            if let Some(write) = write.take() {
                result = Some(write(room));
            }
        });
        result.expect("room was lent")
    }
}

impl Device for Port<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Room<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Room<'_>)> {
        Some((Received(self.frame.take()?), Room(self.out)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        match self.out.has_room() {
            true => Some(Room(self.out)),
            false => None,
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// The room for one answer, and what is left before it.
pub(crate) struct Answer<'a> {
    pub(crate) reply: &'a mut Reply,
    pub(crate) headroom: usize,
}

impl Out for Answer<'_> {
    fn has_room(&mut self) -> bool {
        true
    }

    fn lend(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8])) {
        write(self.reply.room(self.headroom, length));
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
    pub(crate) sent: Sent,
    /// What the connection has sent, if it is one.
    pub(crate) highest: Option<&'a mut Highest>,
}

impl<D: FrameDevice> Out for Outlet<'_, D> {
    fn has_room(&mut self) -> bool {
        let has_room = self.device.can_transmit();
        if !has_room {
            self.sent = Sent::Blocked;
        }
        has_room
    }

    fn lend(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8])) {
        let Self {
            device,
            sent,
            highest,
        } = self;
        device.transmit(length, |buffer| {
            write(buffer);
            if let Some(highest) = highest {
                highest.mend(buffer);
            }
            *sent = if is_question(buffer) {
                Sent::Question
            } else {
                Sent::Packet
            };
        });
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
