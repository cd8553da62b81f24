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
            Self::NotElf => "it is no ELF file of 64 bits, or a damaged one",
            Self::NoSlot => "it has no place for a payload: it is of another version, or of another program",
            Self::Taken => "it has a payload already; take the file that it was made of",
            Self::NoApplication => "it has no application inside: take an image, 'hermit-wasm.img'",
            Self::NoRoom => "its table of segments has no room for another one",
            Self::TooLarge => "with the payload it would be larger than its format allows",
        })
    }
}

impl Error for PackError {}
