//! What a container may use: the guest's part, and what its monitor needs besides.

use oci_spec::runtime::{LinuxResources, PosixRlimit, PosixRlimitType, Process};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::refusal::{Refusal, refuse};
use crate::host::units::show_size;
use crate::spec::run::SMALLEST_MEMORY;

/// Processes and threads of the monitor: launcher, hypervisor, file server and relay.
const TASKS: i64 = 64;

/// Keys of cgroup v2 that limit memory, without swap.
const UNIFIED: [&str; 4] = ["memory.max", "memory.high", "memory.low", "memory.min"];

/// Takes the guest's memory from a container's limit, and adds `overhead` bytes to that. `None`: there is no limit.
pub(super) fn memory(resources: &mut LinuxResources, overhead: u64) -> Result<Option<u64>, Refusal> {
    let more = i64::try_from(overhead).unwrap_or(i64::MAX);
    let mut limit = None;
    if let Some(memory) = resources.memory_mut() {
        let raised = |bytes: Option<i64>| {
            bytes.map(|bytes| {
                if bytes > 0 {
                    bytes.saturating_add(more)
                } else {
                    bytes
                }
            })
        };
        limit = memory.limit().filter(|bytes| *bytes > 0);
        memory.set_limit(raised(memory.limit()));
        memory.set_swap(raised(memory.swap()));
        memory.set_reservation(raised(memory.reservation()));
    }
    for (key, value) in resources.unified_mut().iter_mut().flatten() {
        if !UNIFIED.contains(&key.as_str()) {
            continue;
        }
        let Ok(bytes) = value.parse::<i64>() else { continue };
        if key == "memory.max" {
            limit = Some(limit.map_or(bytes, |limit| limit.min(bytes)));
        }
        *value = bytes.saturating_add(more).to_string();
    }
    let Some(limit) = limit else { return Ok(None) };
    let limit = u64::try_from(limit).unwrap_or(0);
    check(limit)?;
    Ok(Some(limit.min(nodes_memory())))
}

/// All memory of this node, in bytes: some say "no limit" by a number beyond it.
fn nodes_memory() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram.saturating_mul(system.mem_unit.into())
}

/// Refuses a machine's memory into which not even its image fits.
pub(super) fn check(bytes: u64) -> Result<(), Refusal> {
    match bytes < SMALLEST_MEMORY {
        true => refuse!(
            "a memory limit of {} is too low: a machine needs at least {}, and most modules need 32 MiB",
            show_size(bytes),
            show_size(SMALLEST_MEMORY)
        ),
        false => Ok(()),
    }
}

/// Adds the monitor's tasks to a limit of them: the guest has none.
pub(super) fn tasks(resources: &mut LinuxResources) {
    if let Some(pids) = resources.pids_mut()
        && pids.limit() > 0
    {
        pids.set_limit(pids.limit().saturating_add(TASKS));
    }
}

/// Drops of a process what this process may not give it: whoever lacks CAP_SYS_RESOURCE raises no limit. Returns what
/// was dropped, for people.
pub(super) fn fit(process: &mut Process) -> Vec<String> {
    let mut dropped = Vec::new();
    let limits = process.rlimits().clone().unwrap_or_default();
    let (kept, lost): (Vec<_>, Vec<_>) = limits.into_iter().partition(may_be_set);
    if !lost.is_empty() {
        dropped.extend(lost.iter().map(|limit| {
            format!(
                "the limit {} of {} is left out: it is above this process's own, which may not be raised",
                limit.typ(),
                limit.hard()
            )
        }));
        process.set_rlimits(Some(kept));
    }
    if process
        .oom_score_adj()
        .is_some_and(|score| !may_be_lowered(score))
    {
        dropped.push(
            "oomScoreAdj is left out: it is below this process's own, which may not be lowered".to_string(),
        );
        process.set_oom_score_adj(None);
    }
    dropped
}

/// Whether this process may set a limit. It is tried, since who may depends on more than a capability.
fn may_be_set(limit: &PosixRlimit) -> bool {
    let resource = resource(limit.typ());
    let own = getrlimit(resource);
    if own.maximum.is_none_or(|maximum| limit.hard() <= maximum) {
        return true;
    }
    let raised = Rlimit {
        current: own.current,
        maximum: (limit.hard() != u64::MAX).then_some(limit.hard()),
    };
    let may = setrlimit(resource, raised).is_ok();
    if may {
        // Down again, which is always allowed.
        let _ = setrlimit(resource, own);
    }
    may
}

/// Whether this process may have this score, by which the kernel chooses what to kill. It is tried, too.
fn may_be_lowered(score: i32) -> bool {
    const FILE: &str = "/proc/self/oom_score_adj";
    let Ok(own) = std::fs::read_to_string(FILE) else {
        return true;
    };
    if own.trim().parse::<i32>().is_ok_and(|own| score >= own) {
        return true;
    }
    let may = std::fs::write(FILE, score.to_string()).is_ok();
    if may {
        let _ = std::fs::write(FILE, own.trim());
    }
    may
}

/// The kernel's name for it.
const fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
