//! What a guest's socket is to the stack.

use net_stack::{ListenerId, StreamId, UdpId};
use wasi_core::network::SocketId;

/// Where a number says of what kind it is. Of the stack's handles these bits are free.
const SHIFT: u32 = 62;

/// What a number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Listener(ListenerId),
    Stream(StreamId),
    Datagrams(UdpId),
    /// A lookup, by its number among all.
    Lookup(u64),
}

impl Id {
    /// What `socket` names; a number that nobody was given names nothing that there is.
    pub(super) fn of(socket: SocketId) -> Self {
        let bits = socket.0 & ((1 << SHIFT) - 1);
        match socket.0 >> SHIFT {
            0 => Self::Listener(ListenerId::from_bits(bits)),
            1 => Self::Stream(StreamId::from_bits(bits)),
            2 => Self::Datagrams(UdpId::from_bits(bits)),
            _ => Self::Lookup(bits),
        }
    }
}

impl From<Id> for SocketId {
    fn from(id: Id) -> Self {
        let (kind, bits) = match id {
            Id::Listener(id) => (0, id.to_bits()),
            Id::Stream(id) => (1, id.to_bits()),
            Id::Datagrams(id) => (2, id.to_bits()),
            Id::Lookup(number) => (3, number),
        };
        Self(kind << SHIFT | bits)
    }
}
