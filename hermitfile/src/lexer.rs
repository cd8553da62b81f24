//! Lines, words, strings and lists of a Hermitfile, each with its place. Layer: pure text; below `parse`.
//!
//! What a shell or Docker would read in another way is refused, so that nothing is silently something else: a single
//! quote, a `$`, a backslash, a `#` that begins a word.

use boot_protocol::shown::piece;

use crate::error::{ParseError, Place};

type Result<T> = std::result::Result<T, ParseError>;

/// A word or a string, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// A directive as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) keyword: Word,
    pub(crate) arguments: Vec<Word>,
    /// Whether the arguments stand as a list.
    pub(crate) is_list: bool,
}

/// The directives of a text, one after the other.
pub(crate) struct Lexer<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            rest: text.strip_prefix('\u{feff}').unwrap_or(text),
            place: Place { line: 1, column: 1 },
        }
    }

    /// The next directive; `None` at the end.
    pub(crate) fn line(&mut self) -> Result<Option<Line>> {
        loop {
            self.skip_blank()?;
            match self.peek() {
                None => return Ok(None),
                Some('\n') => self.bump(),
                Some('#') => self.skip_comment(),
                Some(_) => break,
            }
        }
        let keyword = self.word()?;
        self.skip_blank()?;
        let is_list = self.peek() == Some('[');
        let arguments = match is_list {
            true => self.list()?,
            false => self.words()?,
        };
        match self.peek() {
            None | Some('\n') => {}
            Some(_) => {
                return Err(ParseError::new(
                    self.place,
                    "unexpected text after the list's ']'",
                ));
            }
        }
        Ok(Some(Line {
            keyword,
            arguments,
            is_list,
        }))
    }

    /// Where the text is read next.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// The next character; a carriage return with a line feed is the latter.
    fn peek(&self) -> Option<char> {
        match self.rest.starts_with("\r\n") {
            true => Some('\n'),
            false => self.rest.chars().next(),
        }
    }

    fn bump(&mut self) {
        let rest = self.rest.strip_prefix('\r').filter(|rest| rest.starts_with('\n'));
        let mut chars = rest.unwrap_or(self.rest).chars();
        match chars.next() {
            Some('\n') => {
                self.place = Place {
                    line: self.place.line.saturating_add(1),
                    column: 1,
                }
            }
            Some(_) => self.place.column = self.place.column.saturating_add(1),
            None => {}
        }
        self.rest = chars.as_str();
    }

    /// Skips to the end of the line.
    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    /// Skips spaces, tabs, and backslashes at the ends of lines with the comments behind them.
    fn skip_blank(&mut self) -> Result<()> {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.bump(),
                Some('\\') if self.continues() => {
                    let place = self.place;
                    self.next_line();
                    self.skip_comments();
                    if self.peek().is_none() {
                        return Err(
                            ParseError::new(place, "the line continues, but the file ends here")
                                .hint("omit the backslash"),
                        );
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whether the backslash that comes next ends its line.
    fn continues(&self) -> bool {
        let behind = self.rest.strip_prefix('\\');
        behind.is_some_and(|behind| {
            let behind = behind.trim_start_matches([' ', '\t']);
            behind.is_empty() || behind.starts_with('\n') || behind.starts_with("\r\n")
        })
    }

    fn next_line(&mut self) {
        self.skip_comment();
        self.bump();
    }

    /// Skips lines that are comments: they may stand between a line and its continuation.
    fn skip_comments(&mut self) {
        while self.rest.trim_start_matches([' ', '\t']).starts_with('#') {
            self.next_line();
        }
    }

    /// Words up to the end of the line.
    fn words(&mut self) -> Result<Vec<Word>> {
        let mut words = Vec::new();
        loop {
            self.skip_blank()?;
            match self.peek() {
                None | Some('\n') => return Ok(words),
                Some('[') => {
                    return Err(ParseError::new(self.place, "a word begins with '['").hint(
                        "a list must be the only argument; if this is not a list, put the word in quotation marks",
                    ));
                }
                Some('#') => {
                    return Err(ParseError::new(self.place, "a word begins with '#'").hint(
                        "a comment must be on a line of its own; if this is not a comment, put the word in quotation marks",
                    ));
                }
                Some(_) => words.push(self.word()?),
            }
        }
    }

    /// A list of strings as in JSON.
    fn list(&mut self) -> Result<Vec<Word>> {
        let open = self.place;
        let mut words = Vec::new();
        self.bump();
        loop {
            self.skip_blank()?;
            match self.peek() {
                Some(']') if words.is_empty() => break,
                Some('"') => words.push(self.string_word()?),
                found => return Err(self.no_string(open, found)),
            }
            self.skip_blank()?;
            match self.peek() {
                Some(',') => self.bump(),
                Some(']') => break,
                None | Some('\n') => return Err(not_closed(open)),
                Some(_) => {
                    return Err(ParseError::new(
                        self.place,
                        "expected ',' or ']' after an item of the list",
                    ));
                }
            }
        }
        self.bump();
        self.skip_blank()?;
        Ok(words)
    }

    fn no_string(&self, open: Place, found: Option<char>) -> ParseError {
        match found {
            None | Some('\n') => not_closed(open),
            Some(']') => {
                ParseError::new(self.place, "unexpected comma before the list's ']'").hint("omit it")
            }
            Some(_) => ParseError::new(self.place, "the items of a list must be in quotation marks")
                .hint("write [\"one\", \"two\"]"),
        }
    }

    fn string_word(&mut self) -> Result<Word> {
        let mut word = Word {
            text: String::new(),
            place: self.place,
        };
        self.string(&mut word.text)?;
        Ok(word)
    }

    /// A word: characters and strings with nothing in between.
    fn word(&mut self) -> Result<Word> {
        let mut word = Word {
            text: String::new(),
            place: self.place,
        };
        loop {
            match self.peek() {
                None | Some(' ' | '\t' | '\n') => return Ok(word),
                Some('\\') if self.continues() => return Ok(word),
                Some('"') => self.string(&mut word.text)?,
                Some(c) if is_bare(c) => {
                    word.text.push(c);
                    self.bump();
                }
                Some(c) => return Err(self.not_bare(c)),
            }
        }
    }

    fn not_bare(&self, c: char) -> ParseError {
        let shown = match c.is_control() || c.is_whitespace() {
            true => format!("U+{:04X}", u32::from(c)),
            false => piece(c.to_string()),
        };
        ParseError::new(
            self.place,
            format!("the character {shown} is only allowed in quotation marks"),
        )
        .hint(match c {
            '\'' => "use double quotation marks, as in \"it's\"",
            '$' => "variables are not expanded; for a dollar sign, write \"$\"",
            '\\' => "for a backslash, write \"\\\\\"; to continue on the next line, end the line with it",
            _ => "write it in quotation marks, as \\u and four hexadecimal digits",
        })
    }

    /// A string in quotation marks, with JSON's escapes.
    fn string(&mut self, into: &mut String) -> Result<()> {
        let open = self.place;
        self.bump();
        loop {
            let place = self.place;
            match self.peek() {
                None | Some('\n') => {
                    return Err(ParseError::new(open, "unterminated string")
                        .hint("end it with '\"' on this line; for a line break in it, write \\n"));
                }
                Some('"') => {
                    self.bump();
                    return Ok(());
                }
                Some('\\') => {
                    self.bump();
                    into.push(self.escape(place)?);
                }
                Some(c) if c.is_control() => {
                    return Err(ParseError::new(
                        place,
                        format!("control character U+{:04X} in a string", u32::from(c)),
                    )
                    .hint(format!("write \\u{:04x}", u32::from(c))));
                }
                Some(c) => {
                    into.push(c);
                    self.bump();
                }
            }
        }
    }

    /// What stands behind a backslash, which is at `place`.
    fn escape(&mut self, place: Place) -> Result<char> {
        let c = self.peek();
        let meant = match c {
            Some('"' | '\\' | '/') => c,
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => {
                self.bump();
                return self.unicode(place);
            }
            _ => None,
        };
        let meant = meant.ok_or_else(|| {
            ParseError::new(place, "unknown escape sequence").hint(
                "for a backslash, write \\\\; the others are those of JSON: \\\" \\/ \\b \\f \\n \\r \\t \\uXXXX",
            )
        })?;
        self.bump();
        Ok(meant)
    }

    /// The digits of `\uXXXX`, of two of them if the first is half of a pair.
    fn unicode(&mut self, place: Place) -> Result<char> {
        let first = self.four_digits(place)?;
        let code = match first {
            0xd800..=0xdbff if self.rest.starts_with("\\u") => {
                self.bump();
                self.bump();
                match self.four_digits(place)? {
                    second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => first,
                }
            }
            _ => first,
        };
        match char::from_u32(code) {
            Some('\0') => Err(ParseError::new(place, "WASI programs cannot be given zero bytes")),
            Some(c) => Ok(c),
            None => Err(
                ParseError::new(place, format!("\\u{first:04x} is half of a surrogate pair"))
                    .hint("write both halves, as \\ud83e\\udd80"),
            ),
        }
    }

    fn four_digits(&mut self, place: Place) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| c.to_digit(16)).ok_or_else(|| {
                ParseError::new(place, "\\u needs four hexadecimal digits").hint("write \\u00e9 for 'é'")
            })?;
            code = code << 4 | digit;
            self.bump();
        }
        Ok(code)
    }
}

fn not_closed(open: Place) -> ParseError {
    ParseError::new(open, "unterminated list")
        .hint("end it with ']'; to continue it on the next line, end this one with a backslash")
}

/// Whether a character may stand in a word outside of quotation marks.
pub(crate) fn is_bare(c: char) -> bool {
    !(c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '$' | '\\'))
}
