;; Wants a table of 4 billion elements from the start.
(module
  (table 0xffffffff funcref)
  (func (export "_start")))
