;; Makes objects on a garbage-collected heap without end, each of which refers to the one before.
(module
  (type $bytes (array (mut i8)))
  (type $node (struct (field $next (ref null $node)) (field $bytes (ref $bytes))))
  (global $last (mut (ref null $node)) (ref.null $node))
  (func (export "_start")
    (loop $again
      (global.set $last
        (struct.new $node (global.get $last) (array.new_default $bytes (i32.const 100000))))
      (br $again))))
