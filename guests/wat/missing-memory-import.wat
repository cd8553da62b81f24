;; Expects a memory from outside, as modules for the browser do.
(module
  (import "env" "memory" (memory 1))
  (func (export "_start")))
