//! `args_get`, `args_sizes_get`: the guest's arguments.
//!
//! Layer: calls.

use super::{write_sizes, write_strings};
use crate::{
    abi::types::Size,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Reads the arguments.
///
/// ```c
/// errno args_get(uint8_t **argv, uint8_t *argv_buf);
/// ```
///
/// - `argv`: where to put a pointer to each argument; as many as `args_sizes_get` says.
/// - `argv_buf`: where to put the arguments, each ended by a zero byte; as many bytes as `args_sizes_get` says.
///
/// **Traps:** either region out of bounds, `argv` not a multiple of 4. Nothing is written then.
///
/// **Layout:** for the arguments `a`, `bc`: `argv` = `[argv_buf, argv_buf + 2]` as u32le, `argv_buf` =
/// `"a\0bc\0"`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#args_get>
pub fn args_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    argv: Ptr<Ptr<u8>>,
    argv_buf: Ptr<u8>,
) -> Result<(), Error> {
    write_strings(mem, ctx.core.args(), argv, argv_buf)
}

/// Tells how much room `args_get` needs.
///
/// ```c
/// errno args_sizes_get(size *argc, size *argv_buf_size);
/// ```
///
/// - `argc`: gets the number of arguments.
/// - `argv_buf_size`: gets the number of their bytes, the zero bytes at their ends included.
///
/// **Traps:** either pointer out of bounds or not a multiple of 4. Nothing is written then.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#args_sizes_get>
pub fn args_sizes_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    argc: Ptr<Size>,
    argv_buf_size: Ptr<Size>,
) -> Result<(), Error> {
    write_sizes(mem, ctx.core.args(), argc, argv_buf_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::testbed::{SIZE, TestBed, le32};
    use wasi_core::{context::WasiCtxBuilder, testing::TestSystem};

    fn bed() -> TestBed {
        let builder = WasiCtxBuilder::new()
            .args(["a", "", "xyz"])
            .expect("valid arguments");
        TestBed::of(builder.build(TestSystem::default()))
    }

    #[test]
    fn args_get_writes_pointers_and_strings() {
        let pointers = [le32(101), le32(103), le32(104)].concat();
        bed().ok(
            |ctx, mem| args_get(ctx, mem, Ptr::new(16), Ptr::new(101)),
            &[(16, &pointers), (101, b"a\0\0xyz\0")],
        );
    }

    #[test]
    fn args_get_fills_memory_to_its_last_byte() {
        let pointers = [le32(SIZE - 7), le32(SIZE - 5), le32(SIZE - 4)].concat();
        let buf = SIZE - 7;
        bed().ok(
            |ctx, mem| args_get(ctx, mem, Ptr::new(0), Ptr::new(buf)),
            &[(0, &pointers), (buf, b"a\0\0xyz\0")],
        );
        let argv = SIZE - 12;
        let pointers = [le32(0), le32(2), le32(3)].concat();
        bed().ok(
            |ctx, mem| args_get(ctx, mem, Ptr::new(argv), Ptr::new(0)),
            &[(0, b"a\0\0xyz\0"), (argv, &pointers)],
        );
    }

    #[test]
    fn args_get_traps_one_past_the_end() {
        bed().trap(|ctx, mem| args_get(ctx, mem, Ptr::new(0), Ptr::new(SIZE - 6)));
        bed().trap(|ctx, mem| args_get(ctx, mem, Ptr::new(SIZE - 8), Ptr::new(0)));
        bed().trap(|ctx, mem| args_get(ctx, mem, Ptr::new(0), Ptr::new(u32::MAX)));
        bed().trap(|ctx, mem| args_get(ctx, mem, Ptr::new(u32::MAX - 3), Ptr::new(0)));
    }

    #[test]
    fn args_get_traps_on_misaligned_pointers() {
        bed().trap(|ctx, mem| args_get(ctx, mem, Ptr::new(18), Ptr::new(100)));
    }

    #[test]
    fn args_sizes_get_counts_with_the_ends() {
        bed().ok(
            |ctx, mem| args_sizes_get(ctx, mem, Ptr::new(8), Ptr::new(SIZE - 4)),
            &[(8, &le32(3)), (SIZE - 4, &le32(7))],
        );
    }

    #[test]
    fn args_sizes_get_traps_before_it_writes() {
        bed().trap(|ctx, mem| args_sizes_get(ctx, mem, Ptr::new(8), Ptr::new(SIZE)));
        bed().trap(|ctx, mem| args_sizes_get(ctx, mem, Ptr::new(SIZE), Ptr::new(8)));
        bed().trap(|ctx, mem| args_sizes_get(ctx, mem, Ptr::new(8), Ptr::new(14)));
        bed().trap(|ctx, mem| args_sizes_get(ctx, mem, Ptr::new(SIZE - 3), Ptr::new(8)));
    }

    #[test]
    fn no_arguments_dereference_nothing() {
        let mut bed = TestBed::new();
        bed.ok(
            |ctx, mem| args_get(ctx, mem, Ptr::new(u32::MAX), Ptr::new(u32::MAX)),
            &[],
        );
        bed.ok(
            |ctx, mem| args_sizes_get(ctx, mem, Ptr::new(0), Ptr::new(4)),
            &[(0, &[0; 8])],
        );
    }
}
