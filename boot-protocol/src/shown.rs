//! What a terminal is shown of bytes that somebody else chose: nothing that it would obey, and not too much.
//!
//! Layer: pure; below every message. Names of files and of exports, lines of a module's text, the words of a machine, of
//! its hypervisor and of daemons pass through here before a person sees them. What the guest itself writes to its
//! standard streams does not: those bytes are its output.
//!
//! - [`piece`] is for what a message quotes: one line, of a moderate length.
//! - [`message`] is for a whole message: its line breaks and tabs are its layout.
//! - [`runs`] is the same without a heap and without a limit.
//!
//! What is escaped is written as Rust writes it: `\u{1b}` for a character, `\xff` for a byte that is not UTF-8. A
//! backslash is left alone, so what was shown once stays the same when it is shown again: a message may quote a piece,
//! and its writer may treat the whole once more.
//!
//! Escaped are control characters (C0, DEL, C1), characters that change the direction of text, those that show nothing
//! (zero width, fillers, tags, stray variation selectors), line and paragraph separators, spaces that look like another,
//! and what Unicode has not assigned, or has for private use. Letters of all scripts with their accents, symbols and
//! emoji are kept; of an emoji that is joined of several, the parts.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

/// Longest quotation within a message, in bytes as they are shown. A path of Linux has at most 4,095.
pub const LONGEST_PIECE: usize = 1024;

/// Longest message, in bytes as they are shown.
pub const LONGEST_MESSAGE: usize = 8 * 1024;

/// Room in a message for the note that says how much is left out.
const NOTE: usize = 64;

/// Which control characters are part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// None: the text is part of a line.
    Line,
    /// Line breaks and tabs.
    Text,
}

/// A quotation: one line of at most [`LONGEST_PIECE`] bytes, its middle cut out if it has more.
///
/// ```
/// use boot_protocol::shown::piece;
/// assert_eq!(piece("\u{1b}[31mred\n"), r"\u{1b}[31mred\n");
/// assert_eq!(piece(b"caf\xc3\xa9 \xff"), r"café \xff");
/// ```
#[must_use]
pub fn piece(bytes: impl AsRef<[u8]>) -> String {
    bounded(bytes.as_ref(), Layout::Line, LONGEST_PIECE)
}

/// A message: at most [`LONGEST_MESSAGE`] bytes, with its line breaks.
#[must_use]
pub fn message(bytes: impl AsRef<[u8]>) -> String {
    bounded(bytes.as_ref(), Layout::Text, LONGEST_MESSAGE)
}

/// At most `longest` bytes of what is shown of `bytes`, and a note where something is left out. Takes time in proportion
/// to `longest`, however many bytes there are.
#[must_use]
pub fn bounded(bytes: &[u8], layout: Layout, longest: usize) -> String {
    let half = longest.saturating_sub(NOTE) / 2;
    let mut shown = String::new();
    // Where the middle begins: in what is shown, and in the bytes.
    let mut front = (0, 0);
    let mut fits = true;
    let mut read = 0usize;
    // One byte is shown as one or more, so no more than these matter.
    let start = bytes.get(..longest.saturating_add(1)).unwrap_or(bytes);
    units(start, layout, |length, unit| {
        fits = fits && shown.len().saturating_add(unit.len()) <= longest;
        if fits {
            shown.push_str(unit);
            read = read.saturating_add(length);
            if shown.len() <= half {
                front = (shown.len(), read);
            }
        }
    });
    if fits && start.len() == bytes.len() {
        return shown;
    }
    shown.truncate(front.0);
    let rest = bytes.get(front.1..).unwrap_or_default();
    let end = ending(rest, half);
    let (end_length, end) = tail(end, layout, half);
    let left_out = rest.len().saturating_sub(end_length);
    // Writing to a string never fails.
    let _ = write!(shown, "…({left_out} bytes left out)…");
    shown.push_str(&end);
    shown
}

/// The last bytes, at most `most` of them, from the beginning of a character on.
fn ending(bytes: &[u8], most: usize) -> &[u8] {
    let mut start = bytes.len().saturating_sub(most);
    let inside = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    for _ in 0..3 {
        if start > 0 && inside(start) {
            start = start.saturating_add(1);
        }
    }
    bytes.get(start..).unwrap_or_default()
}

/// What is shown of the end of `bytes` in at most `most` bytes, behind the number of bytes that it stands for.
fn tail(bytes: &[u8], layout: Layout, most: usize) -> (usize, String) {
    let mut shown = String::new();
    // Of each unit, its beginning in `bytes` and in `shown`.
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut read = 0usize;
    units(bytes, layout, |length, unit| {
        starts.push((read, shown.len()));
        read = read.saturating_add(length);
        shown.push_str(unit);
    });
    let first = starts
        .iter()
        .find(|(_, at)| shown.len().saturating_sub(*at) <= most);
    match first {
        Some((start, at)) => (
            bytes.len().saturating_sub(*start),
            String::from(shown.get(*at..).unwrap_or_default()),
        ),
        None => (0, String::new()),
    }
}

/// Calls `show` with what is shown of `bytes`, in pieces as long as nothing has to be escaped.
pub fn runs(bytes: &[u8], layout: Layout, mut show: impl FnMut(&str)) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let mut done = 0;
        let mut previous = None;
        for (at, character) in valid.char_indices() {
            if !is_harmless(previous.replace(character), character, layout) {
                emit(valid.get(done..at).unwrap_or_default(), &mut show);
                show(Escape::of(character).as_str());
                done = at.saturating_add(character.len_utf8());
            }
        }
        emit(valid.get(done..).unwrap_or_default(), &mut show);
        for byte in chunk.invalid() {
            show(Escape::of_byte(*byte).as_str());
        }
    }
}

fn emit(text: &str, show: &mut impl FnMut(&str)) {
    if !text.is_empty() {
        show(text);
    }
}

/// Calls `show` with what is shown of each character, or byte that is none, and with its length in `bytes`.
fn units(bytes: &[u8], layout: Layout, mut show: impl FnMut(usize, &str)) {
    for chunk in bytes.utf8_chunks() {
        let mut previous = None;
        for character in chunk.valid().chars() {
            let length = character.len_utf8();
            if is_harmless(previous.replace(character), character, layout) {
                show(length, character.encode_utf8(&mut [0; 4]));
            } else {
                show(length, Escape::of(character).as_str());
            }
        }
        for byte in chunk.invalid() {
            show(1, Escape::of_byte(*byte).as_str());
        }
    }
}

/// Whether a character may be shown as it is behind `previous`.
fn is_harmless(previous: Option<char>, character: char, layout: Layout) -> bool {
    match character {
        ' '..='~' => true,
        '\n' | '\t' => layout == Layout::Text,
        '\0'..='\u{9f}' => false,
        // The space of Chinese and Japanese text, which is as wide as a letter.
        '\u{3000}' => true,
        // Text or emoji? Only behind what can be both, so that names which look the same are the same.
        '\u{fe0e}' | '\u{fe0f}' => {
            previous.is_some_and(|previous| !previous.is_ascii() && is_visible(previous))
        }
        character => is_visible(character),
    }
}

/// Whether a character beyond ASCII shows anything.
fn is_visible(character: char) -> bool {
    !shows_nothing(character) && is_printable(character)
}

/// Letters and marks that show nothing by their nature (Unicode's `Default_Ignorable_Code_Point`). Its other characters are
/// of a kind that [`is_printable`] knows.
const fn shows_nothing(character: char) -> bool {
    matches!(
        character,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether Unicode has assigned the character, to something other than control, format, surrogate, private use, a
/// separator or a space.
///
/// The standard library has that table, and applies it to all but the first character of a text, where it escapes
/// combining marks too.
fn is_printable(character: char) -> bool {
    let mut buffer = [b'x'; 5];
    let length = match buffer.split_first_mut() {
        Some((_, rest)) => character.encode_utf8(rest).len(),
        None => 0,
    };
    let text = buffer.get(..length.saturating_add(1)).unwrap_or_default();
    let text = core::str::from_utf8(text).unwrap_or_default();
    text.escape_debug().nth(1) == Some(character)
}

/// What stands for a character: `\u{10ffff}` at most.
struct Escape {
    text: [u8; 10],
    length: usize,
}

impl Escape {
    fn of(character: char) -> Self {
        // `\n`, `\r` and `\t` are known to everybody.
        match character {
            '\n' | '\r' | '\t' => Self::collect(character.escape_default()),
            _ => Self::collect(character.escape_unicode()),
        }
    }

    fn of_byte(byte: u8) -> Self {
        Self::collect(core::ascii::escape_default(byte).map(char::from))
    }

    fn collect(characters: impl Iterator<Item = char>) -> Self {
        let mut this = Self {
            text: [0; 10],
            length: 0,
        };
        for (place, character) in this.text.iter_mut().zip(characters) {
            // An escape is ASCII.
            *place = u8::try_from(character).unwrap_or(b'?');
            this.length = this.length.saturating_add(1);
        }
        this
    }

    fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
