//! Fuzzes the reader and the printer of Hermitfiles.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::hermitfile::run(data));
