//! A packed file: where its payload lies, and what is in that.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aot_config::trailer as code;
use boot_protocol::arch::Arch;
use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::RunSpec;
use hermitfile::Manifest;

#[cfg(feature = "oci")]
use super::find::find_in;
use super::find::{Found, find};
use super::seal;
use super::section::Section;
use super::{Format, manifest};
use crate::error::Error;
use crate::host::shown;
use crate::spec::deadline::Deadline;
use crate::spec::engine::Engine;
use crate::spec::module::ModuleError;
use crate::spec::payload;
use crate::spec::reading::{WriteError, copy};

/// A packed file. Clones share it.
#[derive(Clone, Debug)]
pub struct Packed {
    path: PathBuf,
    file: Arc<File>,
    /// Where the payload starts, and its length.
    start: u64,
    length: u64,
    format: Format,
    /// What it says that it runs on, and with how much memory.
    arch: Option<Arch>,
    memory: Option<u64>,
    members: Vec<Member>,
    spec: RunSpec,
    manifest: Option<Manifest>,
    /// Whether it is the very program that runs.
    is_own: bool,
}

/// A member of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its data start in the payload, and their length.
    pub(super) start: u64,
    pub(super) length: u64,
}

impl Packed {
    /// As [`Self::open`], as long as there is time: a file of another machine may be long in coming.
    ///
    /// # Errors
    /// As that; [`Error::Timeout`] or [`Error::Stopped`].
    pub fn open_until(path: &Path, deadline: &Deadline) -> Result<Option<Self>, Error> {
        let deadline = deadline.clone().of(format!("'{}'", shown::path(path)));
        let path = path.to_path_buf();
        deadline.aside(move || Self::open(&path))?
    }

    /// The packed file `path`; `None` if it is none. Only its beginning and its end are looked at for that.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match find(path)? {
            Some(found) => Self::of(path, found).map(Some),
            None => Ok(None),
        }
    }

    /// The same of a file that is open already, and which messages call `path`.
    #[cfg(feature = "oci")]
    pub(crate) fn of_file(path: &Path, file: File) -> Result<Option<Self>, Error> {
        match find_in(path, file)? {
            Some(found) => Self::of(path, found).map(Some),
            None => Ok(None),
        }
    }

    /// Whether such a file has a payload, by its beginning and its end.
    #[cfg(feature = "oci")]
    pub(crate) fn has_payload(path: &Path, file: &File) -> Result<bool, Error> {
        let file = file.try_clone().map_err(|error| unreadable(path, &error))?;
        Ok(find_in(path, file)?.is_some())
    }

    fn of(path: &Path, found: Found) -> Result<Self, Error> {
        let unreadable = |source: io::Error| unreadable(path, &source);
        let Found {
            file,
            payload: (start, length),
            format,
            arch,
            memory,
        } = found;
        let mut this = Self {
            path: path.into(),
            file: Arc::new(file),
            start,
            length,
            format,
            arch,
            memory,
            members: Vec::new(),
            spec: RunSpec::default(),
            manifest: None,
            is_own: false,
        };
        if !this.is_intact().map_err(unreadable)? {
            return Err(this.damaged("its digest does not match its contents"));
        }
        this.members = this
            .list()
            .map_err(|error| this.damaged(&format!("its archive cannot be read: {error}")))?;
        let spec = this.read(names::RUN_SPEC).map_err(unreadable)?;
        this.spec = match spec.map(|bytes| RunSpec::decode(&bytes)) {
            Some(Ok(spec)) => spec,
            Some(Err(error)) => return Err(this.damaged(&format!("its run description: {error}"))),
            None => return Err(this.damaged("it has no run description")),
        };
        this.manifest = this.read_manifest()?;
        Ok(this)
    }

    /// The Hermitfile in it, which must be what holds.
    fn read_manifest(&self) -> Result<Option<Manifest>, Error> {
        let Some(member) = self.member(names::MANIFEST) else {
            return Ok(None);
        };
        // One byte more, so that one that is too long is refused as such.
        let length = member.length.min(hermitfile::LONGEST as u64 + 1);
        let mut text = Vec::new();
        self.part(member.start, length)
            .read_to_end(&mut text)
            .map_err(|error| self.damaged(&format!("its Hermitfile cannot be read: {error}")))?;
        let manifest =
            Manifest::parse(names::MANIFEST, &text).map_err(|error| self.damaged(&error.to_string()))?;
        match manifest::agrees(&manifest, &self.spec, self.engine()) {
            true => Ok(Some(manifest)),
            false => Err(self.damaged("its Hermitfile and its run description differ")),
        }
    }

    /// Why it cannot be used.
    fn damaged(&self, why: &str) -> Error {
        damaged(&self.path, why)
    }

    /// Its path, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was made of the payload.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format.clone()
    }

    /// The architecture that it is for; `None`: it runs on all of them.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn arch(&self) -> Result<Option<Arch>, Error> {
        if self.arch.is_some() {
            return Ok(self.arch);
        }
        let Some(member) = self.member(names::CODE) else {
            return Ok(None);
        };
        let mut end = [0; code::SIZE];
        let at = (self.start + member.start + member.length).saturating_sub(code::SIZE as u64);
        let read = self.file.read_exact_at(&mut end, at);
        read.map_err(|error| self.damaged(&format!("its native code: {error}")))?;
        let code = code::Trailer::parse(&end, member.length)
            .map_err(|error| self.damaged(&format!("its native code: {error}")))?;
        Ok(Arch::from_name(code.level.arch().name()))
    }

    /// The engine that runs it.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.member(names::CODE) {
            Some(_) => Engine::Native,
            None => Engine::Interp,
        }
    }

    /// The machine's memory in bytes, where it says so.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// The description of the run, which is the most that it can do.
    #[must_use]
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    /// The Hermitfile that it was made of, if it was made of one.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// The same as what its user has started as a program: its Hermitfile says which directories of the host it has.
    #[must_use]
    pub fn as_program(mut self) -> Self {
        self.is_own = true;
        self
    }

    /// Whether it is what its user has started as a program.
    pub(crate) const fn is_program(&self) -> bool {
        self.is_own
    }

    /// The path of the host's directory that the guest calls `guest`, as a program's Hermitfile says it. A file that
    /// the launcher runs must not choose what of this host it sees.
    pub(crate) fn host_of(&self, guest: &str) -> Option<&str> {
        let manifest = self.manifest.as_ref().filter(|_| self.is_own)?;
        manifest::host_of(manifest, guest)
    }

    /// The payload's length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of the file.
    pub(super) fn file(&self) -> Section<'_> {
        Section {
            file: &self.file,
            at: 0,
            end: u64::MAX,
        }
    }

    /// Where the payload starts in the file.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The bytes of a member; `None` if it has none of the name.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(member) = self.member(name) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.part(member.start, member.length).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// A part of the payload, to read.
    pub(super) fn part(&self, start: u64, length: u64) -> Section<'_> {
        let at = self.start.saturating_add(start);
        Section {
            file: &self.file,
            at,
            end: at.saturating_add(length),
        }
    }

    /// Writes the payload.
    pub(crate) fn write_to(&self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        let range = self.start..self.start.saturating_add(self.length);
        copy(&self.file, range, out, deadline).map_err(|error| match error {
            WriteError::Module(_, error) => WriteError::Module(self.path.clone(), error),
            out => out,
        })
    }

    /// Whether the payload is what was sealed.
    fn is_intact(&self) -> io::Result<bool> {
        let mut first = [0; SEAL];
        if self.length < SEAL as u64 {
            return Ok(false);
        }
        self.file.read_exact_at(&mut first, self.start)?;
        let mut rest = self.part(SEAL as u64, self.length - SEAL as u64);
        let digest = seal::digest(&mut rest)?;
        Ok(first == names::seal(&digest))
    }

    /// The members. Behind the seal, which is checked before, each header must be as packing writes it, to the byte: an
    /// archive that the application might read in another way shows something else here than what runs.
    fn list(&self) -> io::Result<Vec<Member>> {
        let mut archive = tar::Archive::new(self.part(0, self.length));
        let mut members: Vec<Member> = Vec::new();
        for entry in archive.entries()?.raw(true) {
            let entry = entry?;
            let name = entry.path_bytes();
            let name = str::from_utf8(&name).map_err(io::Error::other)?;
            let is_ours = || {
                let header = payload::header(name, entry.size());
                is_plain(name) && header.is_ok_and(|header| header.as_bytes() == entry.header().as_bytes())
            };
            if !members.is_empty() && !is_ours() {
                return Err(io::Error::other(
                    "a member's header is not as 'hermit-wasm pack' writes it",
                ));
            }
            if members.iter().any(|member| member.name == name) && name != names::PADDING {
                return Err(io::Error::other("two members have one name"));
            }
            if !is_plain(name) {
                return Err(io::Error::other("a member has an invalid name"));
            }
            let member = Member {
                name: name.to_string(),
                start: entry.raw_file_position(),
                length: entry.size(),
            };
            if member
                .start
                .checked_add(member.length)
                .is_none_or(|end| end > self.length)
            {
                return Err(io::Error::other("a member is longer than the file"));
            }
            members.push(member);
        }
        Ok(members)
    }
}

/// Whether a name is that of a file in a directory itself, and shows as it is.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

pub(super) fn unreadable(path: &Path, source: &io::Error) -> Error {
    ModuleError::Unreadable {
        path: path.into(),
        reason: source.to_string(),
    }
    .into()
}

/// What helps where a file is damaged.
pub(super) const ADVICE: &str = "; copy it again, or pack it again";

pub(super) fn damaged(path: &Path, why: &str) -> Error {
    ModuleError::NotAModule {
        path: path.into(),
        reason: format!("is a damaged packed file: {why}{ADVICE}"),
    }
    .into()
}
