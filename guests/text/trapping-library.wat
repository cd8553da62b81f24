;; A library that traps before anybody can use it. Run only by `--preload`.
(module (func (export "_initialize") unreachable))
