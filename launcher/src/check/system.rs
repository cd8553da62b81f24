//! What this system's kernel has, as far as files and one process tell.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, State};
use crate::jail::{self, Confinement, Jail};

/// The layers that a process gets here, by one that does nothing: this program, asked for its version. The error says
/// why no process can be started in a jail.
pub(super) fn jail() -> (Finding, Result<(), String>) {
    const NAME: &str = "jail";
    let started =
        std::env::current_exe().and_then(|program| jail::layers(&program, &Confinement::new(Jail::Auto)));
    let report = match started {
        Ok(report) => report,
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
    let finding = match report.missing.is_empty() {
        true => Finding::new(NAME, State::Ok, report.to_string(), "hypervisors get every layer"),
        false => Finding::new(
            NAME,
            State::Limited,
            report.to_string(),
            "runs work with the layers that there are",
        )
        .advice(advice(&report)),
    };
    (finding, Ok(()))
}

/// How to get the layers that are missing.
fn advice(report: &jail::Report) -> String {
    let mut lines: Vec<&str> = report
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

/// Whether this process may bound memory by a cgroup.
pub(super) fn cgroup() -> Finding {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup_below(Path::new("/sys/fs/cgroup"), &own)
}

fn cgroup_below(mounted: &Path, own: &str) -> Finding {
    const NAME: &str = "cgroup";
    const MEANING: &str = "memory is bounded by each process's own limits, not by a cgroup";
    const ADVICE: &str =
        "start with a cgroup of your own: systemd-run --user --scope -p Delegate=yes hermit-wasm run …";
    let found = |state, seen: String, meaning: &str| Finding::new(NAME, state, seen, meaning);
    let unified = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let controllers = |directory: &Path| fs::read_to_string(directory.join("cgroup.controllers")).ok();
    let Some((place, available)) = unified.and_then(|unified| {
        let place: PathBuf = mounted.join(unified);
        Some((place.clone(), controllers(&place)?))
    }) else {
        return found(State::Missing, "version 2 is not mounted".to_string(), MEANING)
            .advice("boot with systemd.unified_cgroup_hierarchy=1");
    };
    if !available
        .split_whitespace()
        .any(|controller| controller == "memory")
    {
        let seen = format!("version 2, without the memory controller in {}", place.display());
        return found(State::Limited, seen, MEANING).advice(ADVICE);
    }
    match rustix::fs::access(&place, rustix::fs::Access::WRITE_OK) {
        Ok(()) => found(
            State::Ok,
            format!("version 2, {} is delegated", place.display()),
            "a run's memory can be bounded as a whole",
        ),
        Err(_) => found(
            State::Limited,
            format!("version 2, {} is not delegated to this user", place.display()),
            MEANING,
        )
        .advice(ADVICE),
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
    fn a_cgroup_must_be_of_version_2_and_have_memory() {
        let mounted = tempfile::tempdir().unwrap();
        let place = mounted.path().join("user/mine");
        fs::create_dir_all(&place).unwrap();
        let state = |own: &str| cgroup_below(mounted.path(), own).state;
        assert_eq!(state("3:memory:/x\n"), State::Missing);
        assert_eq!(state("0::/user/mine\n"), State::Missing);
        fs::write(place.join("cgroup.controllers"), "cpu pids\n").unwrap();
        assert_eq!(state("0::/user/mine\n"), State::Limited);
        fs::write(place.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        assert_eq!(state("0::/user/mine\n"), State::Ok);
    }
}
