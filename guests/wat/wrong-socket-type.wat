;; Imports a function that has two versions with a type that it has in neither.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func (param i32) (result i32)))
  (func (export "_start")))
