//! Archives that are cut off, damaged or malformed, and bytes that are none.

use super::*;

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn an_archive_cut_off_anywhere_is_an_error() {
    let bytes = sample();
    // All but the second block of the end mark is needed.
    for len in 0..bytes.len() - 512 {
        let error = error(bytes[..len].to_vec());
        assert_eq!(error, TarErrorKind::Truncated, "{len}");
    }
    assert!(load_into(Limits::NONE, bytes[..bytes.len() - 512].to_vec()).is_ok());
    // What comes after the end does not matter.
    let mut more = bytes;
    more.extend([0xee; 1000]);
    assert!(load_into(Limits::NONE, more).is_ok());
}

#[test]
fn a_damaged_header_is_an_error() {
    let bytes = sample();
    for at in (0..512).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x15;
        assert_eq!(error(damaged), TarErrorKind::Checksum, "{at}");
    }
    assert_eq!(error(alloc::vec![b'x'; 2048]), TarErrorKind::Checksum);
    let mut hole = sample();
    hole.splice(0..0, [0; 512]);
    assert_eq!(error(hole), TarErrorKind::Checksum);
}

#[test]
fn numbers_that_are_none_or_too_large() {
    let with = |field: core::ops::Range<usize>, value: &[u8]| {
        let mut archive = Archive::new(Vec::new());
        let mut header = header(EntryType::Regular, 0);
        header.set_path("x").expect("short");
        header.as_mut_bytes()[field][..value.len()].copy_from_slice(value);
        header.set_cksum();
        archive.append(&header, &[][..]).expect("memory");
        finish(archive)
    };
    for value in [
        &b"00000000008\0"[..],
        b"-1\0",
        b"1 2\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert_eq!(error(with(124..136, value)), TarErrorKind::Number("size"));
    }
    let binary = |byte| [0x80, 0, 0, byte, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(error(with(124..136, &binary(1))), TarErrorKind::Number("size"));
    assert_eq!(error(with(124..136, &binary(0))), TarErrorKind::Truncated);
    assert_eq!(error(with(124..136, b"77777777777\0")), TarErrorKind::Truncated);
    assert_eq!(error(with(136..148, b"x")), TarErrorKind::Number("mtime"));
    assert_eq!(loaded(with(136..148, &[0xff; 12])).len(), 1, "before 1970");
    assert_eq!(loaded(with(124..136, b"         0 \0")).len(), 1, "blanks");
}

#[test]
fn extended_headers_that_are_malformed() {
    for (data, what) in [
        (&b"x"[..], "length"),
        (b"\n", "length"),
        (b"99999999999999999999999 a=b\n", "length"),
        (b"0 a=b\n", "record"),
        (b"1 a=b\n", "record"),
        (b"2 a=b\n", "record"),
        (b"5 a=b\n", "record"),
        (b"7 a=b\n", "record"),
        (b"6 a=b\nx", "length"),
        (b"6 a b\n", "record"),
        (b"10 size=x\n", "size"),
        (b"29 size=99999999999999999999\n", "size"),
        (b"11 mtime=x\n", "mtime"),
        (b"13 mtime=1.x\n", "mtime"),
        (b"11 mtime=.\n", "mtime"),
    ] {
        let mut archive = Archive::new(Vec::new());
        pax_raw(&mut archive, EntryType::XHeader, data);
        add_file(&mut archive, "x", b"");
        let text = String::from_utf8_lossy(data);
        assert_eq!(error(finish(archive)), TarErrorKind::Extended(what), "{text}");
    }
}

/// Whatever the bytes, there is an answer.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn garbage_does_no_harm() {
    let bytes = sample();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..=next() % 3 {
            let at = next() % damaged.len();
            damaged[at] = next() as u8;
        }
        // Right checksums, so that more than these is tested.
        for block in damaged.chunks_exact_mut(512) {
            if block.iter().any(|byte| *byte != 0) && next() % 8 != 0 && (block[156].is_ascii_alphanumeric())
            {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(alloc::format!("{sum:06o}\0 ").as_bytes());
            }
        }
        match load_into(Limits::NONE, damaged) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 100 && bad > 100, "too dull: {good} good, {bad} bad");
}
