//! Gives WASI calls addresses outside of the program's memory and numbers that mean nothing: a trap or an errno, never
//! a crash. The argument chooses the call.

use std::arch::wasm32::memory_size;
use wasip1::wasi_snapshot_preview1 as raw;

/// A list of one buffer, and room for a result.
static mut IOVEC: [u32; 4] = [0; 4];
/// Room for a time or a subscription, whose first bytes are user data, kind and clock.
static mut SUBSCRIPTION: [u64; 8] = [0; 8];

fn main() {
    let end = (memory_size(0) * 65_536) as i32;
    let call = std::env::args().nth(1).unwrap_or_default();
    let iovec = (&raw mut IOVEC).addr() as i32;
    let subscription = (&raw mut SUBSCRIPTION).addr() as i32;
    // SAFETY: that the addresses are wrong is the point: the machine has to notice. What they name inside the
    // memory is the two statics only, which nothing else uses.
    let result = unsafe {
        match call.as_str() {
            "vectors-outside" => raw::fd_write(1, end - 4, 1, iovec),
            "vectors-misaligned" => raw::fd_write(1, iovec + 1, 1, iovec + 8),
            "bytes-outside" => {
                IOVEC = [end as u32 - 8, 9, 0, 0];
                raw::fd_write(1, iovec, 1, iovec + 8)
            }
            "length-huge" => {
                IOVEC = [16, u32::MAX, 0, 0];
                raw::fd_write(1, iovec, 1, iovec + 8)
            }
            "too-many-vectors" => raw::fd_write(1, iovec, i32::MAX, iovec + 8),
            "result-outside" => raw::fd_write(1, iovec, 1, end),
            "random-outside" => raw::random_get(end - 8, 9),
            "random-at-the-end" => raw::random_get(end - 8, 8),
            "nothing-outside" => raw::random_get(end + 1000, 0),
            "time-outside" => raw::clock_time_get(0, 0, end),
            "time-at-the-end" => raw::clock_time_get(0, 0, end - 8),
            "args-outside" => raw::args_get(end, end),
            "args-sizes-far-outside" => raw::args_sizes_get(-4, -8),
            "poll-too-many" => raw::poll_oneoff(subscription, subscription, i32::MAX, iovec),
            "poll-unknown-kind" => {
                SUBSCRIPTION = [0, 7, 0, 0, 0, 0, 0, 0];
                raw::poll_oneoff(subscription, subscription, 1, iovec)
            }
            "closed-before-outside" => raw::fd_write(9, end, 1, end),
            "clock-9" => raw::clock_time_get(9, 0, subscription),
            "whence-9" => raw::fd_seek(0, 0, 9, subscription),
            "signal-99" => raw::proc_raise(99),
            _ => panic!("unknown call '{call}'"),
        }
    };
    println!("{call}: {}", guests::errno_name(result));
}
