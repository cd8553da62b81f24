//! CPU time: it passes while the program works and not while it sleeps; nobody can wait for it.

use std::time::Duration;

/// Time of a clock in nanoseconds.
fn now(clock: wasip1::Clockid) -> u64 {
    // SAFETY: the call has no preconditions.
    unsafe { wasip1::clock_time_get(clock, 1) }.expect("the clock is there")
}

const PROCESS: wasip1::Clockid = wasip1::CLOCKID_PROCESS_CPUTIME_ID;
const THREAD: wasip1::Clockid = wasip1::CLOCKID_THREAD_CPUTIME_ID;

/// How much the clocks may be off, in nanoseconds: they count in microseconds.
const ROUNDING: u64 = 10_000;

fn main() {
    for (name, clock) in [("process", PROCESS), ("thread", THREAD)] {
        // SAFETY: the call has no preconditions.
        let resolution = unsafe { wasip1::clock_res_get(clock) }.expect("a resolution");
        println!(
            "{name}: resolution below 1 s: {}",
            (1..=1_000_000_000).contains(&resolution)
        );
    }

    // A program that waits for its own CPU time, as benchmarks do, ends.
    let start = now(PROCESS);
    while now(PROCESS) < start + 2_000_000 {}
    println!("it passes while the program works");
    let [process, thread, again] = [now(PROCESS), now(THREAD), now(PROCESS)];
    println!("one thread, one clock: {}", process <= thread && thread <= again);

    let sleep = Duration::from_millis(50);
    let [wall, cpu] = [now(wasip1::CLOCKID_MONOTONIC), now(PROCESS)];
    std::thread::sleep(sleep);
    let [cpu, wall] = [now(PROCESS) - cpu, now(wasip1::CLOCKID_MONOTONIC) - wall];
    // Whatever else the time was spent on, it was not the sleep.
    let slept = u64::try_from(sleep.as_nanos()).expect("50 ms");
    println!(
        "it does not pass while the program sleeps: {}",
        cpu + slept <= wall + ROUNDING
    );

    let subscription = wasip1::Subscription {
        userdata: 1,
        u: wasip1::SubscriptionU {
            tag: wasip1::EVENTTYPE_CLOCK.raw(),
            u: wasip1::SubscriptionUU {
                clock: wasip1::SubscriptionClock {
                    id: PROCESS,
                    timeout: 1,
                    precision: 0,
                    flags: 0,
                },
            },
        },
    };
    let mut event = std::mem::MaybeUninit::<wasip1::Event>::uninit();
    // SAFETY: both pointers are valid for one element.
    let result = unsafe { wasip1::poll_oneoff(&subscription, event.as_mut_ptr(), 1) };
    println!("waiting for it: {:?}", result.map_err(|errno| errno.name()));
}
