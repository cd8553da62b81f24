//! The guest's directories: each that the boot line asks for becomes a file system and a preopen.
//!
//! Layer: pure; between `config` and `wasi-shim`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use boot_protocol::boot_line::Directory;
use wasi_shim::Errno;
use wasi_shim::context::{BuildError, WasiCtxBuilder};
use wasi_shim::fs::mem::{Budget, Bytes, Limits, MemFs};
use wasi_shim::fs::tar::{self, TarErrorKind};
use wasi_shim::fs::{FileSystem, Permission};

use crate::boot_file::BootFile;
use crate::exit_status::Outcome;

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

/// Finds a shared directory by its tag; the error says why it cannot be had.
pub type FindShare<'a> = &'a mut dyn FnMut(&str) -> Result<Box<dyn FileSystem>, String>;

/// Where directories come from.
pub struct Sources<'a> {
    /// What the boot loader handed over.
    pub boot_file: Option<BootFile>,
    /// What all that is in memory may take.
    pub budget: Budget,
    /// The time that new directories carry, in nanoseconds.
    pub now: u64,
    /// The host's.
    pub share: FindShare<'a>,
    /// Finds a directory that uhyve maps into the machine, by its path there.
    pub map: FindShare<'a>,
}

/// Gives `directories` to the guest, in their order.
///
/// # Errors
/// The end of the run, if one of them cannot be had.
pub fn give(
    builder: WasiCtxBuilder,
    directories: &[Directory],
    mut sources: Sources<'_>,
) -> Result<WasiCtxBuilder, Outcome> {
    directories.iter().try_fold(builder, |builder, directory| {
        let (fs, guest, read_only) = open(directory, &mut sources)?;
        let permission = if read_only {
            Permission::ReadOnly
        } else {
            Permission::ReadWrite
        };
        builder
            .preopen_boxed(fs, guest.as_bytes(), permission)
            .map_err(|error| Outcome::Usage(cannot_give(guest, &error)))
    })
}

/// The file system behind a directory, what the guest calls it, and whether it may only read.
fn open<'d>(
    directory: &'d Directory,
    sources: &mut Sources<'_>,
) -> Result<(Box<dyn FileSystem>, &'d str, bool), Outcome> {
    match directory {
        Directory::Tmpfs { guest } => {
            let fs = MemFs::new(sources.budget.clone(), sources.now);
            Ok((Box::new(fs), guest, false))
        }
        Directory::Archive {
            member,
            guest,
            read_only,
        } => {
            let mut fs = MemFs::new(sources.budget.clone(), sources.now);
            load(&mut fs, sources.boot_file, member)?;
            Ok((Box::new(fs), guest, *read_only))
        }
        Directory::Share {
            tag,
            guest,
            read_only,
        } => {
            let fs = (sources.share)(tag)
                .map_err(|reason| Outcome::Usage(format!("boot line: --share {tag}: {reason}")))?;
            Ok((fs, guest, *read_only))
        }
        Directory::Mapped {
            path,
            guest,
            read_only,
        } => {
            let fs = (sources.map)(path)
                .map_err(|reason| Outcome::Usage(format!("boot line: --map {path}: {reason}")))?;
            Ok((fs, guest, *read_only))
        }
    }
}

fn cannot_give(guest: &str, error: &BuildError) -> String {
    format!("cannot give the guest the directory {guest:?}: {error}")
}

/// Fills `fs` from the archive `member` of the boot file.
fn load(fs: &mut MemFs, boot_file: Option<BootFile>, member: &str) -> Result<(), Outcome> {
    let usage = |text: String| Outcome::Usage(format!("boot line: --copy-dir {member}: {text}"));
    let archive = match boot_file {
        None => return Err(usage("there is no boot file (QEMU: -initrd)".into())),
        Some(BootFile::Module(_)) => {
            return Err(usage(
                "the boot file is a module alone; it has to be a tar archive of module.wasm and this file"
                    .into(),
            ));
        }
        Some(bundle) => bundle
            .member(member)
            .map_err(|error| usage(format!("the boot file is damaged: {error}")))?
            .ok_or_else(|| usage("the boot file has no such member".into()))?,
    };
    tar::load(fs, &Bytes::Static(archive)).map_err(|error| match error.kind {
        TarErrorKind::FileSystem(Errno::NOSPC) => Outcome::MachineFailed(format!(
            "the directory in {member} does not fit into the virtual machine's memory: raise it with --memory SIZE"
        )),
        _ => usage(format!("{error}")),
    })
}
