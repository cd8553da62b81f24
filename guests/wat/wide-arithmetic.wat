;; Wide arithmetic: a product of 128 bits, and a sum with its carry.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "ok\nwrong\n")
  ;; Prints "ok" or "wrong" and a line feed.
  (func $check (param $right i32)
    (i32.store (i32.const 0) (select (i32.const 16) (i32.const 19) (local.get $right)))
    (i32.store (i32.const 4) (select (i32.const 3) (i32.const 6) (local.get $right)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $both (param $low i64) (param $high i64) (param $expected-low i64) (param $expected-high i64)
    (call $check (i32.and
      (i64.eq (local.get $low) (local.get $expected-low))
      (i64.eq (local.get $high) (local.get $expected-high)))))
  (func (export "_start")
    ;; (2^64 - 1)^2 = 2^128 - 2^65 + 1
    (call $both (i64.mul_wide_u (i64.const -1) (i64.const -1)) (i64.const 1) (i64.const -2))
    (call $both (i64.mul_wide_s (i64.const -1) (i64.const -1)) (i64.const 1) (i64.const 0))
    (call $both (i64.add128 (i64.const -1) (i64.const 0) (i64.const 1) (i64.const 0)) (i64.const 0) (i64.const 1))
    (call $both (i64.sub128 (i64.const 0) (i64.const 1) (i64.const 1) (i64.const 0)) (i64.const -1) (i64.const 0))))
