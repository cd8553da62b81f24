//! `environ_get`, `environ_sizes_get`: the guest's environment.
//!
//! Layer: calls.

use super::{write_sizes, write_strings};
use crate::{
    abi::types::Size,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Reads the environment.
///
/// ```c
/// errno environ_get(uint8_t **environ, uint8_t *environ_buf);
/// ```
///
/// - `environ`: where to put a pointer to each variable; as many as `environ_sizes_get` says.
/// - `environ_buf`: where to put the variables, each `name=value` ended by a zero byte.
///
/// **Traps:** either region out of bounds, `environ` not a multiple of 4. Nothing is written then.
///
/// **Layout:** for `A=1`, `B=`: `environ` = `[environ_buf, environ_buf + 4]` as u32le, `environ_buf` =
/// `"A=1\0B=\0"`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#environ_get>
pub fn environ_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    environ: Ptr<Ptr<u8>>,
    environ_buf: Ptr<u8>,
) -> Result<(), Error> {
    write_strings(mem, ctx.core.env(), environ, environ_buf)
}

/// Tells how much room `environ_get` needs.
///
/// ```c
/// errno environ_sizes_get(size *environc, size *environ_buf_size);
/// ```
///
/// - `environc`: gets the number of variables.
/// - `environ_buf_size`: gets the number of their bytes, the zero bytes at their ends included.
///
/// **Traps:** either pointer out of bounds or not a multiple of 4. Nothing is written then.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#environ_sizes_get>
pub fn environ_sizes_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    environc: Ptr<Size>,
    environ_buf_size: Ptr<Size>,
) -> Result<(), Error> {
    write_sizes(mem, ctx.core.env(), environc, environ_buf_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::testbed::{SIZE, TestBed, le32};
    use wasi_core::context::BuildError;
    use wasi_core::{context::WasiCtxBuilder, testing::TestSystem};

    fn bed() -> TestBed {
        let builder = WasiCtxBuilder::new()
            .env("A", "1=2")
            .and_then(|builder| builder.env("B", ""));
        TestBed::of(builder.expect("valid variables").build(TestSystem::default()))
    }

    #[test]
    fn environ_get_writes_pointers_and_strings() {
        let pointers = [le32(65), le32(71)].concat();
        bed().ok(
            |ctx, mem| environ_get(ctx, mem, Ptr::new(4), Ptr::new(65)),
            &[(4, &pointers), (65, b"A=1=2\0B=\0")],
        );
    }

    #[test]
    fn environ_get_traps_before_it_writes() {
        bed().trap(|ctx, mem| environ_get(ctx, mem, Ptr::new(0), Ptr::new(SIZE - 8)));
        bed().trap(|ctx, mem| environ_get(ctx, mem, Ptr::new(SIZE - 4), Ptr::new(0)));
        bed().trap(|ctx, mem| environ_get(ctx, mem, Ptr::new(2), Ptr::new(100)));
    }

    #[test]
    fn environ_sizes_get_counts_with_the_ends() {
        bed().ok(
            |ctx, mem| environ_sizes_get(ctx, mem, Ptr::new(0), Ptr::new(4)),
            &[(0, &[le32(2), le32(9)].concat())],
        );
        bed().trap(|ctx, mem| environ_sizes_get(ctx, mem, Ptr::new(0), Ptr::new(SIZE - 3)));
        bed().trap(|ctx, mem| environ_sizes_get(ctx, mem, Ptr::new(1), Ptr::new(8)));
    }

    #[test]
    fn the_builder_refuses_what_a_guest_could_not_parse() {
        let new = WasiCtxBuilder::new;
        assert_eq!(new().arg("a\0b").err(), Some(BuildError::Nul));
        assert_eq!(new().env("A", "\0").err(), Some(BuildError::Nul));
        assert_eq!(new().env("", "x").err(), Some(BuildError::BadName));
        assert_eq!(new().env("A=B", "x").err(), Some(BuildError::BadName));
    }
}
