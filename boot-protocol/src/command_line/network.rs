//! The words about the network: what a person writes who starts the machine by hand, and how a launcher writes it.
//!
//! ```text
//! [--net NAME:PORT[/udp][=TARGET]]… [--tcplisten ADDR:PORT]… [-p|--publish [[ADDR:]HOST:]GUEST[/udp]]…
//! [-S inherit-network|allow-ip-name-lookup|tcplisten=ADDR:PORT]… [--ip ADDR/PREFIX[,ROUTER]|dhcp]
//! [--wire direct|relay]
//! ```
//!
//! Each of them brings a network, whose other end is no relay unless `--wire relay` says so.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::words::{WordError, invalid};
use crate::network::{GrantError, Protocol, Publish, WasiOption, exposed, listener};
use crate::run_spec::{Ipv4Source, Network, Wire};

/// Every option of them. Each takes a value.
pub(super) const OPTIONS: [&str; 7] = ["--net", "--tcplisten", "-p", "--publish", "-S", "--ip", "--wire"];

/// Applies one of the options.
#[inline(never)]
pub(super) fn apply(
    network: &mut Option<Box<Network>>,
    option: &'static str,
    value: &str,
) -> Result<(), WordError> {
    let network = network.get_or_insert_with(|| {
        Box::new(Network {
            wire: Wire::Direct,
            ..Network::default()
        })
    });
    let wrong = |error: GrantError| WordError::Network(option, error);
    match option {
        "--net" => network.grants.push(value.parse().map_err(wrong)?),
        "--tcplisten" => network.listeners.push(listener(value).map_err(wrong)?),
        "--ip" => network.address = address(value).ok_or_else(|| invalid(option, value, ADDRESS))?,
        "--wire" => {
            let wire = [Wire::Direct, Wire::Relay]
                .into_iter()
                .find(|wire| wire.name() == value);
            network.wire = wire.ok_or_else(|| invalid(option, value, "direct or relay"))?;
        }
        "-S" => {
            for text in value.split(',') {
                let read = WasiOption::parse(text).ok_or_else(|| invalid(option, text, WasiOption::NAMES))?;
                match read.map_err(wrong)? {
                    WasiOption::Inherit(is_on) => network.inherit = is_on,
                    WasiOption::LookUp(is_on) => network.look_up = is_on,
                    WasiOption::Listen(address) => network.listeners.push(address),
                }
            }
        }
        // -p, --publish: where the host listens is the matter of whatever is at the other end.
        _ => {
            let published = match value.contains(':') {
                true => value
                    .parse()
                    .map(|publish: Publish| (publish.guest, publish.protocol)),
                false => exposed(value),
            };
            let published = published.map_err(wrong)?;
            if !network.published.contains(&published) {
                network.published.push(published);
            }
        }
    }
    Ok(())
}

const ADDRESS: &str = "ADDR/PREFIX[,ROUTER], such as 10.0.2.15/24,10.0.2.2, or dhcp";

fn address(value: &str) -> Option<Ipv4Source> {
    if value == "dhcp" {
        return Some(Ipv4Source::Dhcp);
    }
    let (network, gateway) = match value.split_once(',') {
        Some((network, gateway)) => (network, Some(gateway.parse::<Ipv4Addr>().ok()?)),
        None => (value, None),
    };
    let (address, prefix) = network.split_once('/')?;
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    Some(Ipv4Source::Static {
        address: address.parse().ok()?,
        prefix: Some(prefix)
            .filter(digits)?
            .parse()
            .ok()
            .filter(|prefix| *prefix <= 32)?,
        gateway,
    })
}

/// Appends the words that describe a network.
pub(super) fn write(network: &Network, words: &mut Vec<String>) {
    // Each by its name, so that the compiler misses a field which is not written.
    let Network {
        address,
        wire,
        grants,
        listeners,
        published,
        inherit,
        look_up,
    } = network;
    let mut option = |name: &str, value: &str| words.push([name, value].join("="));
    option("--wire", wire.name());
    if *address != Ipv4Source::default() {
        option("--ip", &address.to_string());
    }
    for grant in grants {
        option("--net", &grant.to_string());
    }
    for listener in listeners {
        option("--tcplisten", &listener.to_string());
    }
    for (port, protocol) in published {
        let protocol = match protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        };
        option("--publish", &format!("{port}{protocol}"));
    }
    for (is_on, name) in [(inherit, "inherit-network"), (look_up, "allow-ip-name-lookup")] {
        if *is_on {
            words.extend(["-S", name].map(String::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::command_line::words::{self, parse};
    use crate::command_line::{CommandLine, Console};
    use crate::run_spec::RunSpec;

    fn network(line: &str) -> Result<Option<Network>, WordError> {
        parse(line.split(' '), [], true).map(|words| words.run.network.map(|network| *network))
    }

    fn direct() -> Network {
        Network {
            wire: Wire::Direct,
            ..Network::default()
        }
    }

    #[test]
    fn each_word_brings_a_network() {
        let grants = |text: &str| vec![text.parse().unwrap()];
        for (line, expected) in [
            (
                "--net redis:6379=10.0.2.2",
                Network {
                    grants: grants("redis:6379=10.0.2.2:6379"),
                    ..direct()
                },
            ),
            (
                "--net=time:123/udp",
                Network {
                    grants: grants("time:123/udp"),
                    ..direct()
                },
            ),
            (
                "--tcplisten 0.0.0.0:8080",
                Network {
                    listeners: vec!["0.0.0.0:8080".parse().unwrap()],
                    ..direct()
                },
            ),
            (
                "-S tcplisten=[::]:80,inherit-network",
                Network {
                    listeners: vec!["[::]:80".parse().unwrap()],
                    inherit: true,
                    ..direct()
                },
            ),
            (
                "-S allow-ip-name-lookup",
                Network {
                    look_up: true,
                    ..direct()
                },
            ),
            ("-S inherit-network -S inherit-network=n", direct()),
            (
                "-p 8080:80 -p 127.0.0.1:8081:80 --publish=53/udp",
                Network {
                    published: vec![(80, Protocol::Tcp), (53, Protocol::Udp)],
                    ..direct()
                },
            ),
            ("--wire relay", Network::default()),
            (
                "--ip dhcp",
                Network {
                    address: Ipv4Source::Dhcp,
                    ..direct()
                },
            ),
            (
                "--ip 192.0.2.7/25",
                Network {
                    address: Ipv4Source::Static {
                        address: [192, 0, 2, 7].into(),
                        prefix: 25,
                        gateway: None,
                    },
                    ..direct()
                },
            ),
            ("--ip=10.0.2.15/24,10.0.2.2", direct()),
        ] {
            assert_eq!(network(line), Ok(Some(expected)), "{line}");
            let words = parse(line.split(' '), [], true).unwrap();
            assert!(words.run_word.is_some(), "a description contradicts {line}");
        }
        assert_eq!(network("--log=info"), Ok(None));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for (line, reason) in [
            (
                "--net redis",
                "--net: 'redis' has no port; write NAME:PORT, such as redis:6379",
            ),
            (
                "--tcplisten 8080",
                "--tcplisten: '8080' is no address to listen at",
            ),
            ("-p 0", "-p: '0' is no port"),
            ("--publish 1:2:3:4", "--publish: '1:2:3:4' is no published port"),
            (
                "-S inherit-env",
                "-S: cannot use \"inherit-env\"; expected inherit-network, allow-ip-name-lookup",
            ),
            (
                "-S inherit-network=2",
                "-S: inherit-network: cannot use '2'; expected y or n",
            ),
            (
                "--ip 10.0.2.15",
                "--ip: cannot use \"10.0.2.15\"; expected ADDR/PREFIX",
            ),
            ("--ip 10.0.2.15/33", "--ip: cannot use"),
            ("--ip 10.0.2.15/+4", "--ip: cannot use"),
            ("--ip 10.0.2.15/24,", "--ip: cannot use"),
            (
                "--wire slirp",
                "--wire: cannot use \"slirp\"; expected direct or relay",
            ),
        ] {
            let error = network(line).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("kernel command line: {reason}")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let full = Network {
            address: Ipv4Source::Static {
                address: [192, 0, 2, 7].into(),
                prefix: 25,
                gateway: Some([192, 0, 2, 1].into()),
            },
            grants: vec![
                "redis:6379=127.0.0.1:7000".parse().unwrap(),
                "time:123/udp".parse().unwrap(),
            ],
            listeners: vec!["0.0.0.0:8080".parse().unwrap(), "[::1]:8443".parse().unwrap()],
            published: vec![(53, Protocol::Udp), (80, Protocol::Tcp)],
            inherit: true,
            look_up: true,
            ..direct()
        };
        let dhcp = Network {
            address: Ipv4Source::Dhcp,
            ..direct()
        };
        for network in [full, dhcp, direct(), Network::default()] {
            let run = RunSpec {
                network: Some(network.into()),
                ..RunSpec::default()
            };
            let words = words::write(&run, Console::Framed).unwrap();
            let read = parse(words.iter().map(String::as_str), [], true).unwrap().run;
            assert_eq!(
                RunSpec {
                    terminals: run.terminals,
                    ..read
                },
                run
            );
            let line = CommandLine {
                console: Console::Framed,
                ..CommandLine::default()
            };
            assert!(line.words_with(&run).is_ok());
        }
    }
}
