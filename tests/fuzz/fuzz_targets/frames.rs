//! Fuzzes the network stack with frames, between two stacks and from nowhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::frames::run(data));
