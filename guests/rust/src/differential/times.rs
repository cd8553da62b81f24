//! Timestamps and `filestat`, so that they can be compared between machines.

use crate::area::Area;
use crate::random::Random;

/// Times that are set: none is of the present, all are within what Linux's file systems keep.
const TIMES: [u64; 8] = [
    0,
    1,
    999_999_999,
    1_000_000_000,
    123_456_789_987_654_321,
    946_684_800_000_000_001,
    1_400_000_000_999_999_999,
    9_000_000_000_000_000_000,
];

pub fn any(random: &mut Random) -> u64 {
    random.pick(&TIMES)
}

/// Which times to set; some of the sets contradict themselves.
pub fn any_flags(random: &mut Random) -> u32 {
    random.pick(&[0, 1, 2, 4, 4, 5, 5, 6, 8, 9, 10, 3, 12, 7, 15])
}

/// A time as it is if it is one that was set; all others are of the present.
fn shown(time: u64) -> String {
    if TIMES.contains(&time) {
        time.to_string()
    } else if time > 1_600_000_000_000_000_000 {
        "now".into()
    } else {
        format!("odd:{time}")
    }
}

/// A filestat. The numbers of device and inode are left out, and of a directory size and links, which are the file
/// system's own business.
pub fn filestat(area: &Area, at: usize) -> String {
    let kind = area.u8(at + 16);
    let (size, links) = if kind == 3 {
        (String::from("-"), String::from("-"))
    } else {
        (area.u64(at + 32).to_string(), area.u64(at + 24).to_string())
    };
    format!(
        "type={kind} nlink={links} size={size} atim={} mtim={} ctim={}",
        shown(area.u64(at + 40)),
        shown(area.u64(at + 48)),
        shown(area.u64(at + 56)),
    )
}

/// The same without the time of access: looking at files changes it.
pub fn filestat_without_access(area: &Area, at: usize) -> String {
    let all = filestat(area, at);
    all.split(' ')
        .filter(|field| !field.starts_with("atim="))
        .collect::<Vec<_>>()
        .join(" ")
}
