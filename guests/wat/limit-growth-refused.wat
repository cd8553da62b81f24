;; Asks for one page more and lives on without: what a limit refuses is -1 unless it is to trap.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (if (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)) (then unreachable))))
