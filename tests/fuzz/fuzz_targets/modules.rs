//! Fuzzes modules before they run: what the application looks at, and what it hands to the interpreter.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hermit_wasm_fuzz::modules::run(data));
