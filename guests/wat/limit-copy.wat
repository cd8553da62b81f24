;; Copies 1 GiB of memory by a byte, again and again, by one instruction each time.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.lt_s (memory.grow (i32.const 16383)) (i32.const 0)) (then unreachable))
    (loop $again
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3fffffff))
      (br $again))))
