;; A vector is printed as one number, and cannot be given as an argument.
(module
  (func (export "ones") (result v128) (v128.const i64x2 1 1))
  (func (export "take") (param v128)))
