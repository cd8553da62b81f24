//! Changing files that came with a copy: in the middle, at the end, cut off and grown; what was not changed stays.

use guests::files::*;
use guests::{show, value};

/// The length of `large`, whose bytes are their positions.
const LENGTH: usize = 204_800;

fn main() {
    let large = open(FIRST, "large", 0, BOTH).unwrap();
    let reader = open(FIRST, "large", 0, READ).unwrap();
    value!(fstat(reader).map(|stat| stat.size));
    check(reader, "as it came", &[]);
    println!("changed in places, over the bounds of blocks of any size");
    let places = [(0, 1), (4095, 2), (65_530, 12), (131_072, 1), (204_799, 1)];
    for (at, count) in places {
        assert_eq!(
            pwrite(large, [b'#'; 12].get(..count).unwrap(), at as u64),
            Ok(count)
        );
    }
    check(reader, "through another descriptor", &places);
    check(open(FIRST, "large", 0, READ).unwrap(), "opened anew", &places);
    println!("cut off and grown");
    show!(set_size(large, 65_540)).unwrap();
    show!(set_size(large, 200_000)).unwrap();
    let mut buffer = [0xee; 8];
    value!(pread(reader, &mut buffer, 65_536));
    println!("{buffer:?}");
    value!(pread(reader, &mut buffer, 199_996));
    println!("{buffer:?}");
    value!(fstat(reader).map(|stat| stat.size));

    println!("appended");
    let log = open_with(FIRST, 0, "file.txt", 0, WRITE, APPEND).unwrap();
    value!(write(log, "and more\n"));
    text("file.txt");
    text("link");
    text("sub/up");
    println!("emptied");
    let _ = show!(open(FIRST, "sub/inner.txt", TRUNC, WRITE));
    text("sub/inner.txt");
    println!("renamed over");
    show!(rename(FIRST, "sub/deeper/last", FIRST, "file.txt")).unwrap();
    text("file.txt");
    text("sub/deeper/last");
    println!("removed while open");
    let open_one = open(FIRST, "name with spaces", 0, READ).unwrap();
    show!(unlink(FIRST, "name with spaces")).unwrap();
    text("name with spaces");
    value!(read(open_one, &mut buffer));
    println!("directories");
    let _ = show!(rmdir(FIRST, "sub"));
    show!(rmdir(FIRST, "sub/deeper")).unwrap();
    show!(rename(FIRST, "sub", FIRST, "moved")).unwrap();
    text("moved/up");
    show!(link(FIRST, "large", FIRST, "moved/second")).unwrap();
    show!(unlink(FIRST, "large")).unwrap();
    value!(lstat(FIRST, "moved/second").map(|stat| (stat.size, stat.nlink)));
}

/// Says whether the file is as it came but for these places.
fn check(file: Fd, what: &str, places: &[(usize, usize)]) {
    let mut expected: Vec<u8> = (0..LENGTH).map(|at| at as u8).collect();
    for (at, count) in places {
        expected[*at..at + count].fill(b'#');
    }
    let mut content = vec![0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        let count = pread(file, &mut content[filled..], filled as u64).unwrap();
        assert!(count > 0, "the end at {filled}");
        filled += count;
    }
    println!("{what}: {}", content == expected);
}

fn text(path: &str) {
    let mut buffer = [0; 64];
    match get(FIRST, path, &mut buffer) {
        Ok(content) => println!("    {path}: '{}'", content.escape_ascii()),
        Err(failure) => println!("    {path}: {failure}"),
    }
}
