//! Fuzzes packed files: payloads, executables, and files that boot.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::packed::run(data));
