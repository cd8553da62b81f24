//! Data of files.
//!
//! Layer: tests.

use std::io::Write as _;

use super::*;

/// Bytes of which no piece is like another.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8)
        .collect()
}

/// Longer than a server takes at once, with every size of a piece that a server may ask for.
#[test]
fn long_reads_and_writes() {
    let bytes = pattern(3 << 20);
    for (max_write, max_pages, expected) in [
        (1 << 20, 256, 1 << 20),
        (1 << 20, 32, 128 << 10),
        (64 << 10, 256, 64 << 10),
        (u32::MAX, u16::MAX, 1 << 20),
        (0, 0, 4096),
    ] {
        let config = Config {
            max_write,
            max_pages,
            ..Config::default()
        };
        let mut bed = TestBed::with(config);
        assert_eq!(bed.fs.max_transfer(), expected);
        // The server of the tests refuses what it has not offered.
        bed.client = bed.client.clone();
        let node = bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
        let handle = bed.fs.open(node, BOTH).expect("it can be opened");
        if max_write >= 4096 {
            assert_eq!(bed.fs.write(handle, 5, &bytes, &mut now), Ok(bytes.len()));
            let mut back = vec![0xa5; bytes.len() + 10];
            assert_eq!(bed.fs.read(handle, 0, &mut back, &mut now), Ok(bytes.len() + 5));
            assert_eq!(back[..5], [0; 5]);
            assert_eq!(back[5..bytes.len() + 5], bytes);
            assert_eq!(back[bytes.len() + 5..], [0xa5; 5]);
            assert_eq!(read(&bed.dir.join("f"))[5..], bytes);
        }
        bed.fs.close(handle);
        bed.settled();
    }
}

/// Beyond 4 GiB, in a file with a hole.
#[test]
fn far_offsets() {
    let mut bed = TestBed::new();
    let node = bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
    let handle = bed.fs.open(node, BOTH).expect("it can be opened");
    let far = (5 << 30) + 3;
    assert_eq!(bed.fs.write(handle, far, b"end", &mut now), Ok(3));
    let mut buf = [1; 8];
    assert_eq!(bed.fs.read(handle, far - 2, &mut buf, &mut now), Ok(5));
    assert_eq!(&buf[..5], b"\0\0end");
    assert_eq!(bed.fs.read(handle, far + 3, &mut buf, &mut now), Ok(0));
    assert_eq!(bed.fs.stat(node).expect("it is there").size, far + 3);
    bed.fs.close(handle);
    bed.settled();
}

/// Appending goes to the end that the host knows, whoever has written there.
#[test]
fn append() {
    let mut bed = TestBed::new();
    let path = bed.dir.join("f");
    write(&path, "one");
    let handle = bed.open("f", BOTH);
    assert_eq!(bed.fs.append(handle, b" two", &mut now), Ok((4, 7)));
    let mut other = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("the host can append");
    other.write_all(b" host").expect("the host can append");
    assert_eq!(bed.fs.append(handle, b" three", &mut now), Ok((6, 18)));
    // Nothing of that has moved writing at a place.
    assert_eq!(bed.fs.write(handle, 0, b"ONE", &mut now), Ok(3));
    assert_eq!(read(&path), b"ONE two host three");
    bed.fs.close(handle);

    // Even between the question where the end is and the write.
    let handle = bed.open("f", WRITE);
    bed.fs.append(handle, b"!", &mut now).expect("it is open");
    bed.client.tamper_with({
        let path = path.clone();
        move |opcode: u32, _: &mut Vec<u8>| {
            if opcode == fuse_abi::linux::fuse_opcode::FUSE_GETATTR as u32 {
                let mut file = std::fs::OpenOptions::new()
                    .append(true)
                    .open(&path)
                    .expect("it is there");
                file.write_all(b"between").expect("the host can append");
            }
        }
    });
    bed.fs.append(handle, b"?", &mut now).expect("it is open");
    assert_eq!(read(&path), b"ONE two host three!between?");
    bed.fs.close(handle);
    bed.settled();
}

/// Sizes, by handles that may write and those that may not.
#[test]
fn sizes() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "hello");
    for access in [READ, WRITE, BOTH] {
        let handle = bed.open("f", access);
        for size in [2, 9] {
            bed.fs
                .set_size(handle, size, &mut now)
                .expect("the host allows it");
            assert_eq!(read(&bed.dir.join("f")).len() as u64, size);
        }
        bed.fs.close(handle);
    }
    assert_eq!(read(&bed.dir.join("f")), b"he\0\0\0\0\0\0\0");
    let handle = bed.open("f", WRITE);
    bed.fs
        .allocate(handle, 100, 50, &mut now)
        .expect("the host can allocate");
    assert_eq!(read(&bed.dir.join("f")).len(), 150);
    bed.fs.close(handle);
    bed.settled();
}

/// A file that has lost its name goes on as long as it is open.
#[test]
fn unlinked() {
    let mut bed = TestBed::new();
    let node = bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
    let handle = bed.fs.open(node, BOTH).expect("it can be opened");
    bed.fs.unlink(bed.root, b"f", &mut now).expect("it has a name");
    bed.fs.begin_call();
    assert_eq!(bed.fs.write(handle, 0, b"still", &mut now), Ok(5));
    assert_eq!(bed.fs.append(handle, b" here", &mut now), Ok((5, 10)));
    let mut buf = [0; 16];
    assert_eq!(bed.fs.read(handle, 0, &mut buf, &mut now), Ok(10));
    assert_eq!(&buf[..10], b"still here");
    let stat = bed.fs.stat(node).expect("it is open");
    assert_eq!((stat.nlink, stat.size), (0, 10));
    bed.fs.set_size(handle, 3, &mut now).expect("it is open");
    bed.fs.sync(handle, true).expect("it is open");
    bed.fs.sync(handle, false).expect("it is open");
    bed.fs.close(handle);
    bed.settled();
}

/// What `create` has opened already is what `open` takes; if none comes for it, it is closed.
#[test]
fn created_files_are_opened_once() {
    let mut bed = TestBed::new();
    let opens = |bed: &TestBed| {
        let server = bed.client.server.borrow();
        let open = fuse_abi::linux::fuse_opcode::FUSE_OPEN as u32;
        server.requests.get(&open).copied().unwrap_or(0)
    };
    let node = bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
    let handle = bed.fs.open(node, BOTH).expect("it can be opened");
    assert_eq!(opens(&bed), 0);
    let second = bed.fs.open(node, READ).expect("it can be opened again");
    assert_eq!(opens(&bed), 1);
    bed.fs.close(handle);
    bed.fs.close(second);
    bed.fs.create(bed.root, b"g", &mut now).expect("a new file");
    bed.fs.create(bed.root, b"h", &mut now).expect("a new file");
    assert_eq!(bed.fs.create(bed.root, b"h", &mut now), Err(Errno::EXIST));
    bed.settled();
}

/// A flush is asked for once after each change, and what it says is told.
#[test]
fn flush_tells_late_errors() {
    let mut bed = TestBed::new();
    let node = bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
    let handle = bed.fs.open(node, BOTH).expect("it can be opened");
    bed.client.tamper_with(|opcode: u32, reply: &mut Vec<u8>| {
        if opcode == fuse_abi::linux::fuse_opcode::FUSE_FLUSH as u32 {
            reply[4..8].copy_from_slice(&(-libc::EDQUOT).to_ne_bytes());
        }
    });
    assert_eq!(bed.fs.flush(handle), Ok(()));
    bed.fs.write(handle, 0, b"x", &mut now).expect("it is open");
    assert_eq!(bed.fs.flush(handle), Err(Errno::DQUOT));
    assert_eq!(bed.fs.flush(handle), Ok(()));
    bed.fs.close(handle);
    bed.settled();
}
