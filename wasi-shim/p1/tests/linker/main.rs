//! The linker: every function links with its own type and no other, and survives any arguments, on either engine.
//!
//! Layer: tests.

mod chaos;
mod wasmi;
mod wasmtime;

use std::error::Error as StdError;

use wasi_core::{
    WasiCtx, WasiCtxBuilder,
    fs::{
        FileSystem, Permission,
        mem::{Limits, MemFs},
    },
    testing::TestSystem,
};
use wasi_p1::linker::{SignatureMismatch, ValueType};

type TestResult = Result<(), Box<dyn StdError>>;

/// The functions and their parameters, `i` for i32 and `I` for i64. All return i32, but for `proc_exit`.
const FUNCTIONS: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// WasmEdge's functions for sockets, in the module of preview1: the newer version's type, and the first version's where
/// that is another. `sock_accept` is preview1's in its newer version.
const EXTENSIONS: [(&str, &str, Option<&str>); 12] = [
    ("sock_accept", "iii", Some("ii")),
    ("sock_bind", "iii", None),
    ("sock_connect", "iii", None),
    ("sock_getaddrinfo", "iiiiiiii", None),
    ("sock_getlocaladdr", "iii", Some("iiii")),
    ("sock_getpeeraddr", "iii", Some("iiii")),
    ("sock_getsockopt", "iiiii", None),
    ("sock_listen", "ii", None),
    ("sock_open", "iii", None),
    ("sock_recv_from", "iiiiiiii", Some("iiiiiii")),
    ("sock_send_to", "iiiiiii", None),
    ("sock_setsockopt", "iiiii", None),
];

/// What has a second name, which means the newer version and no other.
const SECONDS: [&str; 11] = [
    "sock_accept",
    "sock_bind",
    "sock_connect",
    "sock_getlocaladdr",
    "sock_getpeeraddr",
    "sock_listen",
    "sock_open",
    "sock_recv",
    "sock_recv_from",
    "sock_send",
    "sock_send_to",
];

/// A directory whose names are bytes that garbage has: a file, a directory and links.
fn directory() -> MemFs {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 100,
    };
    let mut fs = MemFs::new(limits, 0);
    let root = fs.root();
    let now = &mut || 0;
    let made = [
        fs.create(root, b"\x01", now).map(|_| ()),
        fs.create_dir(root, b"\x02", now),
        fs.create_link(root, b"\x03", b"\x01", now),
        fs.create_link(root, b"\x01\x01", b"\x02", now),
        fs.create_link(root, b"\x02\x02", b"../\x01", now),
    ];
    assert_eq!(made, [Ok(()); 5]);
    fs
}

/// What a guest has: an argument, a variable, that directory.
fn context(system: TestSystem) -> Result<WasiCtx<TestSystem>, Box<dyn StdError>> {
    Ok(WasiCtxBuilder::new()
        .arg("program")?
        .env("NAME", "value")?
        .preopen(directory(), "/", Permission::ReadWrite)?
        .build(system))
}

/// Checks that a mismatch names the function and its right type.
fn check_mismatch(mismatch: &SignatureMismatch, name: &str, params: &str) {
    let params: Vec<_> = params
        .chars()
        .map(|c| if c == 'I' { ValueType::I64 } else { ValueType::I32 })
        .collect();
    let results: &[ValueType] = if name == "proc_exit" {
        &[]
    } else {
        &[ValueType::I32]
    };
    assert_eq!(
        (
            &*mismatch.name,
            mismatch.expected.params,
            mismatch.expected.results
        ),
        (name, &params[..], results)
    );
    let first = EXTENSIONS
        .iter()
        .find_map(|(known, _, first)| (*known == name).then_some(*first)?);
    assert_eq!(
        mismatch.first.map(|first| first.params.len()),
        first.map(str::len),
        "{name}"
    );
}

/// What is said of a type that a function has in no version: the import, its type, and the rest of the line.
const MISMATCHES: [(&str, &str, &str); 5] = [
    ("fd_seek", "i", "but WASI defines (i32, i64, i32, i32) -> (i32)"),
    (
        "sock_accept",
        "i",
        "but WASI defines (i32, i32, i32) -> (i32) and WasmEdge (i32, i32) -> (i32)",
    ),
    ("sock_bind", "ii", "but WasmEdge defines (i32, i32, i32) -> (i32)"),
    (
        "sock_getpeeraddr",
        "ii",
        "but WasmEdge defines (i32, i32, i32) -> (i32) and (i32, i32, i32, i32) -> (i32)",
    ),
    (
        "sock_bind_v2",
        "I",
        "but WasmEdge defines (i32, i32, i32) -> (i32)",
    ),
];

/// Numbers that are at an edge of something, and others.
fn garbage(random: &mut u64) -> i64 {
    const EDGES: [i64; 20] = [
        0,
        1,
        2,
        3,
        4,
        8,
        16,
        31,
        99,
        0xff,
        0x100,
        65528,
        65532,
        65535,
        65536,
        0x7fff_ffff,
        -8,
        -1,
        i64::MIN,
        i64::MAX,
    ];
    // xorshift64
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let choice = usize::try_from(*random >> 40).expect("24 bits");
    if choice.is_multiple_of(4) {
        random.cast_signed() >> 20
    } else {
        EDGES[choice % EDGES.len()]
    }
}
