;; The imports and exports of what wasm-bindgen makes.
(module
  (import "wbg" "__wbg_log_1ae1e9f741096e91" (func (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "main") (param i32 i32) (result i32) (i32.const 0))
  (func (export "__wbindgen_start")))
