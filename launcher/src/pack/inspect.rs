//! What is in a packed file, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use boot_protocol::arch::Arch;
use boot_protocol::payload as names;
use boot_protocol::shown::{self, Layout};
use wasmparser::{Parser, Payload};

use super::description::{list, object, run, run_json, strings};
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
            _ => image::of(arch, engine),
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
            if write::booting(&self.format(), arch, engine, &payload)? != file {
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
