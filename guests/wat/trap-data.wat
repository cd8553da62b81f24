;; Its data segment lies outside of its memory, which shows at instantiation.
(module
  (memory (export "memory") 1)
  (data (i32.const 65535) "too long")
  (func (export "_start")))
