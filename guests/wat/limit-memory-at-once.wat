;; Declares a memory of 4 MiB.
(module
  (memory (export "memory") 64)
  (func (export "_start")))
