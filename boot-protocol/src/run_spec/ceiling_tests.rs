//! What narrows a description, what widens it, and what is refused.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::network::Protocol;
use crate::run_spec::{Ipv4Source, Limit, Preload, Terminals, Tracing, Wire};

fn mount(guest: &str, access: Access) -> Mount {
    Mount {
        source: MountSource::VirtioFs {
            tag: guest.to_string(),
        },
        guest: guest.to_string(),
        access,
    }
}

fn ceiling() -> RunSpec {
    RunSpec {
        argv: vec!["app".into(), "--fixed".into()],
        env: vec![("A".into(), "1".into())],
        open: vec!["O".into(), "P".into()],
        mounts: vec![mount("/rw", Access::ReadWrite), mount("/ro", Access::ReadOnly)],
        entry: Some("f".into()),
        preloads: vec![Preload {
            name: "l".into(),
            member: "preload-0.wasm".into(),
        }],
        limits: crate::run_spec::Limits::NONE.with(Limit::Fuel, 10),
        ..RunSpec::default()
    }
}

#[test]
fn nothing_said_changes_nothing() {
    assert_eq!(ceiling().narrowed(&RunSpec::default()), Ok(ceiling()));
}

#[test]
fn what_narrows_is_taken() {
    let by = RunSpec {
        argv: vec![ModuleSource::Payload.default_name().into(), "more".into()],
        env: vec![("A".into(), "1".into()), ("P".into(), "/home".into())],
        mounts: vec![mount("/rw", Access::ReadOnly), mount("/ro", Access::ReadOnly)],
        terminals: Terminals::ALL,
        log: Some(crate::run_spec::LogLevel::Info),
        entry: Some("f".into()),
        preloads: ceiling().preloads,
        limits: crate::run_spec::Limits::NONE
            .with(Limit::Fuel, 7)
            .with(Limit::Stack, 5),
        deterministic: Some(3),
        ..RunSpec::default()
    };
    let narrowed = ceiling().narrowed(&by).unwrap();
    assert_eq!(
        narrowed,
        RunSpec {
            argv: vec!["app".into(), "--fixed".into(), "more".into()],
            mounts: by.mounts.clone(),
            limits: by.limits,
            open: vec!["O".into()],
            ..by.clone()
        }
    );
    // Higher limits change nothing.
    let higher = RunSpec {
        limits: crate::run_spec::Limits::NONE.with(Limit::Fuel, 11),
        ..RunSpec::default()
    };
    assert_eq!(ceiling().narrowed(&higher), Ok(ceiling()));
}

#[test]
fn a_name_that_is_equal_is_taken() {
    let named = |name: &str| RunSpec {
        argv: vec![name.into(), "more".into()],
        ..RunSpec::default()
    };
    let narrowed = ceiling().narrowed(&named("app")).unwrap();
    assert_eq!(narrowed.argv, ["app", "--fixed", "more"]);
    // One that has no name is called so.
    let narrowed = RunSpec::default().narrowed(&named("boot-module.wasm")).unwrap();
    assert_eq!(narrowed.argv, ["boot-module.wasm", "more"]);
    let error = RunSpec::default().narrowed(&named("app")).unwrap_err();
    assert_eq!(error.record, Record::Argument);
}

#[test]
fn a_directory_in_memory_may_be_smaller() {
    let with = |size| RunSpec {
        mounts: vec![Mount {
            source: MountSource::Tmpfs { size },
            guest: "/tmp".into(),
            access: Access::ReadWrite,
        }],
        ..RunSpec::default()
    };
    for (own, by, holds) in [
        (Some(10), Some(9), Ok(Some(9))),
        (Some(10), Some(10), Ok(Some(10))),
        (Some(10), None, Ok(Some(10))),
        (None, Some(10), Ok(Some(10))),
        (None, None, Ok(None)),
        (Some(10), Some(11), Err(Record::Mount)),
    ] {
        let narrowed = with(own).narrowed(&with(by));
        let expected = holds.map(with);
        assert_eq!(
            narrowed.map_err(|error| error.record),
            expected,
            "{own:?} by {by:?}"
        );
    }
}

#[test]
fn what_may_be_widened_is() {
    let ceiling = RunSpec {
        may_be_widened: true,
        ..ceiling()
    };
    assert_eq!(ceiling.clone().narrowed(&RunSpec::default()), Ok(ceiling.clone()));
    let by = RunSpec {
        argv: vec!["other".into(), "more".into()],
        env: vec![
            ("B".into(), "3".into()),
            ("A".into(), "2".into()),
            ("O".into(), "4".into()),
        ],
        mounts: vec![mount("/new", Access::ReadOnly), mount("/ro", Access::ReadWrite)],
        entry: Some("g".into()),
        invoked: true,
        preloads: vec![
            Preload {
                name: "l".into(),
                member: "other".into(),
            },
            Preload {
                name: "m".into(),
                member: "m".into(),
            },
        ],
        limits: crate::run_spec::Limits::NONE
            .with(Limit::Fuel, 11)
            .trapping_on_grow_failure(),
        deterministic: Some(3),
        tracing: Some(Tracing::Record),
        terminals: Terminals::ALL,
        ..RunSpec::default()
    };
    let expected = RunSpec {
        argv: vec!["other".into(), "--fixed".into(), "more".into()],
        env: vec![
            ("A".into(), "2".into()),
            ("B".into(), "3".into()),
            ("O".into(), "4".into()),
        ],
        open: vec!["P".into()],
        mounts: vec![
            mount("/rw", Access::ReadWrite),
            mount("/ro", Access::ReadWrite),
            mount("/new", Access::ReadOnly),
        ],
        may_be_widened: true,
        ..by.clone()
    };
    assert_eq!(ceiling.clone().narrowed(&by), Ok(expected));
    let other = RunSpec {
        module: ModuleSource::Embedded,
        ..RunSpec::default()
    };
    assert_eq!(ceiling.narrowed(&other).unwrap_err().record, Record::Module);
}

#[test]
fn what_widens_is_refused() {
    let nothing = RunSpec::default;
    let wider = [
        (
            Record::Module,
            RunSpec {
                module: ModuleSource::Path("share/x.wasm".into()),
                ..nothing()
            },
        ),
        (
            Record::Module,
            RunSpec {
                module: ModuleSource::Embedded,
                ..nothing()
            },
        ),
        (
            Record::Argument,
            RunSpec {
                argv: vec!["other".into()],
                ..nothing()
            },
        ),
        (
            Record::Variable,
            RunSpec {
                env: vec![("A".into(), "2".into())],
                ..nothing()
            },
        ),
        (
            Record::Variable,
            RunSpec {
                env: vec![("B".into(), "1".into())],
                ..nothing()
            },
        ),
        (
            Record::Mount,
            RunSpec {
                mounts: vec![mount("/ro", Access::ReadWrite)],
                ..nothing()
            },
        ),
        (
            Record::Mount,
            RunSpec {
                mounts: vec![mount("/new", Access::ReadOnly)],
                ..nothing()
            },
        ),
        (
            Record::Mount,
            RunSpec {
                mounts: vec![Mount {
                    source: MountSource::Tmpfs { size: None },
                    ..mount("/rw", Access::ReadWrite)
                }],
                ..nothing()
            },
        ),
        (
            Record::Entry,
            RunSpec {
                entry: Some("g".into()),
                ..nothing()
            },
        ),
        (
            Record::Preload,
            RunSpec {
                preloads: vec![Preload {
                    name: "l".into(),
                    member: "other".into(),
                }],
                ..nothing()
            },
        ),
        (
            Record::Tracing,
            RunSpec {
                tracing: Some(Tracing::Replay),
                ..nothing()
            },
        ),
    ];
    for (record, by) in wider {
        let error = ceiling().narrowed(&by).unwrap_err();
        assert_eq!(error.record, record, "{error}");
    }
    let by = RunSpec {
        mounts: vec![mount("/ro", Access::ReadWrite)],
        ..nothing()
    };
    assert_eq!(
        ceiling().narrowed(&by).unwrap_err().to_string(),
        "mount \"/ro\" exceeds what was packed: the directory is read-only"
    );
    let seeded = RunSpec {
        deterministic: Some(1),
        ..nothing()
    };
    let other = RunSpec {
        deterministic: Some(2),
        ..nothing()
    };
    assert_eq!(seeded.narrowed(&other).unwrap_err().record, Record::Deterministic);
}

fn with_network(network: Network) -> RunSpec {
    RunSpec {
        network: Some(network.into()),
        ..RunSpec::default()
    }
}

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A packed network.
fn packed() -> Network {
    Network {
        grants: grants(&["redis:6379", "api.example:443=10.1.2.3:8443"]),
        listeners: vec!["0.0.0.0:8080".parse().unwrap()],
        published: vec![(53, Protocol::Udp)],
        ..Network::default()
    }
}

#[test]
fn a_network_is_given_targets_and_a_wire() {
    let by = Network {
        address: Ipv4Source::Dhcp,
        wire: Wire::Direct,
        grants: grants(&["redis:6379=10.0.2.2:7000", "api.example:443"]),
        listeners: vec!["127.0.0.1:8080".parse().unwrap()],
        published: vec![(53, Protocol::Udp), (8080, Protocol::Tcp)],
        ..Network::default()
    };
    let expected = Network {
        address: by.address,
        wire: by.wire,
        grants: grants(&["redis:6379=10.0.2.2:7000", "api.example:443=10.1.2.3:8443"]),
        ..packed()
    };
    let narrowed = with_network(packed()).narrowed(&with_network(by));
    assert_eq!(narrowed, Ok(with_network(expected)));
    let nothing = with_network(packed()).narrowed(&RunSpec::default());
    assert_eq!(nothing, Ok(with_network(packed())));
    let inherited = Network {
        inherit: true,
        look_up: true,
        ..packed()
    };
    assert_eq!(
        with_network(inherited.clone()).narrowed(&with_network(inherited.clone())),
        Ok(with_network(inherited))
    );
}

#[test]
fn a_network_is_not_widened() {
    let with = |network| with_network(network);
    for (by, message) in [
        (
            Network {
                grants: grants(&["redis:6380"]),
                ..Network::default()
            },
            "grant \"redis:6380\" exceeds what was packed: it has no such grant",
        ),
        (
            Network {
                grants: grants(&["redis:6379/udp"]),
                ..Network::default()
            },
            "grant \"redis:6379/udp\" exceeds what was packed: it has no such grant",
        ),
        (
            Network {
                grants: grants(&["127.0.0.1:6379"]),
                ..Network::default()
            },
            "grant \"127.0.0.1:6379\" exceeds what was packed: it has no such grant",
        ),
        (
            Network {
                listeners: vec!["0.0.0.0:80".parse().unwrap()],
                ..Network::default()
            },
            "listener \"80\" exceeds what was packed: it has no listener of this port",
        ),
        (
            Network {
                published: vec![(53, Protocol::Tcp)],
                ..Network::default()
            },
            "published port \"53\" exceeds what was packed: it does not expose this port",
        ),
        (
            Network {
                inherit: true,
                ..Network::default()
            },
            "network \"inherit-network\" exceeds what was packed: it reaches what is granted only",
        ),
        (
            Network {
                look_up: true,
                ..Network::default()
            },
            "network \"allow-ip-name-lookup\" exceeds what was packed: it knows the granted names only",
        ),
    ] {
        let error = with(packed()).narrowed(&with(by)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let error = RunSpec::default()
        .narrowed(&with(Network::default()))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "network \"of this run\" exceeds what was packed: it has no network"
    );
}

#[test]
fn a_network_that_may_be_widened_is() {
    let open = |network: Option<Network>| RunSpec {
        may_be_widened: true,
        network: network.map(Box::new),
        ..RunSpec::default()
    };
    let by = Network {
        grants: grants(&["redis:6379=10.0.2.2:7000", "other:1"]),
        listeners: vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:80".parse().unwrap()],
        published: vec![(53, Protocol::Udp), (54, Protocol::Udp)],
        inherit: true,
        look_up: true,
        ..Network::default()
    };
    let expected = Network {
        grants: grants(&[
            "redis:6379=10.0.2.2:7000",
            "api.example:443=10.1.2.3:8443",
            "other:1",
        ]),
        listeners: vec!["0.0.0.0:8080".parse().unwrap(), "0.0.0.0:80".parse().unwrap()],
        ..by.clone()
    };
    let widened = open(Some(packed())).narrowed(&with_network(by.clone()));
    assert_eq!(widened, Ok(open(Some(expected))));
    assert_eq!(open(None).narrowed(&with_network(by.clone())), Ok(open(Some(by))));
}
