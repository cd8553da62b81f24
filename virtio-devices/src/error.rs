//! Why a device cannot be used.

use core::fmt;

/// Why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It speaks only the protocol before version 1.
    Legacy,
    /// Its registers, or the capabilities that say where they are, are missing or malformed.
    Malformed,
    /// Nobody has given its registers an address, or they are ports.
    NoAddress,
    /// Its registers cannot be mapped.
    NotMapped,
    /// It cannot interrupt in the way that it is asked to.
    NoInterrupt,
    /// It does not do what is needed of it.
    Features,
    /// It has not come out of a reset.
    Reset,
    /// A queue is missing.
    NoQueue,
    /// There is too little memory for its queues.
    Memory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => {
                "it is a legacy device (QEMU: -global virtio-mmio.force-legacy=off, disable-legacy=on)"
            }
            Self::Malformed => "its registers are missing or malformed",
            Self::NoAddress => "its registers have no address",
            Self::NotMapped => "its registers cannot be mapped",
            Self::NoInterrupt => "it has no interrupt of the kind that this machine needs",
            Self::Features => "it refuses the features",
            Self::Reset => "it does not come out of a reset",
            Self::NoQueue => "a queue is missing",
            Self::Memory => "there is too little memory for its queues",
        })
    }
}

impl core::error::Error for Error {}
