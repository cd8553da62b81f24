//! Checks the clocks: the monotonic one never goes back, the real one is plausible, resolutions are sane.

use std::time::{Duration, Instant, SystemTime};

/// 2026-01-01 00:00 UTC in seconds since 1970.
const YEAR_2026: u64 = 1_767_225_600;
/// 2100-01-01 00:00 UTC in seconds since 1970.
const YEAR_2100: u64 = 4_102_444_800;

fn main() {
    let start = Instant::now();
    let mut last = start;
    let mut moved = false;
    for _ in 0..1000 {
        let now = Instant::now();
        assert!(now >= last, "the monotonic clock went back");
        moved |= now > last;
        last = now;
    }
    println!("monotonic clock never goes back: true, moves: {moved}");

    let real = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    println!(
        "real time between 2026 and 2100: {}",
        (YEAR_2026..YEAR_2100).contains(&real)
    );

    let real = SystemTime::now();
    let elapsed = start.elapsed();
    while start.elapsed() < elapsed + Duration::from_millis(20) {}
    let passed = real.elapsed().expect("real time does not go back here");
    println!(
        "both clocks run alike: {}",
        (10..2000).contains(&passed.as_millis())
    );

    for (name, clock) in [
        ("realtime", wasip1::CLOCKID_REALTIME),
        ("monotonic", wasip1::CLOCKID_MONOTONIC),
    ] {
        // SAFETY: the call has no preconditions.
        let resolution = unsafe { wasip1::clock_res_get(clock) }.expect("a resolution");
        println!(
            "{name} resolution between 1 ns and 1 s: {}",
            (1..=1_000_000_000).contains(&resolution)
        );
    }
}
