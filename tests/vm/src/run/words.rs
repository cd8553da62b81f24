//! Words of command lines.

use std::path::Path;

/// A word as a POSIX shell reads it back.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command's words from anywhere: those that are paths of files below the repository's `root` become absolute.
pub(super) fn anywhere(words: Vec<String>, root: &Path) -> Vec<String> {
    words
        .into_iter()
        .map(|word| match root.join(&word) {
            path if word.contains('/') && path.exists() => path.to_string_lossy().into_owned(),
            _ => word,
        })
        .collect()
}
