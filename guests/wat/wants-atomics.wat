;; An atomic instruction on an ordinary memory: the threads proposal too.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))
