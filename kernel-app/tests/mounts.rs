//! Mounts of every kind, as a guest meets them.

use boot_protocol::run_spec::{Access, Mount, MountSource};
use kernel_app::engine::wasmi::Interpreter;
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use kernel_app::mounts::{MountSources, limits, mount_all};
use kernel_app::payload::Payload;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::fs::FileSystem;
use wasi_core::fs::mem::{Budget, Limits, MemFs};
use wasi_core::testing::TestSystem;

/// A tar archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len().try_into().unwrap());
        archive.append_data(&mut header, path, *data).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A payload, which is there for good.
fn payload(bytes: Vec<u8>) -> Payload {
    Payload::new(bytes.leak()).unwrap()
}

fn mount(source: MountSource, guest: &str, read_only: bool) -> Mount {
    Mount {
        source,
        guest: guest.into(),
        access: if read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    }
}

fn copy(member: &str, guest: &str, read_only: bool) -> Mount {
    mount(
        MountSource::Copy {
            member: member.into(),
        },
        guest,
        read_only,
    )
}

fn virtio_fs(tag: &str, guest: &str, read_only: bool) -> Mount {
    mount(MountSource::VirtioFs { tag: tag.into() }, guest, read_only)
}

fn mapped(path: &str, guest: &str, read_only: bool) -> Mount {
    mount(MountSource::UhyveMap { path: path.into() }, guest, read_only)
}

fn tmpfs(guest: &str) -> Mount {
    mount(MountSource::Tmpfs { size: None }, guest, false)
}

fn sized(guest: &str, size: u64) -> Mount {
    mount(MountSource::Tmpfs { size: Some(size) }, guest, false)
}

fn builder(mounts: &[Mount], payload: Option<Payload>) -> Result<WasiCtxBuilder, Outcome> {
    on_budget(mounts, payload, &Limits::NONE.into())
}

fn on_budget(mounts: &[Mount], payload: Option<Payload>, budget: &Budget) -> Result<WasiCtxBuilder, Outcome> {
    let mut virtio_fs = |tag: &str| match tag {
        "known" => {
            let fs: Box<dyn FileSystem> = Box::new(MemFs::new(Limits::NONE, 0));
            Ok(fs)
        }
        _ => Err("there is no such device".into()),
    };
    let sources = MountSources {
        payload,
        budget: budget.clone(),
        now: 0,
        virtio_fs: &mut virtio_fs,
        uhyve: &mut |path| match path {
            "/root/known" => Ok(Box::new(MemFs::new(Limits::NONE, 0))),
            _ => Err("there is no such directory".into()),
        },
    };
    mount_all(WasiCtxBuilder::new(), mounts, sources)
}

fn failure(mounts: &[Mount], payload: Option<Payload>) -> Outcome {
    builder(mounts, payload).expect_err("a failure")
}

/// A module that opens `file` beneath descriptor `fd` (with `oflags` for writing), reads or writes, prints what it
/// read, and exits with the errno of the first call that fails.
fn module(fd: u32, write: bool) -> Vec<u8> {
    let (oflags, rights, call) = if write {
        (1, 64, "$fd_write")
    } else {
        (0, 2, "$fd_read")
    };
    let wat = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "file")
        (data (i32.const 16) "\00\01\00\00\04\00\00\00")
        (data (i32.const 256) "none")
        (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
        (func (export "_start")
            (call $check (call $path_open (i32.const {fd}) (i32.const 0) (i32.const 0) (i32.const 4)
                (i32.const {oflags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 32)))
            (call $check (call {call} (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 40)))
            (call $check (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 40)))))"#
    );
    wat::parse_str(wat).unwrap()
}

fn run(builder: WasiCtxBuilder, fd: u32, write: bool) -> (Outcome, String) {
    let (outcome, context) =
        Interpreter::default().run(Job::of(&module(fd, write)), builder.build(TestSystem::default()));
    (outcome, String::from_utf8(context.system.stdout).unwrap())
}

/// Errnos as a guest sees them.
const BADF: u32 = 8;
const NOENT: u32 = 44;
const NOSPC: u32 = 51;
const ROFS: u32 = 69;

#[test]
fn directories_become_descriptors_in_their_order() {
    let one = archive(&[("file", b"one!")]);
    let two = archive(&[("file", b"two!")]);
    let all = payload(archive(&[
        ("module.wasm", b"\0asm"),
        ("1.tar", &one),
        ("2.tar", &two),
    ]));
    assert_eq!(all.program, Some(&b"\0asm"[..]));
    let directories = [
        tmpfs("/tmp"),
        copy("2.tar", "/", false),
        copy("1.tar", "/one", false),
    ];
    for (fd, outcome, output) in [
        (3, Outcome::Exit(NOENT), ""),
        (4, Outcome::Exit(0), "two!"),
        (5, Outcome::Exit(0), "one!"),
        (6, Outcome::Exit(BADF), ""),
    ] {
        let builder = builder(&directories, Some(all)).unwrap();
        assert_eq!(run(builder, fd, false), (outcome, output.into()));
    }
}

#[test]
fn read_only_holds_and_the_others_can_be_written() {
    let inner = archive(&[("file", b"data")]);
    let all = payload(archive(&[("d.tar", &inner)]));
    assert_eq!(all.program, None);
    let directories = [
        copy("d.tar", "/", true),
        copy("d.tar", "/w", false),
        tmpfs("/t"),
        virtio_fs("known", "/s", true),
        virtio_fs("known", "/sw", false),
        mapped("/root/known", "/m", true),
        mapped("/root/known", "/mw", false),
    ];
    for (fd, outcome) in [(3, ROFS), (4, 0), (5, 0), (6, ROFS), (7, 0), (8, ROFS), (9, 0)] {
        let builder = builder(&directories, Some(all)).unwrap();
        assert_eq!(run(builder, fd, true).0, Outcome::Exit(outcome), "{fd}");
    }
}

#[test]
fn all_directories_share_one_budget() {
    let budget = Budget::from(Limits {
        bytes: 1 << 20,
        entries: 1,
    });
    let directories = [tmpfs("/a"), tmpfs("/b")];
    let builder = on_budget(&directories, None, &budget).unwrap();
    assert_eq!(run(builder, 3, true).0, Outcome::Exit(0));
    // The first run's file has gone with its file system.
    let inner = archive(&[("other", b"")]);
    let all = payload(archive(&[("d.tar", &inner)]));
    let directories = [copy("d.tar", "/a", false), tmpfs("/b")];
    let builder = on_budget(&directories, Some(all), &budget).unwrap();
    assert_eq!(run(builder, 4, true).0, Outcome::Exit(NOSPC));
}

#[test]
fn a_tmpfs_holds_what_its_size_says() {
    // The guest writes four bytes.
    for (size, outcome) in [(4, 0), (3, 0), (1, 0), (0, NOSPC)] {
        let directories = [sized("/a", size), tmpfs("/b")];
        let outcomes = [3, 4].map(|fd| run(builder(&directories, None).unwrap(), fd, true).0);
        assert_eq!(outcomes, [outcome, 0].map(Outcome::Exit), "{size}");
    }
    let budget = Budget::from(Limits {
        bytes: 0,
        ..Limits::NONE
    });
    let builder = on_budget(&[sized("/a", 4)], None, &budget).unwrap();
    assert_eq!(run(builder, 3, true).0, Outcome::Exit(NOSPC));
}

#[test]
fn a_module_alone_is_a_payload() {
    let module = payload(b"\0asm\x01\0\0\0".to_vec());
    assert_eq!(module.program, Some(&b"\0asm\x01\0\0\0"[..]));
    assert!(payload(Vec::new()).program.is_some());
}

#[test]
fn a_damaged_archive_is_no_payload() {
    let mut damaged = archive(&[("d.tar", b"data")]);
    damaged[100] ^= 1;
    let error = Payload::new(damaged.leak()).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let said = |outcome: Outcome, words: &[&str]| {
        let Outcome::Usage(text) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    let directories = [copy("d.tar", "/", false)];
    said(failure(&directories, None), &["d.tar", "no payload"]);
    let module = payload(b"\0asm".to_vec());
    said(failure(&directories, Some(module)), &["d.tar", "module alone"]);
    let empty = payload(archive(&[("module.wasm", b"")]));
    said(failure(&directories, Some(empty)), &["d.tar", "no such member"]);
    said(
        failure(&[tmpfs(&"x".repeat(5000))], None),
        &["cannot give", "xxx"],
    );
}

#[test]
fn what_does_not_fit_asks_for_memory() {
    let inner = archive(&[("a", b""), ("b", b"")]);
    let all = payload(archive(&[("d.tar", &inner)]));
    let budget = Budget::from(Limits { bytes: 0, entries: 1 });
    let directories = [copy("d.tar", "/", false)];
    let outcome = on_budget(&directories, Some(all), &budget).err();
    let Some(Outcome::MachineFailed(text)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(text.contains("--memory"), "{text}");
}

#[test]
fn limits_leave_room_for_the_guest() {
    assert_eq!(
        limits(256 << 20),
        Limits {
            bytes: 192 << 20,
            entries: 256 << 10
        }
    );
    assert_eq!(limits(0), Limits { bytes: 0, entries: 0 });
    assert!(limits(usize::MAX).bytes < u64::MAX);
}

#[test]
fn native_code_stands_in_the_place_of_the_module() {
    let all = payload(archive(&[
        ("module.wasm", b"\0asm"),
        ("module.cwasm", b"\x7fELF"),
    ]));
    assert_eq!(all.program, Some(&b"\x7fELF"[..]));
}
