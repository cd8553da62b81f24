//! What `/proc` tells of processes: whether they sleep, and how long they have run.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The unit of times in `/proc`: USER_HZ is 100 on every architecture that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process and all that descend from it.
pub(super) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some((_, parent)) = state_and_parent(&stat) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            parents
                .iter()
                .filter(|(_, its)| *its == parent)
                .map(|(pid, _)| *pid),
        );
    }
    Ok(found)
}

/// Whether no thread of a process runs or could run.
pub(super) fn sleeps(pid: u32) -> Result<bool> {
    for thread in threads(pid)? {
        // One that has ended sleeps.
        let Ok(stat) = fs::read_to_string(thread + "/stat") else {
            continue;
        };
        if state_and_parent(&stat).is_some_and(|(state, _)| state != 'S') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How long a process has run, its own work and the system's for it. `/proc` tells hundredths of a second.
pub(super) fn ran(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    let (_, rest) = stat.rsplit_once(')').context("a stat without a name")?;
    // Its 14th and 15th words; behind the name comes the third.
    let mut ticks = 0;
    for word in rest.split_whitespace().skip(11).take(2) {
        ticks += word.parse::<u64>()?;
    }
    Ok(TICK * u32::try_from(ticks)?)
}

/// The directories of a process's threads.
fn threads(pid: u32) -> Result<Vec<String>> {
    let tasks = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&tasks).with_context(|| format!("process {pid} has ended"))?;
    entries
        .map(|entry| Ok(format!("{tasks}/{}", entry?.file_name().to_string_lossy())))
        .collect()
}

/// A thread's state and its parent, from `stat`. The name, in parentheses, may have any character in it.
fn state_and_parent(stat: &str) -> Option<(char, u32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread;

    #[test]
    fn a_name_may_look_like_more() {
        assert_eq!(state_and_parent("12 (a) R 3 (b)) S 7 1 2"), Some(('S', 7)));
        assert_eq!(state_and_parent("12 (a"), None);
    }

    #[test]
    fn a_child_is_found_and_sleeps_where_its_parent_runs() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let own = std::process::id();
        assert!(tree(own).unwrap().contains(&child.id()));
        while !sleeps(child.id()).unwrap() {
            thread::yield_now();
        }
        assert!(!sleeps(own).unwrap(), "who asks runs");
        let before = ran(own).unwrap();
        while ran(own).unwrap() < before + TICK {}
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(ran(child.id()).is_err());
    }
}
