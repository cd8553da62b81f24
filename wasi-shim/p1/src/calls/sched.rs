//! `sched_yield`: let others run.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{context::WasiP1Ctx, error::Error, memory::GuestMemory};

/// Gives up the processor for a moment.
///
/// ```c
/// errno sched_yield(void);
/// ```
///
/// Never fails.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sched_yield>
pub fn sched_yield<S: System>(ctx: &mut WasiP1Ctx<S>, _mem: &mut GuestMemory<'_>) -> Result<(), Error> {
    ctx.core.system.yield_now();
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
        assert_eq!(bed.ctx.core.system.yields, 1);
    }
}
