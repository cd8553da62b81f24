//! Random numbers, names and paths that come again with the same seed.

/// A generator of random numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// One that a seed and a sequence's number determine.
    pub fn new(seed: u64, sequence: u64) -> Self {
        let mut mixed = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        let start = mixed
            .next()
            .wrapping_add(sequence.wrapping_mul(0x9e6c_63d0_a9d2_1e3b));
        Self(start)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A set of flags among the lowest `bits`, few of them.
    pub fn flags(&mut self, bits: u64) -> u32 {
        match self.below(10) {
            0..=5 => 0,
            6..=8 => 1 << self.below(bits),
            _ => self.below(1 << bits) as u32,
        }
    }

    /// `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// One of the few names that everything has, so that calls meet each other's files.
    pub fn name(&mut self) -> &'static str {
        self.pick(&["a", "b", "c", "d", "e", "f"])
    }

    /// A path that is likely to lead somewhere.
    pub fn tame_path(&mut self) -> Vec<u8> {
        let mut path = self.name().as_bytes().to_vec();
        while self.percent(25) {
            path.push(b'/');
            path.extend_from_slice(self.name().as_bytes());
        }
        path
    }

    /// Any path: most are tame, some are not even a path.
    pub fn path(&mut self) -> Vec<u8> {
        match self.below(100) {
            0..=44 => self.tame_path(),
            45 => Vec::new(),
            46 => self.long_path(),
            _ => self.odd_path(),
        }
    }

    fn odd_path(&mut self) -> Vec<u8> {
        let mut path = Vec::new();
        if self.percent(3) {
            path.push(b'/');
        }
        loop {
            match self.below(100) {
                0..=13 => path.extend_from_slice(b".."),
                14..=21 => path.push(b'.'),
                22..=23 => {}
                24..=26 => path.extend_from_slice(&self.odd_name()),
                _ => path.extend_from_slice(self.name().as_bytes()),
            }
            if !self.percent(50) {
                break;
            }
            path.push(b'/');
        }
        while self.percent(15) {
            path.push(b'/');
        }
        path
    }

    fn odd_name(&mut self) -> Vec<u8> {
        match self.below(14) {
            0 => vec![b'x'; 255],
            1 => vec![b'x'; 256],
            2 => vec![b'y'; 4000],
            3 => b"a\0b".to_vec(),
            4 => b"\0".to_vec(),
            5 => b"\xff".to_vec(),
            6 => b"\xed\xa0\x80".to_vec(),                  // a surrogate
            7 => "\u{e9}\u{1f980}".repeat(42).into_bytes(), // 252 bytes
            8 => b" ".to_vec(),
            9 => b"a\\b".to_vec(),
            10 => b"...".to_vec(),
            11 => b"a\n".to_vec(),
            12 => b"*".to_vec(),
            _ => b"c:".to_vec(),
        }
    }

    /// About as long as a path may be, of components that are short or as long as they may be.
    fn long_path(&mut self) -> Vec<u8> {
        let unit: Vec<u8> = match self.below(4) {
            0 => b"./".to_vec(),
            1 => b"a/".to_vec(),
            2 => b"/".to_vec(),
            _ => [vec![b'x'; 255], b"/".to_vec()].concat(),
        };
        let length = self.pick(&[1022, 4093, 4094, 4095, 4096, 4097, 6000]);
        let mut path = if self.percent(50) {
            b"a/".to_vec()
        } else {
            b"./".to_vec()
        };
        while path.len() < length {
            path.extend_from_slice(&unit);
        }
        path.truncate(length);
        path
    }
}

/// A path for people: what is not printable escaped, what is long cut, with its length and a check sum, but still with what
/// makes it no path.
pub fn shown(path: &[u8]) -> String {
    let escape = |bytes: &[u8]| bytes.escape_ascii().to_string().replace(' ', "\\x20");
    match path.get(..24) {
        Some(start) if path.len() > 60 => {
            let no_text = if str::from_utf8(path).is_err() {
                "\\xff"
            } else {
                ""
            };
            let zero = if path.contains(&0) { "\\x00" } else { "" };
            let (start, length, sum) = (escape(start), path.len(), checksum(path));
            format!("\"{start}{no_text}{zero}\"+{length}#{sum:08x}")
        }
        _ => format!("\"{}\"", escape(path)),
    }
}

/// FNV-1a, 32 bits.
pub fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
