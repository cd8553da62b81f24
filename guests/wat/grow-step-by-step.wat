;; Grows its memory page by page to 16 MiB, while calls are under way, and looks at every page in the end.
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
  (func (export "_start") (local $page i32) (local $wrong i32)
    (loop $grow
      (local.set $page (memory.grow (i32.const 1)))
      (i32.store (i32.shl (local.get $page) (i32.const 16)) (local.get $page))
      (br_if $grow (i32.lt_u (local.get $page) (i32.const 255))))
    (loop $look
      (local.set $wrong (i32.or (local.get $wrong)
        (i32.ne (i32.load (i32.shl (local.get $page) (i32.const 16))) (local.get $page))))
      (local.set $page (i32.sub (local.get $page) (i32.const 1)))
      (br_if $look (local.get $page)))
    (call $check (i32.eqz (local.get $wrong)))))
