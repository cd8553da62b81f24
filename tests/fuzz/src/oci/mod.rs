//! Containers: what any bundle becomes, and what is read of any image that was packed.
//!
//! - `bundle`: configurations, in the directories of a node whose image and volume want out.
//! - `given`: configurations in words that mean something.
//! - `image`: images by `pack --format oci`.

mod bundle;
mod given;
mod image;

use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use serde_json::Value;

/// The first byte says what the others are: a configuration; what to make one of; what to pack.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, text)) => drop(bundle::rewrite(text)),
        Some((1, script)) => {
            let given = given::configuration(script);
            let made = given.and_then(|given| bundle::rewrite(given.to_string().as_bytes()));
            if let Some((given, written)) = made {
                bundle::unknown(&given, &written);
            }
        }
        Some((_, script)) => image::pack(script),
        None => {}
    }
}

/// A word of a list, mostly, or another.
#[derive(Debug)]
enum Word {
    Known(u8),
    Other(String),
}

impl<'a> Arbitrary<'a> for Word {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        match bytes.arbitrary()? {
            0xe0.. => bytes.arbitrary().map(Self::Other),
            number => Ok(Self::Known(number)),
        }
    }
}

impl Word {
    fn of(&self, known: &[&str]) -> String {
        match self {
            Self::Known(number) => known[usize::from(*number) % known.len()].to_string(),
            Self::Other(other) => other.clone(),
        }
    }
}

/// A document that must be there.
fn document(path: &Path) -> Value {
    let text = std::fs::read(path).expect("the document is there");
    serde_json::from_slice(&text).expect("the document is JSON")
}
