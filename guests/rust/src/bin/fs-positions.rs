//! Positions: seeking from all three points, before the beginning, near the ends of all numbers; positioned calls
//! leave them alone; buffers in lists.

use guests::files::*;
use guests::value;
use wasip1::{Ciovec, Iovec, WHENCE_CUR as CUR, WHENCE_END as END, WHENCE_SET as SET};

fn main() {
    put(FIRST, "file", "0123456789").unwrap();
    let file = open(FIRST, "file", 0, BOTH).unwrap();
    println!("seeking");
    for (offset, whence, from) in [
        (4, SET, "beginning"),
        (-3, CUR, "position"),
        (-1, END, "end"),
        (0, CUR, "position"),
        (-1, SET, "beginning"),
        (-10, CUR, "position"),
        (-11, END, "end"),
        (1 << 40, SET, "beginning"),
        (i64::MAX, SET, "beginning"),
        (1, CUR, "position"),
        (i64::MAX, CUR, "position"),
        (i64::MIN, CUR, "position"),
        (i64::MIN, SET, "beginning"),
        (5, SET, "beginning"),
    ] {
        // SAFETY: the call has no preconditions.
        let answer = unsafe { wasip1::fd_seek(file, offset, whence) }.map_err(Failure::from);
        println!(
            "{offset} from the {from}: {}, position {}",
            name(&answer),
            tell(file).unwrap()
        );
    }
    println!("positioned calls");
    let mut buffer = [0; 4];
    value!(pread(file, &mut buffer, 2));
    println!("{}", buffer.escape_ascii());
    value!(pwrite(file, "XY", 9));
    value!(tell(file));
    value!(pread(file, &mut buffer, 100));
    value!(pread(file, &mut buffer, i64::MAX as u64));
    value!(pread(file, &mut buffer, u64::MAX));
    value!(pwrite(file, "x", u64::MAX));
    value!(fstat(file).map(|stat| stat.size));
    println!("lists of buffers");
    lists(file);
    println!("not open for it");
    let (reader, writer) = (
        open(FIRST, "file", 0, READ).unwrap(),
        open(FIRST, "file", 0, WRITE).unwrap(),
    );
    value!(write(reader, "x"));
    value!(pwrite(reader, "x", 0));
    value!(read(writer, &mut buffer));
    value!(pread(writer, &mut buffer, 0));
    value!(read(FIRST, &mut buffer));
    value!(write(FIRST, "x"));
    value!(seek(FIRST, 0));
    value!(tell(FIRST));
    value!(tell(1));
}

/// Reads and writes with several buffers, however many of them a call uses.
fn lists(file: Fd) {
    seek(file, 0).unwrap();
    let parts = ["one ", "", "two ", "three"];
    let text = parts.concat();
    let mut written = 0;
    while written < text.len() {
        let mut skip = written;
        let vectors: Vec<Ciovec> = parts
            .iter()
            .map(|part| {
                let gone = skip.min(part.len());
                skip -= gone;
                let left = &part.as_bytes()[gone..];
                Ciovec {
                    buf: left.as_ptr(),
                    buf_len: left.len(),
                }
            })
            .collect();
        // SAFETY: each vector describes a part of one of `parts`.
        written += unsafe { wasip1::fd_write(file, &vectors) }.unwrap();
    }
    println!("{written} bytes written, position {}", tell(file).unwrap());
    seek(file, 0).unwrap();
    let (mut first, mut second) = ([0_u8; 5], [0_u8; 8]);
    let mut count = 0;
    while count < 13 {
        let gone = count.min(5);
        let (one, two) = (&mut first[gone..], &mut second[count - gone..]);
        let vectors = [one, two].map(|part| Iovec {
            buf: part.as_mut_ptr(),
            buf_len: part.len(),
        });
        // SAFETY: each vector describes a part of one of the arrays.
        count += unsafe { wasip1::fd_read(file, &vectors) }.unwrap();
    }
    println!(
        "'{}' '{}', position {}",
        first.escape_ascii(),
        second.escape_ascii(),
        tell(file).unwrap()
    );
}
