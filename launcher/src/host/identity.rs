//! What runs, to the byte: SHA-256 digests, which people compare with those of their own build.

use std::fmt::Write as _;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The log's target for [`log`]: people may want it without everything else.
pub const LOG: &str = module_path!();

/// What runs, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of loader and application, which are one file; of the application, where that is alone.
    pub image: String,
    /// SHA-256 of the payload.
    pub payload: String,
    /// SHA-256 of both, one behind the other.
    pub all: String,
}

impl Identity {
    /// That of an image and a payload.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn of(mut image: impl Read, mut payload: impl Read) -> io::Result<Self> {
        let mut all = Sha256::new();
        Ok(Self {
            image: digest(&mut image, Some(&mut all))?,
            payload: digest(&mut payload, Some(&mut all))?,
            all: hex(&all.finalize().into()),
        })
    }
}

/// The digest of what is read, for people.
///
/// # Errors
/// It cannot be read.
pub(crate) fn sha256(mut from: impl Read) -> io::Result<String> {
    digest(&mut from, None)
}

/// The same, and adds it to another digest.
fn digest(from: &mut dyn Read, mut also: Option<&mut Sha256>) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize().into())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        hasher.update(bytes);
        if let Some(also) = &mut also {
            also.update(bytes);
        }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether anybody would see what [`log`] says: reading all of it takes time.
pub(crate) fn is_wanted() -> bool {
    log::log_enabled!(target: LOG, log::Level::Info)
}

/// Says what is handed to a hypervisor, piece by piece.
pub(crate) fn log(what: &str, digest: &str) {
    log::info!(target: LOG, "SHA-256 of {what}: {digest}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2's examples: one block, and none.
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(&b"abc"[..]).unwrap(), ABC);
        let identity = Identity::of(&b"abc"[..], &b""[..]).unwrap();
        assert_eq!(
            [&*identity.image, &*identity.payload, &*identity.all],
            [ABC, NOTHING, ABC]
        );
        let whole = sha256(&b"abcd"[..]).unwrap();
        assert_eq!(Identity::of(&b"ab"[..], &b"cd"[..]).unwrap().all, whole);
        assert_ne!(Identity::of(&b"cd"[..], &b"ab"[..]).unwrap().all, whole);
    }
}
