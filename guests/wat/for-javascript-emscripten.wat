;; The imports and exports of an optimised Emscripten module: their names are shortened.
(module
  (import "a" "a" (func (param i32)))
  (import "a" "b" (func (param i32 i32 i32) (result i32)))
  (memory (export "c") 1)
  (func (export "d")))
