;; The older form of exception handling that compilers still emit.
(module
  (tag $oops)
  (func (export "_start")
    try
      throw $oops
    catch $oops
    end))
