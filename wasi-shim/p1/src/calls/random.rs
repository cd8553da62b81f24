//! `random_get`: random bytes.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{
    abi::types::Size,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Fills a buffer with random bytes of high quality.
///
/// ```c
/// errno random_get(uint8_t *buf, size buf_len);
/// ```
///
/// - `buf`: the buffer.
/// - `buf_len`: its length in bytes. Of any size; 0 asks nothing of the machine.
///
/// **Errors:** what the machine says; NOSYS where it has no source of entropy. Weak bytes are never handed out.
/// The content of the buffer is unspecified then.
///
/// **Traps:** the buffer is out of bounds; nothing is written then.
///
/// **Deviations:** wasmtime traps on more than 64 MiB.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#random_get>
pub fn random_get<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    buf: Ptr<u8>,
    buf_len: Size,
) -> Result<(), Error> {
    let bytes = mem.bytes_mut(buf, buf_len)?;
    if !bytes.is_empty() {
        ctx.core.system.fill_random(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        abi::Errno,
        calls::testbed::{SIZE, TestBed},
    };
    use wasi_core::testing::TestSystem;

    #[test]
    fn random_get_fills_exactly_the_buffer() {
        TestBed::new().ok(
            |ctx, mem| random_get(ctx, mem, Ptr::new(7), 3),
            &[(7, &[1, 2, 3])],
        );
        TestBed::new().ok(
            |ctx, mem| random_get(ctx, mem, Ptr::new(SIZE - 1), 1),
            &[(SIZE - 1, &[1])],
        );
    }

    #[test]
    fn random_get_of_nothing_needs_neither_memory_nor_a_source() {
        let mut bed = TestBed::on(TestSystem {
            random: None,
            ..TestSystem::default()
        });
        bed.ok(|ctx, mem| random_get(ctx, mem, Ptr::new(u32::MAX), 0), &[]);
    }

    #[test]
    fn random_get_without_a_source_is_the_machines_errno() {
        let mut bed = TestBed::on(TestSystem {
            random: None,
            ..TestSystem::default()
        });
        bed.errno(|ctx, mem| random_get(ctx, mem, Ptr::new(0), 8), Errno::NOSYS);
    }

    #[test]
    fn random_get_traps_out_of_bounds() {
        for (buf, len) in [
            (SIZE - 3, 4),
            (SIZE, 1),
            (0, SIZE + 1),
            (u32::MAX, u32::MAX),
            (4, u32::MAX),
        ] {
            TestBed::new().trap(|ctx, mem| random_get(ctx, mem, Ptr::new(buf), len));
        }
    }
}
