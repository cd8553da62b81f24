;; Throws an exception and catches it, without end.
(module
  (tag $oops)
  (func (export "_start")
    (loop $again
      (block $caught
        (try_table (catch $oops $caught)
          (throw $oops)))
      (br $again))))
