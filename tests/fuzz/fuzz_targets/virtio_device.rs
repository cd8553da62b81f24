//! Fuzzes the drivers of devices for networks and files: what these say in registers, configuration space and rings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::virtio_device::run(data));
