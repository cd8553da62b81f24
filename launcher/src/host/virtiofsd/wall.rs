//! What keeps virtiofsd inside of its directory, and the flags and rights that go with it.

use std::ffi::OsString;
use std::path::Path;

use boot_protocol::run_spec::Access;

use crate::host::privileges::Capability;

/// What stands around the directory, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wall {
    /// Name spaces of its own, with nothing in them but the directory.
    Namespace,
    /// The directory as its root; only root can do it.
    Chroot,
    /// Nothing but its system call filter.
    None,
}

impl Wall {
    /// Those that are walls.
    pub(super) const ALL: [Self; 2] = [Self::Namespace, Self::Chroot];

    /// virtiofsd's word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Chroot => "chroot",
            Self::None => "none",
        }
    }

    /// The capabilities that it takes to build the wall. virtiofsd gives them up before it serves.
    pub(super) fn capabilities(self) -> u64 {
        let tools: &[Capability] = match self {
            Self::Namespace => &[Capability::SysAdmin],
            Self::Chroot => &[Capability::SysChroot],
            Self::None => &[],
        };
        // To leave supplementary groups, which it insists on as root, and to empty the set of what it may ever have.
        let always = [Capability::Setgid, Capability::Setpcap];
        tools
            .iter()
            .chain(&always)
            .fold(0, |bits, capability| bits | capability.bit())
    }
}

/// What it may keep of root's: none of these. The guest's files are then this user's, since virtiofsd cannot make them
/// anybody else's, and it can do no more with what lies in the directory than this user without privileges.
const NO_CAPABILITIES: &str =
    "--modcaps=-chown:-dac_override:-fowner:-fsetid:-setgid:-setuid:-mknod:-setfcap";

/// The words that start it.
pub(super) fn arguments(socket: i32, directory: &Path, access: Access, wall: Wall) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--fd".into(), socket.to_string().into()];
    arguments.extend(["--shared-dir".into(), directory.into()]);
    let fixed = [
        "--sandbox",
        wall.name(),
        "--log-level",
        "error",
        NO_CAPABILITIES,
        // Opening files by their numbers goes past every wall, and takes CAP_DAC_READ_SEARCH.
        "--inode-file-handles=never",
        // One thread serves: no more than that many requests are under way.
        "--thread-pool-size=0",
        // The launcher has set the limit.
        "--rlimit-nofile=0",
    ];
    arguments.extend(fixed.map(OsString::from));
    if access == Access::ReadOnly {
        arguments.push("--readonly".into());
    }
    arguments
}
