//! Packed files that no packing has made: their seal is right, and what they say is meant to mislead.

use std::fs;
use std::path::PathBuf;

use boot_protocol::arch::Arch;
use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::{Access, Mount, MountSource, Preload, RunSpec};
use tempfile::TempDir;

use super::{Format, Packed, pack_directory};
use crate::spec::payload;

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
            let made = pack_directory(&parts, Format::Initrd, Arch::host(), 1 << 28, &output);
            let error = made.unwrap_err().to_string();
            assert!(error.contains("secret"), "{error}");
            assert!(!output.exists());
        }
    }
}
