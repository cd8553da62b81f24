//! Reads to the end of standard input, then tries again twice: the end stays the end.

use std::io::Read;

fn main() {
    let mut data = Vec::new();
    for attempt in 1..=3 {
        let count = std::io::stdin().read_to_end(&mut data).expect("reading works");
        println!("attempt {attempt}: {count} bytes");
    }
}
