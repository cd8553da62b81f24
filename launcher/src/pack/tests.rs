//! Packed files that no packing has made: their seal is right, and what they say is meant to mislead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use boot_protocol::arch::Arch;
use boot_protocol::network::Protocol;
use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::{
    Access, Ipv4Source, Limit, Limits, LogLevel, ModuleSource, Mount, MountSource, Network, Preload, RunSpec,
    Terminals, Tracing, Wire,
};
use hermitfile::Manifest;
use tempfile::TempDir;

use super::trailer::Trailer;
use super::{Format, Packed, pack_directory};
use crate::error::Error;
use crate::spec::module::Module;
use crate::spec::payload;
use crate::spec::run::Run;

fn spec() -> Vec<u8> {
    RunSpec::default().encode()
}

/// A file with these blocks behind its seal.
fn sealed(blocks: &[Vec<u8>]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("packed");
    let rest = [blocks.concat(), vec![0; 1024]].concat();
    let seal = names::seal(blake3::hash(&rest).as_bytes());
    assert_eq!(seal.len(), SEAL);
    fs::write(&path, [&seal[..], &rest].concat()).unwrap();
    (directory, path)
}

/// A member, whose header is changed.
fn member(name: &str, data: &[u8], change: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = payload::header(name, data.len() as u64).unwrap();
    change(&mut header);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn named(name: &str, data: &[u8]) -> Vec<u8> {
    member("x", data, |header| {
        let place = &mut header.as_mut_bytes()[..100];
        place.fill(0);
        place[..name.len()].copy_from_slice(name.as_bytes());
    })
}

#[test]
fn what_the_application_may_read_in_another_way_is_refused() {
    let plain = |name, data: &[u8]| member(name, data, |_| {});
    let good = || [plain(names::RUN_SPEC, &spec()), plain(names::MODULE, b"\0asm")];
    let (_directory, path) = sealed(&good());
    assert_eq!(Packed::open(&path).unwrap().unwrap().members().len(), 3);
    for bad in [
        named("./module.wasm", b"other"),
        named("/run.spec", &spec()),
        named("dir/../run.spec", &spec()),
        named("dir/", &spec()),
        plain(names::MODULE, b"other"),
        member("link", b"", |header| {
            header.set_entry_type(tar::EntryType::Symlink);
        }),
        member("sparse", b"", |header| {
            header.set_entry_type(tar::EntryType::GNUSparse);
        }),
        [
            member("path", b"19 path=run.spec\0\0\n", |header| {
                header.set_entry_type(tar::EntryType::XHeader);
            }),
            plain("x", &spec()),
        ]
        .concat(),
    ] {
        let [spec, module] = good();
        let (_directory, path) = sealed(&[spec, module, bad]);
        let error = Packed::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 126, "{error}");
    }
}

/// A payload with this Hermitfile and this description.
fn described(manifest: Option<&str>, spec: &RunSpec) -> (TempDir, Result<Packed, Error>) {
    let manifest = manifest.map(|text| member(names::MANIFEST, text.as_bytes(), |_| {}));
    let mut blocks: Vec<Vec<u8>> = manifest.into_iter().collect();
    blocks.push(member(names::RUN_SPEC, &spec.encode(), |_| {}));
    blocks.push(member(names::MODULE, b"\0asm\x01\0\0\0", |_| {}));
    let (directory, path) = sealed(&blocks);
    (directory, Packed::open(&path).map(Option::unwrap))
}

#[test]
fn what_a_hermitfile_does_not_say_does_not_hold() {
    let manifest = "FROM m.wasm\nENV A=1\nTMPFS /tmp 1M\nENGINE interp\nFUEL 5\n";
    let spec = || RunSpec {
        argv: vec!["m.wasm".into()],
        env: vec![("A".into(), "1".into())],
        mounts: vec![Mount {
            source: MountSource::Tmpfs { size: Some(1 << 20) },
            guest: "/tmp".into(),
            access: Access::ReadWrite,
        }],
        limits: Limits::NONE.with(Limit::Fuel, 5),
        ..RunSpec::default()
    };
    let (_directory, opened) = described(Some(manifest), &spec());
    assert!(opened.unwrap().manifest().is_some());
    let changes: [fn(&mut RunSpec); 14] = [
        |spec| spec.module = ModuleSource::Path("share/other.wasm".into()),
        |spec| spec.argv.push("more".into()),
        |spec| spec.env.clear(),
        |spec| spec.open.push("PWD".into()),
        |spec| spec.mounts.clear(),
        |spec| spec.mounts[0].source = MountSource::Tmpfs { size: None },
        |spec| spec.mounts[0].source = MountSource::VirtioFs { tag: "t".into() },
        |spec| spec.terminals = Terminals::ALL,
        |spec| spec.log = Some(LogLevel::Off),
        |spec| spec.entry = Some("f".into()),
        |spec| spec.limits = Limits::NONE,
        |spec| spec.limits.trap_on_grow_failure = true,
        |spec| spec.deterministic = Some(1),
        |spec| spec.may_be_widened = true,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut other = spec();
        change(&mut other);
        let (_directory, opened) = described(Some(manifest), &other);
        let error = opened.unwrap_err();
        assert_eq!(error.exit_code(), 126, "{index}: {error}");
        assert!(error.to_string().contains("Hermitfile"), "{index}: {error}");
    }
    let native = manifest.replace("interp", "native");
    let (_directory, opened) = described(Some(&native), &spec());
    assert!(opened.is_err(), "the interpreter runs it");
}

#[test]
fn what_is_packed_of_a_run_that_is_recorded_records_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (module, output) = (directory.path().join("m.wasm"), directory.path().join("packed"));
    fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let module = Module::open(&module).unwrap();
    let run = Run::new(module).record(tempfile::tempfile().unwrap());
    run.pack(Format::Initrd, &output).unwrap();
    assert_eq!(Packed::open(&output).unwrap().unwrap().spec().tracing, None);
}

/// Directories of a description: `=` is before a copy, `=!` before one that may be changed; others are empty.
fn directories(guests: &[&str]) -> RunSpec {
    let mount = |(at, said): (usize, &&str)| {
        let guest = said.trim_start_matches(['=', '!']).to_string();
        let (source, access) = match said.starts_with('=') {
            true => (
                MountSource::Copy {
                    member: format!("dir-{at}.tar"),
                },
                Access::ReadOnly,
            ),
            false => (MountSource::Tmpfs { size: None }, Access::ReadWrite),
        };
        let access = match said.starts_with("=!") {
            true => Access::ReadWrite,
            false => access,
        };
        Mount {
            source,
            guest,
            access,
        }
    };
    RunSpec {
        argv: vec!["m.wasm".into()],
        mounts: guests.iter().enumerate().map(mount).collect(),
        ..RunSpec::default()
    }
}

#[test]
fn copies_are_where_the_hermitfile_says() {
    let manifest =
        "FROM m.wasm\nCOPY a /etc/a\nTMPFS /t\nCOPY lib /lib\nCOPY b /etc/./b\nCOPY c d\nCOPY e ./f/\n";
    for good in [
        // Files and directories look alike, but of each a mount is left: b is beside a, if that is a file.
        &["=/etc", "/t", "=/lib", "=.", "=./f"][..],
        &["=/etc", "/t", "=/lib", "=d", "=./f/"],
        &["=/etc/a", "/t", "=/lib", "=/etc/.", "=d", "=./f"],
        &["=/etc/a", "/t", "=/lib", "=/etc/./b", "=.", "=./f"],
        &["=/etc", "/t", "=/", "=/etc/./b", "=d", "=./f"],
    ] {
        let (_directory, opened) = described(Some(manifest), &directories(good));
        assert!(opened.is_ok(), "{good:?}: {:?}", opened.unwrap_err());
    }
    for bad in [
        &["=/etc", "/t", "=/lib", "=.", "=!./f"][..],
        &["=!/etc", "/t", "=/lib", "=.", "=./f"],
        &["=/etc", "/t", "=/lib", "=.", "=./f", "=/more"],
        &["=/etc", "/t", "=/lib", "=.", "=./f", "/more"],
        &["=/etc", "/t", "=/lib", "=."],
        &["=/etc", "/t", "=/other", "=.", "=./f"],
        &["=/home", "/t", "=/lib", "=.", "=./f"],
        &["/t", "=/etc", "=/lib", "=.", "=./f"],
        &["=/etc", "=/lib", "/t", "=.", "=./f"],
        &["=/etc", "/t", "=.", "=/lib", "=./f"],
        &["=/etc/a", "/t", "=/lib", "=.", "=./f"],
        &["/etc", "/t", "=/lib", "=.", "=./f"],
        &["=/etc"],
        &[],
    ] {
        let (_directory, opened) = described(Some(manifest), &directories(bad));
        let error = opened.expect_err(&bad.join(" "));
        assert!(error.to_string().contains("Hermitfile"), "{error}");
    }
}

#[test]
fn inspect_shows_every_field() {
    let spec = RunSpec {
        module: ModuleSource::Path("share/x.wasm".into()),
        argv: vec!["m".into(), "one".into()],
        env: vec![("A".into(), "1".into())],
        open: vec!["PWD".into()],
        mounts: vec![
            Mount {
                source: MountSource::Tmpfs { size: Some(1 << 20) },
                guest: "/tmp".into(),
                access: Access::ReadWrite,
            },
            Mount {
                source: MountSource::UhyveMap { path: "/p".into() },
                guest: "/p".into(),
                access: Access::ReadOnly,
            },
        ],
        terminals: Terminals::ALL,
        log: Some(LogLevel::Info),
        entry: Some("f".into()),
        invoked: true,
        preloads: vec![Preload {
            name: "l".into(),
            member: names::MODULE.into(),
        }],
        limits: Limits::NONE
            .with(Limit::Fuel, 5)
            .with(Limit::Deadline, 5_000_000_000)
            .with(Limit::Memory, 300 << 20)
            .with(Limit::TableElements, 70_000)
            .with(Limit::Stack, (1 << 20) + 1)
            .with(Limit::OutputBytes, 0)
            .trapping_on_grow_failure(),
        deterministic: Some(77),
        tracing: Some(Tracing::Record),
        may_be_widened: true,
        network: None,
    };
    let (_directory, opened) = described(None, &spec);
    let seen = opened.unwrap().inspect(Arch::host()).unwrap();
    let text = seen.text();
    for line in [
        "module      share/x.wasm",
        "argument    one",
        "variable    A=1",
        "variable    PWD (given by whoever runs it)",
        "directory   /tmp (empty, in memory, of 1 MiB)",
        "directory   /p (of the host, given with uhyve's --file-mapping HOST:/p, read-only)",
        "terminal    stdout",
        "log         info",
        "function    f (with wasmtime's warnings)",
        "preload     l (module.wasm)",
        "limit       fuel: 5",
        "limit       timeout: 5s",
        "limit       max-memory-size: 300 MiB",
        "limit       max-table-elements: 70000",
        "limit       max-wasm-stack: 1048577 bytes",
        "limit       max-output-bytes: 0 bytes",
        "limit       trap-on-grow-failure",
        "seed        77 (deterministic)",
        "tracing     record",
        "widening    whoever runs it may give it more than this",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&seen.json()).unwrap();
    let expected = serde_json::json!({
        "module": "share/x.wasm",
        "arguments": ["m", "one"],
        "environment": [["A", "1"]],
        "open": ["PWD"],
        "directories": [
            {"guest": "/tmp", "source": "tmpfs", "name": null, "bytes": 1 << 20, "read_only": false},
            {"guest": "/p", "source": "host", "name": "/p", "bytes": null, "read_only": true},
        ],
        "terminals": ["stdin", "stdout", "stderr"],
        "log": "info",
        "function": "f",
        "invoked": true,
        "preloads": [{"name": "l", "member": "module.wasm"}],
        "limits": {
            "fuel": 5,
            "timeout": 5_000_000_000_u64,
            "max-memory-size": 300 << 20,
            "max-table-elements": 70_000,
            "max-wasm-stack": (1 << 20) + 1,
            "max-output-bytes": 0,
        },
        "trap_on_grow_failure": true,
        "seed": 77,
        "tracing": "record",
        "network": null,
        "may_be_widened": true,
    });
    assert_eq!(json["run"], expected);
}

#[test]
fn inspect_shows_the_network() {
    let network = Network {
        address: Ipv4Source::Dhcp,
        wire: Wire::Direct,
        grants: vec![
            "redis:6379".parse().unwrap(),
            "time:123/udp=127.0.0.1".parse().unwrap(),
        ],
        listeners: vec!["0.0.0.0:8080".parse().unwrap()],
        published: vec![(53, Protocol::Udp), (80, Protocol::Tcp)],
        inherit: true,
        look_up: true,
    };
    let spec = RunSpec {
        network: Some(network.into()),
        ..RunSpec::default()
    };
    let (_directory, opened) = described(None, &spec);
    let seen = opened.unwrap().inspect(Arch::host()).unwrap();
    let text = seen.text();
    for line in [
        "network     dhcp (direct)",
        "grant       redis:6379",
        "grant       time:123/udp=127.0.0.1:123",
        "listener    0.0.0.0:8080",
        "port        53/udp",
        "port        80",
        "network     whatever the host reaches (inherit-network)",
        "network     any name (allow-ip-name-lookup)",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&seen.json()).unwrap();
    let expected = serde_json::json!({
        "address": "dhcp",
        "wire": "direct",
        "grants": ["redis:6379", "time:123/udp=127.0.0.1:123"],
        "listeners": ["0.0.0.0:8080"],
        "published": ["53/udp", "80"],
        "inherit": true,
        "look_up": true,
    });
    assert_eq!(json["run"]["network"], expected);
}

#[test]
fn a_hermitfile_s_network_is_the_description_s() {
    let text = "FROM m.wasm\nNET [\"redis:6379\"]\nEXPOSE 8080 53/udp\n";
    let manifest = Manifest::parse("Hermitfile", text.as_bytes()).unwrap();
    let with = |network: Option<Network>| RunSpec {
        network: network.map(Box::new),
        argv: vec!["m.wasm".into()],
        ..RunSpec::default()
    };
    let good = manifest.network().unwrap();
    assert!(described(Some(text), &with(Some(good.clone()))).1.is_ok());
    let more = Network {
        inherit: true,
        ..good.clone()
    };
    let other = Network {
        grants: vec!["redis:6380".parse().unwrap()],
        ..good.clone()
    };
    let fewer = Network {
        listeners: Vec::new(),
        ..good
    };
    for bad in [None, Some(more), Some(other), Some(fewer)] {
        let (_directory, opened) = described(Some(text), &with(bad));
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("Hermitfile"), "{error}");
    }
}

#[test]
fn an_executable_s_machine_has_some_memory() {
    let (_directory, path) = sealed(&[member(names::RUN_SPEC, &spec(), |_| {})]);
    let payload = fs::read(&path).unwrap();
    let seal = payload[..SEAL].try_into().unwrap();
    for (memory, is_enough) in [(0, false), ((4 << 20) - 1, false), (4 << 20, true)] {
        let trailer = Trailer {
            arch: Arch::host(),
            payload: (100, payload.len() as u64),
            memory,
        };
        fs::write(
            &path,
            [&[b'x'; 100][..], &payload, &trailer.encode(&seal)].concat(),
        )
        .unwrap();
        match Packed::open(&path) {
            Ok(packed) => assert_eq!(packed.unwrap().memory().filter(|_| is_enough), Some(memory)),
            Err(error) => {
                assert!(
                    !is_enough && error.to_string().contains("a machine needs at least 4 MiB"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn nothing_outside_of_the_directory_is_packed() {
    let directory = tempfile::tempdir().unwrap();
    let parts = directory.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::write(parts.join(names::MODULE), b"\0asm").unwrap();
    for member in [secret.to_str().unwrap(), "../secret"] {
        let copy = RunSpec {
            mounts: vec![Mount {
                source: MountSource::Copy {
                    member: member.into(),
                },
                guest: "/".into(),
                access: Access::ReadOnly,
            }],
            ..RunSpec::default()
        };
        let preload = RunSpec {
            preloads: vec![Preload {
                name: "l".into(),
                member: member.into(),
            }],
            ..RunSpec::default()
        };
        for spec in [copy, preload] {
            fs::write(parts.join(names::RUN_SPEC), spec.encode()).unwrap();
            let output = directory.path().join("packed");
            let made = pack_directory(&parts, Format::Initrd, Arch::host(), None, &output);
            let error = made.unwrap_err().to_string();
            assert!(error.contains("secret"), "{error}");
            assert!(!output.exists());
        }
    }
}

#[test]
fn links_in_the_directory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    let output = directory.path().join("packed");
    for name in [names::RUN_SPEC, names::MANIFEST, names::MODULE, names::CODE] {
        let parts = directory.path().join(name);
        fs::create_dir(&parts).unwrap();
        fs::write(parts.join(names::RUN_SPEC), spec()).unwrap();
        fs::write(parts.join(names::MODULE), b"\0asm\x01\0\0\0").unwrap();
        fs::write(&secret, fs::read(parts.join(name)).unwrap_or_default()).unwrap();
        let part = parts.join(name);
        let _ = fs::remove_file(&part);
        symlink("../secret", &part).unwrap();
        let made = pack_directory(&parts, Format::Initrd, Arch::host(), None, &output);
        let error = made.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is a link"), "{error}");
        fs::remove_file(&part).unwrap();
        fs::create_dir(&part).unwrap();
        let made = pack_directory(&parts, Format::Initrd, Arch::host(), None, &output);
        let error = made.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is not a file"), "{error}");
        assert!(!output.exists());
    }
}
