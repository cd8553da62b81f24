;; Calls itself without end: the stack is exhausted, which is a trap like any other.
(module
  (func $again (export "_start")
    (call $again)
    (call $again)))
