;; Counts the vowels on standard input.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; At 0 a buffer of 4 KiB from 1024 on, as fd_read wants it described; at 8 how much was read; at 16 the vowels.
  (data (i32.const 0) "\00\04\00\00\00\10\00\00")
  (data (i32.const 16) "aeiouAEIOU")
  (func $is_vowel (param $byte i32) (result i32)
    (local $at i32)
    (loop $next
      (if (i32.eq (i32.load8_u (i32.add (i32.const 16) (local.get $at))) (local.get $byte))
        (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 10))))
    (i32.const 0))
  (func (export "count_vowels") (result i32)
    (local $count i32) (local $at i32)
    (loop $more
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return (local.get $count))))
      (local.set $at (i32.const 0))
      (loop $next
        (local.set $count (i32.add (local.get $count)
          (call $is_vowel (i32.load8_u offset=1024 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (i32.load (i32.const 8)))))
      (br $more))
    (unreachable)))
