;; Imports what nobody provides: two unknown functions, a global and a table.
(module
  (import "env" "emscripten_resize_heap" (func (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_frobnicate" (func (param i32) (result i32)))
  (import "env" "__stack_pointer" (global i32))
  (import "env" "table" (table 1 funcref))
  (func (export "_start")))
