//! What is in a packed file, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::time::Duration;

use boot_protocol::arch::Arch;
use boot_protocol::payload as names;
use boot_protocol::run_spec::{
    Access, Limit, ModuleSource, Mount, MountSource, Preload, RunSpec, Terminals, Tracing,
};
use boot_protocol::shown::{self, Layout};
use wasmparser::{Parser, Payload};

use super::{Format, Packed, write};
use crate::error::{Error, StartError};
use crate::host::identity::{Identity, sha256};
use crate::host::units::{parse_size, show_duration, show_size};
use crate::host::{image, json};

/// What is in a packed file.
#[derive(Clone, Debug)]
pub struct Inspection {
    packed: Packed,
    /// Its members, the seal and padding left out.
    pub parts: Vec<Part>,
    /// Of each module that the program imports from, the names.
    pub imports: BTreeMap<String, Vec<String>>,
    /// What runs, to the byte; `None` if this program has no image for it.
    pub identity: Option<Identity>,
}

/// A member of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 digest.
    pub sha256: String,
}

impl Packed {
    /// Looks at all of it. If it runs on every architecture, `arch` is the one of what it is shown to run with.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(&self, arch: Arch) -> Result<Inspection, Error> {
        let cannot = |error| StartError::file("read what was packed")(error);
        let mut parts = Vec::new();
        for member in self.members() {
            if [names::DIGEST, names::PADDING].contains(&member.name.as_str()) {
                continue;
            }
            parts.push(Part {
                name: member.name.clone(),
                length: member.length,
                sha256: sha256(self.part(member.start, member.length)).map_err(cannot)?,
            });
        }
        let module = self.read(names::MODULE).map_err(cannot)?;
        let identity = self
            .boots(self.arch()?.unwrap_or(arch))?
            .map(|image| Identity::of(image, self.part(0, self.length())))
            .transpose()
            .map_err(cannot)?;
        Ok(Inspection {
            packed: self.clone(),
            parts,
            imports: imports(&module.unwrap_or_default()),
            identity,
        })
    }
}

impl Packed {
    /// What boots with the payload: what this program carries. `None` if that is nothing, or the file boots something
    /// else.
    fn boots(&self, arch: Arch) -> Result<Option<&'static [u8]>, Error> {
        let engine = self.engine();
        let carried = match self.format() {
            Format::App => image::application(arch, engine),
            Format::Initrd | Format::Image | Format::Exe => image::of(arch, engine),
        };
        let Ok(carried) = carried else {
            return Ok(None);
        };
        if self.format() == Format::Exe && !self.is_in_this_program() {
            return Ok(None);
        }
        if matches!(self.format(), Format::App | Format::Image) {
            let cannot = |error| StartError::file("read what was packed")(error);
            let (mut payload, mut file) = (Vec::new(), Vec::new());
            self.part(0, self.length())
                .read_to_end(&mut payload)
                .map_err(cannot)?;
            self.file().read_to_end(&mut file).map_err(cannot)?;
            if write::booting(self.format(), arch, engine, &payload)? != file {
                return Ok(None);
            }
        }
        Ok(Some(carried.bytes))
    }

    /// Whether an executable is this program with a payload: another one boots an image of its own.
    fn is_in_this_program(&self) -> bool {
        let mut program = Vec::new();
        let read = self.file().take(self.start()).read_to_end(&mut program);
        read.is_ok() && write::carrier().is_ok_and(|own| own.is_some_and(|own| own == program))
    }
}

/// What a module imports, as far as it can be read.
fn imports(module: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
        if let Payload::ImportSection(section) = payload {
            for import in section.into_iter().map_while(Result::ok) {
                let names = all.entry(import.module.to_string()).or_default();
                names.push(import.name.to_string());
            }
        }
    }
    for names in all.values_mut() {
        names.sort();
        names.dedup();
    }
    all
}

/// A directory, as flags have it.
fn mount(mount: &Mount) -> String {
    let Mount {
        source,
        guest,
        access,
    } = mount;
    let what = match source {
        MountSource::Tmpfs { size: None } => "empty, in memory".to_string(),
        MountSource::Tmpfs { size: Some(size) } => format!("empty, in memory, of {}", show_size(*size)),
        MountSource::Copy { member } => format!("packed, {member}"),
        MountSource::VirtioFs { tag: _ } => "of the host, given with --dir".to_string(),
        MountSource::UhyveMap { path } => {
            format!("of the host, given with uhyve's --file-mapping HOST:{path}")
        }
    };
    let access = match access {
        Access::ReadWrite => "",
        Access::ReadOnly => ", read-only",
    };
    format!("{guest} ({what}{access})")
}

/// The same for programs.
fn mount_json(mount: &Mount) -> String {
    let Mount {
        source,
        guest,
        access,
    } = mount;
    let (kind, size) = match source {
        MountSource::Tmpfs { size } => ("tmpfs", *size),
        MountSource::Copy { member: _ } => ("copy", None),
        MountSource::VirtioFs { tag: _ } | MountSource::UhyveMap { path: _ } => ("host", None),
    };
    format!(
        "{{\"guest\":{},\"source\":\"{kind}\",\"name\":{},\"bytes\":{},\"read_only\":{}}}",
        json::string(guest),
        json::or_null(source.name().map(json::string)),
        json::or_null(size.map(|size| size.to_string())),
        *access == Access::ReadOnly
    )
}

/// A limit's value, with its unit; a size that has no short form in bytes, so that nothing is rounded.
fn amount(limit: Limit, value: u64) -> String {
    match limit {
        Limit::Fuel | Limit::TableElements | Limit::Descriptors => value.to_string(),
        Limit::Deadline => show_duration(Duration::from_nanos(value)),
        Limit::Memory | Limit::Stack | Limit::FileBytes | Limit::OutputBytes => {
            let short = show_size(value);
            match parse_size(&short) {
                Ok(same) if same == value => short,
                _ => format!("{value} bytes"),
            }
        }
    }
}

/// The streams that are terminals.
fn terminals(terminals: Terminals) -> Vec<String> {
    let Terminals {
        stdin,
        stdout,
        stderr,
    } = terminals;
    [(stdin, "stdin"), (stdout, "stdout"), (stderr, "stderr")]
        .into_iter()
        .filter(|(is_one, _)| *is_one)
        .map(|(_, name)| name.to_string())
        .collect()
}

/// Where the program is.
fn module(module: &ModuleSource) -> &str {
    match module {
        ModuleSource::Payload => "payload",
        ModuleSource::Embedded => "embedded",
        ModuleSource::Path(path) => path,
    }
}

/// What is done with what the guest's calls answer.
const fn tracing(tracing: Tracing) -> &'static str {
    match tracing {
        Tracing::Record => "record",
        Tracing::Replay => "replay",
    }
}

/// What the run is, a line for each thing: its name and its value.
fn run(spec: &RunSpec) -> Vec<(&'static str, String)> {
    // Each by its name, so that the compiler misses a field that is not shown.
    let RunSpec {
        module: source,
        argv,
        env,
        open,
        mounts,
        terminals: streams,
        log,
        entry,
        invoked,
        preloads,
        limits,
        deterministic,
        tracing: traced,
        may_be_widened,
        network: _,
    } = spec;
    let mut lines = Vec::new();
    let mut line = |name: &'static str, value: String| lines.push((name, value));
    if *source != ModuleSource::Payload {
        line("module", module(source).to_string());
    }
    for argument in argv {
        line("argument", argument.clone());
    }
    for (name, value) in env {
        line("variable", format!("{name}={value}"));
    }
    for name in open {
        line("variable", format!("{name} (given by whoever runs it)"));
    }
    for one in mounts {
        line("directory", mount(one));
    }
    for stream in terminals(*streams) {
        line("terminal", stream);
    }
    if let Some(level) = log {
        line("log", level.to_string());
    }
    if let Some(entry) = entry {
        let warns = if *invoked {
            " (with wasmtime's warnings)"
        } else {
            ""
        };
        line("function", format!("{entry}{warns}"));
    }
    for Preload { name, member } in preloads {
        line("preload", format!("{name} ({member})"));
    }
    let (values, traps) = limits.parts();
    for (limit, value) in values {
        line("limit", format!("{}: {}", limit.word(), amount(limit, value)));
    }
    if traps {
        line("limit", "trap-on-grow-failure".to_string());
    }
    if let Some(seed) = deterministic {
        line("seed", format!("{seed} (deterministic)"));
    }
    if let Some(traced) = traced {
        line("tracing", tracing(*traced).to_string());
    }
    if *may_be_widened {
        line(
            "widening",
            "whoever runs it may give it more than this".to_string(),
        );
    }
    lines
}

/// An array of JSON.
fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// An object of JSON, of names and values.
fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields = fields
        .into_iter()
        .map(|(name, value)| format!("{}:{value}", json::string(name)));
    let fields: Vec<String> = fields.collect();
    format!("{{{}}}", fields.join(","))
}

fn strings(items: &[String]) -> String {
    list(items.iter().map(|item| json::string(item)))
}

/// What the run is, for programs: one object.
fn run_json(spec: &RunSpec) -> String {
    // As in `run`.
    let RunSpec {
        module: source,
        argv,
        env,
        open,
        mounts,
        terminals: streams,
        log,
        entry,
        invoked,
        preloads,
        limits,
        deterministic,
        tracing: traced,
        may_be_widened,
        network: _,
    } = spec;
    let (values, traps) = limits.parts();
    let pairs = env
        .iter()
        .map(|(name, value)| list([json::string(name), json::string(value)]));
    let preloads = preloads.iter().map(|Preload { name, member }| {
        object([("name", json::string(name)), ("member", json::string(member))])
    });
    object([
        ("module", json::string(module(source))),
        ("arguments", strings(argv)),
        ("environment", list(pairs)),
        ("open", strings(open)),
        ("directories", list(mounts.iter().map(mount_json))),
        ("terminals", strings(&terminals(*streams))),
        ("log", json::or_null(log.map(|level| json::string(level.name())))),
        ("function", json::or_null(entry.as_deref().map(json::string))),
        ("invoked", invoked.to_string()),
        ("preloads", list(preloads)),
        (
            "limits",
            object(values.map(|(limit, value)| (limit.word(), value.to_string()))),
        ),
        ("trap_on_grow_failure", traps.to_string()),
        ("seed", json::or_null(deterministic.map(|seed| seed.to_string()))),
        (
            "tracing",
            json::or_null(traced.map(|traced| json::string(tracing(traced)))),
        ),
        ("may_be_widened", may_be_widened.to_string()),
    ])
}

impl Inspection {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(
                text,
                "{name:<12}{}",
                shown::bounded(value.as_bytes(), Layout::Line, 1 << 16)
            );
        };
        line("format", self.packed.format().name());
        line("engine", self.packed.engine().name());
        if let Ok(Some(arch)) = self.packed.arch() {
            line("arch", arch.name());
        }
        if let Some(memory) = self.packed.memory() {
            line("memory", &show_size(memory));
        }
        if let Some(identity) = &self.identity {
            line("identity", &identity.all);
            line("image", &identity.image);
            line("payload", &identity.payload);
        }
        let manifest = self.packed.manifest().map(ToString::to_string);
        for directive in manifest.iter().flat_map(|text| text.lines()) {
            line("manifest", directive);
        }
        for (name, value) in run(self.packed.spec()) {
            line(name, &value);
        }
        for (module, names) in &self.imports {
            line("imports", &format!("{module}: {}", names.join(", ")));
        }
        for part in &self.parts {
            line(
                "member",
                &format!("{} ({} bytes, {})", part.name, part.length, part.sha256),
            );
        }
        text
    }

    /// For programs: one object.
    #[must_use]
    pub fn json(&self) -> String {
        let packed = &self.packed;
        let imports = self
            .imports
            .iter()
            .map(|(module, names)| (module.as_str(), strings(names)));
        let members = self.parts.iter().map(|part| {
            object([
                ("name", json::string(&part.name)),
                ("bytes", part.length.to_string()),
                ("sha256", json::string(&part.sha256)),
            ])
        });
        let identity = self.identity.as_ref().map(|identity| {
            object([
                ("all", json::string(&identity.all)),
                ("image", json::string(&identity.image)),
                ("payload", json::string(&identity.payload)),
            ])
        });
        let arch = packed.arch().ok().flatten();
        let manifest = packed.manifest().map(ToString::to_string);
        let mut text = object([
            ("format", json::string(packed.format().name())),
            ("engine", json::string(packed.engine().name())),
            ("arch", json::or_null(arch.map(|arch| json::string(arch.name())))),
            (
                "memory",
                json::or_null(packed.memory().map(|bytes| bytes.to_string())),
            ),
            ("identity", json::or_null(identity)),
            (
                "manifest",
                json::or_null(manifest.map(|text| json::string(&text))),
            ),
            ("run", run_json(packed.spec())),
            ("imports", object(imports)),
            ("members", list(members)),
        ]);
        text.push('\n');
        text
    }
}
