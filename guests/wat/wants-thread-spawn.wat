;; What a program for wasm32-wasip1-threads imports.
(module
  (import "wasi" "thread-spawn" (func (param i32) (result i32)))
  (func (export "_start")))
