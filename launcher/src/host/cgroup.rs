//! A cgroup of the run's own, where this process may make one: it bounds the memory that no limit of a process counts,
//! such as page tables, pipes, and files that are mapped.
//!
//! Layer: host; the files of cgroup v2 (Linux, `Documentation/admin-guide/cgroup-v2.rst`). It is made beside this
//! process's own, since one that has processes in it cannot bound its children. That takes the right to write there, as
//! root has it, and whatever runs below a user's systemd.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// What the names of all of them begin with; the process's number follows.
const PREFIX: &str = "hermit-wasm-";

/// A cgroup. Dropping it removes it, which takes that no process is left in it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    processes: Arc<File>,
    most: u64,
}

impl Cgroup {
    /// One whose processes use at most so many bytes of memory.
    ///
    /// # Errors
    /// None can be made here, and why.
    pub(crate) fn new(most: u64) -> Result<Self, String> {
        Self::below(&parent()?, most)
    }

    /// One below `parent`, in which this process may make it.
    fn below(parent: &Path, most: u64) -> Result<Self, String> {
        let cannot = |what: &str, error: io::Error| format!("cannot {what} '{}': {error}", parent.display());
        clean(parent);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| cannot("make a cgroup in", error))?;
        bound(&directory, most).map_err(|error| {
            let _ = fs::remove_dir(&directory);
            cannot("bound the memory of a cgroup in", error)
        })
    }

    /// The file through which a process joins it.
    pub(crate) fn processes(&self) -> Arc<File> {
        Arc::clone(&self.processes)
    }

    /// Most memory that its processes may use, in bytes.
    pub(crate) const fn most(&self) -> u64 {
        self.most
    }

    /// Whether a process was killed because its memory did not suffice.
    pub(crate) fn has_killed(&self) -> bool {
        let events = fs::read_to_string(self.directory.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|kills| kills.trim() != "0")
    }
}

/// The cgroup in which this process may make others: that around its own.
///
/// # Errors
/// None can be made on this host, and why.
pub(crate) fn parent() -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    let mounts = read("/proc/self/mounts")?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, path, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then_some(path)
    });
    let root = root.ok_or("this host has no cgroup v2")?;
    parent_of(Path::new(root), &read("/proc/self/cgroup")?)
}

/// The same, for the process whose place below `root` is in `own`, the text of /proc/self/cgroup.
fn parent_of(root: &Path, own: &str) -> Result<PathBuf, String> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = root.join(own.ok_or("this process is in no cgroup v2")?);
    // The root's own processes do not count.
    let parent = if own == root {
        root
    } else {
        if let Some(limit) = limit(&own) {
            return Err(format!(
                "this process's own cgroup '{}' has a limit, {limit}, which QEMU would leave behind",
                own.display()
            ));
        }
        own.parent().unwrap_or(root)
    };
    let cannot = |what: &str, error: io::Error| format!("cannot {what} '{}': {error}", parent.display());
    let controllers = fs::read_to_string(parent.join("cgroup.subtree_control"))
        .map_err(|error| cannot("read the controllers of", error))?;
    if !controllers
        .split_whitespace()
        .any(|controller| controller == "memory")
    {
        return Err(format!(
            "'{}' does not bound the memory of what is in it",
            parent.display()
        ));
    }
    // Who may not move processes there, may not move them into what is below it either.
    let procs = File::options().write(true).open(parent.join("cgroup.procs"));
    procs.map_err(|error| cannot("move processes into", error))?;
    Ok(parent.to_path_buf())
}

/// A limit that somebody has set for the processes of a cgroup, as its file's name.
fn limit(cgroup: &Path) -> Option<&'static str> {
    [
        "memory.max",
        "memory.high",
        "memory.swap.max",
        "cpu.max",
        "io.max",
        "cpuset.cpus",
        "cpuset.mems",
    ]
    .into_iter()
    .find(|name| {
        // Where a controller is off, there is no such file, and no limit.
        let value = fs::read_to_string(cgroup.join(name)).unwrap_or_default();
        !matches!(value.split_whitespace().next(), None | Some("max"))
    })
}

/// Sets the limits of a new cgroup.
fn bound(directory: &Path, most: u64) -> io::Result<Cgroup> {
    let set = |name: &str, value: &str| fs::write(directory.join(name), value);
    set("memory.max", &most.to_string())?;
    // A kernel without swap, or an older one, has no such file; what is bounded is bounded.
    let _ = set("memory.swap.max", "0");
    let _ = set("memory.oom.group", "1");
    let processes = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join("cgroup.procs"))?;
    Ok(Cgroup {
        directory: directory.to_path_buf(),
        processes: Arc::new(processes),
        most,
    })
}

/// Removes those of launchers that were killed.
fn clean(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let launcher = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if launcher.is_some_and(|number| !Path::new("/proc").join(number).exists()) {
            // One with processes in it stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last of its processes may still be on its way out.
        for _ in 0..50 {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a cgroup, but for the files that only a kernel makes in new ones.
    fn tree(name: &str, controllers: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("hermit-wasm-test-{}-{name}", std::process::id()));
        let parent = root.join("user/app");
        fs::create_dir_all(parent.join("shell")).unwrap();
        fs::write(parent.join("cgroup.subtree_control"), controllers).unwrap();
        fs::write(parent.join("cgroup.procs"), "").unwrap();
        root
    }

    #[test]
    fn it_is_made_beside_this_processes_own_and_bounded() {
        let root = tree("bounded", "cpu memory pids\n");
        let stale = root.join("user/app/hermit-wasm-4194305-0");
        fs::create_dir(&stale).unwrap();
        let parent = parent_of(&root, "1:name=systemd:/x\n0::/user/app/shell\n").unwrap();
        let cgroup = Cgroup::below(&parent, 123_456).unwrap();
        assert_eq!(cgroup.directory.parent().unwrap(), root.join("user/app"));
        let read = |name: &str| fs::read_to_string(cgroup.directory.join(name)).unwrap();
        assert_eq!(read("memory.max"), "123456");
        assert_eq!([read("memory.swap.max"), read("memory.oom.group")], ["0", "1"]);
        // A launcher of that number does not exist.
        assert!(!stale.exists());
        assert!(!cgroup.has_killed());
        fs::write(
            cgroup.directory.join("memory.events"),
            "low 0\noom 2\noom_kill 1\n",
        )
        .unwrap();
        assert!(cgroup.has_killed());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn limits_of_this_processes_own_are_not_left_behind() {
        let root = tree("own", "cpu memory pids\n");
        let own = root.join("user/app/shell");
        let attempt = || parent_of(&root, "0::/user/app/shell\n");
        for (name, none, some) in [
            ("memory.max", "max\n", "1048576\n"),
            ("cpu.max", "max 100000\n", "50000 100000\n"),
            ("cpuset.cpus", "\n", "0-1\n"),
        ] {
            fs::write(own.join(name), some).unwrap();
            let error = attempt().unwrap_err();
            assert!(error.contains(&format!("has a limit, {name}, ")), "{error}");
            fs::write(own.join(name), none).unwrap();
            attempt().unwrap();
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn where_none_can_be_made_the_reason_is_said() {
        let root = tree("reasons", "cpu pids\n");
        for (own, part) in [
            ("0::/user/app/shell\n", "does not bound the memory"),
            ("0::/user/app\n", "cannot read the controllers"),
            ("3:memory:/x\n", "in no cgroup v2"),
        ] {
            let error = parent_of(&root, own).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
