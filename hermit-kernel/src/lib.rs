//! The Hermit kernel as a static library: its system calls and its entry point.

#![no_std]

extern crate hermit as _;
