//! Fuzzes the launcher's session: a machine that does as it likes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::machine::run(data));
