//! Fuzzes containers: configurations that become machines, and images.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::oci::run(data));
