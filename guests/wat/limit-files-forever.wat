;; Fills a file and empties it, without end.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 16) "file")
  (func (export "_start")
    ;; Creates it, to write, to position and to resize (rights 6, 2 and 22).
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 1)
          (i64.const 0x400044) (i64.const 0) (i32.const 0) (i32.const 8))
      (then unreachable))
    ;; All of the memory.
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 4) (i32.const 0x100000))
    (loop $again
      (if (call $fd_pwrite (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 12))
        (then unreachable))
      (if (call $set_size (i32.load (i32.const 8)) (i64.const 0)) (then unreachable))
      (br $again))))
