//! The engines: what executes the guest's code inside of the machine.

use std::fmt;

use boot_protocol::arch::Arch;

use crate::host::image;

/// What executes the guest's code inside of the machine. Each has an image of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter: it takes the module as it is.
    Interp,
    /// The runtime for code that was compiled before, on the host.
    Native,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Interp, Self::Native];

    /// Whether this build carries an image for the architecture with this engine.
    #[must_use]
    pub fn is_carried(self, arch: Arch) -> bool {
        image::of(arch, self).is_ok()
    }

    /// Its name, as `--engine` and the status file have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
