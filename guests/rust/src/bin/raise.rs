//! Raises the signal that its argument numbers and prints the result, if it gets one.

fn main() {
    let signal = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a signal's number");
    println!("raising {signal}");
    // SAFETY: the call has no preconditions.
    let result = unsafe { wasip1::wasi_snapshot_preview1::proc_raise(signal) };
    println!("result: {}", guests::errno_name(result));
}
