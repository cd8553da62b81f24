//! The directives, their forms, and what is said of a word that is none. Layer: pure.

use boot_protocol::run_spec::Limit;
use boot_protocol::shown::piece;

use crate::error::ParseError;
use crate::lexer::Word;

/// What a line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Directive {
    From,
    Entrypoint,
    Argv,
    Env,
    PwdIsHostCwd,
    ExeNameIsHostExeName,
    Map,
    Copy,
    Tmpfs,
    Link,
    Net,
    Expose,
    Engine,
    Limit(Limit),
    TrapOnGrowFailure,
    Deterministic,
    MayBeWidened,
}

/// What a directive is called, what stands behind it, and whether it may stand more than once.
pub(crate) struct Form {
    pub(crate) directive: Directive,
    pub(crate) name: &'static str,
    arguments: &'static str,
    pub(crate) repeats: bool,
}

const fn once(directive: Directive, name: &'static str, arguments: &'static str) -> Form {
    Form {
        directive,
        name,
        arguments,
        repeats: false,
    }
}

const fn repeats(directive: Directive, name: &'static str, arguments: &'static str) -> Form {
    Form {
        directive,
        name,
        arguments,
        repeats: true,
    }
}

/// All of them.
pub(crate) const FORMS: &[Form] = &[
    once(Directive::From, "FROM", "MODULE"),
    once(Directive::Entrypoint, "ENTRYPOINT", "EXPORT"),
    once(Directive::Argv, "ARGV", "[\"ARGUMENT\", …]"),
    repeats(Directive::Env, "ENV", "NAME=VALUE…"),
    once(Directive::PwdIsHostCwd, "ENV_PWD_IS_HOST_CWD", ""),
    once(
        Directive::ExeNameIsHostExeName,
        "ENV_EXE_NAME_IS_HOST_EXE_NAME",
        "",
    ),
    repeats(Directive::Map, "MAP", "[\"HOST[:GUEST[:ro]]\", …]"),
    repeats(Directive::Copy, "COPY", "SOURCE GUEST"),
    repeats(Directive::Tmpfs, "TMPFS", "GUEST [SIZE]"),
    repeats(Directive::Link, "LINK", "NAME=MODULE"),
    repeats(Directive::Net, "NET", "[\"NAME:PORT[/udp][=TARGET]\", …]"),
    repeats(Directive::Expose, "EXPOSE", "PORT[/udp]…"),
    once(Directive::Engine, "ENGINE", "auto|interp|native"),
    once(Directive::Limit(Limit::Fuel), "FUEL", "NUMBER"),
    once(Directive::Limit(Limit::Deadline), "TIMEOUT", "DURATION"),
    once(Directive::Limit(Limit::Memory), "MEMORY", "SIZE"),
    once(Directive::Limit(Limit::TableElements), "TABLE_ELEMENTS", "NUMBER"),
    once(Directive::Limit(Limit::Stack), "STACK", "SIZE"),
    once(Directive::Limit(Limit::Descriptors), "FDS", "NUMBER"),
    once(Directive::Limit(Limit::FileBytes), "FILE_BYTES", "SIZE"),
    once(Directive::Limit(Limit::OutputBytes), "OUTPUT_BYTES", "SIZE"),
    once(Directive::TrapOnGrowFailure, "TRAP_ON_GROW_FAILURE", ""),
    once(Directive::Deterministic, "DETERMINISTIC", "[SEED]"),
    once(Directive::MayBeWidened, "MAY_BE_WIDENED", ""),
];

impl Form {
    /// The form of a directive that stands in a text, in capitals or not.
    pub(crate) fn of(word: &Word) -> Result<&'static Self, ParseError> {
        let found = FORMS
            .iter()
            .find(|form| form.name.eq_ignore_ascii_case(&word.text));
        found.ok_or_else(|| unknown(word))
    }

    /// What to write.
    pub(crate) fn hint(&self) -> String {
        match self.arguments {
            "" => format!("write {} alone", self.name),
            arguments => format!("the syntax is {} {arguments}", self.name),
        }
    }
}

/// What the limit's directive is called.
pub(crate) fn name_of(limit: Limit) -> &'static str {
    let form = FORMS
        .iter()
        .find(|form| form.directive == Directive::Limit(limit));
    form.map_or("", |form| form.name)
}

/// Docker's directives, and what to write here.
const DOCKERS: &[(&str, &str)] = &[
    (
        "CMD",
        "write ARGV: those arguments come first, and those of the command line follow",
    ),
    ("ADD", "write COPY"),
    (
        "RUN",
        "a Hermitfile builds nothing; build the module first, and name it with FROM",
    ),
    (
        "WORKDIR",
        "a WASI program starts in the directory '.': write MAP [\"HOST:.\"]",
    ),
    ("VOLUME", "write MAP [\"HOST:GUEST\"] or TMPFS GUEST"),
    ("USER", "omit it: WASI has no users"),
    ("LABEL", "write a comment"),
    ("MAINTAINER", "write a comment"),
    ("ARG", "omit it: variables are not expanded"),
    ("SHELL", "omit it: the module is the only program"),
    ("HEALTHCHECK", "omit it: the module is the only program"),
    ("STOPSIGNAL", "omit it: WASI has no signals"),
    ("ONBUILD", "omit it: a Hermitfile builds nothing"),
];

fn unknown(word: &Word) -> ParseError {
    let text = word.text.to_ascii_uppercase();
    let error = ParseError::new(word.place, format!("unknown directive '{}'", piece(&word.text)));
    if let Some((_, hint)) = DOCKERS.iter().find(|(name, _)| *name == text) {
        return error.hint(*hint);
    }
    let nearest = FORMS
        .iter()
        .map(|form| (distance(&text, form.name), form.name))
        .min();
    match nearest {
        Some((0..=2, name)) => error.hint(format!("did you mean {name}?")),
        _ => {
            let names: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
            error.hint(format!("the directives are {}", names.join(", ")))
        }
    }
}

/// How many letters must be put in, taken out or replaced to make one word of the other. Long words are far from all.
fn distance(one: &str, other: &str) -> usize {
    const LONG: usize = 40;
    if one.len() > LONG {
        return LONG;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (b, above) in other.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(LONG)
}
