//! Fuzzes the RAM file system, against a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::mem_fs::run(data));
