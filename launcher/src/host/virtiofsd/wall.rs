//! What keeps virtiofsd inside of its directory, and the flags and rights that go with it.

use std::ffi::OsString;
use std::path::Path;

use boot_protocol::run_spec::Access;

use crate::host::privileges::{Capabilities, Capability};
use crate::jail::{self, Confinement};

/// How virtiofsd confines itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// Namespaces with nothing in them but the directory.
    Namespace,
    /// The directory as its root.
    Chroot,
}

/// What stands around the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wall {
    /// virtiofsd's own, made as root of a user namespace whose only user is the launching one.
    Mapped(Own),
    /// virtiofsd's own, made as the launching user.
    Unmapped(Own),
    /// Landlock's rules, and no way to name anything outside.
    Landlock,
    /// Nothing but filters of system calls.
    None,
}

impl Wall {
    /// Those that are walls, best first.
    pub(super) const ALL: [Self; 5] = [
        Self::Mapped(Own::Namespace),
        Self::Mapped(Own::Chroot),
        Self::Unmapped(Own::Namespace),
        Self::Unmapped(Own::Chroot),
        Self::Landlock,
    ];

    /// The same in a container. Where root's rights over files are the container's, a user namespace would take them
    /// away; and the container is a wall by itself.
    pub(super) const CONTAINED: [Self; 6] = [
        Self::Unmapped(Own::Namespace),
        Self::Unmapped(Own::Chroot),
        Self::Mapped(Own::Namespace),
        Self::Mapped(Own::Chroot),
        Self::Landlock,
        Self::None,
    ];

    /// Whether it is worth trying for root with these capabilities, or for another user.
    pub(super) fn is_possible(self, held: Option<Capabilities>) -> bool {
        let has = |capability| held.is_some_and(|held| held.has(capability));
        match self {
            Self::Unmapped(Own::Namespace) => has(Capability::SysAdmin),
            Self::Unmapped(Own::Chroot) => has(Capability::SysChroot),
            Self::Mapped(_) | Self::Landlock | Self::None => true,
        }
    }

    /// Its name, for messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mapped(Own::Namespace) => "namespace in a user namespace",
            Self::Mapped(Own::Chroot) => "chroot in a user namespace",
            Self::Unmapped(Own::Namespace) => "namespace",
            Self::Unmapped(Own::Chroot) => "chroot",
            Self::Landlock => "Landlock",
            Self::None => "none",
        }
    }

    /// virtiofsd's word for its part.
    const fn sandbox(self) -> &'static str {
        match self {
            Self::Mapped(Own::Namespace) | Self::Unmapped(Own::Namespace) => "namespace",
            Self::Mapped(Own::Chroot) | Self::Unmapped(Own::Chroot) => "chroot",
            Self::Landlock | Self::None => "none",
        }
    }

    /// The capabilities that it takes to build the wall. virtiofsd gives them up before it serves.
    fn capabilities(self) -> u64 {
        let tools: &[Capability] = match self {
            Self::Mapped(Own::Namespace) | Self::Unmapped(Own::Namespace) => &[Capability::SysAdmin],
            Self::Mapped(Own::Chroot) | Self::Unmapped(Own::Chroot) => &[Capability::SysChroot],
            Self::Landlock | Self::None => &[],
        };
        // To leave supplementary groups, which it insists on as root, and to empty the set of what it may ever have.
        let always = [Capability::Setgid, Capability::Setpcap];
        tools
            .iter()
            .chain(&always)
            .fold(0, |bits, capability| bits | capability.bit())
    }

    /// What the jail leaves to virtiofsd, which serves `directory`.
    ///
    /// # Errors
    /// This host does not have it.
    pub(super) fn confine(
        self,
        confinement: Confinement,
        directory: &Path,
        access: Access,
    ) -> Result<Confinement, String> {
        let mut confinement = confinement.keeping(self.capabilities());
        if self != Self::Landlock {
            confinement.as_root = matches!(self, Self::Mapped(_));
            return Ok(confinement.confines_itself());
        }
        if jail::landlock_version().is_none() {
            return Err("this kernel has none, or it is not enabled".to_string());
        }
        confinement.landlock_alone = true;
        // It tries `openat2` where it starts, and takes what that says for granted.
        confinement.directory = Some(directory.to_path_buf());
        // It reads of its own process, whose number is not known yet.
        let confinement = confinement.read("/proc");
        Ok(match access {
            Access::ReadOnly => confinement.read(directory),
            Access::ReadWrite => confinement.write(directory),
        })
    }

    /// Whether virtiofsd, which sees the host's root, must resolve each name beneath the directory. It does that by
    /// `openat2`; elsewhere the filter hides that call.
    pub(super) fn resolves_beneath(self) -> bool {
        matches!(self, Self::Landlock | Self::None)
    }
}

/// What it may keep of root's: none of these. The guest's files are then this user's, since virtiofsd cannot make them
/// anybody else's, and it can do no more with what lies in the directory than this user without privileges.
const CAPABILITIES: [(&str, Option<Capability>); 8] = [
    ("chown", None),
    ("dac_override", Some(Capability::DacOverride)),
    ("fowner", Some(Capability::Fowner)),
    ("fsetid", None),
    ("setgid", None),
    ("setuid", None),
    ("mknod", None),
    ("setfcap", None),
];

/// Those of root's rights over files that a container has, as far as a guest has calls for them.
pub(super) fn rights(held: Option<Capabilities>) -> u64 {
    let all = CAPABILITIES.iter().filter_map(|(_, capability)| *capability);
    let held = all.filter(|capability| held.is_some_and(|held| held.has(*capability)));
    held.fold(0, |bits, capability| bits | capability.bit())
}

/// virtiofsd's word for what it gives up: all but these rights.
fn given_up(rights: u64) -> String {
    let kept =
        |capability: &Option<Capability>| capability.is_some_and(|capability| rights & capability.bit() != 0);
    let names = CAPABILITIES.iter().filter(|(_, capability)| !kept(capability));
    let names: Vec<_> = names.map(|(name, _)| format!("-{name}")).collect();
    format!("--modcaps={}", names.join(":"))
}

/// The words that start it.
pub(super) fn arguments(
    socket: i32,
    directory: &Path,
    access: Access,
    wall: Wall,
    rights: u64,
) -> Vec<OsString> {
    let capabilities = given_up(rights);
    let mut arguments: Vec<OsString> = vec!["--fd".into(), socket.to_string().into()];
    arguments.extend(["--shared-dir".into(), directory.into()]);
    let fixed = [
        "--sandbox",
        wall.sandbox(),
        "--log-level",
        "error",
        &capabilities,
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
