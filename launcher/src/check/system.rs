//! What this system's kernel has, as far as files and one process tell.

use std::fs;
use std::path::PathBuf;

use super::{Finding, State};
use crate::host::cgroup;
use crate::jail::{self, Confinement, Jail};

/// The layers that a process gets here, by one that does nothing: this program, asked for its version. The error says
/// why no process can be started in a jail.
pub(super) fn jail() -> (Finding, Result<(), String>) {
    const NAME: &str = "jail";
    let started =
        std::env::current_exe().and_then(|program| jail::layers(&program, &Confinement::new(Jail::Auto)));
    let layers = match started {
        Ok(layers) => layers,
        Err(error) => {
            let finding = Finding::new(
                NAME,
                State::Missing,
                error.to_string(),
                "runs only with --jail off",
            );
            return (finding, Err(error.to_string()));
        }
    };
    let finding = match layers.missing.is_empty() {
        true => Finding::new(NAME, State::Ok, layers.to_string(), "hypervisors get every layer"),
        false => Finding::new(
            NAME,
            State::Limited,
            layers.to_string(),
            "runs work with the layers that there are",
        )
        .advice(advice(&layers)),
    };
    (finding, Ok(()))
}

/// How to get the layers that are missing.
fn advice(layers: &jail::Layers) -> String {
    let mut lines: Vec<&str> = layers
        .missing
        .iter()
        .map(|missing| missing.layer.advice())
        .collect();
    lines.dedup();
    lines.join("\n")
}

/// Landlock, by the version that the kernel tells.
pub(super) fn landlock() -> Finding {
    const NAME: &str = "Landlock";
    match jail::landlock_version() {
        Some(version) => Finding::new(
            NAME,
            State::Ok,
            format!("version {version}"),
            "a wall around processes, and where user namespaces are forbidden the only one",
        ),
        None => Finding::new(
            NAME,
            State::Missing,
            "the kernel has none, or it is not enabled",
            "where user namespaces are forbidden, --dir works for root only",
        )
        .advice("Linux 5.13 or newer, with landlock in the list of the kernel parameter lsm="),
    }
}

/// Filters of system calls, and questions about them.
pub(super) fn seccomp() -> Finding {
    seccomp_from(&fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default())
}

fn seccomp_from(actions: &str) -> Finding {
    const NAME: &str = "seccomp";
    let has = |action| actions.split_whitespace().any(|word| word == action);
    match (has("errno"), has("user_notif")) {
        (true, true) => Finding::new(
            NAME,
            State::Ok,
            "filters and notifications",
            "system calls are filtered, and --dir HOST,quota=SIZE works",
        ),
        (true, false) => Finding::new(
            NAME,
            State::Limited,
            "filters without notifications",
            "system calls are filtered; no --dir HOST,quota=SIZE",
        )
        .advice("Linux 5.5 or newer"),
        (false, _) => Finding::new(NAME, State::Missing, "no filters", "runs only with --jail off")
            .advice("a kernel with CONFIG_SECCOMP_FILTER, as all distributions have"),
    }
}

/// Whether a run's memory can be bounded by a cgroup.
pub(super) fn cgroup() -> Finding {
    cgroup_from(cgroup::parent())
}

fn cgroup_from(parent: Result<PathBuf, String>) -> Finding {
    const NAME: &str = "cgroup";
    match parent {
        Ok(parent) => Finding::new(
            NAME,
            State::Ok,
            format!("version 2, with memory, in '{}'", parent.display()),
            "QEMU runs in a cgroup of its own, which bounds all of its memory",
        ),
        Err(reason) => Finding::new(
            NAME,
            State::Limited,
            reason,
            "each process's memory is bounded by its own limits alone",
        )
        .advice("cgroup v2, and a place in it: systemd-run --user --scope -p Delegate=yes hermit-wasm run …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seccomp_is_told_by_its_actions() {
        for (actions, state) in [
            (
                "kill_process kill_thread trap errno user_notif trace log allow",
                State::Ok,
            ),
            ("kill trap errno trace allow", State::Limited),
            ("", State::Missing),
        ] {
            assert_eq!(seccomp_from(actions).state, state, "{actions}");
        }
    }

    #[test]
    fn a_cgroup_is_wanted_and_not_needed() {
        let ok = cgroup_from(Ok(PathBuf::from("/sys/fs/cgroup/app")));
        assert_eq!(ok.state, State::Ok);
        let none = cgroup_from(Err("this host has no cgroup v2".to_string()));
        assert_eq!(none.state, State::Limited);
    }
}
