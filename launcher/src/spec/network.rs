//! The network of a run: what the guest may connect to, and where it is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use boot_protocol::network::{Grant, Host, Protocol, Publish};
use boot_protocol::run_spec::{Network, RunSpec, SpecError, Wire};

use super::run::Run;
use crate::error::Error;
use crate::pack::Packed;

/// Where a port is published of which nothing else is said.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The host's end of a guest's network, as it is said.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Ports of this host's that lead to the guest's.
    published: Vec<Publish>,
    /// The program that becomes the relay.
    pub(super) relay: Option<PathBuf>,
}

impl Run {
    /// Gives the guest a network. Default: none, and no network device.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.spec.network = Some(network.into());
        self
    }

    /// Lets the guest connect to what `grant` names. Of two grants with one name, port and protocol the last counts.
    /// `docs/network.md` has more.
    ///
    /// This, as all that follows here, gives the guest a network. What it may not connect to is `EACCES` there.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        let grants = &mut self.network_mut().grants;
        let name = |grant: &Grant| (grant.host.clone(), grant.port, grant.protocol);
        match grants.iter_mut().find(|other| name(other) == name(&grant)) {
            Some(other) => *other = grant,
            None => grants.push(grant),
        }
        self
    }

    /// Listens at a port of this host's for connections to one of the guest's, or for datagrams. The guest may listen
    /// there.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        let network = self.network_mut();
        if !network.may_listen(publish.guest, publish.protocol) {
            network.published.push((publish.guest, publish.protocol));
        }
        self.outside.published.push(publish);
        self
    }

    /// The same for connections, at the same port, with a listener that the guest has when it starts: a descriptor
    /// behind those of its directories, in order. As wasmtime's `--tcplisten`.
    #[must_use]
    pub fn listen(self, at: SocketAddr) -> Self {
        self.expose(at.port(), Protocol::Tcp).publish(Publish {
            host: at,
            guest: at.port(),
            protocol: Protocol::Tcp,
        })
    }

    /// Makes a port of the guest's reachable: at the same port of this host's address 127.0.0.1, unless it is
    /// [published](Self::publish) otherwise. At a port of TCP the guest has a listener when it starts.
    #[must_use]
    pub fn expose(mut self, port: u16, protocol: Protocol) -> Self {
        let network = self.network_mut();
        let has_listener = |network: &Network| network.listeners.iter().any(|other| other.port() == port);
        match protocol {
            Protocol::Tcp if has_listener(network) => {}
            Protocol::Tcp => {
                network.published.retain(|other| *other != (port, protocol));
                let inside = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                network.listeners.push(inside);
            }
            Protocol::Udp if network.may_listen(port, protocol) => {}
            Protocol::Udp => network.published.push((port, protocol)),
        }
        self
    }

    /// Lets the guest connect to all that this host reaches, but the host itself, its links and the metadata of clouds.
    /// As wasmtime's `-S inherit-network`.
    #[must_use]
    pub fn inherit_network(mut self, inherit: bool) -> Self {
        // Nothing is said by what is not given.
        if inherit || self.spec.network.is_some() {
            self.network_mut().inherit = inherit;
        }
        self
    }

    /// Lets the guest look up any name, as this host does. As wasmtime's `-S allow-ip-name-lookup`.
    #[must_use]
    pub fn allow_ip_name_lookup(mut self, allow: bool) -> Self {
        if allow || self.spec.network.is_some() {
            self.network_mut().look_up = allow;
        }
        self
    }

    /// Names the program that becomes the host's end of the guest's network, which is a process of its own: one that
    /// calls [`relay::serve_if_asked`](crate::relay::serve_if_asked), as this program may. Default: `hermit-wasm` in
    /// PATH.
    #[must_use]
    pub fn relay(mut self, program: impl Into<PathBuf>) -> Self {
        self.outside.relay = Some(program.into());
        self
    }

    fn network_mut(&mut self) -> &mut Network {
        self.spec.network.get_or_insert_default()
    }

    /// Whether the guest has a network.
    pub(crate) fn has_network(&self) -> bool {
        self.spec.network.is_some() || self.packed_network().is_some()
    }

    fn packed_network(&self) -> Option<&Network> {
        self.packed.as_ref()?.spec().network.as_deref()
    }
}

/// The network of a run, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// What the guest has of it.
    pub(crate) network: Network,
    /// Ports of this host's that lead to the guest's: those that were said come first.
    pub(crate) published: Vec<Publish>,
    /// How many of them were said. The others are opened because a file says so.
    pub(crate) said: usize,
    /// What a file has chosen of this host's network, and nobody who runs it has said.
    pub(crate) chosen: Option<String>,
}

/// So many grants are named.
const NAMED: usize = 8;

impl Reach {
    /// The network of `run`, if it has one: of what was packed, as the run narrows it.
    ///
    /// # Errors
    /// It contradicts itself, or what was packed.
    pub(super) fn of(run: &Run) -> Result<Option<Self>, Error> {
        let said = RunSpec {
            network: run.spec.network.clone(),
            ..RunSpec::default()
        };
        let spec = match &run.packed {
            None => said,
            Some(packed) => packed_network(packed).narrowed(&said).map_err(|error| {
                let made = "a network is packed with NET and EXPOSE in a Hermitfile";
                Error::Invalid(format!("{}: {error}; {made}", run.module))
            })?,
        };
        let Some(mut network) = spec.network.map(|network| *network) else {
            return Ok(None);
        };
        network.wire = Wire::Relay;
        let listeners = network.listeners.iter().map(SocketAddr::port);
        let mut ports = listeners.chain(network.published.iter().map(|(port, _)| *port));
        if ports.any(|port| port == 0) {
            return Err(Error::Invalid(
                "port 0: the guest would be reached at no port; name the one at which it is to listen"
                    .to_string(),
            ));
        }
        let mut file_s = None;
        if run.packed.as_ref().is_some_and(|packed| !packed.is_program()) {
            check_chosen(run, &network)?;
            file_s = chosen(run, &network);
        }
        let packed = run.packed.as_ref().map(Packed::spec);
        let is_deterministic =
            run.spec.deterministic.is_some() || packed.is_some_and(|spec| spec.deterministic.is_some());
        if is_deterministic || run.record.is_some() || run.replay.is_some() {
            return Err(Error::Invalid(SpecError::NetworkOfATrace.to_string()));
        }
        let (published, said) = published(&network, &run.outside.published)?;
        Ok(Some(Self {
            network,
            published,
            said,
            chosen: file_s,
        }))
    }
}

/// What a file has of this host's network that whoever runs it has not said, in words for a message.
fn chosen(run: &Run, network: &Network) -> Option<String> {
    let said = run.spec.network.as_deref();
    let unsaid = |grant: &&Grant| !said.is_some_and(|said| said.grants.contains(grant));
    let grants: Vec<_> = network.grants.iter().filter(unsaid).collect();
    let is_new = |has: fn(&Network) -> bool| has(network) && !said.is_some_and(has);
    let mut parts: Vec<_> = grants.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = grants.len().checked_sub(NAMED) {
        parts.push(format!("{more} more"));
    }
    if is_new(|network| network.inherit) {
        parts.push("whatever this host reaches (-S inherit-network)".to_string());
    }
    if is_new(|network| network.look_up) {
        parts.push("servers of names, for any name (-S allow-ip-name-lookup)".to_string());
    }
    (!parts.is_empty()).then(|| {
        format!(
            "{}: what was packed lets it connect to {}",
            run.module,
            parts.join(", ")
        )
    })
}

/// A file that the launcher runs must not choose what of this host it reaches: a special address, or one of the host's
/// own, is granted by whoever runs it.
fn check_chosen(run: &Run, network: &Network) -> Result<(), Error> {
    let said = run.spec.network.as_ref().map_or(&[][..], |said| &said.grants);
    let name = |grant: &Grant| {
        (
            grant.host.clone(),
            grant.port,
            grant.protocol,
            grant.target.clone(),
        )
    };
    for grant in &network.grants {
        if let Host::Address(address) = &grant.target
            && !said.iter().any(|said| name(said) == name(grant))
            && !relay::permits(*address)
        {
            return Err(Error::Invalid(format!(
                "{}: it wants to connect to {address}, which is this host, its link or its cloud's metadata; if it \
                 may, write --net {grant}",
                run.module
            )));
        }
    }
    Ok(())
}

/// What was packed, as far as it is about the network.
fn packed_network(packed: &Packed) -> RunSpec {
    let spec = packed.spec();
    RunSpec {
        network: spec.network.clone(),
        may_be_widened: spec.may_be_widened,
        ..RunSpec::default()
    }
}

/// Where the host listens: where it is `said`, and for all other ports of the guest's at [`HERE`]. And how many of them
/// were said.
fn published(network: &Network, said: &[Publish]) -> Result<(Vec<Publish>, usize), Error> {
    let mut published: Vec<Publish> = Vec::new();
    for publish in said {
        if published.contains(publish) {
            continue;
        }
        let same = |other: &&Publish| {
            publish.host.port() != 0 && (publish.host, publish.protocol) == (other.host, other.protocol)
        };
        if let Some(other) = published.iter().find(same) {
            return Err(Error::Invalid(format!(
                "--publish {publish}: {} leads to the guest's port {} already",
                publish.host, other.guest
            )));
        }
        published.push(*publish);
    }
    let count = published.len();
    let listeners = network.listeners.iter();
    let listeners = listeners.map(|listener| (listener.port(), Protocol::Tcp));
    for (guest, protocol) in listeners.chain(network.published.iter().copied()) {
        if !said
            .iter()
            .any(|one| (one.guest, one.protocol) == (guest, protocol))
        {
            published.push(Publish {
                host: SocketAddr::new(HERE, guest),
                guest,
                protocol,
            });
        }
    }
    Ok((published, count))
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
