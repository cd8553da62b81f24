;; Makes a file as long as it may be, and then reserves space for what is in it already.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "file")
  (func (export "_start")
    ;; Creates it, to write, allocate and resize (rights 6, 8 and 22).
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 1)
          (i64.const 0x400140) (i64.const 0) (i32.const 0) (i32.const 8))
      (then unreachable))
    (if (call $set_size (i32.load (i32.const 8)) (i64.const 0x10000))
      (then unreachable))
    (drop (call $allocate (i32.load (i32.const 8)) (i64.const 0) (i64.const 0x10000)))
    unreachable))
