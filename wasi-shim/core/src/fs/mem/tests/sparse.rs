//! Files with holes: what they hold, and what they cost.

use super::*;

const CHUNK_U64: u64 = CHUNK as u64;

#[test]
fn holes_are_zeros_and_cost_nothing() {
    let mut fs = MemFs::new(NONE, 0);
    let x = file(&mut fs, b"x");
    fs.set_size(x, 1 << 43, &mut at(0)).expect("holes are free");
    assert_eq!(fs.used().bytes, 0);
    assert_eq!(read(&mut fs, x, (1 << 43) - 3, 10), [0; 3]);
    write(&mut fs, x, 1 << 40, b"abc");
    assert!(fs.used().bytes <= 64);
    assert_eq!(read(&mut fs, x, (1 << 40) - 2, 7), *b"\0\0abc\0\0");
    // Before it too, and at both ends of a chunk.
    write(&mut fs, x, 5 * CHUNK_U64 - 1, b"12");
    assert_eq!(read(&mut fs, x, 5 * CHUNK_U64 - 2, 4), *b"\x0012\0");
    assert!(fs.used().bytes <= 2 * CHUNK_U64);
    fs.set_size(x, 0, &mut at(0)).expect("it can shrink");
    assert_eq!(fs.used().bytes, 0);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_file_grows_by_what_it_needs() {
    let mut fs = MemFs::new(NONE, 0);
    let x = file(&mut fs, b"x");
    let mut total = 0;
    for len in [1, 10, 100, 1000, 10_000, 100_000, 1_000_000] {
        let data = alloc::vec![7; len];
        assert_eq!(
            fs.append(x, &data, &mut at(0)),
            Ok((len, total + len as u64)),
            "{len}"
        );
        total += len as u64;
        assert!(
            fs.used().bytes >= total && fs.used().bytes <= 2 * total + 64,
            "{len}"
        );
    }
    assert!(read(&mut fs, x, 0, 2_000_000).iter().all(|byte| *byte == 7));
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn backwards_is_as_good_as_forwards() {
    let mut fs = MemFs::new(NONE, 0);
    let x = file(&mut fs, b"x");
    for index in (0..200_u64).rev() {
        write(&mut fs, x, index * 10_000, &[index as u8; 10_000]);
    }
    for index in 0..200_u64 {
        assert_eq!(read(&mut fs, x, index * 10_000, 10_000), [index as u8; 10_000]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn all_of_the_quota_can_be_used_and_no_more() {
    for limit in [
        0,
        1,
        63,
        64,
        65,
        1000,
        CHUNK_U64,
        CHUNK_U64 + 1,
        3 * CHUNK_U64 - 1,
        1_000_000,
    ] {
        for step in [1, 7, 1000, CHUNK, 2_000_000] {
            if limit / step as u64 > 5000 {
                continue;
            }
            let mut fs = MemFs::new(
                Limits {
                    bytes: limit,
                    entries: 2,
                },
                0,
            );
            let x = file(&mut fs, b"x");
            let data = alloc::vec![1; step];
            let mut total = 0;
            let end = loop {
                match fs.append(x, &data, &mut at(0)) {
                    Ok((count, end)) => {
                        total += count as u64;
                        assert_eq!(end, total);
                    }
                    Err(errno) => break errno,
                }
            };
            assert_eq!((end, total), (Errno::NOSPC, limit), "{limit} by {step}");
            assert_eq!(fs.used().bytes, limit);
            // Of what is there, everything can still be read, overwritten and given back.
            if limit > 0 {
                write(&mut fs, x, limit - 1, b"x");
                assert_eq!(read(&mut fs, x, limit - 1, 9), b"x");
                fs.set_size(x, 0, &mut at(0)).expect("it can shrink");
                assert_eq!(fs.used().bytes, 0);
                write(&mut fs, x, 0, b"x");
            }
        }
    }
}

#[test]
fn copying_what_is_shared_needs_room_for_all_of_a_chunk() {
    let archive = Bytes::Static(&[9; 1000]);
    let limits = |bytes| Limits { bytes, entries: 2 };
    for (room, expected) in [(999, Err(Errno::NOSPC)), (1000, Ok(1)), (1064, Ok(1))] {
        let mut fs = MemFs::new(limits(room), 0);
        let root = fs.root();
        let node = fs
            .create_shared(root, b"x", archive.clone(), 0..1000, &mut at(0))
            .expect("sharing costs nothing");
        let x = fs.open(node, WRITE).expect("a file");
        assert_eq!(fs.write(x, 5, b"x", &mut at(0)), expected, "{room}");
        assert_eq!(read(&mut fs, x, 0, 9).len(), 9);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn allocating_takes_memory_and_shows_as_zeros() {
    let mut fs = MemFs::new(
        Limits {
            bytes: 10 * CHUNK_U64,
            entries: 2,
        },
        0,
    );
    let x = file(&mut fs, b"x");
    write(&mut fs, x, 10, b"abc");
    fs.allocate(x, 5, 3 * CHUNK_U64, &mut at(0))
        .expect("there is room");
    // Just what the range needs.
    assert_eq!(fs.used().bytes, 3 * CHUNK_U64 + 5);
    assert_eq!(read(&mut fs, x, 9, 5), *b"\0abc\0");
    // What cannot be had is not begun, and what was begun in vain is given back.
    let used = fs.used();
    for (offset, len) in [(0, 11 * CHUNK_U64), (4 * CHUNK_U64, 7 * CHUNK_U64), (0, MAX_SIZE)] {
        assert_eq!(fs.allocate(x, offset, len, &mut at(0)), Err(Errno::NOSPC));
        assert_eq!(fs.used(), used);
    }
    fs.allocate(x, 0, 10 * CHUNK_U64, &mut at(0)).expect("all of it");
    // Now every write has room.
    write(&mut fs, x, 0, &alloc::vec![1; 10 * CHUNK]);
}

#[test]
fn the_largest_size() {
    let mut fs = MemFs::new(NONE, 0);
    let x = file(&mut fs, b"x");
    assert_eq!(fs.set_size(x, MAX_SIZE + 1, &mut at(0)), Err(Errno::FBIG));
    assert_eq!(fs.write(x, MAX_SIZE, b"x", &mut at(0)), Err(Errno::FBIG));
    assert_eq!(fs.write(x, u64::MAX, b"x", &mut at(0)), Err(Errno::FBIG));
    assert_eq!(fs.write(x, MAX_SIZE - 1, b"xy", &mut at(0)), Ok(1));
    assert_eq!(fs.append(x, b"x", &mut at(0)), Err(Errno::FBIG));
    assert_eq!(fs.append(x, b"", &mut at(0)), Ok((0, MAX_SIZE)));
    assert_eq!(read(&mut fs, x, u64::MAX, 1), []);
    assert_eq!(read(&mut fs, x, MAX_SIZE - 1, 9), b"x");
    assert_eq!(fs.allocate(x, u64::MAX, u64::MAX, &mut at(0)), Err(Errno::FBIG));
}

/// 512 MiB in pieces, as a guest writes them: quick, and with nothing wasted.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn half_a_gigabyte() {
    let mut fs = MemFs::new(NONE, 0);
    let x = file(&mut fs, b"x");
    let piece = alloc::vec![3; 1 << 20];
    for index in 0..512_u64 {
        write(&mut fs, x, index << 20, &piece);
    }
    assert_eq!(fs.used().bytes, 512 << 20);
    assert_eq!(read(&mut fs, x, (512 << 20) - 2, 9), [3, 3]);
}

#[test]
fn space_that_cannot_be_reserved_whole_is_not_reserved_in_part() {
    // A file of holes, one of which is filled: room for one chunk more, not for two.
    let mut fs = MemFs::new(
        Limits {
            bytes: 2 * CHUNK as u64 + 100,
            entries: 9,
        },
        0,
    );
    let x = file(&mut fs, b"x");
    fs.set_size(x, 4 * CHUNK as u64, &mut at(0))
        .expect("holes cost nothing");
    write(&mut fs, x, CHUNK as u64, b"data");
    let before = fs.used();
    assert_eq!(fs.allocate(x, 0, 3 * CHUNK as u64, &mut at(0)), Err(Errno::NOSPC));
    assert_eq!(fs.used(), before);
    fs.allocate(x, 0, 2 * CHUNK as u64, &mut at(0))
        .expect("that fits exactly");
    assert_eq!(fs.used().bytes, 2 * CHUNK as u64);
}
