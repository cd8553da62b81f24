//! The network's records byte for byte, each refusal, and the ports that a guest may listen on.

use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::run_spec::{RunSpec, Tracing};

/// One of everything.
pub(in crate::run_spec) fn full() -> Network {
    Network {
        address: Ipv4Source::Static {
            address: Ipv4Addr::new(192, 0, 2, 7),
            prefix: 25,
            gateway: None,
        },
        wire: Wire::Direct,
        grants: ["redis:6379=127.0.0.1:7000", "time:123/udp", "[2001:db8::1]:443"]
            .map(|text| text.parse().unwrap())
            .into(),
        listeners: vec!["0.0.0.0:8080".parse().unwrap(), "[::1]:8443".parse().unwrap()],
        published: vec![(53, Protocol::Udp), (0x1234, Protocol::Tcp)],
        inherit: true,
        look_up: true,
    }
}

fn with(network: Network) -> RunSpec {
    RunSpec {
        network: Some(network.into()),
        ..RunSpec::default()
    }
}

/// The records behind those of the smallest description.
fn records(network: Network) -> Vec<u8> {
    with(network)
        .encode()
        .split_off(RunSpec::default().encode().len())
}

fn read(records: &[u8]) -> Result<Option<Network>, SpecError> {
    let bytes = [RunSpec::default().encode().as_slice(), records].concat();
    RunSpec::decode(&bytes).map(|spec| spec.network.map(|network| *network))
}

#[test]
fn each_record_byte_for_byte() {
    let expected: &[&[u8]] = &[
        &[15, 0, 6, 0, 0, 0, 7, 192, 0, 2, 7, 25], // the network: all bits, an address and its prefix
        &[16, 0, 25, 0, 0, 0],
        b"redis:6379=127.0.0.1:7000", // a grant
        &[16, 0, 12, 0, 0, 0],
        b"time:123/udp",
        &[16, 0, 17, 0, 0, 0],
        b"[2001:db8::1]:443",
        &[17, 0, 6, 0, 0, 0, 0x90, 0x1f, 0, 0, 0, 0], // a listener
        &[17, 0, 18, 0, 0, 0, 0xfb, 0x20],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[18, 0, 3, 0, 0, 0, 1, 53, 0], // a published port
        &[18, 0, 3, 0, 0, 0, 0, 0x34, 0x12],
    ];
    assert_eq!(records(full()), expected.concat());
    assert_eq!(read(&expected.concat()), Ok(Some(full())));
    let inside = [15, 0, 10, 0, 0, 0, 0, 10, 0, 2, 15, 24, 10, 0, 2, 2];
    assert_eq!(records(Network::default()), inside);
    assert_eq!(read(&inside), Ok(Some(Network::default())));
    let dhcp = Network {
        address: Ipv4Source::Dhcp,
        look_up: true,
        ..Network::default()
    };
    assert_eq!(records(dhcp.clone()), [15, 0, 1, 0, 0, 0, 4]);
    assert_eq!(read(&[15, 0, 1, 0, 0, 0, 4]), Ok(Some(dhcp)));
    assert_eq!(read(&[]), Ok(None));
}

#[test]
fn what_is_no_network_is_refused() {
    let dhcp = [15, 0, 1, 0, 0, 0, 0];
    let record = |kind: u16, value: &[u8]| {
        let mut record = dhcp.to_vec();
        super::record(&mut record, kind, &[value]);
        record
    };
    assert_eq!(read(&dhcp.repeat(2)), Err(SpecError::Duplicate(Record::Network)));
    for lonely in [
        &[16, 0, 3, 0, 0, 0, b'a', b':', b'1'][..],
        &[17, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        &[18, 0, 3, 0, 0, 0, 0, 1, 0],
    ] {
        assert_eq!(read(lonely), Err(SpecError::Missing(Record::Network)));
        assert!(read(&[lonely, &dhcp].concat()).is_ok());
    }
    for value in [
        &[][..],
        &[8],
        &[0, 1],
        &[0, 1, 2, 3, 4],
        &[0, 1, 2, 3, 4, 5, 6],
        &[0, 1, 2, 3, 4, 33],
        &[0, 0, 0, 0, 0, 1],
        &[0, 224, 0, 0, 1, 1],
        &[0, 1, 2, 3, 4, 24, 255, 255, 255, 255],
    ] {
        let mut bytes = Vec::new();
        super::record(&mut bytes, NETWORK, &[value]);
        assert!(
            matches!(read(&bytes), Err(SpecError::Value(Record::Network, _))),
            "{value:?}"
        );
    }
    for text in [
        "",
        "redis",
        "REDIS:1",
        "redis:1/tcp",
        "redis:1=redis:1",
        "redis:01",
        "localhost:1",
    ] {
        let refused = read(&record(GRANT, text.as_bytes()));
        assert!(
            matches!(refused, Err(SpecError::Value(Record::Grant, _))),
            "{text}"
        );
    }
    assert_eq!(
        read(&record(GRANT, &[0xff])),
        Err(SpecError::NotUtf8(Record::Grant))
    );
    for value in [
        &[][..],
        &[1],
        &[1, 0],
        &[1, 0, 1, 2, 3],
        &[0, 0, 1, 2, 3, 4],
        &[1; 17],
    ] {
        let refused = read(&record(LISTENER, value));
        assert!(
            matches!(refused, Err(SpecError::Value(Record::Listener, _))),
            "{value:?}"
        );
    }
    for value in [&[][..], &[0, 1], &[2, 1, 0], &[0, 0, 0], &[0, 1, 0, 0]] {
        let refused = read(&record(PUBLISHED, value));
        assert!(
            matches!(refused, Err(SpecError::Value(Record::Published, _))),
            "{value:?}"
        );
    }
}

#[test]
fn contradictions_are_refused_before_and_after_the_way() {
    let listeners = |texts: &[&str]| Network {
        listeners: texts.iter().map(|text| text.parse().unwrap()).collect(),
        ..Network::default()
    };
    let many: Vec<String> = (1..=33)
        .map(|port| ["0.0.0.0:", &port.to_string()].concat())
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(with(listeners(&many[..LISTENERS])).check(), Ok(()));
    let traced = RunSpec {
        tracing: Some(Tracing::Record),
        ..with(Network::default())
    };
    let deterministic = RunSpec {
        deterministic: Some(0),
        ..with(Network::default())
    };
    let grants = Network {
        grants: ["a:1=b", "a:1=c"].map(|text| text.parse().unwrap()).into(),
        ..Network::default()
    };
    let published = Network {
        published: vec![(1, Protocol::Udp), (1, Protocol::Tcp), (1, Protocol::Udp)],
        ..Network::default()
    };
    let all_published = Network {
        published: (1..=1025).map(|port| (port, Protocol::Tcp)).collect(),
        ..Network::default()
    };
    for (spec, message) in [
        (
            with(all_published),
            "published port: expected at most 1024 of them",
        ),
        (
            with(listeners(&["0.0.0.0:1", "127.0.0.1:1"])),
            "network: the tcp port 1 is named twice",
        ),
        (with(listeners(&many)), "listener: expected at most 32 of them"),
        (with(published), "network: the udp port 1 is named twice"),
        (
            with(grants),
            "grant: 'a:1=c:1' contradicts an earlier grant of a:1",
        ),
        (
            traced,
            "network: what comes from it is another on every run; a deterministic, recorded or replayed run has none",
        ),
        (
            deterministic,
            "network: what comes from it is another on every run; a deterministic, recorded or replayed run has none",
        ),
    ] {
        let error = spec.check().unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(RunSpec::decode(&spec.encode()), Err(error));
    }
    // What a record has no room for.
    let scope = core::net::SocketAddrV6::new(core::net::Ipv6Addr::LOCALHOST, 1, 0, 7);
    let scoped = Network {
        listeners: vec![scope.into()],
        ..Network::default()
    };
    assert!(with(scoped).check().is_err());
    let name = Network {
        grants: vec![Grant {
            host: crate::network::Host::Name("A".into()),
            ..full().grants.swap_remove(0)
        }],
        ..Network::default()
    };
    assert!(with(name).check().is_err());
}

#[test]
fn a_guest_listens_on_what_is_reachable() {
    for (port, protocol, may) in [
        (8080, Protocol::Tcp, true),
        (8443, Protocol::Tcp, true),
        (8080, Protocol::Udp, false),
        (53, Protocol::Udp, true),
        (53, Protocol::Tcp, false),
        (80, Protocol::Tcp, false),
    ] {
        assert_eq!(
            full().may_listen(port, protocol),
            may,
            "{port}/{}",
            protocol.name()
        );
    }
}
