//! What each directive does to the manifest. Layer: pure.

use std::collections::BTreeMap;

use boot_protocol::network::{Grant, GrantError, Host, Protocol, exposed, inside};
use boot_protocol::run_spec::{Access, LISTENERS, Limit};
use boot_protocol::shown::piece;

use crate::directive::{Directive, Form};
use crate::error::{ParseError, Place};
use crate::lexer::{Lexer, Line, Word};
use crate::{Directory, EXE_NAME, Engine, LONGEST, Link, Manifest, PWD, Source, units};

type Result<T> = std::result::Result<T, ParseError>;

/// Reads a whole Hermitfile.
pub(crate) fn manifest(text: &[u8]) -> Result<Manifest> {
    let mut parser = Parser::default();
    let mut lexer = Lexer::new(utf8(text)?);
    while let Some(line) = lexer.line()? {
        parser.line(&line)?;
    }
    if let Some(line) = parser.seen.get(&Directive::Deterministic)
        && parser.manifest.network().is_some()
    {
        let place = Place {
            line: *line,
            column: 1,
        };
        return Err(
            ParseError::new(place, "what comes from a network is another on every run")
                .hint("omit DETERMINISTIC, or NET and EXPOSE"),
        );
    }
    inside::names(&parser.manifest.grants)
        .map_err(|error| ParseError::new(lexer.place(), error.to_string()))?;
    if parser.manifest.from.is_empty() {
        return Err(ParseError::new(lexer.place(), "no module is named").hint("write FROM MODULE"));
    }
    Ok(parser.manifest)
}

fn utf8(text: &[u8]) -> Result<&str> {
    let start = Place { line: 1, column: 1 };
    if text.len() > LONGEST {
        return Err(ParseError::new(
            start,
            format!(
                "the file is longer than {}, the maximum for a Hermitfile",
                units::show_size(LONGEST as u64)
            ),
        ));
    }
    std::str::from_utf8(text).map_err(|error| {
        let sound = text.get(..error.valid_up_to()).unwrap_or_default();
        let sound = std::str::from_utf8(sound).unwrap_or_default();
        let line = sound.rsplit('\n').next().unwrap_or_default();
        let place = Place {
            line: sound.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
        };
        ParseError::new(place, "the text is not UTF-8").hint("save it as UTF-8")
    })
}

#[derive(Default)]
struct Parser {
    manifest: Manifest,
    /// Where the directives that may stand once do.
    seen: BTreeMap<Directive, usize>,
    /// Where each variable was set.
    variables: BTreeMap<String, usize>,
    /// Where each link was.
    links: BTreeMap<String, usize>,
    /// Where each directory was.
    directories: BTreeMap<String, usize>,
    /// Where each grant was, by what the guest connects to.
    grants: BTreeMap<(Host, u16, Protocol), usize>,
    /// Where each port was.
    ports: BTreeMap<(u16, Protocol), usize>,
    /// Where `NET none` was.
    no_network: Option<usize>,
}

impl Parser {
    fn line(&mut self, line: &Line) -> Result<()> {
        let keyword = &line.keyword;
        let form = Form::of(keyword)?;
        if !form.repeats
            && let Some(first) = self.seen.insert(form.directive, keyword.place.line)
        {
            return Err(ParseError::new(
                keyword.place,
                format!("duplicate {}; first on line {first}", form.name),
            )
            .hint("keep one of them"));
        }
        let takes_list = matches!(
            form.directive,
            Directive::Argv | Directive::Map | Directive::Net | Directive::Expose
        );
        if line.is_list && !takes_list {
            return Err(
                ParseError::new(keyword.place, format!("{} takes no list", form.name)).hint(form.hint()),
            );
        }
        let line = Arguments { line, form };
        match form.directive {
            Directive::From => self.manifest.from = line.one()?.text.clone(),
            Directive::Entrypoint => self.manifest.entrypoint = Some(line.one()?.text.clone()),
            Directive::Argv => {
                self.manifest.argv = line.words().iter().map(|word| word.text.clone()).collect();
            }
            Directive::Env => self.env(&line)?,
            Directive::PwdIsHostCwd => {
                line.none()?;
                self.variable(PWD, keyword.place)?;
                self.manifest.pwd_is_host_cwd = true;
            }
            Directive::ExeNameIsHostExeName => {
                line.none()?;
                self.variable(EXE_NAME, keyword.place)?;
                self.manifest.exe_name_is_host_exe_name = true;
            }
            Directive::Map => self.map(&line)?,
            Directive::Copy => self.copy(&line)?,
            Directive::Tmpfs => self.tmpfs(&line)?,
            Directive::Link => self.link(&line)?,
            Directive::Net => self.net(&line)?,
            Directive::Expose => self.expose(&line)?,
            Directive::Engine => self.manifest.engine = engine(line.one()?)?,
            Directive::Limit(limit) => {
                let value = value(limit, line.one()?)?;
                self.manifest.limits.set(limit, Some(value));
            }
            Directive::TrapOnGrowFailure => {
                line.none()?;
                self.manifest.limits.trap_on_grow_failure = true;
            }
            Directive::Deterministic => {
                self.manifest.deterministic = Some(match line.words() {
                    [] => 0,
                    [seed] => number(seed)?,
                    _ => return Err(line.number("at most one word")),
                });
            }
            Directive::MayBeWidened => {
                line.none()?;
                self.manifest.may_be_widened = true;
            }
        }
        Ok(())
    }

    fn env(&mut self, line: &Arguments<'_>) -> Result<()> {
        for word in line.some()? {
            let (name, value) = word.text.split_once('=').ok_or_else(|| {
                ParseError::new(word.place, format!("variable {} has no value", shown(&word.text)))
                    .hint("write NAME=VALUE; to pass the host's value, run with --env NAME")
            })?;
            if name.is_empty() {
                return Err(line.wrong(word.place, "the variable has no name"));
            }
            self.variable(name, word.place)?;
            self.manifest.env.push((name.to_string(), value.to_string()));
        }
        Ok(())
    }

    /// Notes that a variable is set.
    fn variable(&mut self, name: &str, place: Place) -> Result<()> {
        match self.variables.insert(name.to_string(), place.line) {
            Some(first) => Err(ParseError::new(
                place,
                format!("duplicate variable {}; first on line {first}", shown(name)),
            )
            .hint("keep one of them")),
            None => Ok(()),
        }
    }

    fn map(&mut self, line: &Arguments<'_>) -> Result<()> {
        for word in line.some()? {
            let parts: Vec<&str> = word.text.split(':').collect();
            let (host, guest, access) = match *parts.as_slice() {
                [host] => (host, host, Access::ReadWrite),
                [host, "ro"] => {
                    return Err(
                        ParseError::new(word.place, "the guest path is missing before ':ro'")
                            .hint(format!("write {}", shown(&format!("{host}:{host}:ro")))),
                    );
                }
                [host, guest] => (host, guest, Access::ReadWrite),
                [host, guest, "ro"] => (host, guest, Access::ReadOnly),
                [_, "", _] => {
                    return Err(line.wrong(word.place, "the guest path between the colons is empty"));
                }
                [_, _, option] => {
                    return Err(line.wrong(word.place, format!("unknown option {}", shown(option))));
                }
                _ => {
                    return Err(line.wrong(
                        word.place,
                        format!(
                            "{} has too many colons; a path cannot contain one",
                            shown(&word.text)
                        ),
                    ));
                }
            };
            if host.is_empty() {
                return Err(line.wrong(word.place, "the host path is missing"));
            }
            let host = host.to_string();
            self.directory(line, word.place, Source::Map { host, access }, guest)?;
        }
        Ok(())
    }

    fn copy(&mut self, line: &Arguments<'_>) -> Result<()> {
        let [from, guest] = line.words() else {
            return Err(line.number("two words"));
        };
        if from.text.is_empty() {
            return Err(line.wrong(from.place, "the source is empty"));
        }
        let source = Source::Copy {
            from: from.text.clone(),
        };
        self.directory(line, guest.place, source, &guest.text)
    }

    fn tmpfs(&mut self, line: &Arguments<'_>) -> Result<()> {
        let (guest, size) = match line.words() {
            [guest] => (guest, None),
            [guest, size] => (guest, Some(read(size, units::parse_size)?)),
            _ => return Err(line.number("one word or two")),
        };
        self.directory(line, guest.place, Source::Tmpfs { size }, &guest.text)
    }

    fn directory(&mut self, line: &Arguments<'_>, place: Place, source: Source, guest: &str) -> Result<()> {
        if guest.is_empty() {
            return Err(line.wrong(place, "the guest path is missing"));
        }
        let first = self.directories.insert(guest.to_string(), place.line);
        // Several files can be copied into one directory.
        let may_be_file = matches!(source, Source::Copy { .. }) && (guest.ends_with('/') || guest == ".");
        if let Some(first) = first.filter(|_| !may_be_file) {
            return Err(ParseError::new(
                place,
                format!("duplicate guest path {}; first on line {first}", shown(guest)),
            )
            .hint("give one of them another name"));
        }
        self.manifest.directories.push(Directory {
            source,
            guest: guest.to_string(),
        });
        Ok(())
    }

    fn link(&mut self, line: &Arguments<'_>) -> Result<()> {
        let word = line.one()?;
        let Some((name, module)) = word.text.split_once('=') else {
            return Err(line.wrong(word.place, "the name or the file of the linked module is missing"));
        };
        if name.is_empty() || module.is_empty() {
            let what = if name.is_empty() { "name" } else { "file" };
            return Err(line.wrong(word.place, format!("the {what} of the linked module is missing")));
        }
        if let Some(first) = self.links.insert(name.to_string(), word.place.line) {
            return Err(ParseError::new(
                word.place,
                format!("duplicate link {}; first on line {first}", shown(name)),
            )
            .hint("keep one of them"));
        }
        self.manifest.links.push(Link {
            name: name.to_string(),
            module: module.to_string(),
        });
        Ok(())
    }
    fn net(&mut self, line: &Arguments<'_>) -> Result<()> {
        let words = line.some()?;
        if let [word] = words
            && word.text == "none"
        {
            self.no_network = Some(word.place.line);
            let others = self.grants.values().chain(self.ports.values());
            return match others.min() {
                Some(other) => Err(contradiction(word.place, *other)),
                None => Ok(()),
            };
        }
        for word in words {
            self.has_network(word.place)?;
            let wrong = |error: GrantError| ParseError::new(word.place, error.to_string());
            let grant: Grant = word.text.parse().map_err(wrong)?;
            let name = (grant.host.clone(), grant.port, grant.protocol);
            if let Some(first) = self.grants.insert(name, word.place.line) {
                let name = shown(&format!("{}:{}", grant.host, grant.port));
                return Err(ParseError::new(
                    word.place,
                    format!("duplicate grant of {name}; first on line {first}"),
                )
                .hint("keep one of them"));
            }
            self.manifest.grants.push(grant);
        }
        Ok(())
    }

    fn expose(&mut self, line: &Arguments<'_>) -> Result<()> {
        for word in line.some()? {
            self.has_network(word.place)?;
            let port = exposed(&word.text)
                .map_err(|error| ParseError::new(word.place, error.to_string()).hint(line.form.hint()))?;
            if let Some(first) = self.ports.insert(port, word.place.line) {
                return Err(ParseError::new(
                    word.place,
                    format!("duplicate port {}; first on line {first}", shown(&word.text)),
                )
                .hint("keep one of them"));
            }
            self.manifest.exposed.push(port);
            // Those of TCP are descriptors.
            if self.manifest.exposed.len() > LISTENERS {
                return Err(ParseError::new(
                    word.place,
                    format!("more than {LISTENERS} ports, the maximum"),
                ));
            }
        }
        Ok(())
    }

    /// Refuses what needs a network where there is none.
    fn has_network(&self, place: Place) -> Result<()> {
        match self.no_network {
            Some(line) => Err(contradiction(place, line)),
            None => Ok(()),
        }
    }
}

/// What stands behind a directive.
struct Arguments<'a> {
    line: &'a Line,
    form: &'static Form,
}

impl<'a> Arguments<'a> {
    fn words(&self) -> &'a [Word] {
        &self.line.arguments
    }

    fn none(&self) -> Result<()> {
        match self.words() {
            [] => Ok(()),
            [word, ..] => Err(self.wrong(word.place, format!("{} takes no arguments", self.form.name))),
        }
    }

    /// The one that there is, which is not empty.
    fn one(&self) -> Result<&'a Word> {
        match self.words() {
            [word] if word.text.is_empty() => Err(self.wrong(word.place, "the word is empty")),
            [word] => Ok(word),
            _ => Err(self.number("one word")),
        }
    }

    /// Those that there are, at least one.
    fn some(&self) -> Result<&'a [Word]> {
        match self.words() {
            [] => Err(self.number("at least one word")),
            words => Ok(words),
        }
    }

    /// There are others than `expected`.
    fn number(&self, expected: &str) -> ParseError {
        let place = self.line.keyword.place;
        let found = match self.words().len() {
            0 => "none".to_string(),
            1 => "one".to_string(),
            number => number.to_string(),
        };
        self.wrong(
            place,
            format!("{} takes {expected}, found {found}", self.form.name),
        )
    }

    fn wrong(&self, place: Place, message: impl Into<String>) -> ParseError {
        ParseError::new(place, message).hint(self.form.hint())
    }
}

/// `NET none` stands at one place, and at the other what needs a network.
fn contradiction(place: Place, other: usize) -> ParseError {
    ParseError::new(place, format!("NET none contradicts line {other}")).hint("keep one of them")
}

fn engine(word: &Word) -> Result<Option<Engine>> {
    if word.text == "auto" {
        return Ok(None);
    }
    let found = Engine::ALL.into_iter().find(|engine| engine.name() == word.text);
    found.map(Some).ok_or_else(|| {
        ParseError::new(word.place, format!("unknown engine {}", shown(&word.text)))
            .hint("the engines are interp and native; with auto, the launcher chooses")
    })
}

/// The value of a limit.
fn value(limit: Limit, word: &Word) -> Result<u64> {
    match limit {
        Limit::Deadline => read(word, |text| {
            let duration = units::parse_duration(text)?;
            u64::try_from(duration.as_nanos()).map_err(|_| "longer than the maximum of 584 years".to_string())
        }),
        Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => read(word, units::parse_size),
        Limit::Fuel | Limit::TableElements | Limit::Descriptors => number(word),
    }
}

/// A whole number.
fn number(word: &Word) -> Result<u64> {
    read(word, |text| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number
            .then(|| text.parse().ok())
            .flatten()
            .ok_or_else(|| format!("expected a whole number of at most {}", u64::MAX))
    })
}

fn read<T>(word: &Word, reader: impl Fn(&str) -> std::result::Result<T, String>) -> Result<T> {
    reader(&word.text)
        .map_err(|reason| ParseError::new(word.place, format!("{}: {reason}", shown(&word.text))))
}

/// A text as messages quote it.
fn shown(text: &str) -> String {
    format!("'{}'", piece(text))
}
