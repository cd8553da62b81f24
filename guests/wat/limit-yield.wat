;; Yields to others, of whom there are none, without end.
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $again
      (br_if $again (i32.eqz (call $sched_yield))))
    unreachable))
