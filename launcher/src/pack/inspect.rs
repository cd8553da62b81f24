//! What is in a packed file, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use boot_protocol::arch::Arch;
use boot_protocol::payload as names;
use boot_protocol::run_spec::{Access, MountSource, RunSpec};
use boot_protocol::shown::{self, Layout};
use wasmparser::{Parser, Payload};

use super::{Format, Packed, write};
use crate::error::{Error, StartError};
use crate::host::identity::{Identity, sha256};
use crate::host::units::show_size;
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
    /// Looks at all of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn inspect(&self) -> Result<Inspection, Error> {
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
            .boots()?
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
    fn boots(&self) -> Result<Option<&'static [u8]>, Error> {
        let (arch, engine) = (self.arch()?.unwrap_or(Arch::host()), self.engine());
        let carried = match self.format() {
            Format::App => image::application(arch, engine),
            Format::Initrd | Format::Image | Format::Exe => image::of(arch, engine),
        };
        let Ok(carried) = carried else {
            return Ok(None);
        };
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
fn mount(mount: &boot_protocol::run_spec::Mount) -> String {
    let what = match &mount.source {
        MountSource::Tmpfs { size: None } => "empty, in memory".to_string(),
        MountSource::Tmpfs { size: Some(size) } => format!("empty, in memory, of {}", show_size(*size)),
        MountSource::Copy { .. } => "packed".to_string(),
        MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. } => {
            "of the host, given with --dir".to_string()
        }
    };
    let access = match mount.access {
        Access::ReadWrite => "",
        Access::ReadOnly => ", read-only",
    };
    format!("{} ({what}{access})", mount.guest)
}

impl Inspection {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let spec: &RunSpec = self.packed.spec();
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
        if let Some(identity) = &self.identity {
            line("identity", &identity.all);
            line("image", &identity.image);
            line("payload", &identity.payload);
        }
        let manifest = self.packed.manifest().map(ToString::to_string);
        for directive in manifest.iter().flat_map(|text| text.lines()) {
            line("manifest", directive);
        }
        for argument in &spec.argv {
            line("argument", argument);
        }
        for (name, value) in &spec.env {
            line("variable", &format!("{name}={value}"));
        }
        for one in &spec.mounts {
            line("directory", &mount(one));
        }
        if let Some(entry) = &spec.entry {
            line("function", entry);
        }
        for preload in &spec.preloads {
            line("preload", &format!("{} ({})", preload.name, preload.member));
        }
        for (limit, value) in spec.limits.iter() {
            line("limit", &format!("{limit}: {value}"));
        }
        if spec.may_be_widened {
            line("widening", "whoever runs it may give it more than this");
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
        let spec = self.packed.spec();
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        let strings = |items: &[String]| list(items.iter().map(|item| json::string(item)).collect());
        let limits = spec
            .limits
            .iter()
            .map(|(limit, value)| format!("{}:{value}", json::string(limit.name())));
        let run = format!(
            "{{\"arguments\":{},\"environment\":{},\"directories\":{},\"function\":{},\"preloads\":{},\"limits\":{{{}}},\"may_be_widened\":{}}}",
            strings(&spec.argv),
            list(
                spec.env
                    .iter()
                    .map(|(name, value)| format!("[{},{}]", json::string(name), json::string(value)))
                    .collect()
            ),
            list(
                spec.mounts
                    .iter()
                    .map(|one| {
                        let source = match one.source {
                            MountSource::Tmpfs { .. } => "tmpfs",
                            MountSource::Copy { .. } => "copy",
                            MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. } => "host",
                        };
                        format!(
                            "{{\"guest\":{},\"source\":\"{source}\",\"read_only\":{}}}",
                            json::string(&one.guest),
                            one.access == Access::ReadOnly
                        )
                    })
                    .collect()
            ),
            json::or_null(spec.entry.as_deref().map(json::string)),
            list(
                spec.preloads
                    .iter()
                    .map(|preload| format!(
                        "{{\"name\":{},\"member\":{}}}",
                        json::string(&preload.name),
                        json::string(&preload.member)
                    ))
                    .collect()
            ),
            limits.collect::<Vec<_>>().join(","),
            spec.may_be_widened
        );
        let imports = self
            .imports
            .iter()
            .map(|(module, names)| format!("{}:{}", json::string(module), strings(names)));
        let members = self.parts.iter().map(|part| {
            format!(
                "{{\"name\":{},\"bytes\":{},\"sha256\":\"{}\"}}",
                json::string(&part.name),
                part.length,
                part.sha256
            )
        });
        let identity = self.identity.as_ref().map(|identity| {
            format!(
                "{{\"all\":\"{}\",\"image\":\"{}\",\"payload\":\"{}\"}}",
                identity.all, identity.image, identity.payload
            )
        });
        let arch = self.packed.arch().ok().flatten();
        let manifest = self.packed.manifest().map(ToString::to_string);
        format!(
            "{{\"format\":\"{}\",\"engine\":\"{}\",\"arch\":{},\"identity\":{},\"manifest\":{},\"run\":{run},\"imports\":{{{}}},\"members\":{}}}\n",
            self.packed.format(),
            self.packed.engine(),
            json::or_null(arch.map(|arch| json::string(arch.name()))),
            json::or_null(identity),
            json::or_null(manifest.map(|text| json::string(&text))),
            imports.collect::<Vec<_>>().join(","),
            list(members.collect())
        )
    }
}
