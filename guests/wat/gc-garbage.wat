;; Drops a gigabyte of objects, each of which refers to itself, on a garbage-collected heap: more than a machine of the
;; tests has. The last one is still what it was.
(module
  (type $bytes (array (mut i8)))
  (type $node (struct (field $self (mut (ref null $node))) (field $bytes (ref $bytes)) (field $number i32)))
  (global $kept (mut (ref null $node)) (ref.null $node))
  (func $make (param $number i32)
    (local $node (ref null $node))
    (local.set $node
      (struct.new $node (ref.null $node) (array.new_default $bytes (i32.const 100000)) (local.get $number)))
    (struct.set $node $self (local.get $node) (local.get $node))
    (global.set $kept (local.get $node)))
  (func (export "_start")
    (local $number i32)
    (loop $again
      (call $make (local.get $number))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $number) (i32.const 10000))))
    (if (i32.ne (struct.get $node $number (struct.get $node $self (global.get $kept))) (i32.const 9999))
      (then unreachable))
    (if (i32.ne (array.len (struct.get $node $bytes (global.get $kept))) (i32.const 100000))
      (then unreachable))))
