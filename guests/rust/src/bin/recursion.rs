//! Recurses as deep as its first argument says; without one, until the stack is exhausted.

use std::hint::black_box;

fn main() {
    let depth = std::env::args()
        .nth(1)
        .and_then(|depth| depth.parse().ok())
        .unwrap_or(u64::MAX);
    println!("going down");
    println!("sum {}", sum(depth));
}

fn sum(n: u64) -> u64 {
    if black_box(n) == 0 {
        0
    } else {
        black_box(n).wrapping_add(sum(n - 1))
    }
}
