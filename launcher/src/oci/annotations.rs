//! Annotations `org.hermit-wasm.*`: what of a run an OCI configuration has no field for. They are called as the flags of
//! `hermit-wasm run` are.
//!
//! Layer: text. A name that means nothing is refused: a limit must not be lost by a misspelt name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;

use boot_protocol::network::{Grant, Protocol, Publish, exposed};
use boot_protocol::run_spec::{Limits, LogLevel};
use boot_protocol::shown::piece;

use super::refusal::{Refusal, refuse};
use crate::host::units;
use crate::jail::Jail;
use crate::spec::engine::Engine;
use crate::vmm::capabilities::Accelerator;

/// What all names begin with.
pub(super) const PREFIX: &str = "org.hermit-wasm.";

/// What is said. Texts are those that were given, and have been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Annotations {
    /// `None`: the best that works.
    pub(super) accelerator: Option<Accelerator>,
    /// `None`: the best for whoever waits.
    pub(super) engine: Option<Engine>,
    /// As -W has them.
    pub(super) limits: Vec<String>,
    /// Of the whole run.
    pub(super) timeout: Option<Duration>,
    /// The exported function that is called.
    pub(super) invoke: Option<String>,
    /// The seed of a run that is the same each time.
    pub(super) deterministic: Option<u64>,
    /// The machine's memory in bytes, where the container has no limit.
    pub(super) memory: Option<u64>,
    pub(super) jail: Jail,
    /// Whether what is no WebAssembly runs as it is.
    pub(super) native: bool,
    /// Whether native code in the image runs that nobody here has compiled.
    pub(super) precompiled: bool,
    pub(super) published: Vec<Port>,
    pub(super) listeners: Vec<Port>,
    pub(super) grants: Vec<Grant>,
    pub(super) inherit_network: bool,
    pub(super) look_up: bool,
    /// The machine's log.
    pub(super) log: Option<LogLevel>,
    /// How much the launcher says.
    pub(super) verbose: u8,
}

/// A port of the container's that leads to one of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// `None`: at all addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) outside: u16,
    pub(super) guest: u16,
    pub(super) protocol: Protocol,
}

impl Port {
    /// Where the container listens for it. `dual` is whether one socket of IPv6 serves IPv4, too.
    pub(super) fn publish(&self, dual: bool) -> Publish {
        let all = match dual {
            true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Publish {
            host: SocketAddr::new(self.address.unwrap_or(all), self.outside),
            guest: self.guest,
            protocol: self.protocol,
        }
    }

    /// `[[ADDR:]OUTSIDE:]GUEST[/udp]`.
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok((port, protocol)) = exposed(text) {
            return Ok(Self {
                address: None,
                outside: port,
                guest: port,
                protocol,
            });
        }
        let publish = Publish::from_str(text).map_err(|error| error.to_string())?;
        if publish.host.port() == 0 {
            return Err(format!(
                "'{}': nobody would know which port is the free one",
                piece(text)
            ));
        }
        let ports = text.split('/').next().unwrap_or_default();
        let has_address = ports.matches(':').count() > 1;
        Ok(Self {
            address: has_address.then(|| publish.host.ip()),
            outside: publish.host.port(),
            guest: publish.guest,
            protocol: publish.protocol,
        })
    }

    /// `[ADDR:]PORT`, of TCP.
    fn listener(text: &str) -> Result<Self, String> {
        let at = |address, port| Self {
            address,
            outside: port,
            guest: port,
            protocol: Protocol::Tcp,
        };
        match exposed(text) {
            Ok((port, Protocol::Tcp)) => Ok(at(None, port)),
            _ => boot_protocol::network::listener(text)
                .map(|address| at(Some(address.ip()), address.port()))
                .map_err(|error| error.to_string()),
        }
    }
}

impl Annotations {
    /// Reads those of ours.
    pub(super) fn parse(all: &HashMap<String, String>) -> Result<Self, Refusal> {
        let mut this = Self::default();
        let mut ours: Vec<_> = all
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.trim())))
            .collect();
        // The same complaint each time.
        ours.sort_unstable();
        let said = |wanted: &str| {
            ours.iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value)
        };
        if let (Some(value), Some(other)) = (said("accel"), said("accelerator"))
            && value != other
        {
            return refuse!(
                "the annotation {PREFIX}accelerator: it is the same as accel, which says otherwise"
            );
        }
        for (name, value) in ours {
            if let Err(why) = this.apply(name, value) {
                return refuse!("the annotation {PREFIX}{}: {why}", piece(name));
            }
        }
        Ok(this)
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        let list = || value.split([',', ' ', '\n']).filter(|word| !word.is_empty());
        match name {
            // The long one is an alias.
            "accel" | "accelerator" => {
                self.accelerator = choice(value, &[Accelerator::Kvm, Accelerator::Tcg], Accelerator::name)?;
            }
            "engine" => {
                self.engine = choice(value, &[Engine::Interp, Engine::Native], Engine::name)?;
            }
            "fuel" => self.limit(&format!("fuel={value}"))?,
            "deadline" => self.limit(&format!("timeout={value}"))?,
            "wasm" | "limits" => list().try_for_each(|limit| self.limit(limit))?,
            "invoke" => self.invoke = Some(value.to_string()),
            "deterministic" => {
                let seed = value
                    .parse()
                    .map_err(|_| expected(value, "a number below 2^64"))?;
                self.deterministic = Some(seed);
            }
            "timeout" => self.timeout = Some(units::parse_duration(value)?),
            "memory" => self.memory = Some(units::parse_size(value)?),
            "jail" => {
                let levels = [Jail::Strict];
                self.jail = choice(value, &levels, Jail::name)?.unwrap_or_default();
            }
            "native" => {
                self.native = match value {
                    "allow" => true,
                    "refuse" => false,
                    other => return Err(expected(other, "allow or refuse")),
                }
            }
            "allow-precompiled" => self.precompiled = yes_or_no(value)?,
            "publish" => self
                .published
                .extend(list().map(Port::parse).collect::<Result<Vec<_>, _>>()?),
            "tcplisten" => self
                .listeners
                .extend(list().map(Port::listener).collect::<Result<Vec<_>, _>>()?),
            "net" => {
                let grant = |text: &str| text.parse::<Grant>().map_err(|error| error.to_string());
                self.grants
                    .extend(list().map(grant).collect::<Result<Vec<_>, _>>()?);
            }
            "inherit-network" => self.inherit_network = yes_or_no(value)?,
            "allow-ip-name-lookup" => self.look_up = yes_or_no(value)?,
            "log" => {
                let levels = LogLevel::ALL;
                self.log = choice(value, &levels, LogLevel::name)?;
            }
            "verbose" => {
                self.verbose = match value {
                    "0" => 0,
                    "1" => 1,
                    "2" => 2,
                    other => return Err(expected(other, "0, 1 or 2")),
                }
            }
            _ => return Err("it means nothing; docs/containers.md lists those that do".to_string()),
        }
        Ok(())
    }

    fn limit(&mut self, word: &str) -> Result<(), String> {
        let mut limits = Limits::NONE;
        limits.apply(word).map_err(|error| error.to_string())?;
        self.limits.push(word.to_string());
        Ok(())
    }
}

/// One of these by its name; `None`: auto.
fn choice<T: Copy>(value: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Option<T>, String> {
    if value == "auto" {
        return Ok(None);
    }
    let found = all.iter().copied().find(|one| name(*one) == value);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        expected(value, &format!("auto, {}", names.join(", ")))
    })
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "y" | "yes" | "true" => Ok(true),
        "n" | "no" | "false" => Ok(false),
        other => Err(expected(other, "y or n")),
    }
}

fn expected(value: &str, what: &str) -> String {
    format!("'{}' is not expected; write {what}", piece(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(all: &[(&str, &str)]) -> Result<Annotations, String> {
        let all = all
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_string()));
        Annotations::parse(&all.collect()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_is_said_is_understood() {
        let said = parse(&[
            ("accel", "tcg"),
            ("engine", "native"),
            ("fuel", "1000"),
            ("deadline", "5s"),
            ("wasm", "max-descriptors=10,max-output-bytes=1M"),
            ("timeout", "1m"),
            ("memory", "64M"),
            ("invoke", "f"),
            ("deterministic", "7"),
            ("native", "allow"),
            ("publish", "8080, 80:8080,53/udp 127.0.0.1:81:82,[::1]:83:84"),
            ("tcplisten", "90,127.0.0.1:91"),
            ("net", "redis:6379,time:123/udp=10.1.2.3"),
            ("inherit-network", "y"),
            ("log", "debug"),
            ("verbose", "1"),
        ])
        .unwrap();
        assert_eq!(said.accelerator, Some(Accelerator::Tcg));
        assert_eq!(said.engine, Some(Engine::Native));
        assert_eq!(said.limits.len(), 4);
        assert_eq!(
            (said.timeout, said.memory),
            (Some(Duration::from_secs(60)), Some(64 << 20))
        );
        assert_eq!((said.invoke.as_deref(), said.deterministic), (Some("f"), Some(7)));
        assert!(said.native && said.inherit_network && !said.look_up && !said.precompiled);
        assert_eq!((said.log, said.verbose), (Some(LogLevel::Debug), 1));
        let shown = |dual: bool| {
            let ports = said.published.iter().chain(&said.listeners);
            ports
                .map(|port| port.publish(dual).to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(true),
            [
                "[::]:8080:8080",
                "[::]:80:8080",
                "[::]:53:53/udp",
                "127.0.0.1:81:82",
                "[::1]:83:84",
                "[::]:90:90",
                "127.0.0.1:91:91"
            ]
        );
        assert_eq!(
            shown(false).first().map(String::as_str),
            Some("0.0.0.0:8080:8080")
        );
        assert_eq!(said.grants.len(), 2);
        // Those of others are theirs; `auto` is the default.
        let others = HashMap::from([("io.podman.x".to_string(), "y".to_string())]);
        assert_eq!(Annotations::parse(&others).unwrap(), Annotations::default());
        assert_eq!(
            parse(&[("engine", "auto"), ("accel", "auto")]).unwrap(),
            Annotations::default()
        );
        assert_eq!(parse(&[("accelerator", "tcg")]), parse(&[("accel", "tcg")]));
        let both = [("accel", "tcg"), ("accelerator", "tcg")];
        assert_eq!(parse(&both), parse(&[("accel", "tcg")]));
        let torn = parse(&[("accel", "kvm"), ("accelerator", "tcg")]).unwrap_err();
        assert!(torn.contains("the same as accel, which says otherwise"), "{torn}");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (name, value, reason) in [
            ("fual", "1", "org.hermit-wasm.fual: it means nothing"),
            ("fuel", "much", "fuel"),
            ("deadline", "soon", "soon"),
            ("wasm", "fuel", "fuel"),
            ("accel", "hvf", "write auto, kvm, tcg"),
            ("accelerator", "hvf", "write auto, kvm, tcg"),
            ("engine", "jit", "write auto, interp, native"),
            ("jail", "off", "write auto, strict"),
            ("native", "yes", "write allow or refuse"),
            ("publish", "http", "http"),
            ("publish", "0:80", "free one"),
            ("tcplisten", "53/udp", "53/udp"),
            ("net", "redis", "has no port"),
            ("inherit-network", "perhaps", "write y or n"),
            ("memory", "huge", "a whole number with a unit"),
            ("deterministic", "-1", "a number below 2^64"),
            ("verbose", "3", "write 0, 1 or 2"),
        ] {
            let error = parse(&[(name, value)]).unwrap_err();
            assert!(error.contains(reason), "{name}={value}: {error}");
        }
    }
}
