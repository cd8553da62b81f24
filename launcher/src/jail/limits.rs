//! What one process may use of the host: resource limits, and a memory cgroup if somebody has made one.
//!
//! Layer: data, and the list of limits that the child sets. setrlimit(2) has the rules.

use std::fs::File;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit};

/// What a process may use. `None`: as much as the launcher itself. No process of a jail dumps core.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Open files.
    pub files: Option<u64>,
    /// The size to which it may let a file grow, in bytes.
    pub file_size: Option<u64>,
    /// Memory that it may lock, in bytes.
    pub locked: Option<u64>,
    /// Its private writable memory, in bytes: heap, anonymous mappings, QEMU's translated code.
    pub data: Option<u64>,
    /// The stack of its first thread, and the size of every other's unless it says otherwise, in bytes.
    pub stack: Option<u64>,
    /// Processes and threads. It holds only in a user namespace of the process's own, and never for root: elsewhere the
    /// system counts all that belongs to the user.
    pub processes: Option<u64>,
    /// The file `cgroup.procs`, open for writing, of the cgroup that the process joins before its program runs.
    pub cgroup: Option<Arc<File>>,
}

/// One that aborts, as some QEMUs do where KVM is broken, leaves no dump, which would hold the guest's memory. One byte
/// rather than none: none still lets Linux pipe a dump to a handler such as systemd's (core(5)).
const NO_DUMP: u64 = 1;

impl Limits {
    /// The limits as the system takes them; `counted`: whether the process has a user namespace of its own.
    pub(super) fn list(&self, counted: bool) -> Vec<(Resource, u64)> {
        let processes = self.processes.filter(|_| counted);
        let optional = [
            (Resource::Nofile, self.files),
            (Resource::Fsize, self.file_size),
            (Resource::Memlock, self.locked),
            (Resource::Data, self.data),
            (Resource::Stack, self.stack),
            (Resource::Nproc, processes),
        ];
        let given = optional
            .into_iter()
            .filter_map(|(resource, limit)| Some((resource, limit?)));
        std::iter::once((Resource::Core, NO_DUMP)).chain(given).collect()
    }
}

/// Sets one limit, soft and hard. A hard limit that is lower already stays, for root too. Makes system calls only.
pub(super) fn set(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let old = rustix::process::getrlimit(resource);
    let limit = Some(old.maximum.map_or(limit, |maximum| maximum.min(limit)));
    let new = Rlimit {
        current: limit,
        maximum: limit,
    };
    rustix::process::setrlimit(resource, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_never_dumped_and_the_rest_is_as_described() {
        assert_eq!(Limits::default().list(true), [(Resource::Core, NO_DUMP)]);
        let limits = Limits {
            files: Some(64),
            processes: Some(10),
            ..Limits::default()
        };
        let (core, files) = ((Resource::Core, NO_DUMP), (Resource::Nofile, 64));
        assert_eq!(limits.list(true), [core, files, (Resource::Nproc, 10)]);
        // Where all processes of the user are counted, others' would keep it from starting threads.
        assert_eq!(limits.list(false), [core, files]);
    }
}
