//! `clock_res_get`, `clock_time_get`: time.
//!
//! Layer: calls.

use wasi_core::{Clock, System};

use crate::{
    abi::types::Timestamp,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Returns the resolution of a clock.
///
/// ```c
/// errno clock_res_get(clockid id, timestamp *resolution);
/// ```
///
/// - `id`: the clock.
/// - `resolution`: gets its smallest step in nanoseconds; never 0.
///
/// **Errors:** INVAL: no such clock on this machine, or none with this number.
///
/// **Traps:** `resolution` out of bounds or not a multiple of 8.
///
/// **Deviations:** wasmtime answers BADF for the CPU-time clocks and traps on an unknown number; the
/// specification says INVAL.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#clock_res_get>
pub fn clock_res_get<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    id: Clock,
    resolution: Ptr<Timestamp>,
) -> Result<(), Error> {
    let step = ctx.core.system.clock_resolution(id)?;
    mem.write(resolution, step)
}

/// Returns the time of a clock.
///
/// ```c
/// errno clock_time_get(clockid id, timestamp precision, timestamp *time);
/// ```
///
/// - `id`: the clock.
/// - `precision`: how late, in nanoseconds, the answer may be. Not used: the answer is always the time now.
/// - `time`: gets the time in nanoseconds: since 1970-01-01T00:00:00Z for `realtime`, else since an unnamed point.
///
/// **Errors:** INVAL: no such clock on this machine, or none with this number.
///
/// **Traps:** `time` out of bounds or not a multiple of 8.
///
/// **Deviations:** as for [`clock_res_get`].
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#clock_time_get>
pub fn clock_time_get<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    id: Clock,
    _precision: Timestamp,
    time: Ptr<Timestamp>,
) -> Result<(), Error> {
    let now = ctx.core.system.clock_time(id)?;
    mem.write(time, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        abi::Errno,
        calls::testbed::{SIZE, TestBed},
    };
    use wasi_core::testing::TestSystem;

    fn bed() -> TestBed {
        TestBed::on(TestSystem {
            realtime: 0x0102_0304_0506_0708,
            monotonic: 9,
            resolution: 100,
            ..TestSystem::default()
        })
    }

    #[test]
    fn clock_time_get_writes_the_time() {
        let time = [8, 7, 6, 5, 4, 3, 2, 1];
        bed().ok(
            |ctx, mem| clock_time_get(ctx, mem, Clock::Realtime, 0, Ptr::new(8)),
            &[(8, &time)],
        );
        let time = [9, 0, 0, 0, 0, 0, 0, 0];
        bed().ok(
            |ctx, mem| clock_time_get(ctx, mem, Clock::Monotonic, u64::MAX, Ptr::new(SIZE - 8)),
            &[(SIZE - 8, &time)],
        );
    }

    #[test]
    fn clock_time_get_is_inval_for_a_clock_that_is_not_there() {
        for clock in [Clock::ProcessCpuTime, Clock::ThreadCpuTime] {
            bed().errno(
                |ctx, mem| clock_time_get(ctx, mem, clock, 0, Ptr::new(8)),
                Errno::INVAL,
            );
            bed().errno(
                |ctx, mem| clock_res_get(ctx, mem, clock, Ptr::new(8)),
                Errno::INVAL,
            );
        }
    }

    #[test]
    fn cpu_time_is_told_where_there_is_a_clock() {
        let mut bed = TestBed::on(TestSystem {
            cpu_time: Some(3),
            ..TestSystem::default()
        });
        bed.ok(
            |ctx, mem| clock_time_get(ctx, mem, Clock::ThreadCpuTime, 0, Ptr::new(0)),
            &[(0, &[3, 0, 0, 0, 0, 0, 0, 0])],
        );
    }

    #[test]
    fn clock_calls_trap_on_bad_pointers() {
        for address in [SIZE - 7, SIZE, 4, 9, u32::MAX] {
            bed().trap(|ctx, mem| clock_time_get(ctx, mem, Clock::Realtime, 0, Ptr::new(address)));
            bed().trap(|ctx, mem| clock_res_get(ctx, mem, Clock::Realtime, Ptr::new(address)));
        }
    }

    #[test]
    fn clock_res_get_writes_the_resolution() {
        bed().ok(
            |ctx, mem| clock_res_get(ctx, mem, Clock::Monotonic, Ptr::new(16)),
            &[(16, &[100, 0, 0, 0, 0, 0, 0, 0])],
        );
    }
}
