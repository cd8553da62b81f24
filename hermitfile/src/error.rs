//! Where and why a text is no Hermitfile. Layer: pure.

use std::fmt;

use boot_protocol::shown::piece;

/// A place in a text. Both count from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Where and why a text is no Hermitfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    file: String,
    place: Place,
    message: String,
    hint: Option<String>,
}

impl ParseError {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            place,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same in a file.
    pub(crate) fn of(mut self, file: &str) -> Self {
        self.file = file.to_string();
        self
    }

    /// The line, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.place.line
    }

    /// The column, from 1, in characters.
    #[must_use]
    pub const fn column(&self) -> usize {
        self.place.column
    }
}

impl fmt::Display for ParseError {
    /// `FILE:LINE:COLUMN: MESSAGE; HINT`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(f, "{}:{line}:{column}: {}", piece(&self.file), self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}
