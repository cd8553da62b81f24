;; A shared memory: the threads proposal.
(module
  (memory (export "memory") 1 1 shared)
  (func (export "_start")))
