;; Grows a table until that is refused, and takes the refusal badly.
(module
  (table $table 1 funcref)
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $again
      (br_if $again (i32.ge_s (table.grow $table (ref.null func) (i32.const 100)) (i32.const 0))))
    unreachable))
