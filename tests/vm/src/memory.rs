//! The host's memory that a process and all that it has started take.
//!
//! Layer: host tests; what `/proc` says.

use std::fs;

/// The memory of a process and its descendants, as proportional set size in bytes, by program.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What each process was called by whoever started it, without directories, and its memory.
    pub programs: Vec<(String, u64)>,
}

impl Memory {
    /// That of a process and its descendants.
    #[must_use]
    pub fn of(process: u32) -> Self {
        let mut programs = Vec::new();
        for process in family(process) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
            // One that has ended meanwhile takes nothing.
            let Some((words, rollup)) = read("cmdline").zip(read("smaps_rollup")) else {
                continue;
            };
            let name = words.split('\0').next().unwrap_or_default();
            let name = name.rsplit('/').next().unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            programs.push((name.to_owned(), kib.unwrap_or_default() * 1024));
        }
        Self { programs }
    }

    /// That of all processes with `part` in their names.
    #[must_use]
    pub fn of_those(&self, part: &str) -> u64 {
        let those = self.programs.iter().filter(|(name, _)| name.contains(part));
        those.map(|(_, bytes)| bytes).sum()
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.programs.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Of each program the most of both.
    pub fn join(&mut self, other: &Self) {
        for (name, bytes) in &other.programs {
            match self.programs.iter_mut().find(|(known, _)| known == name) {
                Some((_, most)) => *most = (*most).max(*bytes),
                None => self.programs.push((name.clone(), *bytes)),
            }
        }
    }
}

/// A process and its descendants.
#[must_use]
pub fn family(first: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // "number (name) state parent …"; a name may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (process, parent)));
    }
    let mut family = vec![first];
    let mut seen = 0;
    while let Some(&parent) = family.get(seen) {
        family.extend(
            parents
                .iter()
                .filter(|(_, other)| *other == parent)
                .map(|(process, _)| process),
        );
        seen += 1;
    }
    family
}
