//! Work that is measured in a shared directory, descriptor 3: `share-cost (WHAT X TIMES)...`, done in that order.
//!
//! - `write SIZE TIMES`: so many writes of so many bytes to the new or emptied file `data`
//! - `read SIZE TIMES`: so many reads of it, none of which may be short
//! - `create UNDER TIMES`: so many empty files `00000`, `00001`, … in the directory `UNDER`, which ends with a slash
//!   (`.`: in the shared directory itself)
//! - `open UNDER TIMES`: opens and closes each of them
//!
//! Calls are made directly, so that the language's library costs nothing. `xtask/bench/share-cost.c` does the same in a
//! Linux: see `docs/performance.md`.

use guests::files::{BOTH, FIRST, READ, WRITE, close, open, read, write};
use wasip1::{OFLAGS_CREAT as CREAT, OFLAGS_TRUNC as TRUNC};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    for job in args.chunks_exact(3) {
        let times: usize = job[2].parse().expect("a number");
        match job[0].as_str() {
            "write" => transfer(true, job[1].parse().expect("a size"), times),
            "read" => transfer(false, job[1].parse().expect("a size"), times),
            "create" => each(&job[1], times, CREAT, BOTH),
            "open" => each(&job[1], times, 0, READ),
            other => panic!("no {other} here"),
        }
        println!("{}", job.join(" "));
    }
}

/// Reads or writes the file `data` from its beginning on.
fn transfer(writing: bool, size: usize, times: usize) {
    let mut buffer = vec![0x5a; size];
    let (oflags, rights) = if writing {
        (CREAT | TRUNC, WRITE)
    } else {
        (0, READ)
    };
    let file = open(FIRST, "data", oflags, rights).unwrap();
    for _ in 0..times {
        let count = if writing {
            write(file, &buffer)
        } else {
            read(file, &mut buffer)
        };
        assert_eq!(count.unwrap(), size, "not all of it");
    }
    close(file).unwrap();
}

/// Opens and closes files whose names are numbers of five digits, counted up in place.
fn each(under: &str, times: usize, oflags: u16, rights: u64) {
    let mut name = format!("{}00000", if under == "." { "" } else { under }).into_bytes();
    for _ in 0..times {
        close(open(FIRST, &name, oflags, rights).unwrap()).unwrap();
        for digit in name.iter_mut().rev() {
            *digit += 1;
            if *digit <= b'9' {
                break;
            }
            *digit = b'0';
        }
    }
}
