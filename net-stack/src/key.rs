//! What a connection is found by: its two ends, and a hash of them that nobody outside can aim at.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::{
    device::{Entropy, number},
    error::Error,
};

/// The two ends of a connection, ours and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) local: IpEndpoint,
    pub(crate) remote: IpEndpoint,
}

/// Numbers that are multiplied and summed: one for each word of the longest key, and one to begin with.
const WORDS: usize = 10;

/// The secret of a hash function: multilinear hashing, for which two given keys collide in the upper half of the sum
/// with a probability of 2⁻³², whoever chose them, as long as the secret is random.
#[derive(Debug)]
pub(crate) struct Secret([u64; WORDS]);

impl Secret {
    pub(crate) fn new(entropy: &mut impl Entropy) -> Self {
        Self([(); WORDS].map(|()| number(entropy)))
    }

    /// The hash of a key, good in its low bits and in its high ones.
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let mut secret = self.0.iter();
        let mut sum = secret.next().copied().unwrap_or_default();
        let mut add = |word: u32| {
            let factor = secret.next().copied().unwrap_or_default();
            sum = sum.wrapping_add(factor.wrapping_mul(word.into()));
        };
        add(u32::from(key.local.port) << 16 | u32::from(key.remote.port));
        // Ours first: it is among few, and the sum's terms need not be in any order.
        for address in [key.local.addr, key.remote.addr] {
            match address {
                IpAddress::Ipv4(address) => add(address.to_bits()),
                #[cfg(feature = "ipv6")]
                IpAddress::Ipv6(address) => {
                    let octets = address.octets();
                    let (words, _) = octets.as_chunks::<4>();
                    words.iter().for_each(|word| add(u32::from_be_bytes(*word)));
                }
            }
        }
        sum >> 32 | sum & 0xffff_ffff_0000_0000
    }
}

/// The stack's form of an address.
pub(crate) fn inner_address(address: IpAddr) -> Result<IpAddress, Error> {
    match address {
        IpAddr::V4(address) => Ok(IpAddress::Ipv4(address)),
        #[cfg(feature = "ipv6")]
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => Ok(IpAddress::Ipv4(address)),
            None => Ok(IpAddress::Ipv6(address)),
        },
        #[cfg(not(feature = "ipv6"))]
        IpAddr::V6(_) => Err(Error::AddressFamily),
    }
}

/// The form of an address that everybody knows.
pub(crate) fn outer(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(outer_address(endpoint.addr), endpoint.port)
}

/// The form of an address that everybody knows.
pub(crate) fn outer_address(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4(address) => IpAddr::V4(address),
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(address) => IpAddr::V6(address),
    }
}

/// What a socket is bound to: a port, of one address or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) address: Addresses,
    pub(crate) port: u16,
}

/// Addresses of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// All of IPv4.
    Ipv4,
    /// All, as `[::]` means.
    #[cfg(feature = "ipv6")]
    All,
    /// One.
    One(IpAddress),
}

impl Bound {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, Error> {
        let addresses = match inner_address(address.ip())? {
            IpAddress::Ipv4(ip) if ip.is_unspecified() => Addresses::Ipv4,
            #[cfg(feature = "ipv6")]
            IpAddress::Ipv6(ip) if ip.is_unspecified() => Addresses::All,
            ip => Addresses::One(ip),
        };
        Ok(Self {
            address: addresses,
            port: address.port(),
        })
    }

    /// Whether what is sent to `local` is for this socket.
    pub(crate) fn covers(&self, local: &IpEndpoint) -> bool {
        let address = match self.address {
            Addresses::Ipv4 => matches!(local.addr, IpAddress::Ipv4(_)),
            #[cfg(feature = "ipv6")]
            Addresses::All => true,
            Addresses::One(address) => address == local.addr,
        };
        address && self.port == local.port
    }

    /// Whether both could be meant by one packet.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let addresses = match (self.address, other.address) {
            (Addresses::One(a), Addresses::One(b)) => a == b,
            (Addresses::One(one), Addresses::Ipv4) | (Addresses::Ipv4, Addresses::One(one)) => {
                matches!(one, IpAddress::Ipv4(_))
            }
            _ => true,
        };
        addresses && self.port == other.port
    }

    /// The address as it was given.
    pub(crate) fn outer(&self) -> SocketAddr {
        let address = match self.address {
            Addresses::Ipv4 => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            #[cfg(feature = "ipv6")]
            Addresses::All => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
            Addresses::One(address) => outer_address(address),
        };
        SocketAddr::new(address, self.port)
    }
}
