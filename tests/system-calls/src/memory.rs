//! Ranges: what is reserved, backed, and given back.

use core::ptr::NonNull;

use crate::ranges::{PAGE, Range, Refused, free_memory};
use crate::say;
use crate::syscalls;

const MIB: usize = 1 << 20;

fn byte(range: &Range, offset: usize) -> NonNull<u8> {
    assert!(offset < range.len());
    // SAFETY: it lies in the range.
    unsafe { range.start().add(offset) }
}

fn read(range: &Range, offset: usize) -> u8 {
    // SAFETY: the callers have backed it.
    unsafe { byte(range, offset).read_volatile() }
}

fn write(range: &Range, offset: usize, value: u8) {
    // SAFETY: the callers have backed it.
    unsafe { byte(range, offset).write_volatile(value) };
}

fn decommit(range: &Range, offset: usize, len: usize) -> Result<(), Refused> {
    // SAFETY: nothing here keeps references.
    unsafe { range.decommit(offset, len) }
}

/// All of it.
pub(crate) fn check() {
    what_is_refused();
    what_is_backed_is_clear();
    what_is_backed_as_it_is();
    parts_of_large_pages();
    nothing_is_lost();
    say!("memory of {} KiB in all", free_memory() >> 10);
}

fn what_is_refused() {
    assert!(Range::reserve(0, PAGE).is_none());
    assert!(Range::reserve(PAGE + 1, PAGE).is_none());
    assert!(Range::reserve(PAGE, 3 * PAGE).is_none());
    assert!(Range::reserve(usize::MAX - PAGE + 1, PAGE).is_none());
    assert!(Range::reserve(1 << 47, PAGE).is_none());
    let large = Range::reserve(4 << 30, 2 * MIB).unwrap();
    assert_eq!(large.start().addr().get() % (2 * MIB), 0);
    let range = Range::reserve(4 * PAGE, PAGE).unwrap();
    assert_eq!(range.commit(0, 0), Err(Refused::Invalid));
    assert_eq!(range.commit(1, PAGE), Err(Refused::Invalid));
    assert_eq!(range.commit(0, PAGE - 1), Err(Refused::Invalid));
    assert_eq!(range.commit(0, 5 * PAGE), Err(Refused::Invalid));
    range.commit(PAGE, PAGE).unwrap();
    assert_eq!(range.commit(0, 4 * PAGE), Err(Refused::Invalid));
    write(&range, PAGE, 7);
    // Beyond the range, before it, and what is not reserved at all.
    let start = range.start().as_ptr();
    for (offset, len) in [(3 * PAGE, 2 * PAGE), (0_usize.wrapping_sub(PAGE), 2 * PAGE)] {
        // SAFETY: that it does nothing is what is tested.
        let result = unsafe { syscalls::sys_commit(start.wrapping_add(offset), len) };
        assert_eq!(result, -22);
    }
    // SAFETY: as above.
    assert_eq!(unsafe { syscalls::sys_release(start, 2 * PAGE) }, -22);
    // SAFETY: as above.
    let result = unsafe { syscalls::sys_decommit(core::ptr::null_mut(), PAGE) };
    assert_eq!(result, -22);
    assert_eq!(read(&range, PAGE), 7);
    say!("what is refused");
}

fn what_is_backed_is_clear() {
    let len = 5 * MIB + 3 * PAGE;
    for _ in 0..2 {
        let range = Range::reserve(len, 2 * MIB).unwrap();
        range.commit(0, len).unwrap();
        for offset in (0..len).step_by(509) {
            assert_eq!(read(&range, offset), 0);
            write(&range, offset, 0xa5);
        }
        decommit(&range, PAGE, 3 * MIB).unwrap();
        range.commit(PAGE, 3 * MIB).unwrap();
        assert_eq!(read(&range, 0), 0xa5);
        for offset in (PAGE..PAGE + 3 * MIB).step_by(64) {
            assert_eq!(read(&range, offset), 0);
        }
        for offset in (0..len).step_by(509).filter(|at| *at >= PAGE + 3 * MIB) {
            assert_eq!(read(&range, offset), 0xa5);
        }
    }
    say!("what is backed is clear");
}

/// For stacks: what lies there is open, but it is memory of its own, and is given back.
fn what_is_backed_as_it_is() {
    let len = 4 * MIB + 3 * PAGE;
    let round = || {
        let range = Range::reserve(2 * MIB + len, 2 * MIB).unwrap();
        range.commit_as_it_is(2 * MIB, len).unwrap();
        assert_eq!(range.commit_as_it_is(2 * MIB, PAGE), Err(Refused::Invalid));
        assert_eq!(range.commit_as_it_is(2 * MIB + len, PAGE), Err(Refused::Invalid));
        assert_eq!(range.commit_as_it_is(0, 1), Err(Refused::Invalid));
        for offset in (2 * MIB..2 * MIB + len).step_by(PAGE) {
            write(&range, offset, mark(offset));
        }
        for offset in (2 * MIB..2 * MIB + len).step_by(PAGE) {
            assert_eq!(read(&range, offset), mark(offset));
        }
    };
    // The first time there may be new tables.
    round();
    let before = free_memory();
    round();
    assert_eq!(free_memory(), before);
    let large = Range::reserve(4 << 30, PAGE).unwrap();
    assert_eq!(large.commit_as_it_is(0, 4 << 30), Err(Refused::NoMemory));
    say!("what is backed as it is");
}

/// What a page at an offset begins with.
fn mark(offset: usize) -> u8 {
    u8::try_from(offset / PAGE % 251).unwrap_or(0)
}

fn parts_of_large_pages() {
    let range = Range::reserve(8 * MIB, 2 * MIB).unwrap();
    range.commit(0, 8 * MIB).unwrap();
    for offset in (0..8 * MIB).step_by(PAGE) {
        write(&range, offset, mark(offset));
    }
    decommit(&range, 3 * MIB, PAGE).unwrap();
    decommit(&range, 4 * MIB - PAGE, 2 * MIB).unwrap();
    // What is not backed may be taken back again.
    decommit(&range, 3 * MIB, PAGE).unwrap();
    let gone = |offset| offset == 3 * MIB || (4 * MIB - PAGE..6 * MIB - PAGE).contains(&offset);
    for offset in (0..8 * MIB).step_by(PAGE).filter(|&offset| !gone(offset)) {
        assert_eq!(read(&range, offset), mark(offset));
    }
    range.commit(3 * MIB, PAGE).unwrap();
    assert_eq!(read(&range, 3 * MIB), 0);
    say!("parts of large pages");
}

fn nothing_is_lost() {
    // The first time there may be new tables.
    let mut free = [0; 3];
    for left in &mut free {
        all_and_more();
        in_pieces();
        *left = free_memory();
    }
    assert_eq!(free[1], free[2]);
    say!("nothing is lost");
}

/// All that there is, at once.
fn all_and_more() {
    let all = free_memory();
    let range = Range::reserve(all + MIB, PAGE).unwrap();
    assert_eq!(range.commit(0, all + MIB), Err(Refused::NoMemory));
    assert_eq!(free_memory(), all);
    range.commit(0, all & !(PAGE - 1)).unwrap();
    write(&range, 0, 1);
    write(&range, (all & !(PAGE - 1)) - 1, 1);
    let rest = free_memory() + PAGE;
    let more = Range::reserve(rest, PAGE).unwrap();
    assert_eq!(more.commit(0, rest), Err(Refused::NoMemory));
}

/// Page by page, in pieces that do not follow one another.
fn in_pieces() {
    let range = Range::reserve(4 * MIB, PAGE).unwrap();
    for first in [0, PAGE] {
        for offset in (first..4 * MIB).step_by(2 * PAGE) {
            range.commit(offset, PAGE).unwrap();
        }
    }
    for offset in (0..4 * MIB).step_by(2 * PAGE) {
        decommit(&range, offset, PAGE).unwrap();
    }
}
