//! The guest's directories: each mount of a run becomes a file system and a preopen.
//!
//! Layer: pure; between `app` and `wasi-core`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use boot_protocol::run_spec::{Access, Mount, MountSource};
use wasi_core::Errno;
use wasi_core::context::{BuildError, WasiCtxBuilder};
use wasi_core::fs::mem::{Budget, Bytes, Limits, MemFs};
use wasi_core::fs::tar::{self, TarErrorKind};
use wasi_core::fs::{FileSystem, Permission};

use crate::exit_status::Outcome;
use crate::payload::Payload;

/// What the guest's directories may take together of `free` bytes of memory: three quarters for data, so that the
/// guest itself and its names have room; a name for each KiB.
#[must_use]
pub fn limits(free: usize) -> Limits {
    let free = u64::try_from(free).unwrap_or(u64::MAX);
    Limits {
        bytes: (free / 4).saturating_mul(3),
        entries: free / 1024,
    }
}

/// Finds a directory of the host by its name; the error says why it cannot be had.
pub type FindDirectory<'a> = &'a mut dyn FnMut(&str) -> Result<Box<dyn FileSystem>, String>;

/// Where directories come from.
pub struct MountSources<'a> {
    /// What the hypervisor handed over.
    pub payload: Option<Payload>,
    /// What all that is in memory may take.
    pub budget: Budget,
    /// The time that new directories carry, in nanoseconds.
    pub now: u64,
    /// Finds a directory of the host by its device's tag.
    pub virtio_fs: FindDirectory<'a>,
    /// Finds a directory that uhyve maps into the machine, by its path there.
    pub uhyve: FindDirectory<'a>,
}

/// Gives `mounts` to the guest, in their order.
///
/// # Errors
/// The end of the run, if one of them cannot be had.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn mount_all(
    builder: WasiCtxBuilder,
    mounts: &[Mount],
    mut sources: MountSources<'_>,
) -> Result<WasiCtxBuilder, Outcome> {
    mounts.iter().try_fold(builder, |builder, mount| {
        let fs = open(mount, &mut sources)?;
        let permission = match mount.access {
            Access::ReadOnly => Permission::ReadOnly,
            Access::ReadWrite => Permission::ReadWrite,
        };
        builder
            .preopen_boxed(fs, mount.guest.as_bytes(), permission)
            .map_err(|error| Outcome::Usage(cannot_give(&mount.guest, &error)))
    })
}

/// The file system behind a mount.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn open(mount: &Mount, sources: &mut MountSources<'_>) -> Result<Box<dyn FileSystem>, Outcome> {
    let cannot_mount =
        |option: &str, source: &str, reason: &str| cannot_mount(&mount.guest, option, source, reason);
    match &mount.source {
        MountSource::Tmpfs { size } => {
            let each = Limits {
                bytes: size.unwrap_or(u64::MAX),
                ..Limits::NONE
            };
            Ok(Box::new(MemFs::new(
                sources.budget.clone().each(each),
                sources.now,
            )))
        }
        MountSource::Copy { member } => {
            let mut fs = MemFs::new(sources.budget.clone(), sources.now);
            load(&mut fs, sources.payload, member).map_err(|outcome| {
                outcome.unwrap_or_else(|reason| cannot_mount("--copy-dir", member, &reason))
            })?;
            Ok(Box::new(fs))
        }
        MountSource::VirtioFs { tag } => {
            (sources.virtio_fs)(tag).map_err(|reason| cannot_mount("--share", tag, &reason))
        }
        MountSource::UhyveMap { path } => {
            (sources.uhyve)(path).map_err(|reason| cannot_mount("--map", path, &reason))
        }
    }
}

/// Out of line, since an image has to be small.
#[cold]
#[inline(never)]
fn cannot_mount(guest: &str, option: &str, source: &str, reason: &str) -> Outcome {
    Outcome::Usage(format!("cannot mount {guest:?} ({option} {source}): {reason}"))
}

fn cannot_give(guest: &str, error: &BuildError) -> String {
    format!("cannot give the guest the directory {guest:?}: {error}")
}

/// Fills `fs` from the archive `member` of the payload. The error is the run's end, or only its reason.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn load(fs: &mut MemFs, payload: Option<Payload>, member: &str) -> Result<(), Result<Outcome, String>> {
    let reason = |text: &str| Err(Err(text.into()));
    let archive = match payload {
        None => return reason("the machine was given no payload (QEMU: -initrd FILE)"),
        Some(payload) => match payload.member(member) {
            Some(Ok(Some(archive))) => archive,
            Some(Ok(None)) => return reason("the payload has no such member"),
            Some(Err(error)) => return Err(Err(format!("the payload is damaged: {error}"))),
            None => {
                return reason(
                    "the payload is a module alone; it has to be a tar archive of module.wasm and this file",
                );
            }
        },
    };
    tar::load(fs, &Bytes::Static(archive)).map_err(|error| match error.kind {
        TarErrorKind::FileSystem(Errno::NOSPC) => Ok(Outcome::MachineFailed(format!(
            "the directory in {member} does not fit into the virtual machine's memory: raise it with --memory SIZE"
        ))),
        _ => Err(format!("{error}")),
    })
}
