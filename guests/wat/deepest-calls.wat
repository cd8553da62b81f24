;; Nests 65,000 calls, nearly as many as the interpreter allows, and returns from them all.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Writes the bytes [$at, $at + $length) to standard output.
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  ;; Prints "ok" or "wrong" and a line feed.
  (data (i32.const 16) "ok\nwrong\n")
  (func $check (param $right i32)
    (if (local.get $right)
      (then (call $print (i32.const 16) (i32.const 3)))
      (else (call $print (i32.const 19) (i32.const 6)))))
  (func $sum (param $n i64) (result i64)
    (if (result i64) (i64.eqz (local.get $n))
      (then (i64.const 0))
      (else (i64.add (local.get $n) (call $sum (i64.sub (local.get $n) (i64.const 1)))))))
  (func (export "_start")
    (call $check (i64.eq (call $sum (i64.const 65000)) (i64.const 2112532500)))))
