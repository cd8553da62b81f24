//! Fuzzes the loader's device tree and placement.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::device_tree::run(data));
