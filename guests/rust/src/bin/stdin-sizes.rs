//! Reads standard input in pieces of growing sizes, through several vectors at once, and sums it up.

use guests::STDIN;
use wasip1::Iovec;

fn main() {
    let (mut total, mut checksum, mut size) = (0u64, 0u64, 1);
    loop {
        let mut first = vec![0; size];
        let mut second = vec![0; size * 2];
        let vectors = [
            Iovec {
                buf: first.as_mut_ptr(),
                buf_len: first.len(),
            },
            // A vector of no bytes in between must be skipped, not taken for the end.
            Iovec {
                buf: first.as_mut_ptr(),
                buf_len: 0,
            },
            Iovec {
                buf: second.as_mut_ptr(),
                buf_len: second.len(),
            },
        ];
        // SAFETY: the vectors describe memory of `first` and `second`, which outlive the call.
        let count = unsafe { wasip1::fd_read(STDIN, &vectors) }.expect("reading works");
        if count == 0 {
            break;
        }
        for byte in first.iter().chain(&second).take(count) {
            checksum = checksum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
        total += count as u64;
        size = size % 1000 + 1;
    }
    println!("{total} bytes, checksum {checksum:016x}");
}
