//! The same work in the small Linux.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use test_qemu::Qemu;

use super::run::{MACHINE, Machine, Serving};
use super::{Counts, JOBS};
use crate::bench::linux::{COMMAND_LINE, Linux};

/// The modules that virtiofs on PCI consists of, in the order in which they need each other.
const MODULES: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "fuse",
    "virtiofs",
];

/// The Linux, with all jobs; or why there is none.
pub(super) fn prepare(work: &Path) -> Result<Linux> {
    Linux::prepare(work, "share-cost.c", &MODULES, &[("jobs", &job_lines())])
}

/// Does all jobs, with its page cache and, where that goes, past it, in one run. By the job's number, and whether
/// it was done past the cache.
pub(super) fn measure(
    linux: &Linux,
    machine: &Machine,
    serving: Serving,
) -> Result<BTreeMap<(usize, bool), Counts>> {
    let logs = machine.run(
        serving,
        Qemu {
            // It knows nothing of it.
            exit_device: false,
            kernel: Some(&linux.kernel),
            initrd: Some(&linux.archive),
            append: Some(COMMAND_LINE),
            ..MACHINE
        },
    )?;
    // Each is done with nothing to do and then with all; two marks and two separators each, then the plugin's
    // total.
    let parts = 2 * jobs().count();
    ensure!(
        logs.counts.len() == 2 * parts + 1,
        "the Linux did not do all its work: status {:?}, {} marks: {}",
        logs.status,
        logs.counts.len(),
        logs.console
    );
    let mut each = Vec::new();
    for (index, marks) in logs.counts.chunks_exact(2).enumerate() {
        let &[start, end] = marks else { continue };
        let requests = match serving {
            Serving::AtOnce => *logs
                .requests
                .get(2 * index + 1)
                .context("virtiofsd's log has fewer requests than jobs")?,
            Serving::AsItComes => 0,
        };
        each.push(Counts {
            requests,
            ..end.since(start)
        });
    }
    Ok(jobs()
        .zip(each.chunks_exact(2))
        .filter_map(|(key, pair)| match pair {
            &[nothing, all] => Some((key, all.since(nothing))),
            _ => None,
        })
        .collect())
}

/// The numbers of the jobs, and whether they are to be done past the cache.
fn jobs() -> impl Iterator<Item = (usize, bool)> {
    JOBS.iter().enumerate().flat_map(|(index, job)| {
        [(index, false), (index, true)]
            .into_iter()
            .take(1 + usize::from(job.direct))
    })
}

/// What `share-cost.c` reads: each job with nothing to do, then with all.
fn job_lines() -> String {
    let mut lines = String::new();
    for (index, direct) in jobs() {
        let Some(job) = JOBS.get(index) else { continue };
        let how = if direct { "direct" } else { "cached" };
        for times in [0, job.times] {
            lines.push_str(&format!("{how} {} {} {times}\n", job.what, job.with));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transfers_are_done_past_the_cache_too() {
        let lines = job_lines();
        assert!(lines.starts_with("cached write 65536 0\ncached write 65536 1024\ndirect write 65536 0\n"));
        assert!(lines.ends_with(
            "cached open . 10000\ncached open one/two/three/ 0\ncached open one/two/three/ 10000\n"
        ));
        assert_eq!(lines.lines().count(), 2 * jobs().count());
    }
}
