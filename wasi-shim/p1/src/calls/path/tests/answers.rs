//! What each call says to each kind of path.

use alloc::{string::String, vec::Vec};

use wasi_core::testing::TestSystem;

use super::{super::*, outcome};
use crate::{
    abi::{
        Errno,
        types::{Fstflags, Lookupflags},
    },
    calls::testbed::{SIZE, TestBed},
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Of each path: `path_create_directory`, `path_remove_directory`, `path_unlink_file`, `path_filestat_get`
/// without and with following, `path_filestat_set_times` likewise, `path_readlink`, `path_symlink` to it,
/// `path_link` from and to it.
#[rustfmt::skip]
const ANSWERS: &[(&str, &str)] = &[
    ("f",         "EXIST  NOTDIR   -      -      -      -      -      INVAL  EXIST  -      EXIST"),
    ("f/",        "EXIST  NOTDIR   NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR"),
    ("sub",       "EXIST  NOTEMPTY ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("sub/",      "EXIST  NOTEMPTY ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("empty",     "EXIST  -        ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("empty/",    "EXIST  -        ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("lf",        "EXIST  NOTDIR   -      -      -      -      -      -      EXIST  -      EXIST"),
    ("lf/",       "EXIST  NOTDIR   NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR"),
    ("ld",        "EXIST  NOTDIR   -      -      -      -      -      -      EXIST  -      EXIST"),
    ("ld/",       "EXIST  NOTDIR   ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("le/",       "EXIST  NOTDIR   ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("dang",      "EXIST  NOTDIR   -      -      NOENT  -      NOENT  -      EXIST  -      EXIST"),
    ("dang/",     "EXIST  NOTDIR   NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT"),
    ("loop",      "EXIST  NOTDIR   -      -      LOOP   -      LOOP   -      EXIST  -      EXIST"),
    ("loop/",     "EXIST  NOTDIR   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP"),
    ("nope",      "-      NOENT    NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  -      NOENT  -"),
    ("nope/",     "-      NOENT    NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT"),
    ("abs",       "EXIST  NOTDIR   -      -      PERM   -      PERM   PERM   EXIST  -      EXIST"),
    ("up",        "EXIST  NOTDIR   -      -      PERM   -      PERM   -      EXIST  -      EXIST"),
    (".",         "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("./",        "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("..",        "PERM   PERM     PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM"),
    ("sub/..",    "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("sub/.",     "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("",          "NOENT  NOENT    NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT"),
    ("/f",        "PERM   PERM     PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM"),
    ("f\0",       "INVAL  INVAL    INVAL  INVAL  INVAL  INVAL  INVAL  INVAL  INVAL  INVAL  INVAL"),
    ("f/x",       "NOTDIR NOTDIR   NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR"),
    ("nope/x",    "NOENT  NOENT    NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT  NOENT"),
    ("ld/g",      "EXIST  NOTDIR   -      -      -      -      -      INVAL  EXIST  -      EXIST"),
    ("hard",      "EXIST  NOTDIR   -      -      -      -      -      INVAL  EXIST  -      EXIST"),
    ("sub/g/",    "EXIST  NOTDIR   NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR"),
    ("empty/.",   "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("empty/..",  "EXIST  INVAL    ISDIR  -      -      -      -      INVAL  EXIST  PERM   EXIST"),
    ("loop/x",    "LOOP   LOOP     LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP   LOOP"),
    ("abs/x",     "PERM   PERM     PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM"),
    ("up/x",      "PERM   PERM     PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM   PERM"),
];

const PATH: u32 = 512;
const OTHER: u32 = 600;
const OUT: u32 = 64;

/// The calls, in the order of the table's columns.
fn call(
    column: usize,
    c: &mut WasiP1Ctx<TestSystem>,
    m: &mut GuestMemory<'_>,
    len: u32,
) -> Result<(), Error> {
    let (p, follow, none) = (Ptr::new(PATH), Lookupflags::SYMLINK_FOLLOW, Lookupflags::NONE);
    let now = Fstflags::ATIM_NOW.union(Fstflags::MTIM_NOW);
    match column {
        0 => path_create_directory(c, m, 3, p, len),
        1 => path_remove_directory(c, m, 3, p, len),
        2 => path_unlink_file(c, m, 3, p, len),
        3 => path_filestat_get(c, m, 3, none, p, len, Ptr::new(OUT)),
        4 => path_filestat_get(c, m, 3, follow, p, len, Ptr::new(OUT)),
        5 => path_filestat_set_times(c, m, 3, none, p, len, 0, 0, now),
        6 => path_filestat_set_times(c, m, 3, follow, p, len, 0, 0, now),
        7 => path_readlink(c, m, 3, p, len, Ptr::new(OUT), 8, Ptr::new(32)),
        8 => path_symlink(c, m, Ptr::new(OTHER), 5, 3, p, len),
        9 => path_link(c, m, 3, none, p, len, 3, Ptr::new(OTHER + 5), 3),
        10 => path_link(c, m, 3, none, Ptr::new(OTHER), 5, 3, p, len),
        _ => panic!("no such column"),
    }
}

fn bed(path: impl AsRef<[u8]>) -> (TestBed, u32) {
    let mut bed = TestBed::with_tree();
    bed.put(OTHER, b"sub/gnew");
    let (_, len) = bed.path(PATH, path);
    (bed, len)
}

#[test]
fn answers() {
    let mut differences = Vec::new();
    for (path, row) in ANSWERS {
        let expected: Vec<_> = row.split_whitespace().collect();
        assert_eq!(expected.len(), 11, "{path}");
        for (column, expected) in expected.into_iter().enumerate() {
            let (mut bed, len) = bed(path);
            let (memory, state) = (bed.memory.clone(), bed.state());
            let found = outcome(bed.run(|c, m| call(column, c, m, len)));
            if found != expected {
                differences.push(alloc::format!(
                    "{path} in column {column}: {found}, not {expected}"
                ));
            } else if found != "-" {
                assert_eq!(bed.state(), state, "a failure leaves no trace");
                assert!(bed.memory == memory, "a failure leaves no trace");
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn paths_that_are_none() {
    let long = ["x".repeat(256), "sub/".into(), "x".repeat(256)];
    let too_deep = "./".repeat(2048);
    let cases: [(&[u8], Errno); 9] = [
        (b"\xff", Errno::ILSEQ),
        (b"sub/\xc3", Errno::ILSEQ),
        (b"f\0", Errno::INVAL),
        (b"\0f", Errno::INVAL),
        (b"", Errno::NOENT),
        (long[0].as_bytes(), Errno::NAMETOOLONG),
        (
            &[long[1].as_bytes(), long[2].as_bytes()].concat(),
            Errno::NAMETOOLONG,
        ),
        (&[long[0].as_bytes(), b"/x"].concat(), Errno::NAMETOOLONG),
        (too_deep.as_bytes(), Errno::NAMETOOLONG),
    ];
    for (path, errno) in cases {
        for column in 0..11 {
            let mut bed = TestBed::with_tree();
            bed.put(OTHER, b"sub/gnew");
            bed.memory.resize(PATH as usize + 8192, 0);
            let (_, len) = bed.path(PATH, path);
            // Where the other path is in the way.
            bed.put(
                OTHER,
                if path.len() > 80 {
                    &path[88..96.min(path.len())]
                } else {
                    b"sub/gnew"
                },
            );
            let end = bed.run(|c, m| call(column, c, m, len));
            if path.len() <= 80 {
                assert_eq!(end, Err(Error::Errno(errno)), "{path:?} in column {column}");
            } else {
                // `path_symlink` and `path_link` see the end of the long path as their other one.
                assert!(matches!(end, Err(Error::Errno(_))), "{path:?} in column {column}");
            }
        }
    }
}

#[test]
fn names_and_paths_of_the_greatest_length() {
    let mut bed = TestBed::with_tree();
    bed.memory.resize(16384, 0);
    let name = "x".repeat(255);
    let (p, len) = bed.path(4096, &name);
    assert_eq!(bed.run(|c, m| path_create_directory(c, m, 3, p, len)), Ok(()));
    // 4,095 bytes lead somewhere.
    let path = alloc::format!("{}f", "./".repeat(2047));
    assert_eq!(path.len(), 4095);
    let (p, len) = bed.path(4096, &path);
    let get = |c: &mut WasiP1Ctx<TestSystem>, m: &mut GuestMemory<'_>, len| {
        path_filestat_get(c, m, 3, Lookupflags::NONE, p, len, Ptr::new(OUT))
    };
    assert_eq!(bed.run(|c, m| get(c, m, len)), Ok(()));
    bed.put(4096 + 4095, b"/");
    bed.errno(|c, m| get(c, m, len + 1), Errno::NAMETOOLONG);
}

#[test]
fn bad_pointers_trap() {
    for column in 0..11 {
        let mut bed = TestBed::with_tree();
        bed.put(OTHER, b"sub/gnew");
        bed.put(PATH, b"f");
        // One byte past the end of memory.
        bed.trap(|c, m| call(column, c, m, SIZE - PATH + 1));
        bed.trap(|c, m| call(column, c, m, u32::MAX));
    }
    let none = Lookupflags::NONE;
    let mut bed = TestBed::with_tree();
    let (p, len) = bed.path(PATH, "lf");
    for at in [SIZE - 63, SIZE - 56, SIZE, 4, u32::MAX] {
        bed.trap(|c, m| path_filestat_get(c, m, 3, none, p, len, Ptr::new(at)));
    }
    for (buf, buf_len, used) in [
        (SIZE - 7, 8, 32),
        (OUT, 8, SIZE - 3),
        (OUT, 8, 34),
        (OUT, u32::MAX, 32),
    ] {
        bed.trap(|c, m| path_readlink(c, m, 3, p, len, Ptr::new(buf), buf_len, Ptr::new(used)));
    }
    // The other path of those that have two.
    let (q, other) = (Ptr::new(SIZE - 2), 3);
    bed.trap(|c, m| path_link(c, m, 3, none, p, len, 3, q, other));
    bed.trap(|c, m| path_link(c, m, 3, none, q, other, 3, p, len));
    bed.trap(|c, m| path_rename(c, m, 3, p, len, 3, q, other));
    bed.trap(|c, m| path_rename(c, m, 3, q, other, 3, p, len));
    bed.trap(|c, m| path_symlink(c, m, q, other, 3, p, len));
    bed.trap(|c, m| path_symlink(c, m, p, len, 3, q, other));
}
