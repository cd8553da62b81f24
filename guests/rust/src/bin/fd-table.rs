//! The descriptor table: renumbering, closing, and what is left afterwards. Reports on standard error in the end,
//! because standard output is what gets moved about.

use guests::{STDERR, STDOUT, write_all};
use wasip1::wasi_snapshot_preview1 as raw;

fn main() {
    let say = |fd, text: &str| {
        let result = write_all(fd, text.as_bytes());
        eprintln!(
            "writing to {fd}: {}",
            result.map_or_else(|errno| errno.name(), |()| "SUCCESS")
        );
    };
    // SAFETY: none of the calls takes an address; std's standard output holds nothing unwritten.
    unsafe {
        say(STDOUT, "before\n");
        report("renumber 1 to 1", raw::fd_renumber(1, 1));
        report("renumber 99 to 1", raw::fd_renumber(99, 1));
        report("renumber 1 to 99", raw::fd_renumber(1, 99));
        report("renumber 1 to 0", raw::fd_renumber(1, 0));
        say(STDOUT, "must not appear: descriptor 1 was moved\n");
        say(0, "through descriptor 0\n");
        // Only onto a descriptor that is open, so there is no way back.
        report("renumber 0 to 1", raw::fd_renumber(0, 1));
        report("close 0", raw::fd_close(0));
        report("close 0 again", raw::fd_close(0));
        say(0, "must not appear: descriptor 0 is closed\n");
        println!("must not appear, and the standard library hides that");
        report("close 2", raw::fd_close(STDERR as i32));
        // Nobody can hear this.
        say(STDERR, "must not appear\n");
    }
}

fn report(what: &str, result: i32) {
    eprintln!("{what}: {}", guests::errno_name(result));
}
