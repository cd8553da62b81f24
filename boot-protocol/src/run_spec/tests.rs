//! A run's description: each record there and back, byte for byte, and each refusal.

use super::*;
use alloc::format;
use alloc::vec;

#[test]
fn a_deterministic_run_has_a_memory_of_one_size_whatever_the_machine_has() {
    let mut spec = RunSpec::default();
    assert_eq!(
        (spec.held_limits(), spec.memory_to_be_free()),
        (Limits::NONE, None)
    );
    spec.deterministic = Some(0);
    assert_eq!(spec.held_limits().get(Limit::Memory), Some(DETERMINISTIC_MEMORY));
    assert_eq!(spec.memory_to_be_free(), Some(DETERMINISTIC_MEMORY / 2 * 3));
    spec.limits = Limits::NONE.with(Limit::Memory, 1 << 20).with(Limit::Fuel, 7);
    assert_eq!(spec.held_limits(), spec.limits);
    assert_eq!(spec.memory_to_be_free(), Some(3 << 19));
}

/// One of everything.
fn full() -> RunSpec {
    let mount = |source, guest: &str, access| Mount {
        source,
        guest: guest.into(),
        access,
    };
    RunSpec {
        module: ModuleSource::Path("tag/dir/m.wasm".into()),
        argv: vec![
            "m.wasm".into(),
            String::new(),
            "--env=A=B".into(),
            "it's 🦀\n".into(),
        ],
        env: vec![
            ("A".into(), "1".into()),
            ("B".into(), String::new()),
            ("C".into(), "x=y\n z".into()),
        ],
        open: vec!["PWD".into(), "ä".into()],
        mounts: vec![
            mount(MountSource::Tmpfs { size: None }, "/tmp", Access::ReadWrite),
            mount(
                MountSource::Tmpfs { size: Some(16 << 20) },
                "/small",
                Access::ReadWrite,
            ),
            mount(
                MountSource::Copy {
                    member: "dir-0.tar".into(),
                },
                "a::b:ro",
                Access::ReadOnly,
            ),
            mount(MountSource::VirtioFs { tag: "t".into() }, "/", Access::ReadWrite),
            mount(
                MountSource::UhyveMap {
                    path: "/root/0".into(),
                },
                ".",
                Access::ReadOnly,
            ),
        ],
        terminals: Terminals {
            stdin: true,
            stdout: false,
            stderr: true,
        },
        log: Some(LogLevel::Debug),
        entry: Some("run \u{1f980}".into()),
        invoked: true,
        may_be_widened: true,
        preloads: vec![
            Preload {
                name: "env".into(),
                member: "preload-0.wasm".into(),
            },
            Preload {
                name: String::new(),
                member: "preload-1.cwasm".into(),
            },
        ],
        limits: Limits::NONE
            .with(Limit::Fuel, u64::MAX)
            .with(Limit::OutputBytes, 0)
            .trapping_on_grow_failure(),
        deterministic: Some(7),
        tracing: Some(Tracing::Record),
        network: None,
    }
}

/// A whole description: the smallest one's header and records, then `more`.
fn with(more: &[u8]) -> Vec<u8> {
    let mut bytes = RunSpec::default().encode();
    bytes.extend_from_slice(more);
    bytes
}

fn refused(more: &[u8]) -> SpecError {
    RunSpec::decode(&with(more)).unwrap_err()
}

#[test]
fn the_smallest_description_byte_for_byte() {
    let expected = [
        b'H', b'W', b'R', b'S', 3, 0, // magic, version
        1, 0, 1, 0, 0, 0, 0, // module: the payload's
        5, 0, 1, 0, 0, 0, 0, // terminals: none
    ];
    assert_eq!(RunSpec::default().encode(), expected);
    assert_eq!(RunSpec::decode(&expected), Ok(RunSpec::default()));
}

#[test]
fn each_record_byte_for_byte() {
    let spec = RunSpec {
        module: ModuleSource::Path("t/m".into()),
        argv: vec!["ä".into()],
        env: vec![("K".into(), "=".into())],
        open: vec!["O".into()],
        mounts: vec![
            Mount {
                source: MountSource::VirtioFs { tag: "t".into() },
                guest: "/".into(),
                access: Access::ReadOnly,
            },
            Mount {
                source: MountSource::Tmpfs { size: Some(513) },
                guest: "/s".into(),
                access: Access::ReadWrite,
            },
        ],
        terminals: Terminals {
            stderr: true,
            ..Terminals::NONE
        },
        log: Some(LogLevel::Trace),
        entry: Some("f".into()),
        invoked: false,
        may_be_widened: true,
        preloads: vec![Preload {
            name: "n".into(),
            member: "m".into(),
        }],
        limits: Limits::NONE.with(Limit::Stack, 0x102).trapping_on_grow_failure(),
        deterministic: Some(3),
        tracing: Some(Tracing::Replay),
        network: None,
    };
    let expected = [
        b'H', b'W', b'R', b'S', 3, 0, // magic, version
        1, 0, 4, 0, 0, 0, 2, b't', b'/', b'm', // module: a path
        5, 0, 1, 0, 0, 0, 4, // terminals: standard error
        6, 0, 1, 0, 0, 0, 5, // log: trace
        2, 0, 2, 0, 0, 0, 0xc3, 0xa4, // an argument
        3, 0, 3, 0, 0, 0, b'K', b'=', b'=', // a variable
        14, 0, 1, 0, 0, 0, b'O', // an open variable
        4, 0, 8, 0, 0, 0, 2, 1, 1, 0, 0, 0, b't', b'/', // a mount: virtio-fs, read only
        4, 0, 16, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, b'/',
        b's', // a mount: tmpfs with a size
        7, 0, 1, 0, 0, 0, b'f', // entry
        8, 0, 6, 0, 0, 0, 1, 0, 0, 0, b'n', b'm', // a preload
        9, 0, 9, 0, 0, 0, 4, 2, 1, 0, 0, 0, 0, 0, 0, // a limit: stack
        10, 0, 0, 0, 0, 0, // growth that fails traps
        11, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, // deterministic
        12, 0, 1, 0, 0, 0, 1, // trace: replayed
        13, 0, 1, 0, 0, 0, 2, // flags: may be widened
    ];
    assert_eq!(spec.encode(), expected);
    assert_eq!(RunSpec::decode(&expected), Ok(spec));
}

#[test]
fn what_is_encoded_is_decoded() {
    assert_eq!(RunSpec::decode(&full().encode()), Ok(full()));
    let networked = RunSpec {
        deterministic: None,
        tracing: None,
        network: Some(network::tests::full().into()),
        ..full()
    };
    assert_eq!(RunSpec::decode(&networked.encode()), Ok(networked));
    for module in [ModuleSource::Payload, ModuleSource::Embedded] {
        let spec = RunSpec { module, ..full() };
        assert_eq!(RunSpec::decode(&spec.encode()), Ok(spec));
    }
    for level in LogLevel::ALL {
        let spec = RunSpec {
            log: Some(level),
            ..RunSpec::default()
        };
        assert_eq!(RunSpec::decode(&spec.encode()), Ok(spec));
    }
    for terminals in [Terminals::ALL, Terminals::NONE] {
        let spec = RunSpec { terminals, ..full() };
        assert_eq!(RunSpec::decode(&spec.encode()), Ok(spec));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_cut_at_any_byte_is_refused_or_leaves_whole_records() {
    let whole = full().encode();
    for end in 0..whole.len() {
        match RunSpec::decode(&whole[..end]) {
            // A cut between two records leaves a description, whose encoding is what is left of it.
            Ok(spec) => assert_eq!(spec.encode(), &whole[..end]),
            Err(SpecError::NotASpec) => assert!(end < 4, "{end}"),
            Err(SpecError::Missing(_)) => assert!(end < 40, "{end}"),
            Err(error) => assert_eq!(error, SpecError::Truncated, "{end}"),
        }
    }
}

#[test]
fn another_magic_and_another_version() {
    for bytes in [b"".as_slice(), b"HWR", b"hwrs\x01\0", b"\0asm\x01\0\0\0"] {
        assert_eq!(RunSpec::decode(bytes), Err(SpecError::NotASpec));
    }
    let mut bytes = full().encode();
    for version in [0u16, 1, 2, 4, 0x100, u16::MAX] {
        bytes[4..6].copy_from_slice(&version.to_le_bytes());
        assert_eq!(RunSpec::decode(&bytes), Err(SpecError::Version(version)));
    }
}

#[test]
fn what_this_version_does_not_know_is_refused() {
    assert_eq!(refused(&[19, 0, 0, 0, 0, 0]), SpecError::UnknownRecord(19));
    assert_eq!(refused(&[0, 0, 0, 0, 0, 0]), SpecError::UnknownRecord(0));
    assert_eq!(refused(&[2, 1, 0, 0, 0, 0]), SpecError::UnknownRecord(0x102));
    // What follows the last record, if it is none.
    assert_eq!(refused(&[0]), SpecError::Truncated);
    assert_eq!(refused(&[2, 0, 1, 0, 0, 0]), SpecError::Truncated);
    assert_eq!(refused(&[2, 0, 255, 255, 255, 255, 0]), SpecError::Truncated);
}

#[test]
fn what_stands_once_stands_once() {
    assert_eq!(
        refused(&[1, 0, 1, 0, 0, 0, 0]),
        SpecError::Duplicate(Record::Module)
    );
    assert_eq!(
        refused(&[5, 0, 1, 0, 0, 0, 0]),
        SpecError::Duplicate(Record::Terminals)
    );
    let log = [6, 0, 1, 0, 0, 0, 1];
    assert!(RunSpec::decode(&with(&log)).is_ok());
    assert_eq!(refused(&[log, log].concat()), SpecError::Duplicate(Record::Log));
    let flags = [13, 0, 1, 0, 0, 0, 1];
    assert_eq!(
        refused(&[flags, flags].concat()),
        SpecError::Duplicate(Record::Flags)
    );
    let head = b"HWRS\x03\0";
    assert_eq!(RunSpec::decode(head), Err(SpecError::Missing(Record::Module)));
    let module = [head.as_slice(), &[1, 0, 1, 0, 0, 0, 0]].concat();
    assert_eq!(
        RunSpec::decode(&module),
        Err(SpecError::Missing(Record::Terminals))
    );
}

#[test]
fn each_value_that_a_record_does_not_know() {
    use Record::{Argument, Log, Module, Mount, Terminals, Variable};
    let cases: &[(u16, &[u8], Result<Record, SpecError>)] = &[
        (1, &[], Ok(Module)),
        (1, &[0, 0], Ok(Module)),
        (1, &[1, 1], Ok(Module)),
        (1, &[3], Ok(Module)),
        (1, &[2], Ok(Module)),
        (1, &[2, 0xff], Err(SpecError::NotUtf8(Module))),
        (1, &[2, b'a', 0], Err(SpecError::Nul(Module))),
        (2, &[0xc3], Err(SpecError::NotUtf8(Argument))),
        (2, &[0], Err(SpecError::Nul(Argument))),
        (3, b"A", Ok(Variable)),
        (3, b"=1", Err(SpecError::VariableName(String::new()))),
        (3, b"A=\0", Err(SpecError::Nul(Variable))),
        (3, b"A\0=", Err(SpecError::Nul(Variable))),
        (3, b"\xff=", Err(SpecError::NotUtf8(Variable))),
        (4, &[], Ok(Mount)),
        (4, &[0, 0, 0, 0, 0], Ok(Mount)),
        (4, &[0, 0, 0, 0, 0, 0], Ok(Mount)), // no path in the guest
        (4, &[0, 0, 1, 0, 0, 0, b'x', b'/'], Ok(Mount)), // a tmpfs with a source
        (4, &[0, 0, 9, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, b'/'], Ok(Mount)), // and with a long one
        (4, &[1, 0, 0, 0, 0, 0, b'/'], Ok(Mount)), // a copy without one
        (4, &[4, 0, 0, 0, 0, 0, b'/'], Ok(Mount)),
        (4, &[0, 2, 0, 0, 0, 0, b'/'], Ok(Mount)),
        (4, &[1, 0, 3, 0, 0, 0, b'x', b'/'], Ok(Mount)),
        (4, &[1, 0, 1, 0, 0, 0, 0xff, b'/'], Err(SpecError::NotUtf8(Mount))),
        (4, &[1, 0, 1, 0, 0, 0, b'x', 0xff], Err(SpecError::NotUtf8(Mount))),
        (4, &[1, 0, 1, 0, 0, 0, 0, b'/'], Err(SpecError::Nul(Mount))),
        (4, &[1, 0, 1, 0, 0, 0, b'x', 0], Err(SpecError::Nul(Mount))),
        (5, &[], Ok(Terminals)),
        (5, &[8], Ok(Terminals)),
        (5, &[1, 0], Ok(Terminals)),
        (6, &[], Ok(Log)),
        (6, &[6], Ok(Log)),
        (6, &[1, 0], Ok(Log)),
        (13, &[], Ok(Record::Flags)),
        (13, &[0], Ok(Record::Flags)),
        (13, &[4], Ok(Record::Flags)),
        (13, &[1, 0], Ok(Record::Flags)),
    ];
    for (kind, value, expected) in cases {
        // The record takes the place of the usual one, if that one stands once.
        let mut bytes = b"HWRS\x03\0".to_vec();
        for (usual, rest) in [(1u16, [1, 0, 0, 0, 0]), (5, [1, 0, 0, 0, 0])] {
            if usual != *kind {
                bytes.extend(usual.to_le_bytes());
                bytes.extend(rest);
            }
        }
        bytes.extend(kind.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(value);
        let error = RunSpec::decode(&bytes).unwrap_err();
        match expected {
            Err(expected) => assert_eq!(&error, expected, "{kind} {value:?}"),
            Ok(record) => assert!(
                matches!(error, SpecError::Value(of, _) if of == *record),
                "{kind} {value:?}: {error:?}"
            ),
        }
        let message = format!("{error}");
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
    }
}

#[test]
fn contradictions_are_refused_before_and_after_the_way() {
    let twice = RunSpec {
        env: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
        ..RunSpec::default()
    };
    let tmpfs = Mount {
        source: MountSource::Tmpfs { size: None },
        guest: "/tmp".into(),
        access: Access::ReadWrite,
    };
    let mounts = RunSpec {
        mounts: vec![tmpfs.clone(), tmpfs],
        ..RunSpec::default()
    };
    let cases = [
        (twice, SpecError::DuplicateVariable("A".into())),
        (mounts, SpecError::DuplicateMount("/tmp".into())),
        (
            RunSpec {
                env: vec![("A=B".into(), "1".into())],
                ..RunSpec::default()
            },
            SpecError::VariableName("A=B".into()),
        ),
    ];
    for (spec, error) in cases {
        assert_eq!(spec.check(), Err(error.clone()));
        // A name with `=` is read back as another variable; the others come out as they went in.
        if !matches!(error, SpecError::VariableName(_)) {
            assert_eq!(RunSpec::decode(&spec.encode()), Err(error));
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_hundred_thousand_arguments_and_a_mebibyte_of_environment() {
    let spec = RunSpec {
        argv: (0..100_000).map(|number| format!("{number}")).collect(),
        env: (0..16_384)
            .map(|number| (format!("V{number}"), "x".repeat(60)))
            .collect(),
        ..RunSpec::default()
    };
    assert_eq!(RunSpec::decode(&spec.encode()), Ok(spec));
}

#[test]
fn levels_by_name() {
    for level in LogLevel::ALL {
        assert_eq!(level.name().parse(), Ok(level));
        assert_eq!(level.name().to_ascii_uppercase().parse(), Ok(level));
    }
    assert_eq!("loud".parse::<LogLevel>(), Err(NoSuchLevel));
}

#[test]
fn the_default_name_is_the_last_part_of_the_path() {
    for (path, name) in [
        ("/root/m.wasm", "m.wasm"),
        ("m", "m"),
        ("/a/b/", "b"),
        ("/", "/"),
        ("", ""),
    ] {
        assert_eq!(ModuleSource::Path(path.into()).default_name(), name);
    }
    assert_eq!(ModuleSource::Payload.default_name(), "boot-module.wasm");
    assert_eq!(ModuleSource::Embedded.default_name(), "embedded.wasm");
}

#[test]
fn nor_do_entry_limits_seed_and_trace_stand_twice() {
    use SpecError::Duplicate;

    let twice = |record: &[u8], kind| assert_eq!(refused(&[record, record].concat()), Duplicate(kind));
    twice(&[7, 0, 0, 0, 0, 0], Record::Entry);
    twice(&[9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], Record::Limit);
    twice(&[10, 0, 0, 0, 0, 0], Record::Growth);
    twice(
        &[11, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        Record::Deterministic,
    );
    twice(&[12, 0, 1, 0, 0, 0, 0], Record::Tracing);
    let preload = [8, 0, 5, 0, 0, 0, 0, 0, 0, 0, b'm'];
    let same_name = refused(&[preload, preload].concat());
    assert_eq!(same_name, SpecError::DuplicatePreload(String::new()));
}

#[test]
fn values_of_another_size_are_refused() {
    for (kind, length) in [
        (8, 3),
        (8, 4),
        (9, 8),
        (9, 10),
        (10, 1),
        (11, 7),
        (12, 0),
        (12, 2),
    ] {
        let mut record = vec![kind, 0, length, 0, 0, 0];
        record.resize(6 + usize::from(length), 0);
        assert!(
            matches!(refused(&record), SpecError::Value(..)),
            "{kind} of {length} bytes"
        );
    }
    assert!(matches!(
        refused(&[9, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        SpecError::Value(Record::Limit, _)
    ));
    assert!(matches!(
        refused(&[12, 0, 1, 0, 0, 0, 2]),
        SpecError::Value(Record::Tracing, _)
    ));
}
