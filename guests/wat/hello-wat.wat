;; Says hello with one WASI call, by hand.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; One vector (address, length), room for the number of bytes written, the text.
  (data (i32.const 0) "\0c\00\00\00\10\00\00\00\00\00\00\00Hello from WAT!\n")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
