//! The daemons of a machine's mounted directories.

use std::path::PathBuf;

use boot_protocol::arch::Arch;

use super::{MachineKind, Qemu};
use crate::error::Error;
use crate::host::shown;
use crate::host::virtiofsd::{self, Daemon, Share, Wall};
use crate::spec::mounts::{MountError, MountSource};
use crate::spec::request::Request;

impl Qemu {
    /// Starts a daemon for each mounted directory.
    pub(super) fn daemons(&self, request: &Request<'_>, kind: MachineKind) -> Result<Vec<Daemon>, Error> {
        let mut daemons = Vec::new();
        let mut found: Option<PathBuf> = None;
        for mount in request.mounts() {
            let MountSource::Dir(host) = &mount.source else {
                continue;
            };
            room_for_mount(
                kind,
                request.arch(),
                daemons.len(),
                usize::from(request.has_network()),
            )?;
            // Asking a program for its version takes time: once for all directories.
            let program = match found.take() {
                Some(program) => program,
                None => virtiofsd::find(self.virtiofsd.as_deref(), request.deadline())?,
            };
            let share = Share {
                host,
                access: mount.access,
                quota: mount.quota,
                contained: request.is_contained(),
            };
            let daemon = virtiofsd::start(&program, share, request.jail(), &|| request.deadline().check())?;
            log::info!(
                "'{}' serves '{}', wall: {}",
                shown::path(&program),
                shown::path(host),
                daemon.wall.name()
            );
            if daemon.wall == Wall::None && request.is_contained() {
                log::info!(
                    "nothing but the container keeps virtiofsd in '{}': this kernel's Landlock is not enabled, and the \
                     container has no other wall",
                    shown::path(host)
                );
            } else if daemon.wall == Wall::None {
                log::warn!(
                    "--dir: nothing keeps virtiofsd, which serves '{}', from the rest of this host: it has all rights of \
                     this user",
                    shown::path(host)
                );
            }
            daemons.push(daemon);
            found = Some(program);
        }
        Ok(daemons)
    }
}

/// Refuses one mounted directory too many; the machine has `number` already, and `others` devices besides.
pub(super) fn room_for_mount(
    kind: MachineKind,
    arch: Arch,
    number: usize,
    others: usize,
) -> Result<(), MountError> {
    let most = kind.most_devices(arch).saturating_sub(others);
    if number < most {
        return Ok(());
    }
    Err(MountError::TooMany {
        machine: format!("--machine {}", kind.name()),
        most,
        advice: match kind {
            MachineKind::Microvm => "; --machine q35 takes more, and --copy-dir and --tmpfs need no room",
            _ => "; --copy-dir and --tmpfs need no room",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_takes_the_place_of_a_directory() {
        for (kind, arch, most) in [
            (MachineKind::Microvm, Arch::X86_64, 8),
            (MachineKind::Q35, Arch::X86_64, 24),
            (MachineKind::Virt, Arch::Riscv64, 8),
        ] {
            for network in [0, 1] {
                assert!(room_for_mount(kind, arch, most - 1 - network, network).is_ok());
                let error = room_for_mount(kind, arch, most - network, network).unwrap_err();
                let room = format!("has room for {} mounted directories", most - network);
                assert!(error.to_string().contains(&room), "{error}");
            }
        }
    }
}
