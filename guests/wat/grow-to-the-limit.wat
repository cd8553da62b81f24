;; Grows its memory page by page until there is no more, writes into every page on the way, looks at all of them in the
;; end, and says how many there are.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) " pages, all as they were written\n wrong pages\n")
  ;; Writes the bytes [$at, $at + $length) to standard output.
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  ;; Prints a number.
  (func $number (param $number i32) (local $at i32)
    (local.set $at (i32.const 32))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (br_if $digit (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
    (call $print (local.get $at) (i32.sub (i32.const 32) (local.get $at))))
  (func (export "_start") (local $page i32) (local $pages i32) (local $wrong i32)
    (block $full
      (loop $grow
        (local.set $page (memory.grow (i32.const 1)))
        (br_if $full (i32.lt_s (local.get $page) (i32.const 0)))
        ;; The first and the last word of it.
        (i32.store (i32.shl (local.get $page) (i32.const 16)) (local.get $page))
        (i32.store offset=65532 (i32.shl (local.get $page) (i32.const 16)) (local.get $page))
        (br $grow)))
    (local.set $pages (memory.size))
    (local.set $page (i32.const 1))
    (loop $look
      (local.set $wrong (i32.add (local.get $wrong) (i32.or
        (i32.ne (i32.load (i32.shl (local.get $page) (i32.const 16))) (local.get $page))
        (i32.ne (i32.load offset=65532 (i32.shl (local.get $page) (i32.const 16))) (local.get $page)))))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (br_if $look (i32.lt_u (local.get $page) (local.get $pages))))
    (if (local.get $wrong)
      (then (call $number (local.get $wrong)) (call $print (i32.const 65) (i32.const 13)))
      (else (call $number (local.get $pages)) (call $print (i32.const 32) (i32.const 33))))))
