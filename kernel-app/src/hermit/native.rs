//! The machine as wasmtime wants it: linear memories in reserved ranges, code in executable pages, the processor's
//! features.
//!
//! Layer: device, above `ranges` and `code`. Compiled code leaves out bounds checks where the guard behind a memory
//! catches what goes too far, so sizes here are wasmtime's to choose and ours to keep to.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::mem;
use core::ptr::NonNull;

use aot_config::settings;
use kernel_app::engine::wasmtime::{Machine, NO_ADDRESSES, NO_MEMORY};
use wasmtime::{Config, CustomCodeMemory, Engine, Error, LinearMemory, MemoryCreator, MemoryType, Module};

use super::ranges::{PAGE, Range, Refused};
use super::{allocator, code, stack};

/// Most bytes of a 64-bit memory, if there is that much address space.
const LARGE_MEMORY: usize = 64 << 30;

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages;

impl Machine for Pages {
    fn configure(&self, config: &mut Config) {
        config
            .with_host_memory(Arc::new(Self))
            .with_custom_code_memory(Some(Arc::new(Self)));
        settings::limit_stack(config, stack::for_guests());
        // SAFETY: `has_feature` asks the processor, and there is only this one.
        unsafe { config.detect_host_feature(has_feature) };
    }

    fn load(&self, engine: &Engine, code: &[u8]) -> wasmtime::Result<Module> {
        // Of what is there, the boot module's pages can be made executable; what was read from a directory lies in the
        // heap, and what has been packed into the application is a segment of its.
        let is_in_module = super::boot_module().is_some_and(|module| {
            let (module, code) = (module.as_ptr_range(), code.as_ptr_range());
            module.start <= code.start && code.end <= module.end
        });
        let memory = if is_in_module && code.as_ptr().addr().is_multiple_of(PAGE) {
            NonNull::from(code)
        } else {
            copied(code)?
        };
        // SAFETY: the bytes stay as they are until the machine ends: they are the boot module's, to which nothing here
        // writes, or a copy that nobody else knows. That they are what the compiler made is the promise of whoever
        // handed them over; wasmtime checks what it can.
        let module = unsafe { Module::deserialize_raw(engine, memory) }?;
        // The machine ends with its program. Taking code back page by page would be work for nobody.
        mem::forget(module.clone());
        Ok(module)
    }

    fn stack(&self) -> usize {
        stack::for_guests()
    }

    fn has_memory(bytes: usize) -> bool {
        allocator::has(bytes)
    }

    fn lacks(&self, feature: &str) -> bool {
        cfg!(target_arch = "riscv64") && has_feature(feature) != Some(true)
    }
}

/// Backs a part of a range, of which nothing is backed. What the application keeps back for itself is not the guest's:
/// with none left, the next small request would end the machine.
fn back(range: &Range, offset: usize, len: usize) -> wasmtime::Result<()> {
    let is_backed = allocator::has(len) && range.commit(offset, len).is_ok();
    is_backed.then_some(()).ok_or_else(|| Error::msg(NO_MEMORY))
}

/// A copy of code at the beginning of a page, for as long as the machine runs.
fn copied(code: &[u8]) -> wasmtime::Result<NonNull<[u8]>> {
    let no_memory = || Error::msg(NO_MEMORY);
    let len = code.len().checked_next_multiple_of(PAGE).ok_or_else(no_memory)?;
    let range = Range::reserve(len, PAGE).ok_or_else(no_memory)?;
    back(&range, 0, len)?;
    let start = range.start();
    mem::forget(range);
    // SAFETY: `len` bytes from `start` on were just backed, `code` is no longer, and nobody else knows of them.
    unsafe { start.copy_from_nonoverlapping(NonNull::from(code).cast(), code.len()) };
    Ok(NonNull::slice_from_raw_parts(start, code.len()))
}

impl CustomCodeMemory for Pages {
    /// Any: a damaged file may say where its code begins, and `publish` checks that without a panic.
    fn required_alignment(&self) -> usize {
        1
    }

    fn publish_executable(&self, start: *const u8, len: usize) -> wasmtime::Result<()> {
        code::publish(start, len).map_err(|refused| {
            Error::msg(match refused {
                Refused::NoMemory => NO_MEMORY,
                Refused::Invalid => "its code does not lie where code can be executed: the file is damaged",
                Refused::PageZero => {
                    "this machine's loader keeps something at address 0, where native code must fault: boot the image \
                     hermit-wasm-native.img instead"
                }
            })
        })
    }

    /// Never fails: wasmtime panics if it does. What could not be published is data already, and this undoes that too.
    fn unpublish_executable(&self, start: *const u8, len: usize) -> wasmtime::Result<()> {
        let _ = code::unpublish(start, len);
        Ok(())
    }
}

// SAFETY: a memory has `reserved` bytes or more that nobody else uses, of which those beyond its size fault, and
// `guard` bytes behind them that fault, as its documentation demands. It is zeros, since the kernel backs pages with
// zeros, and never moves.
unsafe impl MemoryCreator for Pages {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let least = reserved.unwrap_or(0).max(minimum);
        let most = maximum.unwrap_or(usize::MAX).min(LARGE_MEMORY).max(least);
        let large = (ty.is_64() && most > least).then(|| Memory::reserve(most, guard));
        let mut memory = large
            .flatten()
            .or_else(|| Memory::reserve(least, guard))
            .ok_or(NO_ADDRESSES)?;
        memory.grow_to(minimum).map_err(|_| NO_MEMORY)?;
        Ok(Box::new(memory))
    }
}

/// A linear memory: a guard, the memory, a guard.
struct Memory {
    range: Range,
    /// Bytes of each guard.
    guard: usize,
    /// Bytes that it has.
    size: usize,
    /// Bytes that are backed: `size`, to the end of its last page.
    backed: usize,
}

impl Memory {
    /// A memory of no bytes that can grow to `capacity`.
    fn reserve(capacity: usize, guard: usize) -> Option<Self> {
        let capacity = capacity.checked_next_multiple_of(PAGE)?;
        let len = capacity.checked_add(guard)?.checked_add(guard)?;
        Some(Self {
            range: Range::reserve(len, PAGE)?,
            guard,
            size: 0,
            backed: 0,
        })
    }
}

// SAFETY: the pointer is that of a range which lives as long as this does and never moves; `byte_size` bytes from there
// on are backed.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.range.len().saturating_sub(self.guard.saturating_mul(2))
    }

    /// Backs what is new, or changes nothing.
    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        let no_memory = || Error::msg(NO_MEMORY);
        if size > self.byte_capacity() {
            return Err(no_memory());
        }
        let end = size.checked_next_multiple_of(PAGE).ok_or_else(no_memory)?;
        if let Some(more @ 1..) = end.checked_sub(self.backed) {
            let from = self.guard.checked_add(self.backed).ok_or_else(no_memory)?;
            back(&self.range, from, more)?;
            self.backed = end;
        }
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.range.start().as_ptr().wrapping_add(self.guard)
    }
}

/// Whether the processor has a feature, by wasmtime's name for it; [`None`] for one that no level of ours needs.
#[cfg(target_arch = "x86_64")]
fn has_feature(name: &str) -> Option<bool> {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    const OSXSAVE: u32 = 1 << 27;
    /// What the kernel saves when it switches tasks: the registers of SSE and AVX.
    const AVX_STATE: u64 = 0b110;

    let basic = __cpuid(1);
    let structured = || __cpuid_count(7, 0);
    // SAFETY: the processor has XGETBV where the kernel has enabled it, which this bit says.
    let avx_is_saved = || basic.ecx & OSXSAVE != 0 && unsafe { _xgetbv(0) } & AVX_STATE == AVX_STATE;
    let (register, bit, is_avx) = match name {
        "sse3" => (basic.ecx, 0, false),
        "ssse3" => (basic.ecx, 9, false),
        "cmpxchg16b" => (basic.ecx, 13, false),
        "sse4.1" => (basic.ecx, 19, false),
        "sse4.2" => (basic.ecx, 20, false),
        "popcnt" => (basic.ecx, 23, false),
        "fma" => (basic.ecx, 12, true),
        "avx" => (basic.ecx, 28, true),
        "avx2" => (structured().ebx, 5, true),
        "bmi1" => (structured().ebx, 3, false),
        "bmi2" => (structured().ebx, 8, false),
        "lzcnt" => (__cpuid(0x8000_0001).ecx, 5, false),
        _ => return None,
    };
    Some(register >> bit & 1 != 0 && (!is_avx || avx_is_saved()))
}

/// As above.
#[cfg(target_arch = "aarch64")]
fn has_feature(name: &str) -> Option<bool> {
    if name != "lse" {
        return None;
    }
    let features: u64;
    // SAFETY: reads a register that tells what the processor can do.
    unsafe {
        core::arch::asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
    };
    // Atomic, bits 23 to 20.
    Some(features >> 20 & 0xf >= 2)
}

/// As above. wasmtime asks for nothing here, so [`Machine::lacks`] does.
#[cfg(target_arch = "riscv64")]
fn has_feature(name: &str) -> Option<bool> {
    /// The least that the extension V has.
    const VECTOR: usize = 16;

    (name == "v").then(|| vector_bytes() >= VECTOR)
}

/// Bytes of a vector register; 0 without vectors.
///
/// The register that says so is none there, and reading it is an illegal instruction, also where the kernel could not
/// turn vectors on. The field of `sstatus` by which it does would not do: QEMU 7.2 lets that be set on any processor.
///
/// Spec: RISC-V "V" Vector Extension, 3.4 (`vlenb`); Privileged Architecture, 12.1.2 (`stvec`).
#[cfg(target_arch = "riscv64")]
fn vector_bytes() -> usize {
    let bytes: usize;
    // SAFETY: interrupts stay off, so the only trap there can be is that of the illegal instruction. It goes on behind
    // it: nothing but `bytes` has changed, which is then 0, and what a trap changes in `sstatus`, which is put back, as
    // is the kernel's entry for traps. What else a trap notes is read in traps alone, and this is in none.
    unsafe {
        core::arch::asm!(
            "csrrci {status}, sstatus, 2",
            "lla {kernels}, 2f",
            "csrrw {kernels}, stvec, {kernels}",
            "csrr {bytes}, 0xc22",
            ".balign 4",
            "2:",
            "csrw stvec, {kernels}",
            "csrw sstatus, {status}",
            status = out(reg) _,
            kernels = out(reg) _,
            bytes = inout(reg) 0_usize => bytes,
            options(nomem, nostack),
        );
    }
    bytes
}
