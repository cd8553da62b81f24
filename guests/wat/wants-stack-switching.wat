;; A continuation: the stack switching proposal.
(module
  (type $function (func))
  (type $continuation (cont $function))
  (func (export "_start")))
