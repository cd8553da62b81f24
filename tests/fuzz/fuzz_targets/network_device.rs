//! Fuzzes network devices: what they say in registers, configuration space and rings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::network_device::run(data));
