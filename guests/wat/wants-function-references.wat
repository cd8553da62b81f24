;; A call through a typed reference: the proposal of typed function references.
(module
  (type $none (func))
  (elem declare func $nothing)
  (func $nothing)
  (func (export "_start")
    (call_ref $none (ref.func $nothing))))
