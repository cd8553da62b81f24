//! Tests of the file system in memory: what the calls do not show.

#![expect(
    clippy::cast_possible_truncation,
    reason = "tests run on hosts of 64 bits, with numbers that were chosen to fit"
)]

mod model;
mod sparse;

use alloc::{sync::Arc, vec::Vec};

use super::{
    data::{CHUNK, MAX_SIZE},
    *,
};

const NONE: Limits = Limits::NONE;
const WRITE: Access = Access {
    read: true,
    write: true,
};

/// A clock that stands still.
fn at(time: Timestamp) -> impl FnMut() -> Timestamp {
    move || time
}

fn file(fs: &mut MemFs, name: &[u8]) -> Handle {
    let root = fs.root();
    let node = fs.create(root, name, &mut at(0)).expect("there is room");
    fs.open(node, WRITE).expect("it can be opened")
}

#[track_caller]
fn write(fs: &mut MemFs, file: Handle, offset: u64, data: &[u8]) {
    assert_eq!(fs.write(file, offset, data, &mut at(0)), Ok(data.len()));
}

fn read(fs: &mut MemFs, file: Handle, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = alloc::vec![0xee; len];
    let count = fs.read(file, offset, &mut buf, &mut at(0)).expect("a file");
    buf.truncate(count);
    buf
}

#[test]
fn an_empty_file_system_uses_nothing() {
    let mut fs = MemFs::new(NONE, 7);
    let root = fs.root();
    let stat = fs.stat(root).expect("there is a root");
    assert_eq!((stat.ino, stat.nlink, stat.mtim), (1, 2, 7));
    let nothing = Limits { bytes: 0, entries: 0 };
    assert_eq!(fs.used(), nothing);
    let mut full = MemFs::new(nothing, 0);
    assert_eq!(full.create(root, b"x", &mut at(0)), Err(Errno::NOSPC));
}

#[test]
fn one_of_several_has_its_own_limits_besides() {
    let budget = Budget::from(Limits {
        bytes: 100,
        entries: 100,
    });
    let most = Limits {
        bytes: 60,
        entries: 2,
    };
    let mut small = MemFs::new(budget.clone().each(most), 0);
    let mut other = MemFs::new(budget, 0);
    let root = small.root();
    let (x, y) = (file(&mut small, b"x"), file(&mut other, b"y"));
    assert_eq!(small.write(x, 0, &[1; 1000], &mut at(0)), Ok(60));
    assert_eq!(small.write(x, 60, &[1], &mut at(0)), Err(Errno::NOSPC));
    assert_eq!(small.create_link(root, b"l", b"t", &mut at(0)), Err(Errno::NOSPC));
    assert_eq!(small.used().bytes, 60);
    file(&mut small, b"z");
    assert_eq!(small.create(root, b"too many", &mut at(0)), Err(Errno::NOSPC));
    // What is left of the pool is the other's.
    assert_eq!(other.write(y, 0, &[1; 1000], &mut at(0)), Ok(40));
    drop(small);
    assert_eq!(other.write(y, 40, &[1; 1000], &mut at(0)), Ok(60));
}

#[test]
fn slots_are_used_again_and_inode_numbers_are_not() {
    let mut fs = MemFs::new(NONE, 0);
    let root = fs.root();
    let mut inos = Vec::new();
    for _ in 0..100 {
        let node = fs.create(root, b"x", &mut at(0)).expect("there is room");
        inos.push(fs.stat(node).expect("it is there").ino);
        fs.unlink(root, b"x", &mut at(0)).expect("it is there");
    }
    assert_eq!(fs.slots.len(), 2);
    assert_eq!(inos, (2..102).collect::<Vec<_>>());
    assert_eq!(fs.used().entries, 0);
}

#[test]
fn a_node_goes_with_its_last_name_and_handle() {
    let mut fs = MemFs::new(NONE, 0);
    let root = fs.root();
    let handle = file(&mut fs, b"x");
    write(&mut fs, handle, 0, &[1; 1000]);
    let node = fs.lookup(root, b"x").expect("it is there").node;
    fs.hard_link(node, root, b"y", &mut at(0)).expect("there is room");
    let again = fs.open(node, Access::READ).expect("a file");
    for name in [b"x", b"y"] {
        fs.unlink(root, name, &mut at(0)).expect("it is there");
        assert_eq!(read(&mut fs, again, 999, 9), [1]);
    }
    assert_eq!(fs.used().entries, 1);
    fs.close(handle);
    assert!(fs.used().bytes >= 1000);
    fs.close(again);
    assert_eq!(fs.used(), Limits { bytes: 0, entries: 0 });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn what_is_shared_is_copied_chunk_by_chunk_when_it_is_written() {
    let archive: Vec<u8> = (0..4 * CHUNK).map(|index| (index % 251) as u8).collect();
    let bytes = Bytes::Shared(Arc::new(archive.clone()));
    let mut fs = MemFs::new(NONE, 0);
    let root = fs.root();
    let range = 10..3 * CHUNK + 20;
    let node = fs
        .create_shared(root, b"x", bytes.clone(), range.clone(), &mut at(0))
        .expect("there is room");
    let x = fs.open(node, WRITE).expect("a file");
    let mut expected = archive[range].to_vec();
    assert_eq!(fs.stat(node).map(|stat| stat.size), Ok(expected.len() as u64));
    assert_eq!(read(&mut fs, x, 0, 5 * CHUNK), expected);
    assert_eq!(fs.used().bytes, 0);
    // One byte across two chunks.
    write(&mut fs, x, CHUNK as u64 - 1, b"XY");
    expected[CHUNK - 1..=CHUNK].copy_from_slice(b"XY");
    assert_eq!(read(&mut fs, x, 0, 5 * CHUNK), expected);
    assert_eq!(fs.used().bytes, 2 * CHUNK as u64);
    // Smaller and larger again: what was cut off is gone.
    for size in [3 * CHUNK + 5, 2 * CHUNK + 7, 10] {
        fs.set_size(x, size as u64, &mut at(0)).expect("it can shrink");
        fs.set_size(x, 4 * CHUNK as u64, &mut at(0)).expect("it can grow");
        expected.truncate(size);
        expected.resize(4 * CHUNK, 0);
        assert_eq!(read(&mut fs, x, 0, 5 * CHUNK), expected);
    }
    write(&mut fs, x, 20, b"Z");
    expected[20] = b'Z';
    assert_eq!(read(&mut fs, x, 0, 5 * CHUNK), expected);
    assert_eq!(bytes.as_slice(), archive, "the archive stays as it is");
}

#[test]
fn a_part_that_is_not_there_cannot_be_shared() {
    let mut fs = MemFs::new(NONE, 0);
    let root = fs.root();
    let bytes = Bytes::Static(b"abc");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is to be refused")]
    for range in [0..4, 2..1, 4..4, 0..usize::MAX] {
        let made = fs.create_shared(root, b"x", bytes.clone(), range, &mut at(0));
        assert_eq!(made, Err(Errno::INVAL));
    }
    assert!(fs.create_shared(root, b"x", bytes, 3..3, &mut at(0)).is_ok());
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_directory_that_churns_does_not_grow() {
    let mut fs = MemFs::new(NONE, 0);
    let root = fs.root();
    fs.create(root, b"keep", &mut at(0)).expect("there is room");
    for index in 0..10_000 {
        let name = alloc::format!("{index}");
        fs.create(root, name.as_bytes(), &mut at(0))
            .expect("there is room");
        fs.unlink(root, name.as_bytes(), &mut at(0)).expect("it is there");
    }
    assert_eq!(fs.slots.len(), 3);
    assert!(fs.lookup(root, b"keep").is_ok());
    let debug = alloc::format!("{:?}", fs.slots[0]);
    assert!(debug.matches("Entry").count() < 40, "gaps are closed");
}

#[test]
fn errors_leave_no_trace() {
    let limits = Limits {
        bytes: 10,
        entries: 3,
    };
    let mut fs = MemFs::new(limits, 0);
    let root = fs.root();
    let now = &mut at(0);
    fs.create(root, b"f", now).expect("there is room");
    fs.create_dir(root, b"d", now).expect("there is room");
    let f = fs.lookup(root, b"f").expect("it is there").node;
    let before = alloc::format!("{fs:?}");
    assert_eq!(fs.create(root, b"f", now), Err(Errno::EXIST));
    assert_eq!(fs.create_dir(root, b"f", now), Err(Errno::EXIST));
    assert_eq!(fs.create_link(root, b"f", b"x", now), Err(Errno::EXIST));
    assert_eq!(fs.create_link(root, b"l", &[b'x'; 11], now), Err(Errno::NOSPC));
    assert_eq!(fs.hard_link(f, root, b"d", now), Err(Errno::EXIST));
    assert_eq!(fs.hard_link(root, root, b"l", now), Err(Errno::PERM));
    assert_eq!(fs.unlink(root, b"d", now), Err(Errno::ISDIR));
    assert_eq!(fs.unlink(root, b"x", now), Err(Errno::NOENT));
    assert_eq!(fs.remove_dir(root, b"f", now), Err(Errno::NOTDIR));
    assert_eq!(fs.remove_dir(root, b"x", now), Err(Errno::NOENT));
    assert_eq!(fs.rename(root, b"x", root, b"y", now), Err(Errno::NOENT));
    assert_eq!(fs.rename(root, b"d", root, b"f", now), Err(Errno::NOTDIR));
    assert_eq!(fs.rename(root, b"f", root, b"d", now), Err(Errno::ISDIR));
    assert_eq!(fs.rename(root, b"f", root, b"f", now), Ok(()));
    assert_eq!(fs.read_link(f, &mut []), Err(Errno::INVAL));
    assert_eq!(alloc::format!("{fs:?}"), before);
}

#[test]
fn handles_that_are_none_are_badf() {
    let mut fs = MemFs::new(NONE, 0);
    for number in [1, u64::MAX] {
        let (node, handle) = (Node(number), Handle(number));
        assert_eq!(fs.stat(node), Err(Errno::BADF));
        assert_eq!(fs.read(handle, 0, &mut [0], &mut at(0)), Err(Errno::BADF));
        assert_eq!(fs.write(handle, 0, &[0], &mut at(0)), Err(Errno::BADF));
        assert_eq!(fs.lookup(node, b"x"), Err(Errno::BADF));
        fs.close(handle);
    }
}
