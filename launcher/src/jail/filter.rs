//! The system calls that a jailed process may not make, as data, and the program for the kernel's filter.
//!
//! A list of what is denied rather than of what is allowed: QEMU 7 to 10 with four machines, uhyve and virtiofsd link
//! libraries whose needs change with each distribution. QEMU's own `-sandbox` and virtiofsd's `--seccomp` come on top.
//! What is denied answers EPERM, as it would without the privilege; what old kernels lack answers ENOSYS.
//!
//! Layer: pure; seccomp(2).

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// Which calls a process may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// A hypervisor: computes, and reads and writes what it was given. It starts no process and opens no socket.
    #[default]
    Hypervisor,
    /// A hypervisor behind a wrapper script, which starts programs.
    Script,
    /// A daemon that makes namespaces of its own before it serves.
    Daemon,
    /// The host's end of a guest's network: as a hypervisor, and it makes connections and sends datagrams.
    Relay,
}

/// Denied to everybody: what looks into other processes, changes the system, or has been the way into kernels.
const NOBODY: &[c_long] = &[
    // Other processes: their memory, their descriptors, what they are.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Keys: the kernel's key rings are not divided by namespaces of processes.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Large, rarely needed, and behind many exploits of the last years.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fanotify_init,
    // The running kernel: another one, its modules, its log, its accounting.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_reboot,
    // The system's disks, names and clocks.
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    // Other layouts of memory and other systems' calls.
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "aarch64")]
    libc::SYS_kexec_file_load,
];

/// Denied to all but a daemon that confines itself with them.
const NOT_A_HYPERVISOR: &[c_long] = &[
    // Mounting, and the namespaces in which anybody may mount.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Leaving the group that is killed at the run's end.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // Files by their numbers, past all directories. virtiofsd may use it.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Memory and queues of System V and POSIX: known by number to everybody of the same user, who need not ask for it.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Whoever listens for somebody gets the socket open.
    libc::SYS_listen,
];

/// Denied to all but a daemon and whoever connects for a guest: a hypervisor gets its connections open. Namespaces keep
/// the network away where there are some; this does everywhere, and the system's services behind AF_UNIX too.
const NOT_CONNECTED: &[c_long] = &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];

/// Denied to a hypervisor: other processes, and files in memory, which no limit of a process counts. What C libraries
/// signal their own threads with is in [`signals_to`].
const NOT_ALONE: &[c_long] = &[
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_kill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// A bit of calls' numbers of x32, a second set of x86-64's: each stands for the call without the bit.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

impl Calls {
    /// The calls that are denied whatever their arguments.
    fn denied(self) -> Vec<c_long> {
        let lists: &[&[c_long]] = match self {
            Self::Hypervisor => &[NOBODY, NOT_A_HYPERVISOR, NOT_ALONE, NOT_CONNECTED],
            Self::Script => &[NOBODY, NOT_A_HYPERVISOR, NOT_CONNECTED],
            Self::Daemon => &[NOBODY],
            Self::Relay => &[NOBODY, NOT_A_HYPERVISOR, NOT_ALONE],
        };
        lists.concat()
    }

    /// Whether it has to do with no other process.
    pub(super) fn is_alone(self) -> bool {
        matches!(self, Self::Hypervisor | Self::Relay)
    }

    /// The filter's program; `None` for an architecture that the crate does not know.
    pub(super) fn program(self) -> Option<BpfProgram> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for call in self.denied() {
            rules.insert(call, Vec::new());
        }
        let condition = |argument, operation, value: u32| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, u64::from(value)).ok()
        };
        let mut add = |call: c_long, conditions| {
            let rule = SeccompRule::new(conditions).ok()?;
            rules.entry(call).or_default().push(rule);
            Some(())
        };
        if self == Self::Relay {
            // What is none of these is denied.
            for (argument, allowed) in [(0, &[AF_INET, AF_INET6][..]), (2, &[0, IPPROTO_TCP, IPPROTO_UDP])] {
                let none_of = allowed
                    .iter()
                    .map(|value| condition(argument, SeccompCmpOp::Ne, *value));
                add(libc::SYS_socket, none_of.collect::<Option<_>>()?)?;
            }
        }
        let mut deny_if =
            |call, argument, operation, value| add(call, vec![condition(argument, operation, value)?]);
        if self == Self::Relay {
            for kind in [SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP, SOCK_PACKET] {
                let of_kind = SeccompCmpOp::MaskedEq(u64::from(SOCK_TYPE_MASK));
                deny_if(libc::SYS_socket, 1, of_kind, kind)?;
            }
            // To connect by sending, which Landlock does not look at.
            for (call, flags) in [
                (libc::SYS_sendto, 3),
                (libc::SYS_sendmsg, 2),
                (libc::SYS_sendmmsg, 3),
            ] {
                let has_flag = SeccompCmpOp::MaskedEq(MSG_FASTOPEN.into());
                deny_if(call, flags, has_flag, MSG_FASTOPEN)?;
            }
        }
        // Typing for a terminal's owner, and cutting and pasting on the console.
        deny_if(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, TIOCSTI)?;
        deny_if(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, TIOCLINUX)?;
        if self.is_alone() {
            // Limits of other processes; 0 is one's own.
            deny_if(libc::SYS_prlimit64, 0, SeccompCmpOp::Ne, 0)?;
            // Processes; threads share more. `clone3`, below, is not looked into.
            let thread = SeccompCmpOp::MaskedEq(u64::from(CLONE_THREAD));
            deny_if(libc::SYS_clone, 0, thread, 0)?;
            // Signals by a descriptor's events.
            for command in [F_SETOWN, F_SETOWN_EX] {
                deny_if(libc::SYS_fcntl, 1, SeccompCmpOp::Eq, command)?;
            }
            for request in [FIOSETOWN, SIOCSPGRP] {
                deny_if(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, request)?;
            }
            // Memory that no limit of a process counts: what is shared and no file's.
            let shared = SeccompCmpOp::MaskedEq(u64::from(SHARED_AND_NO_FILE));
            deny_if(libc::SYS_mmap, 3, shared, SHARED_AND_NO_FILE)?;
        }
        if self != Self::Daemon {
            // The tie to the launcher's life.
            deny_if(libc::SYS_prctl, 0, SeccompCmpOp::Eq, PR_SET_PDEATHSIG)?;
            // Without `unshare`, another way to a user namespace.
            let user = SeccompCmpOp::MaskedEq(u64::from(CLONE_NEWUSER));
            deny_if(libc::SYS_clone, 0, user, CLONE_NEWUSER)?;
            // One socket of a pair of datagrams reaches any other by its name. Pairs of streams reach each other alone.
            deny_if(libc::SYS_socketpair, 0, SeccompCmpOp::Ne, AF_UNIX)?;
            for kind in [SOCK_DGRAM, SOCK_RAW] {
                let of_kind = SeccompCmpOp::MaskedEq(u64::from(SOCK_TYPE_MASK));
                deny_if(libc::SYS_socketpair, 1, of_kind, kind)?;
            }
        }
        if self == Self::Daemon {
            // It speaks with QEMU, and with nobody else.
            deny_if(libc::SYS_socket, 0, SeccompCmpOp::Ne, AF_UNIX)?;
        }
        let deny = SeccompAction::Errno(errno(libc::EPERM));
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, arch).ok()?;
        let mut program = self.missing();
        program.extend(BpfProgram::try_from(filter).ok()?);
        Some(program)
    }

    /// The filter's beginning: calls that do not exist here.
    ///
    /// - `clone3`, unless a daemon asks: its flags lie in memory, where no filter looks. C libraries then call `clone`.
    /// - on x86-64, x32's: they would pass every comparison with a number.
    fn missing(self) -> BpfProgram {
        let enosys = SeccompAction::Errno(errno(libc::ENOSYS)).into();
        let mut program = vec![statement(BPF_LOAD_WORD, 0)];
        if self != Self::Daemon {
            program.push(jump(BPF_JUMP_EQUAL, number(libc::SYS_clone3), 1));
            program.push(statement(BPF_RETURN, enosys));
        }
        #[cfg(target_arch = "x86_64")]
        program.extend([jump(BPF_JUMP_AT_LEAST, X32, 1), statement(BPF_RETURN, enosys)]);
        program
    }
}

/// A filter for a process that has become what it is to be.
pub(super) fn no_program() -> Option<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let calls = [libc::SYS_execve, libc::SYS_execveat];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let deny = SeccompAction::Errno(errno(libc::EPERM));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, arch).ok()?;
    filter.try_into().ok()
}

/// The filter of a process that sees others and signals nobody but its own threads. glibc does that by `tgkill`, which
/// names the process too; musl's `tkill` names a thread alone, which may be anybody's.
///
/// The process makes it itself, since nobody knows its number before, between `clone` and `execve`: without allocation.
/// It takes the architecture for granted, which the filter of [`Calls`] checks.
pub(super) fn signals_to(process: u32) -> [sock_filter; 8] {
    let deny = statement(BPF_RETURN, SeccompAction::Errno(errno(libc::EPERM)).into());
    [
        statement(BPF_LOAD_WORD, 0),
        jump(BPF_JUMP_EQUAL, number(libc::SYS_tkill), 1),
        deny.clone(),
        jump(BPF_JUMP_EQUAL, number(libc::SYS_tgkill), 2),
        statement(BPF_LOAD_WORD, FIRST_ARGUMENT),
        jump(BPF_JUMP_EQUAL, process, 1),
        statement(BPF_RETURN, SeccompAction::Allow.into()),
        deny,
    ]
}

// Of linux/bpf_common.h: a word at an absolute place of `struct seccomp_data` (its first is the call's number), jumps
// by a constant, and the end.
const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_EQUAL: u16 = 0x15;
const BPF_JUMP_AT_LEAST: u16 = 0x35;
pub(super) const BPF_RETURN: u16 = 0x06;

/// Where the lower half of a call's first argument is in `struct seccomp_data`, on machines that store it first.
const FIRST_ARGUMENT: u32 = 16;

// Of linux/sched.h, linux/socket.h, linux/net.h, linux/prctl.h and asm-generic/ioctls.h, the same on all architectures
// here.
const CLONE_THREAD: u32 = 0x1_0000;
const CLONE_NEWUSER: u32 = 0x1000_0000;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const SOCK_TYPE_MASK: u32 = 0xf;
const SOCK_DGRAM: u32 = 2;
const SOCK_RAW: u32 = 3;
const SOCK_RDM: u32 = 4;
const SOCK_SEQPACKET: u32 = 5;
const SOCK_DCCP: u32 = 6;
const SOCK_PACKET: u32 = 10;
const MSG_FASTOPEN: u32 = 0x2000_0000;
const PR_SET_PDEATHSIG: u32 = 1;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

// Of asm-generic/fcntl.h and linux/mman.h, the same too. MAP_SHARED_VALIDATE has the bit of MAP_SHARED.
const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;
const SHARED_AND_NO_FILE: u32 = 0x21;

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Goes on if the comparison holds, else leaves out `skip` instructions.
const fn jump(code: u16, k: u32, skip: u8) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: skip,
        k,
    }
}

/// A call's number as filters see it.
fn number(call: c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

#[cfg(test)]
#[path = "filter_tests.rs"]
pub(crate) mod tests;
