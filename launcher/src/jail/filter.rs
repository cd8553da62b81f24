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
    /// A daemon that makes name spaces of its own before it serves.
    Daemon,
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
    // Keys: the kernel's key rings are not divided by name spaces of processes.
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
    // Mounting, and the name spaces in which anybody may mount.
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
    // Files by their numbers, past all directories. virtiofsd may use it.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Memory and queues of System V and POSIX: known by number to everybody of the same user.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // Sockets: a hypervisor gets its connections open. Name spaces keep the network away where there are some; this does
    // everywhere, and the system's services behind AF_UNIX too.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
];

/// Denied to a hypervisor: other processes.
const NOT_ALONE: &[c_long] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
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
            Self::Hypervisor => &[NOBODY, NOT_A_HYPERVISOR, NOT_ALONE],
            Self::Script => &[NOBODY, NOT_A_HYPERVISOR],
            Self::Daemon => &[NOBODY],
        };
        lists.concat()
    }

    /// The filter's program; `None` for an architecture that the crate does not know.
    pub(super) fn program(self) -> Option<BpfProgram> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for call in self.denied() {
            rules.insert(call, Vec::new());
        }
        let mut deny_if = |call, argument, operation, value| {
            let condition =
                SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, u64::from(value));
            let rule = SeccompRule::new(vec![condition.ok()?]).ok()?;
            rules.entry(call).or_default().push(rule);
            Some(())
        };
        // Typing for a terminal's owner, and cutting and pasting on the console.
        deny_if(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, TIOCSTI)?;
        deny_if(libc::SYS_ioctl, 1, SeccompCmpOp::Eq, TIOCLINUX)?;
        if self == Self::Hypervisor {
            // Limits of other processes; 0 is one's own.
            deny_if(libc::SYS_prlimit64, 0, SeccompCmpOp::Ne, 0)?;
            // Processes; threads share more. `clone3`, below, is not looked into.
            let thread = SeccompCmpOp::MaskedEq(u64::from(CLONE_THREAD));
            deny_if(libc::SYS_clone, 0, thread, 0)?;
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

// Of linux/bpf_common.h: a word at an absolute place of `struct seccomp_data` (its first is the call's number), jumps
// by a constant, and the end.
const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_EQUAL: u16 = 0x15;
const BPF_JUMP_AT_LEAST: u16 = 0x35;
const BPF_RETURN: u16 = 0x06;

// Of linux/sched.h, linux/socket.h and asm-generic/ioctls.h, the same on all architectures here.
const CLONE_THREAD: u32 = 0x1_0000;
const AF_UNIX: u32 = 1;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

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
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_a_program_that_the_kernel_takes() {
        // 4096 instructions are Linux's limit.
        for calls in [Calls::Hypervisor, Calls::Script, Calls::Daemon] {
            let program = calls.program().unwrap();
            assert!((50..4096).contains(&program.len()), "{}", program.len());
        }
    }

    #[test]
    fn a_daemon_may_confine_itself_and_a_hypervisor_may_not() {
        assert!(Calls::Hypervisor.denied().contains(&libc::SYS_mount));
        assert!(Calls::Script.denied().contains(&libc::SYS_mount));
        assert!(!Calls::Daemon.denied().contains(&libc::SYS_mount));
        for calls in [Calls::Hypervisor, Calls::Script, Calls::Daemon] {
            assert!(calls.denied().contains(&libc::SYS_ptrace));
        }
    }
}
