;; Calls through an index outside of the table.
(module
  (type $none (func))
  (table 2 funcref)
  (elem (i32.const 0) $nothing)
  (func $nothing)
  (func (export "_start")
    (call_indirect (type $none) (i32.const 7))))
