;; Custom page sizes: a memory of 1000 pages of one byte each, which WASI reads.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1000 1002 (pagesize 1))
  (data (i32.const 16) "ok\nwrong\n")
  ;; Prints "ok" or "wrong" and a line feed.
  (func $check (param $right i32)
    (i32.store (i32.const 0) (select (i32.const 16) (i32.const 19) (local.get $right)))
    (i32.store (i32.const 4) (select (i32.const 3) (i32.const 6) (local.get $right)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $check (i32.eq (memory.size) (i32.const 1000)))
    (call $check (i32.eq (memory.grow (i32.const 2)) (i32.const 1000)))
    (call $check (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
    (i32.store8 (i32.const 1001) (i32.const 7))
    (call $check (i32.eq (i32.load8_u (i32.const 1001)) (i32.const 7)))
    ;; The vector's last byte lies behind the memory: WASI traps.
    (drop (call $fd_write (i32.const 1) (i32.const 996) (i32.const 1) (i32.const 8)))))
