//! Landlock: what a process may do with files, sockets and other processes, whatever it sees. The wall where namespaces
//! are forbidden, and a second one where they are not.
//!
//! Layer: makes the ruleset; the child puts itself under it.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope,
};

use super::confinement::Network;
use super::view::{Access, View};

/// The newest version that is understood here; of an older kernel's, all that it has is used.
const NEWEST: ABI = ABI::V6;

/// Rules that allow what is in view, and TCP as `network` has it; `None` where the system has no Landlock.
pub(super) fn ruleset(view: &View, network: &Network) -> Result<Option<OwnedFd>, RulesetError> {
    let denied = match network {
        Network::None | Network::Ports(_) => AccessNet::from_all(NEWEST),
        Network::All => AccessNet::BindTcp.into(),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(denied)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    if let Network::Ports(ports) = network {
        for port in ports {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    for place in &view.places {
        // It was there a moment ago; what has gone cannot be allowed.
        let Ok(path) = PathFd::new(&place.path) else {
            continue;
        };
        rules = rules.add_rule(PathBeneath::new(path, rights(place.access, place.directory)))?;
    }
    Ok(rules.into())
}

/// What may be done there. A file has fewer rights than a directory.
fn rights(access: Access, directory: bool) -> BitFlags<AccessFs> {
    let rights = match access {
        Access::Read => AccessFs::from_read(NEWEST),
        Access::Write => {
            AccessFs::from_all(NEWEST)
                & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
        Access::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
    };
    match directory {
        true => rights,
        false => rights & AccessFs::from_file(NEWEST),
    }
}
