//! Fuzzes the host's end of a guest's network with what a machine says on its wire.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::relay::run(data));
