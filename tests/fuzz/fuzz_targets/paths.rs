//! Fuzzes path resolution in any tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::paths::run(data));
