//! A run under uhyve instead of QEMU: the same image and console, files and directories by uhyve's file mapping.
//!
//! uhyve has no other line than its standard output and input: they carry the console's frames. It needs KVM.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::boot_line::{self, BootLine};

use crate::cli::{AccelChoice, Run};
use crate::directories::Directory;
use crate::failure::Failure;
use crate::files::{self, QemuFile};
use crate::image;
use crate::module::Module;
use crate::outcome::{self, Outcome};
use crate::qemu::discover;
use crate::qemu::machine::{Accelerator, show_command};
use crate::qemu::process::Process;
use crate::session::{self, Ending, Report, Terms};
use crate::signals::Signals;

/// Where the machine sees the module.
const MODULE: &str = "/hermit-wasm/module.wasm";

/// Where it sees the shared directories: this and a number.
const SHARE: &str = "/hermit-wasm/share-";

/// The longest boot line. uhyve puts it into a device tree of at most 16 KiB, with the paths of what is mapped, and
/// ends with a panic if that is too long.
const LONGEST_BOOT_LINE: usize = 12 * 1024;

/// How long the machine may take to its first sign of life.
const LONGEST_BOOT: Duration = Duration::from_secs(30);

const MISSING: &str = "uhyve is not installed: 'uhyve' is not found in PATH\n\
    With Rust:               cargo install --locked uhyve@0.10.0\n\
    If it is installed elsewhere, say where: --uhyve PATH";

/// A file that uhyve opens by its path.
enum OnDisk {
    /// One that was there.
    There(PathBuf),
    /// One that is deleted at the end.
    Temporary(QemuFile),
}

impl OnDisk {
    fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Temporary(file) => file.name(),
        }
    }

    fn temporary(label: &str, bytes: &[u8]) -> io::Result<Self> {
        let file = QemuFile::temporary(&std::env::temp_dir(), label)?;
        file.file().write_all(bytes)?;
        Ok(Self::Temporary(file))
    }
}

/// Runs the module under uhyve. `boot_line` is what QEMU's machine would be given; `say` tells what is done.
pub(crate) fn run(
    run: &Run,
    module: Option<&Module>,
    directories: &[Directory],
    boot_line: BootLine,
    deadline: Option<Instant>,
    say: impl Fn(String),
) -> Result<Outcome, Failure> {
    if run.print_command {
        return Err(Failure::usage(
            "--print-command: prints QEMU's commands only; the README shows uhyve's",
        ));
    }
    if run.accel == AccelChoice::Tcg {
        return Err(Failure::usage(
            "--vmm uhyve needs KVM; use --vmm qemu with --accel tcg",
        ));
    }
    let uhyve = match &run.uhyve {
        Some(name) => discover::search_path(name).ok_or_else(|| {
            Failure::machine(format!(
                "--uhyve: there is no program '{}' that can be executed",
                name.display()
            ))
        })?,
        None => discover::search_path(Path::new("uhyve")).ok_or_else(|| Failure::machine(MISSING))?,
    };
    if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
        return Err(Failure::machine(format!(
            "--vmm uhyve needs KVM, and /dev/kvm cannot be used: {error}; --vmm qemu works without"
        )));
    }
    let image = image_on_disk()?;
    let module = module.map(|module| module_on_disk(run, module)).transpose()?;
    let (mappings, words) = mappings(directories)?;
    let line = BootLine {
        file: module.as_ref().map(|_| MODULE.to_string()),
        directories: words,
        ..boot_line
    };
    let arguments = arguments(run, image.path(), module.as_ref(), mappings, &line)?;
    say(show_command(&uhyve, &arguments));

    let signals =
        Signals::catch().map_err(|error| Failure::machine(format!("cannot watch for signals: {error}")))?;
    let mut process = Process::start(&uhyve, &arguments)
        .map_err(|error| Failure::machine(format!("cannot start uhyve, '{}': {error}", uhyve.display())))?;
    let terms = Terms {
        deadline,
        boot_deadline: Instant::now() + LONGEST_BOOT,
        only_boot: false,
        show_text: run.verbose > 0 || run.log.is_some(),
        verbose: run.verbose,
    };
    let report = session::run(&mut process, &signals, &terms, None, &mut []);
    let status = process.ended().ok().flatten();
    process.kill();
    say(format!("the run is over: {:?}", report.ending));
    match not_started(&report) {
        Some(failure) => Err(failure),
        None => outcome::conclude(report, run, Accelerator::Tcg, status),
    }
}

/// What to say of a machine that never started, if it is that.
fn not_started(report: &Report) -> Option<Failure> {
    if report.started || !matches!(report.ending, Ending::Ended | Ending::NeverStarted) {
        return None;
    }
    let words = report.qemu.text();
    // A panic's place in uhyve's source comes first, its reason on the next line.
    let reason = words
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.contains("panicked at") && !line.contains("WARN"))
        .unwrap_or("it says nothing");
    Some(Failure::machine(format!(
        "uhyve could not start the machine: {reason}. It needs a KVM that works; --vmm qemu works without"
    )))
}

/// uhyve's command line.
fn arguments(
    run: &Run,
    image: &Path,
    module: Option<&OnDisk>,
    mappings: Vec<OsString>,
    line: &BootLine,
) -> Result<Vec<OsString>, Failure> {
    let line = line.build();
    if line.len() > LONGEST_BOOT_LINE {
        return Err(Failure::usage(format!(
            "the arguments and the environment are too long: with the boot options they take {} bytes, and uhyve takes \
             {LONGEST_BOOT_LINE} at most",
            line.len()
        )));
    }
    let mut arguments: Vec<OsString> = vec!["--cpu-count".into(), "1".into(), "--memory-size".into()];
    arguments.push(format!("{}B", run.memory).into());
    for mapping in module
        .map(|module| mapping(module.path(), MODULE))
        .transpose()?
        .into_iter()
        .chain(mappings)
    {
        arguments.push("--file-mapping".into());
        arguments.push(mapping);
    }
    arguments.push(image.into());
    // The first is uhyve's, the second the kernel's; uhyve joins what follows with spaces, so it is one word already.
    arguments.push("--".into());
    arguments.push("--".into());
    arguments.push(line.strip_prefix("-- ").unwrap_or(&line).into());
    Ok(arguments)
}

/// A mapping of a host's path. uhyve knows no way to write a colon in one.
fn mapping(host: &Path, inside: &str) -> Result<OsString, Failure> {
    match host.to_str() {
        Some(text) if !text.contains(':') => Ok(format!("{text}:{inside}").into()),
        _ => Err(Failure::usage(format!(
            "uhyve cannot be given '{}': the path has a colon in it, or is not UTF-8",
            host.display()
        ))),
    }
}

/// The mappings of shared directories, and what the boot line says of all directories.
fn mappings(directories: &[Directory]) -> Result<(Vec<OsString>, Vec<boot_line::Directory>), Failure> {
    let (mut mappings, mut words) = (Vec::new(), Vec::new());
    for (index, directory) in directories.iter().enumerate() {
        match directory {
            Directory::Tmpfs { guest } => words.push(boot_line::Directory::Tmpfs { guest: guest.clone() }),
            Directory::Copy { .. } => {
                return Err(Failure::usage(
                    "--copy-dir travels with QEMU's boot file, which uhyve has not; use --dir, or --vmm qemu",
                ));
            }
            Directory::Share {
                host,
                guest,
                read_only,
            } => {
                let found = fs::canonicalize(host).and_then(|path| match path.is_dir() {
                    true => Ok(path),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                });
                let found = found.map_err(|error| {
                    Failure::usage(format!("--dir: cannot share '{}': {error}", host.display()))
                })?;
                let path = format!("{SHARE}{index}");
                mappings.push(mapping(&found, &path)?);
                words.push(boot_line::Directory::Mapped {
                    path,
                    guest: guest.clone(),
                    read_only: *read_only,
                });
            }
        }
    }
    Ok((mappings, words))
}

/// The application as a file: kept for the next run, if there is a place for that.
fn image_on_disk() -> Result<OnDisk, Failure> {
    let bytes = image::X86_64_APPLICATION;
    if let Some(directory) = files::cache_directory() {
        let path = directory.join(format!("hermit-wasm-{:016x}.elf", image::fingerprint(bytes)));
        if fs::read(&path).is_ok_and(|kept| kept == bytes) || files::write_whole(&path, bytes).is_ok() {
            return Ok(OnDisk::There(path));
        }
    }
    OnDisk::temporary("hermit-wasm.elf", bytes)
        .map_err(|error| Failure::machine(format!("cannot keep the image in a file for uhyve: {error}")))
}

/// The module as a file: itself, or, if it was translated or came from a pipe, a copy.
fn module_on_disk(run: &Run, module: &Module) -> Result<OnDisk, Failure> {
    let failed =
        |error: io::Error| Failure::machine(format!("cannot keep the module in a file for uhyve: {error}"));
    let bytes = fs::read(module.file.name()).map_err(failed)?;
    if let Some(path) = run.module().and_then(|path| fs::canonicalize(path).ok())
        && path.is_file()
        && !path.as_os_str().as_encoded_bytes().contains(&b':')
        && fs::read(&path).is_ok_and(|there| there == bytes)
    {
        return Ok(OnDisk::There(path));
    }
    OnDisk::temporary("module.wasm", &bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_path_is_refused() {
        assert_eq!(
            mapping(Path::new("/a b"), "/m").unwrap(),
            OsString::from("/a b:/m")
        );
        assert!(
            mapping(Path::new("/a:b"), "/m")
                .unwrap_err()
                .message
                .contains("colon")
        );
    }

    #[test]
    fn directories_become_mappings_and_words() {
        let share = |host: &str, read_only| Directory::Share {
            host: host.into(),
            guest: "/g".into(),
            read_only,
        };
        let tmpfs = Directory::Tmpfs { guest: "/tmp".into() };
        let (mappings, words) = mappings(&[tmpfs, share("/usr/..", true)]).unwrap();
        assert_eq!(mappings, [OsString::from("/:/hermit-wasm/share-1")]);
        let mapped = boot_line::Directory::Mapped {
            path: "/hermit-wasm/share-1".into(),
            guest: "/g".into(),
            read_only: true,
        };
        assert_eq!(words.get(1), Some(&mapped));
        for (host, words) in [("/nonexistent", "/nonexistent"), ("/dev/null", "directory")] {
            let failure = super::mappings(&[share(host, false)]).unwrap_err();
            assert!(failure.message.contains(words), "{}", failure.message);
        }
        let copy = Directory::Copy {
            host: "/".into(),
            guest: "/".into(),
            read_only: false,
        };
        assert!(super::mappings(&[copy]).unwrap_err().message.contains("--dir"));
    }
}
