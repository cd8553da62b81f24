//! The calls of a guest whose run is the same each time, where they differ from the others: apart from those, so that
//! nobody else pays for it.
//!
//! Layer: calls. [`wasi_core::deterministic`] is what they tell of. Waiting, input and directories are its too, beneath
//! the calls that everybody has.

use wasi_core::{Clock, System, deterministic::RESOLUTION};

use crate::{
    abi::{
        Errno,
        types::{Size, Timestamp},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// As [`clock_res_get`](super::clock::clock_res_get): every clock counts in nanoseconds.
pub fn clock_res_get<S>(
    _: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    _: Clock,
    resolution: Ptr<Timestamp>,
) -> Result<(), Error> {
    mem.write(resolution, RESOLUTION)
}

/// As [`clock_time_get`](super::clock::clock_time_get): time passes with the fuel that the guest spends, and where it
/// sleeps.
pub fn clock_time_get<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    id: Clock,
    _precision: Timestamp,
    time: Ptr<Timestamp>,
) -> Result<(), Error> {
    let now = ctx.core.clock_time(id)?;
    mem.write(time, now)
}

/// As [`random_get`](super::random::random_get): what the generator makes of the seed.
///
/// **Errors:** NOSYS if the run is another.
pub fn random_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    buf: Ptr<u8>,
    buf_len: Size,
) -> Result<(), Error> {
    let bytes = mem.bytes_mut(buf, buf_len)?;
    // The machine's own is not asked here: a second caller would cost its first one the inlining.
    let world = ctx.core.deterministic().ok_or(Errno::NOSYS)?;
    world.fill_random(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::testbed::{SIZE, TestBed};
    use wasi_core::{WasiCtxBuilder, deterministic::Deterministic, testing::TestSystem};

    fn bed() -> TestBed {
        let mut bed = TestBed::on(TestSystem {
            random: None,
            ..TestSystem::default()
        });
        let world = Deterministic::new(0, 1_000);
        world.time().set_left(1_000 - 0x0102);
        bed.ctx = WasiP1Ctx::new(
            WasiCtxBuilder::new()
                .deterministic(world)
                .build(TestSystem::default()),
        );
        bed
    }

    #[test]
    fn clocks_tell_the_fuel() {
        bed().ok(
            |ctx, mem| clock_time_get(ctx, mem, Clock::Monotonic, 0, Ptr::new(8)),
            &[(8, &[2, 1, 0, 0, 0, 0, 0, 0])],
        );
        bed().ok(
            |ctx, mem| clock_time_get(ctx, mem, Clock::ThreadCpuTime, 0, Ptr::new(8)),
            &[(8, &[2, 1, 0, 0, 0, 0, 0, 0])],
        );
        bed().ok(
            |ctx, mem| clock_res_get(ctx, mem, Clock::Realtime, Ptr::new(8)),
            &[(8, &[1, 0, 0, 0, 0, 0, 0, 0])],
        );
    }

    #[test]
    fn random_numbers_are_the_generators() {
        bed().ok(
            |ctx, mem| random_get(ctx, mem, Ptr::new(8), 4),
            &[(8, &[0x76, 0xb8, 0xe0, 0xad])],
        );
    }

    #[test]
    fn bad_pointers_trap() {
        bed().trap(|ctx, mem| clock_time_get(ctx, mem, Clock::Realtime, 0, Ptr::new(SIZE)));
        bed().trap(|ctx, mem| clock_res_get(ctx, mem, Clock::Realtime, Ptr::new(SIZE)));
        bed().trap(|ctx, mem| random_get(ctx, mem, Ptr::new(SIZE), 1));
    }
}
