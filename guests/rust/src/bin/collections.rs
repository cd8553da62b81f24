//! Ordinary work of the standard library: hashing, sorting, strings, big loops.

use std::collections::{BTreeMap, HashMap};

fn main() {
    let text = "the quick brown fox jumps over the lazy dog the end";
    let mut counts = HashMap::new();
    for word in text.split(' ') {
        *counts.entry(word).or_insert(0) += 1;
    }
    let sorted: BTreeMap<_, _> = counts.iter().collect();
    println!("{sorted:?}");

    let mut state = 1u32;
    let mut numbers: Vec<u32> = (0..20_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        })
        .collect();
    numbers.sort_unstable();
    println!("sorted: {}, middle {}", numbers.is_sorted(), numbers[10_000]);

    let mut sieve = vec![true; 50_000];
    for n in 2..224 {
        if sieve[n] {
            (n * n..sieve.len())
                .step_by(n)
                .for_each(|multiple| sieve[multiple] = false);
        }
    }
    println!(
        "primes below 50000: {}",
        sieve.iter().skip(2).filter(|prime| **prime).count()
    );
    println!("{}", "äöü € 𝄞".chars().rev().collect::<String>());
    println!("{:?}", i128::MAX / 12_345_678_901_234_567_890);
}
