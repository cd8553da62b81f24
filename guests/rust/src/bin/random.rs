//! Draws random numbers: they differ, aren't zeros, and large requests are filled to the end.

use std::collections::HashSet;

fn main() {
    let mut first = [0; 32];
    let mut second = [0; 32];
    draw(&mut first);
    draw(&mut second);
    println!("two draws differ: {}", first != second);
    println!("not all zeros: {}", first != [0; 32] && second != [0; 32]);

    let mut large = vec![0; 1 << 20];
    draw(&mut large);
    let tail: HashSet<u8> = large.iter().rev().take(4096).copied().collect();
    println!("the end of 1 MiB is filled: {}", tail.len() > 200);
    let ones: u64 = large.iter().map(|byte| u64::from(byte.count_ones())).sum();
    // 2^22 bits set are expected; a deviation of 2^14 is eleven standard deviations.
    println!("half of the bits are set: {}", ones.abs_diff(1 << 22) < 1 << 14);
    let blocks: HashSet<&[u8]> = large.chunks(16).collect();
    println!("no block repeats: {}", blocks.len() == large.len() / 16);

    draw(&mut []);
    println!("an empty request: fine");
}

fn draw(buffer: &mut [u8]) {
    // SAFETY: pointer and length are those of the slice.
    unsafe { wasip1::random_get(buffer.as_mut_ptr(), buffer.len()) }.expect("a source of random numbers");
}
