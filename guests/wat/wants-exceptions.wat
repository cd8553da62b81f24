;; A tag, a throw and a handler: the exception-handling proposal.
(module
  (tag $oops)
  (func (export "_start")
    (block $caught
      (try_table (catch $oops $caught)
        (throw $oops)))))
