//! Names: a table of those that are known, and with feature `dns` servers to ask for others.

use alloc::{string::String, vec, vec::Vec};
use core::net::IpAddr;

#[cfg(feature = "dns")]
use smoltcp::{
    socket::dns::{GetQueryResultError, QueryHandle, Socket, StartQueryError},
    wire::{DnsQueryType, IpAddress},
};

use crate::{
    config::Config,
    device::{Entropy, FrameDevice},
    error::Error,
    handle::LookupId,
    slab::Slab,
    stack::Stack,
};
#[cfg(feature = "dns")]
use crate::{
    device::number,
    frame::response_code,
    key::{Key, inner_address, outer_address},
    lone::Lone,
    net::{NEVER, Net},
    phy::Sent,
};

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4: records of type A.
    Ipv4,
    /// IPv6: records of type AAAA.
    Ipv6,
}

impl Family {
    fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ipv4)
    }
}

/// A server's answer that it has failed: it does not know whether there is such a name.
#[cfg(feature = "dns")]
const SERVER_FAILED: u8 = 2;

/// The longest name, without a dot at its end.
const LONGEST: usize = 253;

enum Lookup {
    Done(Result<Vec<IpAddr>, Error>),
    #[cfg(feature = "dns")]
    Asked(QueryHandle, Family),
}

/// The names.
pub(crate) struct Names {
    known: Vec<(String, IpAddr)>,
    lookups: Slab<Lookup>,
    #[cfg(feature = "dns")]
    resolver: Resolver,
}

#[cfg(feature = "dns")]
struct Resolver {
    socket: Lone<Socket<'static>>,
    servers: Vec<IpAddress>,
    deadline: u64,
}

/// The form in which names are compared: lower case, no dot at the end. `None`: it can be no name.
fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| (1..=63).contains(&label.len());
    (name.len() <= LONGEST && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

impl Names {
    pub(crate) fn new(config: &Config) -> Self {
        let known = config.names.iter();
        Self {
            known: known
                .filter_map(|(name, address)| Some((normal(name)?, *address)))
                .collect(),
            lookups: Slab::new(config.lookups),
            #[cfg(feature = "dns")]
            resolver: Resolver::new(&config.dns_servers),
        }
    }

    /// What is known of a name without asking anybody.
    fn look_up(&self, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Some(if family.has(&address) {
                vec![address]
            } else {
                Vec::new()
            });
        }
        let known = self.known.iter().filter(|(known, _)| known == name);
        let mut known = known.map(|(_, address)| *address).peekable();
        known.peek()?;
        Some(known.filter(|address| family.has(address)).collect())
    }
}

#[cfg(feature = "dns")]
impl Resolver {
    fn new(servers: &[IpAddr]) -> Self {
        let servers: Vec<IpAddress> = servers
            .iter()
            .filter_map(|server| inner_address(*server).ok())
            .collect();
        Self {
            socket: Lone::new(Socket::new(&servers, Vec::new())),
            servers,
            deadline: NEVER,
        }
    }
}

#[cfg(feature = "dns")]
impl Names {
    /// Asks these servers from now on.
    #[cfg(feature = "dhcp")]
    pub(crate) fn set_servers(&mut self, servers: impl Iterator<Item = IpAddress>) {
        self.resolver.servers = servers.collect();
        self.resolver
            .socket
            .socket_mut()
            .update_servers(&self.resolver.servers);
    }

    /// Hands a datagram to the resolver, if it comes from a server. Says whether it did.
    pub(crate) fn receive(&mut self, net: &mut Net, frame: &[u8], key: &Key) -> bool {
        let is_asked = self
            .lookups
            .iter()
            .any(|(_, lookup)| matches!(lookup, Lookup::Asked(..)));
        if !is_asked || key.remote.port != 53 || !self.resolver.servers.contains(&key.remote.addr) {
            return false;
        }
        net.receive(frame, Some(self.resolver.socket.set()));
        self.collect(match response_code(frame) {
            Some(SERVER_FAILED) => Error::TimedOut,
            _ => Error::NameNotFound,
        });
        true
    }

    /// Takes the results of queries that have ended; those that failed did for this reason.
    fn collect(&mut self, reason: Error) {
        for index in 0..self.lookups.places() {
            let Some(lookup) = self.lookups.at(index).and_then(|id| self.lookups.get_mut(id)) else {
                continue;
            };
            let Lookup::Asked(query, family) = *lookup else {
                continue;
            };
            let result = match self.resolver.socket.socket_mut().get_query_result(query) {
                Err(GetQueryResultError::Pending) => continue,
                Err(GetQueryResultError::Failed) => Err(reason),
                Ok(addresses) => {
                    let addresses = addresses.iter().map(|address| outer_address(*address));
                    Ok(addresses.filter(|address| family.has(address)).collect())
                }
            };
            *lookup = Lookup::Done(result.and_then(|addresses: Vec<_>| found(addresses)));
        }
    }

    /// The resolver has to be served: an address was found, or something was asked.
    pub(crate) fn touch(&mut self) {
        self.resolver.deadline = 0;
    }

    /// Serves the resolver. Says whether the device has no room.
    pub(crate) fn transmit(&mut self, net: &mut Net, device: &mut impl FrameDevice) -> bool {
        if self.resolver.deadline > net.now() {
            return false;
        }
        let server = self.resolver.servers.first().copied();
        let mut sent = Sent::Packet;
        while sent == Sent::Packet {
            sent = net.transmit(device, self.resolver.socket.set(), server, None);
        }
        if sent == Sent::Blocked {
            return true;
        }
        self.collect(Error::TimedOut);
        let earliest = net.now().saturating_add(1);
        self.resolver.deadline = net.deadline(self.resolver.socket.set()).max(earliest);
        false
    }

    /// When the resolver has to be served next.
    pub(crate) fn next(&self) -> u64 {
        self.resolver.deadline
    }
}

fn found(addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Error> {
    if addresses.is_empty() {
        Err(Error::NameNotFound)
    } else {
        Ok(addresses)
    }
}

impl<D: FrameDevice, E: Entropy> Stack<D, E> {
    /// Begins to look a name up: an address in its usual form, one of the configured names, or one that the DNS servers
    /// know. Upper and lower case are the same, and a dot at the end makes no difference.
    ///
    /// # Errors
    /// [`TooMany`](Error::TooMany) lookups.
    pub fn look_up(&mut self, name: &str, family: Family) -> Result<LookupId, Error> {
        let names = &mut self.names;
        if !names.lookups.has_room() {
            return Err(Error::TooMany);
        }
        let name = normal(name);
        let known = name.as_ref().and_then(|name| names.look_up(name, family));
        let lookup = match (known, name) {
            (Some(addresses), _) => Lookup::Done(found(addresses)),
            #[cfg(feature = "dns")]
            (None, Some(name)) if !names.resolver.servers.is_empty() => {
                let kind = match family {
                    Family::Ipv4 => DnsQueryType::A,
                    Family::Ipv6 => DnsQueryType::Aaaa,
                };
                let socket = names.resolver.socket.socket_mut();
                let seed = number(&mut self.entropy);
                let query = self
                    .net
                    .with_seed(seed, |context| socket.start_query(context, &name, kind));
                names.touch();
                match query {
                    Ok(query) => Lookup::Asked(query, family),
                    Err(StartQueryError::NoFreeSlot) => return Err(Error::TooMany),
                    Err(StartQueryError::InvalidName | StartQueryError::NameTooLong) => {
                        Lookup::Done(Err(Error::NameNotFound))
                    }
                }
            }
            _ => Lookup::Done(Err(Error::NameNotFound)),
        };
        names.lookups.insert(lookup).map(LookupId).ok_or(Error::TooMany)
    }

    /// The addresses that were found, at least one; the lookup is over with that.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock) (the lookup goes on), [`NameNotFound`](Error::NameNotFound),
    /// [`TimedOut`](Error::TimedOut) (no server answered, or one that it has failed), [`BadHandle`](Error::BadHandle).
    pub fn lookup_result(&mut self, lookup: LookupId) -> Result<Vec<IpAddr>, Error> {
        match self.names.lookups.get(lookup.0).ok_or(Error::BadHandle)? {
            #[cfg(feature = "dns")]
            Lookup::Asked(..) => return Err(Error::WouldBlock),
            Lookup::Done(_) => {}
        }
        match self.names.lookups.remove(lookup.0) {
            Some(Lookup::Done(result)) => result,
            _ => Err(Error::BadHandle),
        }
    }

    /// Whether a lookup has a result.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn lookup_is_done(&self, lookup: LookupId) -> Result<bool, Error> {
        let lookup = self.names.lookups.get(lookup.0).ok_or(Error::BadHandle)?;
        Ok(matches!(lookup, Lookup::Done(_)))
    }

    /// Gives a lookup up.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn cancel_lookup(&mut self, lookup: LookupId) -> Result<(), Error> {
        match self.names.lookups.remove(lookup.0).ok_or(Error::BadHandle)? {
            #[cfg(feature = "dns")]
            Lookup::Asked(query, _) => self.names.resolver.socket.socket_mut().cancel_query(query),
            Lookup::Done(_) => {}
        }
        Ok(())
    }
}
