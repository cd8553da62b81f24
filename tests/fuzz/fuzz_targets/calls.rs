//! Fuzzes the 46 functions through the linker, on any memory, with any arguments.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::calls::run(data));
