;; Built against WASI's preview 0: files, with its own numbers for `whence` and its own layouts of `filestat` and
;; `subscription`. Ends with the number of the step that went wrong, or prints the file.
(module
  (import "wasi_unstable" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_unstable" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_unstable" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_unstable" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_unstable" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_unstable" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)

  ;; 0: an iovec. 8: a result. 16: a filestat of 56 bytes, and behind it what must stay. 128: names.
  (data (i32.const 128) "file")
  (data (i32.const 144) "second")
  (data (i32.const 160) "0123456789\n")
  ;; 256: a subscription of 56 bytes: reading from a descriptor. 384: an event.

  (func $check (param $step i32) (param $good i32)
    (if (i32.eqz (local.get $good)) (then (call $proc_exit (local.get $step)))))

  (func $iovec (param $address i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $address))
    (i32.store (i32.const 4) (local.get $length)))

  ;; The position after a seek.
  (func $seek (param $fd i32) (param $offset i64) (param $whence i32) (result i64)
    (call $check (i32.const 99)
      (i32.eqz (call $fd_seek (local.get $fd) (local.get $offset) (local.get $whence) (i32.const 8))))
    (i64.load (i32.const 8)))

  (func (export "_start") (local $fd i32)
    ;; The directory that was given is called "/".
    (call $check (i32.const 1) (i32.eqz (call $fd_prestat_get (i32.const 3) (i32.const 8))))
    (call $check (i32.const 2) (i32.eq (i32.load (i32.const 12)) (i32.const 1)))
    ;; creat and excl; to read, write and seek.
    (call $check (i32.const 3) (i32.eqz
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 5)
        (i64.const 0x8200066) (i64.const 0) (i32.const 0) (i32.const 8))))
    (local.set $fd (i32.load (i32.const 8)))
    (call $check (i32.const 4) (i32.eq (i32.const 20)
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 5)
        (i64.const 0x66) (i64.const 0) (i32.const 0) (i32.const 8))))
    (call $iovec (i32.const 160) (i32.const 11))
    (call $check (i32.const 5) (i32.eqz (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    ;; whence: 0 is the position, 1 the end, 2 the start.
    (call $check (i32.const 6) (i64.eq (call $seek (local.get $fd) (i64.const 4) (i32.const 2)) (i64.const 4)))
    (call $check (i32.const 7) (i64.eq (call $seek (local.get $fd) (i64.const 3) (i32.const 0)) (i64.const 7)))
    (call $check (i32.const 8) (i64.eq (call $seek (local.get $fd) (i64.const -2) (i32.const 1)) (i64.const 9)))
    ;; A second name.
    (call $check (i32.const 9) (i32.eqz
      (call $path_link (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 4)
        (i32.const 3) (i32.const 144) (i32.const 6))))
    ;; filestat: kind at 16, names as 32 bits at 20, size at 24, 56 bytes in all.
    (i64.store (i32.const 72) (i64.const 0x0123456789abcdef))
    (call $check (i32.const 10) (i32.eqz (call $fd_filestat_get (local.get $fd) (i32.const 16))))
    (call $check (i32.const 11) (i32.eq (i32.load8_u (i32.const 32)) (i32.const 4)))
    (call $check (i32.const 12) (i32.eq (i32.load (i32.const 36)) (i32.const 2)))
    (call $check (i32.const 13) (i64.eq (i64.load (i32.const 40)) (i64.const 11)))
    (call $check (i32.const 14) (i64.eq (i64.load (i32.const 72)) (i64.const 0x0123456789abcdef)))
    (call $check (i32.const 15) (i32.eqz
      (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 144) (i32.const 6) (i32.const 16))))
    (call $check (i32.const 16) (i32.eq (i32.load (i32.const 36)) (i32.const 2)))
    (call $check (i32.const 17) (i64.eq (i64.load (i32.const 72)) (i64.const 0x0123456789abcdef)))
    (call $check (i32.const 18) (i32.eqz (call $path_unlink_file (i32.const 3) (i32.const 144) (i32.const 6))))
    (call $check (i32.const 19) (i32.eq (i32.const 44)
      (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 144) (i32.const 6) (i32.const 16))))
    ;; A subscription: userdata, the kind at 8 (1: reading), the descriptor at 16.
    (i64.store (i32.const 256) (i64.const 77))
    (i32.store8 (i32.const 264) (i32.const 1))
    (i32.store (i32.const 272) (local.get $fd))
    (call $check (i32.const 20) (i32.eqz
      (call $poll_oneoff (i32.const 256) (i32.const 384) (i32.const 1) (i32.const 8))))
    (call $check (i32.const 21) (i32.eq (i32.load (i32.const 8)) (i32.const 1)))
    (call $check (i32.const 22) (i64.eq (i64.load (i32.const 384)) (i64.const 77)))
    (call $check (i32.const 23) (i32.eqz (i32.load16_u (i32.const 392))))
    (call $check (i32.const 24) (i32.eq (i32.load8_u (i32.const 394)) (i32.const 1)))
    ;; All of it to standard output.
    (drop (call $seek (local.get $fd) (i64.const 0) (i32.const 2)))
    (call $iovec (i32.const 512) (i32.const 64))
    (call $check (i32.const 25) (i32.eqz (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    (call $iovec (i32.const 512) (i32.load (i32.const 8)))
    (call $check (i32.const 26) (i32.eqz (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (call $check (i32.const 27) (i32.eqz (call $fd_close (local.get $fd))))
    (call $check (i32.const 28) (i32.eq (call $fd_close (local.get $fd)) (i32.const 8)))))
