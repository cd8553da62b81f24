//! Tests of the flags for directories.

use super::*;

fn flags(words: &[&str]) -> MountFlags {
    let command = MountFlags::augment_args(Command::new("test").no_binary_name(true));
    MountFlags::from_arg_matches(&command.get_matches_from(words)).unwrap()
}

fn read_only(yes: bool) -> Access {
    if yes { Access::ReadOnly } else { Access::ReadWrite }
}

fn copy(host: &str, guest: &str, ro: bool) -> Mount {
    Mount {
        source: MountSource::Copy(host.into()),
        guest: guest.into(),
        access: read_only(ro),
        quota: None,
    }
}

fn tmpfs(guest: &str) -> Mount {
    Mount {
        source: MountSource::Tmpfs,
        guest: guest.into(),
        access: Access::ReadWrite,
        quota: None,
    }
}

#[test]
fn the_order_of_different_flags_is_kept() {
    let words = [
        "--tmpfs",
        "/a",
        "--copy-dir",
        ".",
        "--tmpfs=/b",
        "--copy-dir=/x::/",
        "--dir",
        "/s:ro",
        "--tmpfs",
        "/c",
    ];
    assert_eq!(
        flags(&words).mounts().unwrap(),
        [
            tmpfs("/a"),
            copy(".", ".", false),
            tmpfs("/b"),
            copy("/x", "/", false),
            Mount {
                source: MountSource::Dir("/s".into()),
                guest: "/s".into(),
                access: Access::ReadOnly,
                quota: None,
            },
            tmpfs("/c")
        ]
    );
    assert_eq!(flags(&[]).mounts().unwrap(), []);
}

#[test]
fn a_value_has_up_to_three_parts() {
    for (value, expected) in [
        ("/h::/g:ro", copy("/h", "/g", true)),
        ("/h:ro", copy("/h", "/h", true)),
        ("/h::/a::b", copy("/h", "/a::b", false)),
        ("a:b::c:d", copy("a:b", "c:d", false)),
    ] {
        assert_eq!(flags(&["--copy-dir", value]).mounts().unwrap(), [expected]);
    }
}

#[test]
fn a_tmpfs_may_have_a_size() {
    let sized = |guest, quota| Mount {
        quota,
        ..tmpfs(guest)
    };
    for (value, expected) in [
        ("/t,size=16MiB", sized("/t", Some(16 << 20))),
        ("/t,size=0", sized("/t", Some(0))),
        ("/t,u", sized("/t,u", None)),
    ] {
        assert_eq!(
            flags(&["--tmpfs", value]).mounts().unwrap(),
            [expected],
            "{value}"
        );
    }
}

#[test]
fn a_shared_directory_may_have_a_quota() {
    let shared = |host: &str, guest: &str, quota| Mount {
        source: MountSource::Dir(host.into()),
        guest: guest.into(),
        access: Access::ReadWrite,
        quota,
    };
    for (value, expected) in [
        ("/h::/g,quota=64M", shared("/h", "/g", Some(64 << 20))),
        ("/h,quota=4K", shared("/h", "/h", Some(4096))),
        ("/a,b::/g", shared("/a,b", "/g", None)),
    ] {
        assert_eq!(flags(&["--dir", value]).mounts().unwrap(), [expected], "{value}");
    }
    for (flag, value, reason) in [
        ("--dir", "/h,quota=much", "quota=much"),
        ("--dir", "/h,quota=", "quota="),
        // It stands at the end.
        ("--dir", "/h,quota=1M::/g", "quota=1M::/g"),
        ("--dir", "/h:ro,quota=1M", "read-only"),
        ("--dir", "/etc:ro,quota=1M", "'/etc' is read-only"),
        ("--dir", "/h::/g,quota=1M:ro", "'/h' is read-only"),
        ("--dir", "/h,quota=1M,quota=2M", "',quota=1M' is not understood"),
        ("--dir", "/h::/g,qouta=1M", "',qouta=1M' is not understood"),
        ("--dir", "/h::/g,ro", "',ro' is not understood"),
        ("--dir", "/etc:/g,quota=1M", "write --dir /etc::/g,quota=1M"),
        ("--copy-dir", "/h,quota=1M", "quota= is for --dir"),
        ("--tmpfs", "/t,quota=1M", "quota= is for --dir"),
        ("--tmpfs", "/t,size=", "size=: expected a whole number"),
        ("--tmpfs", "/t,size=1M,size=2M", "',size=1M' is not understood"),
        ("--tmpfs", "/t,size=1M:ro", "size=1M:ro: unknown unit"),
        ("--dir", "/h::/g,size=1M", "',size=1M' is not understood"),
    ] {
        let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn other_programs_spellings_are_refused_with_the_right_one() {
    for (flag, value, right) in [
        ("--dir", "/etc:/b", "--dir /etc::/b"),
        ("--copy-dir", "/etc:/b:ro", "--copy-dir /etc::/b:ro"),
        ("--dir", "/etc::/b:rw", "--dir /etc::/b"),
        ("--dir", "/etc:RO", "--dir /etc:ro"),
        ("--tmpfs", "/tmp:size=64m,noexec", "--tmpfs /tmp,size=64m"),
        ("--tmpfs", "/tmp:rw,size=64m", "--tmpfs /tmp,size=64m"),
        ("--tmpfs", "/tmp:noexec", "--tmpfs /tmp"),
    ] {
        let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
        assert!(message.ends_with(&format!("write {right}")), "{}", message);
        assert!(message.starts_with(&format!("{flag} {value}: ")), "{}", message);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (flag, value, reason) in [
        ("--copy-dir", "::/g", "'::/g' does not name a host directory"),
        ("--copy-dir", "/h::", "is empty"),
        ("--copy-dir", ":ro", "does not name a host directory"),
        ("--tmpfs", "", "is empty"),
        ("--dir", "::/g", "'::/g' does not name a host directory"),
        ("--dir", "", "does not name a host directory"),
    ] {
        let message = flags(&[flag, value]).mounts().unwrap_err().to_string();
        assert!(message.contains(reason), "{}", message);
        assert!(message.contains(flag), "{}", message);
    }
    let long = "x".repeat(LONGEST_NAME + 1);
    assert!(flags(&["--tmpfs", &long]).mounts().is_err());
    let broken = OsStr::from_bytes(b"\xff");
    assert!(mount(Flag::CopyDir, broken).is_err());
    assert!(mount(Flag::CopyDir, OsStr::from_bytes(b"\xff::/g")).is_ok());
}

#[test]
fn options_that_are_not_there() {
    let exists = |path: &str| path == "odd,a=b";
    for (value, option) in [
        ("a::/g,qouta=1M", Some(",qouta=1M")),
        ("a,ro", Some(",ro")),
        ("a::/g,readonly", Some(",readonly")),
        ("a,size=1M:ro", Some(",size=1M:ro")),
        ("odd,a=b::/g,c=d", Some(",c=d")),
        // Names.
        ("odd,a=b", None),
        ("odd,a=b:ro", None),
        ("x,a=b::/g", None),
        ("a,b", None),
        ("a::/g,h", None),
        ("a,", None),
        ("a,=", None),
        ("", None),
    ] {
        assert_eq!(unknown_option(value, exists), option, "{value}");
    }
}
