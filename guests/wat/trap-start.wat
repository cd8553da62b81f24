;; Traps in its start function, before `_start` is called.
(module
  (func $early unreachable)
  (start $early)
  (func (export "_start")))
