//! The host's memory that a process and all that it has started take.
//!
//! Layer: host tests; what `/proc` says.

use std::fs;

/// The memory of a process and its descendants, as proportional set size in bytes, by program.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What each process was called by whoever started it, without directories, and its memory.
    pub programs: Vec<(String, u64)>,
    /// The same without what is only read from files, such as code: that comes and goes as the kernel likes.
    pub own: Vec<(String, u64)>,
}

impl Memory {
    /// That of a process and its descendants.
    #[must_use]
    pub fn of(process: u32) -> Self {
        let mut memory = Self::default();
        for process in family(process) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
            // One that has ended meanwhile takes nothing.
            let Some((words, rollup)) = read("cmdline").zip(read("smaps_rollup")) else {
                continue;
            };
            let name = words.split('\0').next().unwrap_or_default();
            let name = name.rsplit('/').next().unwrap_or_default();
            let bytes = |field: &str| {
                let line = rollup.lines().find_map(|line| line.strip_prefix(field));
                line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
                    .map(|kib| kib * 1024)
            };
            let all = bytes("Pss:").unwrap_or_default();
            let own = bytes("Pss_Anon:").zip(bytes("Pss_Shmem:"));
            memory.programs.push((name.to_owned(), all));
            // Kernels of before 2019 do not tell them apart.
            let own = own.map_or(all, |(anonymous, shared)| anonymous + shared);
            memory.own.push((name.to_owned(), own));
        }
        memory
    }

    /// What processes with `part` in their names have for themselves.
    #[must_use]
    pub fn own_of(&self, part: &str) -> u64 {
        let those = self.own.iter().filter(|(name, _)| name.contains(part));
        those.map(|(_, bytes)| bytes).sum()
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.programs.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Of each program the most of both.
    pub fn join(&mut self, other: &Self) {
        join(&mut self.programs, &other.programs);
        join(&mut self.own, &other.own);
    }
}

fn join(these: &mut Vec<(String, u64)>, others: &[(String, u64)]) {
    for (name, bytes) in others {
        match these.iter_mut().find(|(known, _)| known == name) {
            Some((_, most)) => *most = (*most).max(*bytes),
            None => these.push((name.clone(), *bytes)),
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
