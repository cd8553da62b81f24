//! The guests of these tests, as text.

/// A guest that reads a file, the clock and random numbers, prints all of it, and then does `end`. `$open` and `$write`
/// are WASI's; `$print` takes address and length; `$forever` calls itself. The file's descriptor is at address 8.
pub(crate) fn reads_and(end: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (table $table 1 funcref)
  (data (i32.const 0) "file")
  (func $forever (call $forever))
  (func $open_file (param $rights i64)
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
      (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 8))))
  (func $put (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $length))
    (drop (call $write (local.get $fd) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $print (param $at i32) (param $length i32)
    (call $put (i32.const 1) (local.get $at) (local.get $length)))
  (func (export "_start")
    (call $open_file (i64.const 2))
    (i32.store (i32.const 16) (i32.const 1024))
    (i32.store (i32.const 20) (i32.const 60000))
    (drop (call $read (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))
    (call $print (i32.const 1024) (i32.load (i32.const 24)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 128)))
    (drop (call $random (i32.const 136) (i32.const 56)))
    (call $print (i32.const 128) (i32.const 64))
    {end}))"#
    )
}

pub(crate) const EXITS: &str = "(call $exit (i32.const 7))";
pub(crate) const TRAPS: &str = "(drop (call $random (i32.const 136) (i32.const 8))) unreachable";
pub(crate) const CALLS_FOR_EVER: &str =
    "(loop $again (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 128))) (br $again))";

/// What runs into each limit: `-W`'s word for it, what the guest does, and the exit code.
pub(crate) const LIMITED: [(&str, &str, i32); 7] = [
    ("fuel=1000000", "(loop $again (br $again))", 241),
    (
        "max-memory-size=131072",
        "(drop (memory.grow (i32.const 1))) unreachable",
        243,
    ),
    (
        "max-table-elements=1",
        "(drop (table.grow $table (ref.null func) (i32.const 1))) unreachable",
        244,
    ),
    ("max-wasm-stack=65536", "(call $forever)", 245),
    ("max-descriptors=5", "(call $open_file (i64.const 2))", 246),
    (
        "max-file-bytes=100",
        "(call $open_file (i64.const 64)) (call $put (i32.load (i32.const 8)) (i32.const 1024) (i32.const 101))",
        247,
    ),
    ("max-output-bytes=45000", "", 248),
];

/// A guest whose export `f` prints eight random bytes, and adds numbers to what it is given.
pub(crate) const INVOKED: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\08\00\00\00")
  (func (export "f") (param i32 i64) (result i32 i64)
    (drop (call $random (i32.const 64) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (i32.add (local.get 0) (i32.const 1234567))
    (i64.add (local.get 1) (i64.load (i32.const 64)))))"#;

/// A library whose export `number` is a random number.
pub(crate) const LIBRARY: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "number") (result i64)
    (drop (call $random (i32.const 32) (i32.const 8)))
    (i64.load (i32.const 32))))"#;

/// A guest that prints the library's number.
pub(crate) const IMPORTS: &str = r#"(module
  (import "library" "number" (func $number (result i64)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\08\00\00\00")
  (func (export "_start")
    (i64.store (i32.const 64) (call $number))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// A guest that asks for 96 MiB of random numbers, and prints the last ones.
pub(crate) const LARGE: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 20)
  (data (i32.const 0) "\40\00\00\00\20\00\00\00")
  (func (export "_start") (local $count i32)
    (loop $again
      (drop (call $random (i32.const 64) (i32.const 1048576)))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $count) (i32.const 96))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// A script for CPython that reads a directory, a file, clocks, random numbers and standard input, and writes a file.
pub(crate) const SCRIPT: &str = r#"import os, random, sys, time, uuid
with open("/file") as file:
    text = file.read()
print(sorted(os.listdir("/")), text)
print(time.time(), time.monotonic(), random.random(), os.urandom(8).hex(), uuid.uuid4())
for line in sys.stdin:
    print("read", line.strip())
with open("/out.txt", "w") as file:
    file.write("written")
print(os.stat("/out.txt").st_mtime)
sys.exit(3)
"#;
