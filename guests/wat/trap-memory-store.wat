;; Stores far outside its memory, with an offset that a 32-bit sum would wrap.
(module
  (memory (export "memory") 1 1)
  (func (export "_start")
    (i32.store offset=0xffffffff (i32.const 16) (i32.const 1))))
