//! Why a payload cannot be put into a file.

use std::error::Error;
use std::fmt;

/// Why a payload cannot be put into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// The payload is empty.
    EmptyPayload,
    /// The file is no ELF file of 64 bits, or says of itself what it does not have.
    NotElf,
    /// The file has no place that says where the payload lies.
    NoSlot,
    /// A payload has been put into the file already.
    Taken,
    /// The file has no application inside.
    NoApplication,
    /// The file's table of segments has no room for one more.
    NoRoom,
    /// Addresses beyond what the format can say.
    TooLarge,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyPayload => "the payload is empty",
            Self::NotElf => "it is not a 64-bit ELF file, or is damaged",
            Self::NoSlot => "it has no room for a payload: it is of another version, or of another program",
            Self::Taken => "it already has a payload; use the file that it was made from",
            Self::NoApplication => "it contains no application; use an image, 'hermit-wasm.img'",
            Self::NoRoom => "its segment table is full",
            Self::TooLarge => "with the payload it would be larger than its format allows",
        })
    }
}

impl Error for PackError {}
