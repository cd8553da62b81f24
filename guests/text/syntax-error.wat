;; The parenthesis of the function is not closed.
(module
  (func (export "_start")
