//! Files that grow by writing behind their end or by their size, and that shrink: what was never written is zeros.

use guests::files::*;
use guests::{show, value};

const GIB: u64 = 1 << 30;

fn main() {
    let file = open(FIRST, "file", CREAT, BOTH).unwrap();
    println!("a hole by writing");
    value!(pwrite(file, "end", 1_000_000));
    size(file);
    check(file, 0, 1_000_000);
    value!(pwrite(file, "middle", 500_000));
    check(file, 0, 500_000);
    check(file, 500_006, 499_994);
    println!("a hole by seeking");
    value!(seek(file, 2_000_000));
    size(file);
    value!(write(file, "x"));
    size(file);
    check(file, 1_000_003, 999_997);
    println!("a hole by size, of 3 GiB");
    show!(set_size(file, 3 * GIB)).unwrap();
    size(file);
    check(file, 3 * GIB - 100, 100);
    value!(pwrite(file, "last", 3 * GIB - 4));
    size(file);
    let mut buffer = [1; 8];
    value!(pread(file, &mut buffer, 3 * GIB - 6));
    println!("{buffer:?}");
    println!("smaller, and larger again: what was cut off does not come back");
    show!(set_size(file, 500_003)).unwrap();
    size(file);
    value!(pread(file, &mut buffer, 500_000));
    println!("{}", buffer[..3].escape_ascii());
    show!(set_size(file, 1_000_010)).unwrap();
    check(file, 500_003, 500_007);
    value!(tell(file));
    println!("the position behind the end");
    show!(set_size(file, 10)).unwrap();
    value!(tell(file));
    value!(read(file, &mut buffer));
    value!(pread(file, &mut buffer, 10));
    value!(pread(file, &mut buffer, 9));
    println!("ends of all numbers");
    value!(set_size(file, 1 << 63));
    value!(set_size(file, u64::MAX));
    value!(pread(file, &mut buffer, i64::MAX as u64 - 8));
    size(file);
    println!("emptied by opening");
    let again = open(FIRST, "file", TRUNC, BOTH).unwrap();
    size(file);
    value!(write(again, "z"));
    check(file, 1, 0);
    let reader = open(FIRST, "file", 0, READ).unwrap();
    value!(set_size(reader, 0));
    value!(set_size(FIRST, 0));
    value!(set_size(1, 0));
}

fn size(file: Fd) {
    println!("    size {}", fstat(file).unwrap().size);
}

/// Says whether all is zeros there, and how much it is.
fn check(file: Fd, mut from: u64, length: u64) {
    let (start, mut left) = (from, length);
    let mut buffer = vec![1; 65_536];
    let mut zeros = true;
    while left > 0 {
        let piece = buffer.len().min(left as usize);
        let count = pread(file, &mut buffer[..piece], from).unwrap();
        assert!(count > 0, "the end at {from}");
        zeros &= buffer[..count].iter().all(|byte| *byte == 0);
        (from, left) = (from + count as u64, left - count as u64);
    }
    println!("    {length} zeros at {start}: {zeros}");
}
