//! Fuzzes the boot line: quoting, and what the application makes of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::boot_line::run(data));
