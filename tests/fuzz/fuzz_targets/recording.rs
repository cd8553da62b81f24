//! Fuzzes recordings: their files, and replays of their events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::recording::run(data));
