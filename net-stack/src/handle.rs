//! What an application holds of the stack's sockets: numbers that mean one socket and, once it is closed, nothing.

use crate::slab::Id;

/// A socket that TCP connections come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) Id);

/// One end of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) Id);

/// A socket for UDP datagrams.
#[cfg(feature = "udp")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UdpId(pub(crate) Id);

/// A lookup of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub(crate) Id);

/// Handles as numbers, for those who give their applications numbers.
macro_rules! bits {
    ($($id:ident)+) => {$(
        impl $id {
            /// The handle as a number below 2^62.
            #[must_use]
            pub fn to_bits(self) -> u64 {
                self.0.to_bits()
            }

            /// The handle that was this number. Any number will do: one that was none means nothing.
            #[must_use]
            pub fn from_bits(bits: u64) -> Self {
                Self(Id::from_bits(bits))
            }
        }
    )+};
}

bits! { ListenerId StreamId LookupId }
#[cfg(feature = "udp")]
bits! { UdpId }
