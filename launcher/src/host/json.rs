//! Strings as JSON has them (RFC 8259, section 7), and null, for what programs read: `--status-file` and `check
//! --json`.

use std::fmt::Write as _;

use boot_protocol::shown::{self, Layout};

/// A text as a JSON string. Whoever looks at the file in a terminal is not commanded by it either: what a message would
/// show as an escape is one here too.
#[must_use]
pub fn string(text: &str) -> String {
    let shown = shown::bounded(text.as_bytes(), Layout::Text, usize::MAX);
    let mut json = String::from("\"");
    for character in shown.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            '\t' => json.push_str("\\t"),
            // None is left; the grammar has no others.
            control if control.is_control() => {
                // Writing to a string never fails.
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

/// JSON that may be missing.
#[must_use]
pub fn or_null(json: Option<String>) -> String {
    json.unwrap_or_else(|| "null".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json_and_harmless() {
        assert_eq!(string("a\"b\\c\n\té漢"), r#""a\"b\\c\n\té漢""#);
        assert_eq!(string("\u{1b}\u{202e}"), r#""\\u{1b}\\u{202e}""#);
    }
}
