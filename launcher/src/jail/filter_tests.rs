//! What the kernel's filters deny, by running their programs as it does.

use super::*;

#[test]
fn each_policy_has_a_program_that_the_kernel_takes() {
    // 4096 instructions are Linux's limit.
    for calls in [Calls::Hypervisor, Calls::Script, Calls::Daemon, Calls::Relay] {
        let program = calls.program().unwrap();
        assert!((50..4096).contains(&program.len()), "{}", program.len());
    }
}

#[test]
fn a_daemon_may_confine_itself_and_a_hypervisor_may_not() {
    assert!(Calls::Hypervisor.denied().contains(&libc::SYS_mount));
    assert!(Calls::Script.denied().contains(&libc::SYS_mount));
    assert!(!Calls::Daemon.denied().contains(&libc::SYS_mount));
    for calls in [Calls::Hypervisor, Calls::Script, Calls::Daemon, Calls::Relay] {
        assert!(calls.denied().contains(&libc::SYS_ptrace));
    }
}

/// What the kernel would do with a call: runs the program as it does. `None`: the call is made.
pub(crate) fn errno_of(program: &[sock_filter], call: c_long, arguments: [u64; 6]) -> Option<i32> {
    let mut data = number(call).to_ne_bytes().to_vec();
    let arch = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e_u32,
        "aarch64" => 0xc000_00b7,
        _ => 0xc000_00f3,
    };
    data.extend_from_slice(&arch.to_ne_bytes());
    for word in std::iter::once(0).chain(arguments) {
        data.extend_from_slice(&word.to_ne_bytes());
    }
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let holds = match code {
            BPF_RETURN if k == u32::from(SeccompAction::Allow) => return None,
            BPF_RETURN => {
                assert_eq!(k & 0xffff_0000, u32::from(SeccompAction::Errno(0)), "{k:#x}");
                return i32::try_from(k & 0xffff).ok();
            }
            BPF_LOAD_WORD => {
                let place = usize::try_from(k).unwrap();
                accumulator = u32::from_ne_bytes(data[place..place + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x05 => {
                at += usize::try_from(k).unwrap();
                continue;
            }
            BPF_JUMP_EQUAL => accumulator == k,
            0x25 => accumulator > k,
            BPF_JUMP_AT_LEAST => accumulator >= k,
            other => panic!("{other:#x}"),
        };
        at += usize::from(if holds { jt } else { jf });
    }
}

#[test]
fn arguments_decide_where_a_call_is_denied_in_part() {
    const DENIED: Option<i32> = Some(libc::EPERM);
    let stream = u64::from(libc::SOCK_STREAM.cast_unsigned() | libc::SOCK_CLOEXEC.cast_unsigned());
    let datagram = u64::from(libc::SOCK_DGRAM.cast_unsigned() | libc::SOCK_NONBLOCK.cast_unsigned());
    let raw = u64::from(SOCK_RAW);
    let thread = u64::from(CLONE_THREAD);
    let user = u64::from(CLONE_NEWUSER) | 17;
    // Upper halves are nothing to a call that takes an `int`.
    let high = 1 << 32;
    for (call, arguments, [hypervisor, script, daemon]) in [
        (libc::SYS_socketpair, [1, stream], [None; 3]),
        (libc::SYS_socketpair, [1, datagram], [DENIED, DENIED, None]),
        (libc::SYS_socketpair, [1, datagram | high], [DENIED, DENIED, None]),
        (libc::SYS_socketpair, [1, raw], [DENIED, DENIED, None]),
        (libc::SYS_socketpair, [30, stream], [DENIED, DENIED, None]),
        (libc::SYS_socket, [1, stream], [DENIED, DENIED, None]),
        (libc::SYS_socket, [2, stream], [DENIED; 3]),
        (libc::SYS_clone, [thread, 0], [None; 3]),
        (libc::SYS_clone, [17, 0], [DENIED, None, None]),
        (libc::SYS_clone, [user, 0], [DENIED, DENIED, None]),
        (libc::SYS_prctl, [1 | high, 0], [DENIED, DENIED, None]),
        (libc::SYS_prctl, [15, 0], [None; 3]),
        (libc::SYS_ioctl, [0, u64::from(TIOCSTI) | high], [DENIED; 3]),
        (
            libc::SYS_fcntl,
            [0, u64::from(F_SETOWN) | high],
            [DENIED, None, None],
        ),
        (libc::SYS_fcntl, [0, 1], [None; 3]),
        (libc::SYS_msgrcv, [0, 0], [DENIED, DENIED, None]),
    ] {
        let [first, second] = arguments;
        for (calls, expected) in [
            (Calls::Hypervisor, hypervisor),
            (Calls::Script, script),
            (Calls::Daemon, daemon),
        ] {
            let program = calls.program().unwrap();
            let found = errno_of(&program, call, [first, second, 0, 0, 0, 0]);
            assert_eq!(found, expected, "{calls:?}: {call} {arguments:?}");
        }
    }
}

#[test]
fn a_relay_connects_and_listens_nowhere() {
    const DENIED: Option<i32> = Some(libc::EPERM);
    let stream = u64::from(libc::SOCK_STREAM.cast_unsigned() | libc::SOCK_CLOEXEC.cast_unsigned());
    let datagram = u64::from(libc::SOCK_DGRAM.cast_unsigned() | libc::SOCK_NONBLOCK.cast_unsigned());
    let program = Calls::Relay.program().unwrap();
    for (call, arguments, expected) in [
        (libc::SYS_socket, [2, stream, 0], None),
        (libc::SYS_socket, [10, stream, 6], None),
        (libc::SYS_socket, [2, datagram, 17], None),
        (libc::SYS_socket, [10, datagram, 0], None),
        // Services of the host's, its routes, and packets of any kind.
        (libc::SYS_socket, [1, stream, 0], DENIED),
        (libc::SYS_socket, [16, datagram, 0], DENIED),
        (libc::SYS_socket, [17, datagram, 0], DENIED),
        (libc::SYS_socket, [40, stream, 0], DENIED),
        (libc::SYS_socket, [2, 3, 1], DENIED),
        (libc::SYS_socket, [2, 3, 17], DENIED),
        // ICMP, SCTP, MPTCP.
        (libc::SYS_socket, [2, datagram, 1], DENIED),
        (libc::SYS_socket, [2, stream, 132], DENIED),
        (libc::SYS_socket, [2, stream, 262], DENIED),
        (libc::SYS_connect, [3, 0, 0], None),
        (libc::SYS_bind, [3, 0, 0], None),
        (libc::SYS_accept4, [3, 0, 0], None),
        (libc::SYS_listen, [3, 0, 0], DENIED),
        (libc::SYS_kill, [1, 9, 0], DENIED),
        (libc::SYS_clone, [17, 0, 0], DENIED),
        (libc::SYS_clone, [u64::from(CLONE_THREAD), 0, 0], None),
    ] {
        let [first, second, third] = arguments;
        let found = errno_of(&program, call, [first, second, third, 0, 0, 0]);
        assert_eq!(found, expected, "{call} {arguments:?}");
    }
    for (flags, expected) in [(0x4000, None), (0x2000_4000, DENIED)] {
        for (call, arguments) in [
            (libc::SYS_sendto, [3, 0, 0, flags, 0, 0]),
            (libc::SYS_sendmsg, [3, 0, flags, 0, 0, 0]),
            (libc::SYS_sendmmsg, [3, 0, 0, flags, 0, 0]),
        ] {
            assert_eq!(errno_of(&program, call, arguments), expected, "{call} {flags:#x}");
        }
    }
}

#[test]
fn who_starts_no_program_does_all_else() {
    let program = no_program().unwrap();
    assert_eq!(errno_of(&program, libc::SYS_execve, [0; 6]), Some(libc::EPERM));
    assert_eq!(errno_of(&program, libc::SYS_execveat, [0; 6]), Some(libc::EPERM));
    assert_eq!(errno_of(&program, libc::SYS_socket, [2, 1, 0, 0, 0, 0]), None);
}

#[test]
fn threads_of_other_processes_are_not_signalled() {
    let own = signals_to(7);
    let to = |process| [process, 7, 9, 0, 0, 0];
    assert_eq!(errno_of(&own, libc::SYS_tgkill, to(7)), None);
    assert_eq!(errno_of(&own, libc::SYS_tgkill, to(8)), Some(libc::EPERM));
    assert_eq!(errno_of(&own, libc::SYS_tkill, to(7)), Some(libc::EPERM));
    assert_eq!(errno_of(&own, libc::SYS_read, to(8)), None);
}
