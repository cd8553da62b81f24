//! `hermit-wasm pack`, `inspect` and `unpack`: one file to ship, what is in it, and its parts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::exit_code;
use clap::{Args, ValueHint};
use hermit_wasm_vm::host::shown;
use hermit_wasm_vm::pack::{self, Format, OciImage, OciKind, Packed};
use hermit_wasm_vm::{Arch, Deadline, Error, Hermitfile, ModuleError};

use super::outputs;
use super::run::{Hypervisor, Run, usage};
use super::values::{ARCHITECTURES, FORMATS, OCI_KINDS, one_of};
use crate::{stderr, watchdog};

/// What is packed where neither a module nor a Hermitfile is named.
const HERMITFILE: &str = "Hermitfile";

/// What to pack, and as what.
#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The file to make; of a container image, the directory or the archive (.tar)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,

    /// What to make of it
    #[arg(long, value_parser = one_of(FORMATS), default_value = Format::Initrd.name())]
    format: Format,

    /// What a container image holds; 'plain' by default (docs/pack.md)
    #[arg(long, value_name = "KIND", value_parser = one_of(OCI_KINDS))]
    oci: Option<OciKind>,

    /// Make images for all architectures, with one index: they share their files
    #[arg(long)]
    every_arch: bool,

    /// What a container image is called, as localhost/app:1; 'latest' by default
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,

    /// What it runs, by the flags of 'run'.
    #[command(flatten)]
    run: Run,
}

impl Pack {
    pub(super) fn perform(mut self, start: Instant) -> Result<u8, Error> {
        let named = self.run.file.is_some() || self.run.greet || self.run.module().is_some();
        if !named && Path::new(HERMITFILE).is_file() {
            self.run.file = Some(HERMITFILE.into());
        }
        self.check()?;
        self.format = self.check_image()?;
        match self.format {
            Format::Oci(_) if !OciImage::is_archive(&self.output) => {
                outputs::refuse_what_is_there("-o", &self.output)?;
            }
            _ => outputs::refuse_other_than_a_file("-o", &self.output)?,
        }
        for line in watch(start, &self.output, |deadline| self.pack(deadline))? {
            stderr::say(&line);
        }
        Ok(exit_code::SUCCESS)
    }

    fn pack(&self, deadline: &Deadline) -> Result<Vec<String>, Error> {
        match (self.run.module(), &self.run.file) {
            (None, None) => Err(usage(
                "name a module to pack, a Hermitfile with -f, or a directory made by 'unpack'; there is no \
                 Hermitfile in the current directory either",
            )),
            (Some(directory), _) if directory.is_dir() => {
                let (format, arch) = (self.format.clone(), self.run.arch);
                pack::pack_directory(directory, format, arch, self.run.memory, &self.output)
                    .map(|()| Vec::new())
            }
            (_, file) => {
                let file = file.as_ref().map(|path| Hermitfile::open(path, deadline));
                let file = file.transpose()?.map(|file| match self.run.engine {
                    Some(engine) => file.to_be_packed().engine(engine),
                    None => file.to_be_packed(),
                });
                outputs::refuse_what_is_read("-o", &self.output, &self.run.reads(file.as_ref()))?;
                self.run
                    .describe(file.as_ref(), deadline.clone())?
                    .pack(self.format.clone(), &self.output)
            }
        }
    }

    /// What to make, with what flags say of a container image. Refuses what makes no sense together.
    fn check_image(&self) -> Result<Format, Error> {
        let said = [
            ("oci", self.oci.is_some()),
            ("every-arch", self.every_arch),
            ("tag", self.tag.is_some()),
        ];
        if !matches!(self.format, Format::Oci(_)) {
            return match said.iter().find(|(_, is_said)| *is_said) {
                Some((flag, _)) => Err(usage(format!(
                    "--{flag} is about container images: add --format oci"
                ))),
                None => Ok(self.format.clone()),
            };
        }
        let kind = self.oci.unwrap_or_default();
        let name = kind.name();
        if self.run.memory.is_some() {
            return Err(usage(
                "--memory: a container's memory is what the engine limits it to; say it where it runs (--memory of \
                 podman and docker, resources.limits.memory of Kubernetes)",
            ));
        }
        if self.run.arch_said.0 && !kind.has_arch() {
            return Err(usage(format!(
                "--arch: --oci {name} is for the platform of WebAssembly, and no processor's; leave it out"
            )));
        }
        if self.run.arch_said.0 && self.every_arch {
            return Err(usage(
                "--arch and --every-arch: name one architecture or all of them",
            ));
        }
        if self.run.argv0.is_some() && kind != OciKind::Sealed {
            return Err(usage(format!(
                "--argv0: of --oci {name}, a program's name is its path in the image; use --oci sealed"
            )));
        }
        Ok(Format::Oci(OciImage {
            kind,
            every_arch: self.every_arch,
            tag: self.tag.clone(),
        }))
    }

    /// Refuses what is said when it runs.
    fn check(&self) -> Result<(), Error> {
        let run = &self.run;
        let said = [
            ("accel", run.accel.is_some()),
            ("machine", run.machine.is_some()),
            ("timeout", run.timeout.is_some()),
            ("log", run.log.is_some()),
            ("status-file", run.status_file.is_some()),
            ("status-fd", run.status_fd.is_some()),
            ("print-command", run.print_command.is_some()),
            ("record", run.record.is_some()),
            ("vmm", run.vmm != Hypervisor::Auto),
            ("qemu", run.qemu.is_some()),
            ("uhyve", run.uhyve.is_some()),
            ("virtiofsd", run.virtiofsd.is_some()),
        ];
        if let Some((flag, _)) = said.iter().find(|(_, is_said)| *is_said) {
            return Err(usage(format!("--{flag} cannot be packed; pass it to 'run'")));
        }
        if let Some(flag) = run.network.listens(&run.wasi) {
            return Err(usage(format!(
                "{flag} cannot be packed; pass it to 'run': a port is packed with EXPOSE in a Hermitfile"
            )));
        }
        // What people read in the Hermitfile is what is packed, and so is what a directory was unpacked from.
        let of_directory = run.file.is_none() && run.module().is_some_and(Path::is_dir);
        let words = run.module_and_args.len();
        let beside = [
            ("a word", "ARGV", words > usize::from(of_directory)),
            ("--env", "ENV", !run.env.is_empty()),
            ("--net", "NET", !run.network.net.is_empty()),
            ("-S", "ENV and NET", !run.wasi.is_empty()),
            ("--invoke", "ENTRYPOINT", run.invoke.is_some()),
            ("--preload", "LINK", !run.preload.is_empty()),
            ("a directory", "MAP, COPY or TMPFS", !run.mounts.is_empty()),
            ("-W", "FUEL and the like", !run.limits.is_empty()),
            ("--argv0", "FROM", run.argv0.is_some()),
            ("--deterministic", "DETERMINISTIC", run.deterministic.is_some()),
        ];
        if of_directory {
            let built = [("--engine", run.engine.is_some()), ("--cpu", run.cpu.is_some())];
            let beside = beside.iter().map(|(flag, _, is_said)| (*flag, *is_said));
            return match beside.chain(built).find(|(_, is_said)| *is_said) {
                Some((flag, _)) => Err(usage(format!(
                    "{flag} cannot be combined with a directory: one that 'unpack' has made says it all"
                ))),
                None => Ok(()),
            };
        }
        match beside.iter().find(|(.., is_said)| *is_said) {
            Some((flag, directive, _)) if run.file.is_some() => Err(usage(format!(
                "{flag} cannot be combined with -f: the Hermitfile says all that is packed; use {directive} there"
            ))),
            _ if run.inherits_env() => Err(usage(
                "-S inherit-env: it would pack all variables of this host; name the ones that the program needs with --env",
            )),
            _ => Ok(()),
        }
    }
}

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Architecture of the image in the identity, of a file that runs on all of them; this host's by default
    #[arg(long, value_parser = one_of(ARCHITECTURES), default_value = Arch::host().name())]
    arch: Arch,

    /// A packed file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

impl Inspect {
    pub(super) fn perform(&self, start: Instant) -> Result<u8, Error> {
        let inspection = watch(start, &self.file, |_| open(&self.file)?.inspect(self.arch))?;
        match self.json {
            true => super::print_exactly(&inspection.json()),
            false => super::print(&inspection.text()),
        }
    }
}

/// What to take apart.
#[derive(Debug, Args)]
pub(super) struct Unpack {
    /// A packed file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The directory for its parts; it is made
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

impl Unpack {
    pub(super) fn perform(&self, start: Instant) -> Result<u8, Error> {
        watch(start, &self.file, |_| open(&self.file)?.unpack(&self.directory))?;
        Ok(exit_code::SUCCESS)
    }
}

fn open(path: &Path) -> Result<Packed, Error> {
    Packed::open(path)?.ok_or_else(|| {
        ModuleError::NotAModule {
            path: path.into(),
            reason: "is not a packed file; 'hermit-wasm pack' makes one".to_string(),
        }
        .into()
    })
}

/// Signals end what is done to the file `path`.
fn watch<T>(
    start: Instant,
    path: &Path,
    work: impl FnOnce(&Deadline) -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Deadline::since(start, Duration::MAX).of(format!("'{}'", shown::path(path)));
    stderr::init_log(0, false, deadline.at());
    watchdog::watch(deadline, work)
}
