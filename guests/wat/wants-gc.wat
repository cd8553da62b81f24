;; A structure on a garbage-collected heap: the GC proposal.
(module
  (type $pair (struct (field i32) (field i32)))
  (func (export "_start")
    (drop (struct.get $pair 0 (struct.new $pair (i32.const 1) (i32.const 2))))))
