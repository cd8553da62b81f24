//! Runs that are packed, and runs of what was packed.

use std::path::{Path, PathBuf};

use boot_protocol::run_spec::{self, Access, Terminals};
use boot_protocol::shown::piece;

use super::choice::{self, Chosen};
use super::deadline::Deadline;
use super::manifest::{host_variable, machine_memory};
use super::module::Module;
use super::mounts::{Mount, MountSource};
use super::program::Program;
use super::request::Request;
use super::run::Run;
use crate::error::Error;
use crate::host::shown;
use crate::pack::{self, Packed};

impl Run {
    /// A run of what was packed, in a machine as it says. What is added narrows that, or is refused by the machine; but
    /// arguments are added to those that it has, and its directories of the host must be given, by the names that it has
    /// for them. What its Hermitfile leaves to the host on which it runs is this process's.
    ///
    /// # Errors
    /// It cannot be read, or this process's current directory or program is not known.
    pub fn packed(packed: Packed) -> Result<Self, Error> {
        let mut this = Self::new(Module::packed(packed.path(), packed.length()));
        let manifest = packed.manifest().into_iter();
        for name in manifest.flat_map(hermitfile::Manifest::host_variables) {
            this = this.env(name, host_variable(packed.path(), name)?);
        }
        this.machine.arch = packed.arch()?.unwrap_or(this.machine.arch);
        // As the Hermitfile itself is run.
        let spec = packed.spec();
        let granted = packed.manifest();
        let granted = granted.map(|_| machine_memory(&spec.limits, spec.deterministic.is_some()));
        this.machine.memory = packed.memory().or(granted).unwrap_or(this.machine.memory);
        this.packed = Some(packed);
        Ok(this)
    }

    /// Packs this run into the file `output`, with the module or, if the native engine is demanded, with code for it and
    /// the module. Returns what was left out, for people.
    ///
    /// Of the host's directories, only the guest's names are packed.
    ///
    /// # Errors
    /// Something cannot be read, compiled or written.
    pub fn pack(self, format: pack::Format, output: &Path) -> Result<Vec<String>, Error> {
        let deadline = self.deadline_from_now();
        let this = self.in_order(&deadline)?;
        if this.packed.is_some() {
            return Err(Error::Invalid(format!("{} is already packed", this.module)));
        }
        if this.module.is_greeting() {
            return Err(Error::Invalid("name a module to pack".to_string()));
        }
        let chosen = match this.engines.demanded {
            None if !this.is_precompiled() => Chosen::Module,
            _ => choice::choose(&this, &deadline)?,
        };
        let mut programs = chosen.programs(&this);
        if matches!(chosen, Chosen::Code(_)) && !this.module.is_precompiled() {
            programs.source = Some(Program::Module(&this.module));
        }
        let request = Request::new(&this, programs, Terminals::NONE, deadline)?;
        pack::of_request(&request, format, output)
    }

    /// This run with the directories of the host in the order in which what was packed has them.
    ///
    /// Modules and copies are members of the payload, which was packed, so none can be added.
    pub(super) fn with_what_was_packed(mut self, deadline: &Deadline) -> Result<Self, Error> {
        let Some(packed) = &self.packed else {
            return Ok(self);
        };
        let is_copy = |mount: &&Mount| matches!(mount.source, MountSource::Copy(_) | MountSource::Files(_));
        let added = match (self.preloads.first(), self.mounts.iter().find(is_copy)) {
            (Some((name, _)), _) => Some((format!("--preload {name}=…"), "linked modules")),
            (None, Some(mount)) => Some((mount.to_string(), "copies of files")),
            (None, None) => None,
        };
        if let Some((asked, what)) = added {
            return Err(Error::Invalid(format!(
                "{asked}: {} was packed with the {what} that it has, and takes no others; 'hermit-wasm unpack' and \
                 'hermit-wasm pack' make another file of its parts",
                self.module
            )));
        }
        let shared = packed.spec().mounts.iter();
        let shared = shared.filter(|mount| matches!(mount.source, run_spec::MountSource::VirtioFs { .. }));
        let mut ordered = Vec::new();
        for wanted in shared {
            let is_it =
                |mount: &Mount| matches!(mount.source, MountSource::Dir(_)) && mount.guest == wanted.guest;
            let mut mount = match (self.mounts.iter().position(is_it), packed.host_of(&wanted.guest)) {
                (Some(place), _) => self.mounts.remove(place),
                (None, Some(host)) => {
                    check_mapped(packed, host, &wanted.guest, deadline)?;
                    Mount {
                        source: MountSource::Dir(host.into()),
                        guest: wanted.guest.clone(),
                        access: wanted.access,
                        quota: None,
                    }
                }
                (None, None) => {
                    return Err(Error::Invalid(format!(
                        "{}: the program needs a directory of this host as '{}'; pass --dir HOST::{1}",
                        self.module, wanted.guest
                    )));
                }
            };
            if wanted.access == Access::ReadOnly {
                mount.access = Access::ReadOnly;
            }
            ordered.push(mount);
        }
        ordered.append(&mut self.mounts);
        self.mounts = ordered;
        Ok(self)
    }
}

/// Refuses a directory of `MAP` that is not there, by that name: nobody has passed a flag.
fn check_mapped(packed: &Packed, host: &str, guest: &str, deadline: &Deadline) -> Result<(), Error> {
    let path = PathBuf::from(host);
    let found = deadline
        .clone()
        .of(format!("'{}'", shown::path(&path)))
        .aside(move || path.metadata())?;
    let why = match found {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "it is not a directory".to_string(),
        Err(error) => error.to_string(),
    };
    let host = Path::new(host);
    let from = match (host.is_relative(), std::env::current_dir()) {
        (true, Ok(here)) => format!(" (seen from '{}')", shown::path(&here)),
        _ => String::new(),
    };
    Err(Error::Invalid(format!(
        "{}: its Hermitfile's MAP gives it '{}'{from} as '{}': {why}",
        shown::path(packed.path()),
        shown::path(host),
        piece(guest)
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::manifest::Hermitfile;
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    /// A run of a program that was packed with a copy that it calls `/site`.
    fn packed(directory: &Path) -> Run {
        let site = directory.join("site");
        fs::create_dir_all(&site).unwrap();
        let output = directory.join("packed");
        Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
            .copy_dir(site, "/site", Access::ReadOnly)
            .may_be_widened()
            .pack(pack::Format::Initrd, &output)
            .unwrap();
        Run::packed(Packed::open(&output).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn no_module_and_no_copy_is_added_to_what_was_packed() {
        let directory = tempfile::tempdir().unwrap();
        let module = || Module::from_bytes("other.wasm", MODULE).unwrap();
        for (run, flag, what) in [
            (
                packed(directory.path()).preload("x", module()),
                "--preload x=…: ",
                "linked modules",
            ),
            (
                packed(directory.path()).copy_dir("other", "/site", Access::ReadWrite),
                "--copy-dir ",
                "copies of files",
            ),
        ] {
            let error = run.with_what_was_packed(&Deadline::never()).unwrap_err();
            assert_eq!(error.exit_code(), boot_protocol::exit_code::USAGE);
            let message = error.to_string();
            assert!(message.starts_with(flag) && message.contains(what), "{message}");
        }
        assert!(
            packed(directory.path())
                .tmpfs("/tmp")
                .with_what_was_packed(&Deadline::never())
                .is_ok()
        );
        assert!(
            packed(directory.path())
                .with_what_was_packed(&Deadline::never())
                .is_ok()
        );
    }

    #[test]
    fn a_mapped_directory_that_is_not_there_is_named_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let [hermitfile, output, data] =
            ["Hermitfile", "packed", "data"].map(|name| directory.path().join(name));
        fs::write(directory.path().join("m.wasm"), MODULE).unwrap();
        let text = format!("FROM m.wasm\nMAP [\"{}:/data\"]\n", data.display());
        fs::write(&hermitfile, text).unwrap();
        let never = Deadline::never();
        let file = Hermitfile::open(&hermitfile, &never).unwrap().to_be_packed();
        let module = file.module(1 << 28, &never).unwrap();
        let run = file.apply(Run::new(module), 1 << 28, &never).unwrap();
        run.pack(pack::Format::Initrd, &output).unwrap();
        let run = || {
            let packed = Packed::open(&output).unwrap().unwrap();
            Run::packed(packed.as_program()).unwrap()
        };
        let refused = || {
            let error = run().with_what_was_packed(&never).unwrap_err();
            assert_eq!(error.exit_code(), boot_protocol::exit_code::USAGE);
            let message = error.to_string();
            assert!(message.contains("MAP") && !message.contains("--dir"), "{message}");
            message
        };
        assert!(refused().contains("No such file"));
        fs::write(&data, "").unwrap();
        assert!(refused().ends_with("it is not a directory"));
        fs::remove_file(&data).unwrap();
        fs::create_dir(&data).unwrap();
        assert!(run().with_what_was_packed(&never).is_ok());
    }
}
