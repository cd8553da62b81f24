;; Writes one byte behind a gap of 1 GiB.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "file")
  ;; A list of one buffer: a byte at 16.
  (data (i32.const 32) "\10\00\00\00\01\00\00\00")
  (func (export "_start")
    ;; Creates it, to write and seek (rights 2 and 6).
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 1)
          (i64.const 0x44) (i64.const 0) (i32.const 0) (i32.const 8))
      (then unreachable))
    (drop (call $pwrite (i32.load (i32.const 8)) (i32.const 32) (i32.const 1) (i64.const 0x40000000) (i32.const 48)))
    unreachable))
