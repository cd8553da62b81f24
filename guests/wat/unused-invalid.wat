;; A function that is never called has an ill-typed body: the module is refused all the same.
(module
  (func $never (result i32) (i64.const 1))
  (func (export "_start")))
