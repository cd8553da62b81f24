//! `sched_yield`: let others run.
//!
//! Layer: calls.

use crate::{context::WasiCtx, error::Error, memory::GuestMemory, system::System};

/// Gives up the processor for a moment.
///
/// ```c
/// errno sched_yield(void);
/// ```
///
/// Never fails.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sched_yield>
pub fn sched_yield<S: System>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>) -> Result<(), Error> {
    ctx.system.yield_now();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::testbed::TestBed;

    #[test]
    fn sched_yield_yields() {
        let mut bed = TestBed::new();
        bed.ok(sched_yield, &[]);
        assert_eq!(bed.ctx.system.yields, 1);
    }
}
