;; A library: prints a letter from its own memory by WASI. Run only as `--preload log=text/log.wat`.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (export "letters" (memory 0))
  (data (i32.const 0) "\40\00\00\00\02\00\00\00")
  (data (i32.const 64) "?\n")
  (func (export "_initialize") (call $print (i32.const 0)))
  (func $print (export "print") (param i32)
    (i32.store8 (i32.const 64) (i32.add (i32.const 97) (local.get 0)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
