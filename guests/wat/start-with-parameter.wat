;; Its `_start` has a parameter, which nobody could supply.
(module
  (func (export "_start") (param i32)))
