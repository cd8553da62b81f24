//! Fuzzes the tar reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::archive::run(data));
