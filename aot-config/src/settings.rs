//! wasmtime's settings: what compiler and runtime set alike.
//!
//! wasmtime writes its settings into the code it compiles, and refuses code with others at run time. They are
//! wasmtime's own for a 64-bit host, the four where that is not so apart:
//!
//! - `memory_init_cow`: the machine maps no files, so data segments are copied.
//! - `debug_symbols`: nothing in the machine reads them.
//! - Backtraces carry no lines: reading DWARF needs wasmtime's feature `addr2line`, which needs std.
//! - Proposals: every one that the runtime has without std. The component model is off.

use wasmtime::{Config, WasmBacktraceDetails, WasmFeatures};

use crate::trailer::Options;

/// Bytes of address space that a 32-bit memory gets: all that it can ever be.
pub const MEMORY_RESERVATION: u64 = 4 << 30;
/// Bytes behind that which stay unmapped: code adds constants up to this to an address without a check.
pub const MEMORY_GUARD: u64 = 32 << 20;

/// Proposals that are on although wasmtime leaves them off by default, or knows them by a cargo feature that needs std.
///
/// Threads: their atomic instructions, on memories that are not shared.
pub const MORE_PROPOSALS: [WasmFeatures; 3] = [
    WasmFeatures::THREADS,
    WasmFeatures::WIDE_ARITHMETIC,
    WasmFeatures::CUSTOM_PAGE_SIZES,
];

/// Lets guests use so many bytes of the stack. Nothing in the code depends on it: the runtime alone asks.
pub fn limit_stack(config: &mut Config, bytes: usize) {
    // wasmtime wants the second to be no less, and uses it for nothing here.
    config.max_wasm_stack(bytes).async_stack_size(bytes);
}

/// Sets what compiler and runtime must have in common.
///
/// What only the compiler sets is the compiler's: the target ([`Arch::target`](crate::Arch::target)), the processor's
/// features ([`CpuLevel::features`](crate::CpuLevel::features)), NaNs in one form
/// ([`Options::deterministic`]), no native unwind information.
pub fn configure(config: &mut Config, options: Options) {
    for proposal in MORE_PROPOSALS {
        config.wasm_features(proposal, true);
    }
    config
        .wasm_features(WasmFeatures::COMPONENT_MODEL, false)
        .concurrency_support(false)
        .signals_based_traps(true)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .memory_init_cow(false)
        .debug_symbols(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .consume_fuel(options.fuel)
        .relaxed_simd_deterministic(options.deterministic);
}
