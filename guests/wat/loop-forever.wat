;; Loops without end and without a call: only the launcher's --timeout ends it.
(module
  (func (export "_start")
    (loop $again (br $again))))
