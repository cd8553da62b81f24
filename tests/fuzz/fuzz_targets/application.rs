//! Fuzzes the loader on any application file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::application::run(data));
