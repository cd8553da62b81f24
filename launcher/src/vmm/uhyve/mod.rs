//! uhyve, Hermit's own hypervisor: the same image and console as elsewhere, files and directories by file mapping.
//!
//! uhyve has no other line than its standard output and input: they carry the console's frames. It needs KVM.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use boot_protocol::arch::Arch;
use boot_protocol::command_line::{CommandLine, Console};
use boot_protocol::run_spec::{self, Access, ModuleSource, RunSpec};
use boot_protocol::shown::piece;
use tempfile::TempDir;

use super::capabilities::{Accelerator, Capabilities, ConsoleKind};
use super::{Command, Machine, Prepared, Vmm};
use crate::error::{Error, MachineFailure, StartError};
use crate::host::files::{self, HostFile};
use crate::host::{identity, image, program};
use crate::jail::{Confinement, Jail};
use crate::spec::deadline::Deadline;
use crate::spec::engine::Engine;
use crate::spec::mounts::{MountError, MountSource};
use crate::spec::program::Program;
use crate::spec::request::Request;

/// uhyve.
#[derive(Clone, Debug, Default)]
pub struct Uhyve {
    /// Its program; default: `uhyve` in PATH.
    pub program: Option<PathBuf>,
}

const NAME: &str = "uhyve";

/// The device that runs machines.
const KVM: &str = "/dev/kvm";

/// Where the machine sees the module, the description of the run, and mounted directories (with a number).
const MODULE: &str = "/hermit-wasm/module.wasm";
const SPEC: &str = "/hermit-wasm/run.spec";
const MOUNT: &str = "/hermit-wasm/mount-";

const MISSING: &str = "uhyve is not installed, or not in PATH\n\
    With Rust:               cargo install --locked uhyve@0.10.0\n\
    If it is installed elsewhere, pass --uhyve PATH";

/// A file that uhyve opens by its path.
enum OnDisk {
    /// One that was there.
    There(PathBuf),
    /// One that is deleted at the end.
    Temporary(HostFile),
}

impl OnDisk {
    fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Temporary(file) => file.name(),
        }
    }
}

impl Vmm for Uhyve {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            architectures: &[Arch::X86_64],
            accelerators: &[Accelerator::Kvm],
            // The payload is QEMU's -initrd, which uhyve does not have.
            copies: false,
            directories: true,
            quotas: false,
            console: ConsoleKind::Framed,
            network: false,
            exit_code: true,
            memory: 0..=u64::MAX,
            machines: false,
            commands: false,
        }
    }

    fn program(&self, _arch: Arch) -> Result<PathBuf, StartError> {
        let program = match &self.program {
            Some(name) => program::named("uhyve", name)?,
            None => program::search_path(Path::new("uhyve"))
                .ok_or_else(|| StartError::NotInstalled(MISSING.to_string()))?,
        };
        if let Err(error) = File::options().read(true).write(true).open(KVM) {
            return Err(StartError::Kvm(format!(
                "--vmm uhyve needs KVM, and /dev/kvm cannot be used: {error}; --vmm qemu works without"
            )));
        }
        Ok(program)
    }

    fn prepare<'a>(&'a self, request: &'a Request<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        let program = self.program(request.arch())?;
        let image = image_on_disk(request.engine())?;
        let module = program_on_disk(request.program(), request.deadline())?;
        let (mut mappings, mut spec) = mappings(request)?;
        if let Some(module) = &module {
            spec.module = ModuleSource::Path(MODULE.to_string());
            mappings.push(mapping(module.path(), MODULE)?);
        }
        let spec = temporary("run.spec", |out| out.write_all(&spec.encode()))?;
        mappings.push(mapping(spec.path(), SPEC)?);
        // Files that the guest makes outside of every mapping.
        let own = tempfile::Builder::new()
            .prefix("hermit-wasm-")
            .tempdir()
            .map_err(StartError::file("make a directory for uhyve"))?;
        if identity::is_wanted() {
            let module = module.as_ref().map(|module| ("the module", module));
            let files = [
                Some(("the application", &image)),
                module,
                Some(("run.spec", &spec)),
            ];
            for (what, file) in files.into_iter().flatten() {
                let digest = File::open(file.path()).and_then(identity::sha256);
                identity::log(
                    what,
                    &digest.map_err(StartError::file("read what uhyve is given"))?,
                );
            }
        }
        let command = Command {
            program,
            arguments: arguments(request, image.path(), mappings, own.path()),
            descriptors: Vec::new(),
            confinement: confinement(request, [Some(&image), module.as_ref(), Some(&spec)]).write(own.path()),
        };
        let files = [Some(image), module, Some(spec)].into_iter().flatten();
        let files = files.filter_map(|file| match file {
            OnDisk::There(_) => None,
            OnDisk::Temporary(file) => Some(file),
        });
        Ok(Box::new(PreparedUhyve {
            command,
            files: files.collect(),
            own,
        }))
    }
}

/// What uhyve needs of this host: KVM, the files that it maps, and the mounted directories.
fn confinement<'a>(
    request: &Request<'_>,
    files: impl IntoIterator<Item = Option<&'a OnDisk>>,
) -> Confinement {
    let mut confinement = request.confinement().device(KVM);
    for file in files.into_iter().flatten() {
        confinement = confinement.read(file.path());
    }
    for mount in request.mounts() {
        // That it is there has been seen when it became a mapping.
        if let MountSource::Dir(host) = &mount.source
            && let Ok(real) = host.canonicalize()
        {
            confinement = match mount.access {
                Access::ReadOnly => confinement.read(real),
                Access::ReadWrite => confinement.write(real),
            };
        }
    }
    confinement
}

/// A run that is ready for uhyve.
struct PreparedUhyve {
    command: Command<'static>,
    files: Vec<HostFile>,
    own: TempDir,
}

impl Prepared for PreparedUhyve {
    fn spawn(self: Box<Self>) -> Result<Machine, Error> {
        let mut machine = Machine::spawn(NAME, Accelerator::Kvm, &self.command)?.keeping(self.files);
        machine.directory = Some(self.own);
        machine.explain = Some(explain);
        Ok(machine)
    }
}

/// What to say of a machine that never started: uhyve panics where KVM fails.
fn explain(words: &str) -> MachineFailure {
    // A panic's place in uhyve's source comes first, its reason on the next line.
    let reason = words
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.contains("panicked at") && !line.contains("WARN"))
        .unwrap_or("it says nothing");
    MachineFailure::NeedsKvm {
        hypervisor: NAME,
        reason: piece(reason),
    }
}

/// uhyve's command line.
fn arguments(request: &Request<'_>, image: &Path, mappings: Vec<OsString>, own: &Path) -> Vec<OsString> {
    let line = CommandLine {
        tsc_mhz: None,
        log: request.log(),
        console: Console::Framed,
        spec: Some(SPEC.to_string()),
    }
    .build();
    let mut arguments: Vec<OsString> = vec!["--cpu-count".into(), "1".into(), "--memory-size".into()];
    arguments.push(format!("{}B", request.memory()).into());
    arguments.extend(["--tempdir".into(), own.into()]);
    if request.jail() != Jail::Off {
        // Its own walls need files that are not in the jail, whose walls are narrower.
        arguments.extend(["--file-isolation", "none"].map(OsString::from));
    }
    for mapping in mappings {
        arguments.push("--file-mapping".into());
        arguments.push(mapping);
    }
    arguments.push(image.into());
    // The first is uhyve's, the second the kernel's; uhyve joins what follows with spaces, so it is one word already.
    arguments.push("--".into());
    arguments.push("--".into());
    arguments.push(line.strip_prefix("-- ").unwrap_or(&line).into());
    arguments
}

/// A mapping of a host's path. uhyve knows no way to write a colon in one.
fn mapping(host: &Path, inside: &str) -> Result<OsString, MountError> {
    match host.to_str() {
        Some(text) if !text.contains(':') => Ok(format!("{text}:{inside}").into()),
        _ => Err(MountError::Path {
            hypervisor: NAME,
            path: host.to_path_buf(),
        }),
    }
}

/// The mappings of mounted directories, and the description of the run with them.
fn mappings(request: &Request<'_>) -> Result<(Vec<OsString>, RunSpec), Error> {
    let mut mappings = Vec::new();
    let spec = request.spec(|index, source| {
        let MountSource::Dir(host) = source else {
            // Copies are refused from the capabilities.
            return Ok(run_spec::MountSource::Tmpfs { size: None });
        };
        let unusable = |reason: String| MountError::Unusable {
            flag: "dir",
            host: host.clone(),
            reason,
        };
        let found = host.canonicalize().map_err(|error| unusable(error.to_string()))?;
        if !found.is_dir() {
            return Err(unusable("it is not a directory".to_string()).into());
        }
        let path = format!("{MOUNT}{index}");
        mappings.push(mapping(&found, &path)?);
        Ok(run_spec::MountSource::UhyveMap { path })
    })?;
    Ok((mappings, spec))
}

/// The application as a file: kept for the next run, if there is a place for that.
fn image_on_disk(engine: Engine) -> Result<OnDisk, Error> {
    let image = image::application(Arch::X86_64, engine)?;
    let bytes = image.bytes;
    if let Some(directory) = files::cache_directory() {
        let path = directory.join(format!("hermit-wasm-{:016x}.elf", image.fingerprint));
        if fs::read(&path).is_ok_and(|kept| kept == bytes) || files::write_whole(&path, bytes).is_ok() {
            return Ok(OnDisk::There(path));
        }
    }
    temporary("hermit-wasm.elf", |out| out.write_all(bytes))
}

/// The program as a file: its own, or a copy if it was translated or compiled, came from a pipe, or has a name that
/// uhyve cannot take. `None`: the image's own.
fn program_on_disk(program: Program<'_>, deadline: &Deadline) -> Result<Option<OnDisk>, Error> {
    if program.member().is_none() {
        return Ok(None);
    }
    if let Some(path) = program.path()
        && mapping(&path, MODULE).is_ok()
    {
        return Ok(Some(OnDisk::There(path)));
    }
    let file = temporary_file("module.wasm")?;
    let mut out = file.file();
    program
        .write_to(&mut out, deadline)
        .map_err(|error| error.into_error(KEEP))?;
    Ok(Some(OnDisk::Temporary(file)))
}

/// A file with what `write` writes, for this user alone, deleted at the end.
fn temporary(label: &str, write: impl FnOnce(&mut &File) -> io::Result<()>) -> Result<OnDisk, Error> {
    let file = temporary_file(label)?;
    write(&mut file.file()).map_err(StartError::file(KEEP))?;
    Ok(OnDisk::Temporary(file))
}

/// The file itself, still empty. uhyve opens files by names that lead to them, so it needs one; and a launcher that was
/// killed leaves it behind.
fn temporary_file(label: &str) -> Result<HostFile, Error> {
    let directory = files::private_directory();
    files::sweep(&directory, label);
    HostFile::temporary(&directory, label).map_err(StartError::file(KEEP))
}

const KEEP: &str = "keep a file for uhyve";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::module::Module;
    use crate::spec::run::Run;

    #[test]
    fn a_colon_in_a_path_is_refused() {
        assert_eq!(
            mapping(Path::new("/a b"), "/m").unwrap(),
            OsString::from("/a b:/m")
        );
        let error = mapping(Path::new("/a:b"), "/m").unwrap_err();
        assert!(error.to_string().contains("colon"), "{error}");
    }

    #[test]
    fn directories_become_mappings_and_mounts() {
        let run = Run::new(Module::greeting())
            .tmpfs("/tmp")
            .dir("/usr/..", "/g", Access::ReadOnly);
        let request = Request::for_tests(&run);
        let (mappings, spec) = mappings(&request).unwrap();
        assert_eq!(mappings, [OsString::from("/:/hermit-wasm/mount-1")]);
        assert_eq!(
            spec.mounts[1],
            run_spec::Mount {
                source: run_spec::MountSource::UhyveMap {
                    path: "/hermit-wasm/mount-1".into()
                },
                guest: "/g".into(),
                access: Access::ReadOnly,
            }
        );
        for (host, words) in [("/nonexistent", "/nonexistent"), ("/dev/null", "directory")] {
            let run = Run::new(Module::greeting()).dir(host, "/g", Access::ReadWrite);
            let error = super::mappings(&Request::for_tests(&run)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_panic_is_quoted_without_its_place() {
        let words = "thread 'main' panicked at src/x.rs:1:\ncalled `Result::unwrap()`\n";
        let failure = explain(words).to_string();
        assert!(failure.contains("called `Result::unwrap()`"), "{failure}");
        assert!(explain("").to_string().contains("it says nothing"));
    }
}
