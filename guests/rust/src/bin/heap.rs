//! Uses as many MiB of memory as its argument says, in blocks, and reads everything back.

fn main() {
    let blocks: u32 = std::env::args()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number of MiB");
    let memory: Vec<Vec<u32>> = (0..blocks)
        .map(|block| (0..1 << 18).map(|word| word ^ block.rotate_left(20)).collect())
        .collect();
    let sum = memory
        .iter()
        .flatten()
        .fold(0u32, |sum, word| sum.wrapping_mul(31).wrapping_add(*word));
    println!("{} MiB, checksum {sum:08x}", memory.len());
}
