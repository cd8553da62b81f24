//! Fuzzes the console protocol: frames and answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::console::run(data));
