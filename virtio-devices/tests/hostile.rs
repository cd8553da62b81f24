//! Devices that lie: see `support/hostile.rs`.

#[path = "support/hostile.rs"]
mod hostile;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn nothing_that_a_device_says_panics_or_leads_elsewhere() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for _ in 0..4_000 {
        let len = numbers.next() % 600;
        let mut input: Vec<u8> = (0..len).map(|_| numbers.next().to_le_bytes()[0]).collect();
        // Devices that look as if they worked, mostly, of either kind.
        if let Some(first) = input.first_mut() {
            *first = match numbers.next() % 8 {
                0 | 1 => *first,
                2..5 => 2,
                _ => 130,
            };
        }
        hostile::check(&input);
    }
}
