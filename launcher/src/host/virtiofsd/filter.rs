//! What virtiofsd may not ask the kernel for, on top of its own filter of system calls.
//!
//! A guest speaks FUSE, and virtiofsd does what it asks. So whoever owns the machine could leave behind a program that
//! runs with the launching user's rights (setuid, setgid, capabilities as an attribute), or a FIFO, socket or device
//! that another program stumbles over. WASI has no call that needs any of it. The filter is set before the daemon
//! starts, holds for root as for everyone, and depends on no flag and no promise of the daemon's.
//!
//! Modes are seen in registers only. `openat2` takes its mode from memory, where no filter can look: the kernel seems
//! to lack it, and virtiofsd falls back to `openat`. Where virtiofsd needs it to stay beneath its directory, the
//! launcher is asked about it, which can look.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::wall::Wall;
use crate::jail::ask;

/// Bits of a mode that no file gets.
pub(super) const SETUID: u64 = 0o4000;
pub(super) const SETGID: u64 = 0o2000;

/// The bits of a mode that say what kind of file it is, and how far up they stand.
const KIND: u64 = 0o170_000;
const KIND_SHIFT: u32 = 12;

/// No kind, which is a regular file, and a regular file.
const REGULAR: [u64; 2] = [0, 0o10];

/// RENAME_WHITEOUT: leaves a character device where the file was.
const WHITEOUT: u64 = 4;

/// `fchmodat2` and `setxattrat`, on every architecture; libc does not have both.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;

/// Never allowed: mode, owner, attributes, becoming somebody else, and speaking with anybody but QEMU, whose connection
/// comes by a socket that is open already. Landlock does not keep it from sockets that have a name.
const FORBIDDEN: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_open_by_handle_at,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
];

/// Calls that make something, and which argument is its mode.
const MAKING: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, 1),
    (libc::SYS_openat, 3),
    (libc::SYS_mkdirat, 2),
];

/// Calls that make something of a kind, and which argument is kind and mode.
const MAKING_ANYTHING: &[(i64, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
    (libc::SYS_mknodat, 2),
];

/// Calls that the quota's keeper is asked about, besides those that open.
const WATCHED: &[i64] = &[
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
];

/// The filters, to be set one after the other: each has one answer to what it does not let pass.
pub(super) fn programs(wall: Wall) -> Result<Vec<BpfProgram>, BackendError> {
    let mut programs = vec![program(forbidden()?, errno(libc::EPERM))?];
    if !wall.resolves_beneath() {
        let openat2 = BTreeMap::from([(libc::SYS_openat2, Vec::new())]);
        programs.push(program(openat2, errno(libc::ENOSYS))?);
    }
    Ok(programs)
}

/// The filter that asks: about every call by which a directory with a quota may grow or shrink, and about `openat2`
/// where the other filters let it pass. Descriptors that the machine cannot write to, events and the log, are written
/// by `write`, which is not among them. `None`: nothing is asked.
pub(super) fn watched(openat2: bool, quota: bool) -> Result<Option<BpfProgram>, BackendError> {
    let mut rules = BTreeMap::new();
    if openat2 {
        rules.insert(libc::SYS_openat2, Vec::new());
    }
    if quota {
        rules.extend(growing()?);
    }
    match rules.is_empty() {
        true => Ok(None),
        false => Ok(Some(ask::asking(program(rules, SeccompAction::Trace(0))?))),
    }
}

/// Calls by which a directory grows or shrinks.
fn growing() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    for call in WATCHED {
        rules.insert(*call, Vec::new());
    }
    let flags = [libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE & !libc::O_DIRECTORY];
    let flags = flags.map(|flag| u64::from(flag.cast_unsigned()));
    let opens = |argument| -> Result<Vec<SeccompRule>, BackendError> {
        flags
            .map(|flag| masked(argument, flag, flag))
            .into_iter()
            .collect()
    };
    rules.insert(libc::SYS_openat, opens(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opens(1)?);
    Ok(rules)
}

/// What is answered with EPERM.
fn forbidden() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    for call in FORBIDDEN {
        rules.insert(*call, Vec::new());
    }
    for (call, mode) in MAKING {
        rules.insert(*call, set_id_bits(*mode)?);
    }
    for (call, mode) in MAKING_ANYTHING {
        let mut refused = set_id_bits(*mode)?;
        for kind in (0..=KIND >> KIND_SHIFT).filter(|kind| !REGULAR.contains(kind)) {
            refused.push(masked(*mode, KIND, kind << KIND_SHIFT)?);
        }
        rules.insert(*call, refused);
    }
    rules.insert(libc::SYS_renameat2, vec![masked(4, WHITEOUT, WHITEOUT)?]);
    Ok(rules)
}

/// Where one of the bits is set in an argument.
fn set_id_bits(argument: u8) -> Result<Vec<SeccompRule>, BackendError> {
    [SETUID, SETGID]
        .map(|bit| masked(argument, bit, bit))
        .into_iter()
        .collect()
}

/// Where an argument has this value under a mask.
fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, BackendError> {
    let equal = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        equal,
        value,
    )?])
}

const fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

/// Lets everything pass but what matches.
fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    answer: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        answer,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::virtiofsd::wall::Own;
    use crate::jail::errno_of;

    #[test]
    fn what_no_file_gets_and_who_else_could_be_spoken_with_is_refused() {
        const REFUSED: Option<i32> = Some(libc::EPERM);
        let fifo = u64::from(libc::S_IFIFO) | 0o644;
        let regular = u64::from(libc::S_IFREG) | 0o644;
        for (call, arguments, expected) in [
            (libc::SYS_mkdirat, [0, 0, 0o755, 0, 0], None),
            (libc::SYS_mkdirat, [0, 0, 0o2755, 0, 0], REFUSED),
            (libc::SYS_openat, [0, 0, 0, 0o4755, 0], REFUSED),
            (libc::SYS_openat, [0, 0, 0, 0o755, 0], None),
            (libc::SYS_mknodat, [0, 0, regular, 0, 0], None),
            (libc::SYS_mknodat, [0, 0, fifo, 0, 0], REFUSED),
            (libc::SYS_renameat2, [0, 0, 0, 0, 1], None),
            (libc::SYS_renameat2, [0, 0, 0, 0, WHITEOUT], REFUSED),
            (libc::SYS_fchmodat, [0; 5], REFUSED),
            (libc::SYS_socket, [1, 1, 0, 0, 0], REFUSED),
            (libc::SYS_connect, [0; 5], REFUSED),
            (libc::SYS_accept4, [0; 5], None),
        ] {
            let [first, second, third, fourth, fifth] = arguments;
            for wall in [Wall::Landlock, Wall::Mapped(Own::Namespace)] {
                let programs = programs(wall).unwrap();
                let found = programs
                    .iter()
                    .find_map(|program| errno_of(program, call, [first, second, third, fourth, fifth, 0]));
                assert_eq!(found, expected, "{wall:?}: {call} {arguments:?}");
            }
        }
    }

    #[test]
    fn openat2_is_there_only_where_it_is_needed() {
        for (wall, expected) in [
            (Wall::Landlock, None),
            (Wall::Mapped(Own::Chroot), Some(libc::ENOSYS)),
        ] {
            let programs = programs(wall).unwrap();
            let found = programs
                .iter()
                .find_map(|program| errno_of(program, libc::SYS_openat2, [0; 6]));
            assert_eq!(found, expected, "{wall:?}");
        }
    }
}
