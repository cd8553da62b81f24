;; Exports something under the name `_start` that is no function.
(module
  (memory (export "_start") 1))
