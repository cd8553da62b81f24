;; Calls a function through the table with another type than it has.
(module
  (type $none (func))
  (table 2 funcref)
  (elem (i32.const 0) $nothing)
  (func $nothing)
  (func (export "_start")
    (drop (call_indirect (result i32) (i32.const 0)))))
