//! The capabilities (of Linux) that a program started from here will have: what a container leaves to root.
//!
//! Layer: reads /proc/self/status; the rest is arithmetic. capabilities(7) has the rules.

use rustix::thread::CapabilitiesSecureBits;

/// One of Linux's capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Capability {
    DacOverride = 1,
    Fowner = 3,
    Setgid = 6,
    Setpcap = 8,
    SysChroot = 18,
    SysAdmin = 21,
}

impl Capability {
    /// The set of it alone, as bits.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    /// The set with these bits, as /proc writes them.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether a capability is in the set.
    pub(crate) const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }
}

/// What a program that this process starts will hold if it runs as root; `None` for any other user, and where /proc
/// does not tell.
pub(crate) fn of_roots_children() -> Option<Capabilities> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let bits = rustix::thread::capabilities_secure_bits();
    let root_is_nobody = bits.is_ok_and(|bits| bits.contains(CapabilitiesSecureBits::NO_ROOT));
    after_exec(&status, root_is_nobody)
}

/// The rule of `execve` for root and a file without capabilities of its own.
fn after_exec(status: &str, root_is_nobody: bool) -> Option<Capabilities> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_prefix(':').map(str::trim)
    };
    // Real, effective, saved, file system.
    if field("Uid")?.split_whitespace().nth(1)? != "0" {
        return None;
    }
    let set = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    let ambient = set("CapAmb").unwrap_or(0);
    if root_is_nobody {
        return Some(Capabilities::from_bits(ambient));
    }
    let gained = set("CapInh")? | set("CapBnd")?;
    Some(Capabilities::from_bits(if field("NoNewPrivs") == Some("1") {
        gained & set("CapPrm")?
    } else {
        gained
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker starts a program of root's, apart from the values that a test is about.
    fn status(uid: &str, permitted: &str, bounding: &str, no_new_privileges: &str) -> String {
        format!(
            "Name:\tx\nUid:\t1000\t{uid}\t1000\t1000\nCapInh:\t0000000000000000\nCapPrm:\t{permitted}\n\
             CapEff:\t0000000000000000\nCapBnd:\t{bounding}\nCapAmb:\t0000000000000040\nNoNewPrivs:\t{no_new_privileges}\n"
        )
    }

    const ALL: &str = "000001ffffffffff";
    const DOCKER: &str = "00000000a80425fb";
    const NONE: &str = "0000000000000000";

    #[test]
    fn root_gets_what_the_bounding_set_allows() {
        let docker = after_exec(&status("0", ALL, DOCKER, "0"), false).unwrap();
        for (capability, held) in [
            (Capability::Setgid, true),
            (Capability::Setpcap, true),
            (Capability::SysChroot, true),
            (Capability::SysAdmin, false),
        ] {
            assert_eq!(docker.has(capability), held, "{capability:?}");
        }
        // Given up, but to be had again by starting a program.
        let regained = after_exec(&status("0", NONE, DOCKER, "0"), false);
        assert_eq!(regained, Some(docker));
        // Unless that is forbidden.
        let lost = after_exec(&status("0", NONE, DOCKER, "1"), false);
        assert_eq!(lost, Some(Capabilities(0)));
        assert_eq!(
            after_exec(&status("0", ALL, NONE, "0"), false),
            Some(Capabilities(0))
        );
    }

    #[test]
    fn root_without_privileges_has_the_ambient_ones() {
        let held = after_exec(&status("0", ALL, ALL, "0"), true).unwrap();
        assert!(held.has(Capability::Setgid) && !held.has(Capability::Setpcap));
    }

    #[test]
    fn others_are_not_concerned() {
        assert_eq!(after_exec(&status("1000", NONE, ALL, "0"), false), None);
        for broken in ["", "Uid:\t0\n", "Uid:\t0\t0\t0\t0\nCapBnd:\tx\n"] {
            assert_eq!(after_exec(broken, false), None);
        }
    }

    #[test]
    fn this_process_can_be_asked() {
        assert_eq!(
            of_roots_children().is_some(),
            rustix::process::geteuid().is_root()
        );
    }
}
