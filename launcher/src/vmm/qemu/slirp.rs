//! A run's network where nobody is at the wire's other end but QEMU itself: for `--print-command`.
//!
//! QEMU's own network, slirp, forwards ports of this host's, and connects for the machine to any address. It knows no
//! grants: what the guest may reach, the application in the machine alone says.

use std::fmt::Write as _;
use std::net::IpAddr;

use boot_protocol::network::inside::GATEWAY;
use boot_protocol::network::{Grant, Host, Protocol, Publish};
use boot_protocol::run_spec::{Network, Wire};

/// The network as the machine is to have it, and the options of `-netdev user` that belong to it, each behind a comma.
///
/// # Errors
/// What cannot be had so, in words.
pub(super) fn by_hand(network: &Network, published: &[Publish]) -> Result<(Network, String), String> {
    let network = Network {
        wire: Wire::Direct,
        grants: network.grants.iter().map(reached).collect::<Result<_, _>>()?,
        ..network.clone()
    };
    let mut options = String::new();
    // A machine that is to connect to nobody is kept from it by QEMU as well.
    if network.grants.is_empty() && !network.inherit && !network.look_up {
        options.push_str(",restrict=on");
    }
    for Publish {
        host,
        guest,
        protocol,
    } in published
    {
        if host.is_ipv6() {
            return Err(format!(
                "-p {host}:{guest}: QEMU's own network forwards IPv4's ports alone"
            ));
        }
        if host.port() == 0 {
            return Err(format!(
                "-p {host}:{guest}: a command names the port at which this host listens; choose one"
            ));
        }
        // Writing to a string cannot fail.
        let _ = write!(options, ",hostfwd={}:{host}-:{guest}", protocol.name());
    }
    Ok((network, options))
}

/// A grant whose target means the same on QEMU's network.
fn reached(grant: &Grant) -> Result<Grant, String> {
    let target = match &grant.target {
        // What is there is this host's loopback.
        Host::Address(IpAddr::V4(address)) if address.is_loopback() => Host::Address(GATEWAY.into()),
        Host::Address(IpAddr::V4(address)) => Host::Address((*address).into()),
        Host::Address(IpAddr::V6(address)) => {
            return Err(format!(
                "--net {grant}: a machine on QEMU's own network does not reach {address}, by IPv6"
            ));
        }
        Host::Name(name) => {
            let protocol = match grant.protocol {
                Protocol::Tcp => "",
                Protocol::Udp => "/udp",
            };
            return Err(format!(
                "--net {grant}: without this program, nobody at the machine's network knows the name '{name}'; give its \
                 address, as in --net {}:{}{protocol}=192.0.2.1",
                grant.host, grant.port
            ));
        }
    };
    Ok(Grant {
        target,
        ..grant.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(grants: &[&str]) -> Network {
        Network {
            wire: Wire::Relay,
            grants: grants.iter().map(|grant| grant.parse().unwrap()).collect(),
            ..Network::default()
        }
    }

    fn publish(ports: &[&str]) -> Vec<Publish> {
        ports.iter().map(|port| port.parse().unwrap()).collect()
    }

    #[test]
    fn ports_are_forwarded_and_addresses_mean_the_same() {
        let served = by_hand(&network(&[]), &publish(&["8080:80", "0.0.0.0:53:53/udp"])).unwrap();
        assert_eq!(
            served.1,
            ",restrict=on,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:53"
        );
        let (network, options) = by_hand(
            &network(&[
                "redis:6379=127.0.0.1:7000",
                "192.0.2.7:443",
                "time:123/udp=192.0.2.8",
            ]),
            &[],
        )
        .unwrap();
        let grants: Vec<_> = network.grants.iter().map(ToString::to_string).collect();
        assert_eq!(
            grants,
            [
                "redis:6379=10.0.2.2:7000",
                "192.0.2.7:443",
                "time:123/udp=192.0.2.8:123"
            ]
        );
        // Restricted, it would reach none of them.
        assert_eq!((network.wire, options.as_str()), (Wire::Direct, ""));
    }

    #[test]
    fn what_reaches_anything_is_not_restricted() {
        for all in [
            Network {
                inherit: true,
                ..Network::default()
            },
            Network {
                look_up: true,
                ..Network::default()
            },
        ] {
            assert_eq!(by_hand(&all, &[]).unwrap().1, "");
        }
    }

    #[test]
    fn what_qemu_cannot_do_is_said() {
        for (grants, ports, why) in [
            (
                &["redis:6379"][..],
                &[][..],
                "give its address, as in --net redis:6379=192.0.2.1",
            ),
            (&["time:123/udp=pool.ntp.org"], &[], "time:123/udp=192.0.2.1"),
            (&["db:1=[2001:db8::1]"], &[], "by IPv6"),
            (&[], &["[::1]:80:80"], "IPv4's ports alone"),
            (&[], &["0:80"], "choose one"),
        ] {
            let error = by_hand(&network(grants), &publish(ports)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
