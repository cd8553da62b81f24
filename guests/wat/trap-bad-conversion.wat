;; Converts NaN to an integer.
(module
  (func (export "_start")
    (drop (i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0))))))
