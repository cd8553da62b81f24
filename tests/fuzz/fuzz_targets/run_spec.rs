//! Fuzzes the description of a run: its bytes, the words for it, and what the application makes of them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::run_spec::run(data));
