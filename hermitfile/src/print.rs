//! The canonical form: one directive a line, in one order, what is left open left out. Layer: pure.

use std::fmt::{self, Write as _};

use boot_protocol::network::Protocol;
use boot_protocol::run_spec::{Access, Limit};
use boot_protocol::shown::piece;

use crate::directive::name_of;
use crate::lexer::is_bare;
use crate::{Directory, Manifest, Source};

impl fmt::Display for Manifest {
    /// The canonical Hermitfile. A terminal may be shown it: what it would obey is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FROM {}", Text(&self.from))?;
        if let Some(export) = &self.entrypoint {
            writeln!(f, "ENTRYPOINT {}", Text(export))?;
        }
        if !self.argv.is_empty() {
            f.write_str("ARGV [")?;
            for (index, argument) in self.argv.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                write_quoted(f, argument)?;
            }
            f.write_str("]\n")?;
        }
        for (name, value) in &self.env {
            writeln!(f, "ENV {}", Pair(name, value))?;
        }
        if self.pwd_is_host_cwd {
            f.write_str("ENV_PWD_IS_HOST_CWD\n")?;
        }
        if self.exe_name_is_host_exe_name {
            f.write_str("ENV_EXE_NAME_IS_HOST_EXE_NAME\n")?;
        }
        for directory in &self.directories {
            writeln!(f, "{directory}")?;
        }
        for link in &self.links {
            writeln!(f, "LINK {}", Pair(&link.name, &link.module))?;
        }
        for grant in &self.grants {
            f.write_str("NET [")?;
            write_quoted(f, &grant.to_string())?;
            f.write_str("]\n")?;
        }
        for (port, protocol) in &self.exposed {
            let protocol = match protocol {
                Protocol::Tcp => "",
                Protocol::Udp => "/udp",
            };
            writeln!(f, "EXPOSE {port}{protocol}")?;
        }
        if let Some(engine) = self.engine {
            writeln!(f, "ENGINE {}", engine.name())?;
        }
        for (limit, value) in self.limits.iter() {
            writeln!(f, "{}", limit_directive(limit, value))?;
        }
        if self.limits.trap_on_grow_failure {
            f.write_str("TRAP_ON_GROW_FAILURE\n")?;
        }
        if let Some(seed) = self.deterministic {
            writeln!(f, "DETERMINISTIC {seed}")?;
        }
        if self.may_be_widened {
            f.write_str("MAY_BE_WIDENED\n")?;
        }
        Ok(())
    }
}

/// A limit as a Hermitfile says it: `MEMORY 64MiB`.
#[must_use]
pub fn limit_directive(limit: Limit, value: u64) -> String {
    let name = name_of(limit);
    match limit {
        Limit::Deadline => format!("{name} {}", Unit(value, DURATIONS)),
        Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => {
            format!("{name} {}", Unit(value, SIZES))
        }
        Limit::Fuel | Limit::TableElements | Limit::Descriptors => format!("{name} {value}"),
    }
}

impl fmt::Display for Directory {
    /// As a Hermitfile says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guest = &self.guest;
        match &self.source {
            Source::Map { host, access } => {
                let ro = match access {
                    Access::ReadWrite => "",
                    Access::ReadOnly => ":ro",
                };
                f.write_str("MAP [")?;
                write_quoted(f, &format!("{host}:{guest}{ro}"))?;
                f.write_str("]")
            }
            Source::Copy { from } => write!(f, "COPY {} {}", Text(from), Text(guest)),
            Source::Tmpfs { size: None } => write!(f, "TMPFS {}", Text(guest)),
            Source::Tmpfs { size: Some(size) } => {
                write!(f, "TMPFS {} {}", Text(guest), Unit(*size, SIZES))
            }
        }
    }
}

/// A word, in quotation marks only where it needs them.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match !self.0.is_empty() && !self.0.starts_with(['[', '#']) && self.0.chars().all(is_plain) {
            true => f.write_str(self.0),
            false => write_quoted(f, self.0),
        }
    }
}

/// `NAME=VALUE`.
struct Pair<'a>(&'a str, &'a str);

impl fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        write!(f, "{}=", Text(name))?;
        match value.is_empty() {
            true => Ok(()),
            false => write!(f, "{}", Text(value)),
        }
    }
}

/// Whether a character needs neither quotation marks nor an escape.
fn is_plain(c: char) -> bool {
    is_bare(c) && is_visible(c)
}

/// Whether a terminal may be shown a character as it is.
fn is_visible(c: char) -> bool {
    let mut bytes = [0; 4];
    let text: &str = c.encode_utf8(&mut bytes);
    c == ' ' || c.is_ascii_graphic() || piece(text) == text
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if is_visible(c) => f.write_char(c)?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(f, "\\u{unit:04x}")?;
                }
            }
        }
    }
    f.write_char('"')
}

/// A number in the largest of some units that divides it.
struct Unit(u64, &'static [(&'static str, u64)]);

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

const DURATIONS: &[(&str, u64)] = &[
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, units) = *self;
        let unit = units
            .iter()
            .find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
        let (name, factor) = unit.copied().unwrap_or(("", 1));
        write!(f, "{}{name}", value / factor)
    }
}
