//! A command line that works without this program: for `--print-command`.
//!
//! It names nothing of this host: no clock rate, no cache, no descriptors. The run is described by words on the kernel
//! command line, as a person would type them, and directories are served by daemons that the command starts itself.

use std::fs;
use std::path::{Path, PathBuf};

use boot_protocol::command_line::{self, CommandLine, quote};
use boot_protocol::run_spec::{ModuleSource, RunSpec, Terminals};

use super::config::{Connection, MemoryBackend, MountDevice, QemuConfig, Told, Wire};
use super::shares::room_for_mount;
use super::{Qemu, kind, lower, slirp, tag, usual_program};
use crate::error::{Error, StartError};
use crate::host::files::HostFile;
use crate::jail::Jail;
use crate::spec::engine::Engine;
use crate::spec::mounts::MountSource;
use crate::spec::payload;
use crate::spec::request::Request;
use crate::vmm::Command;
use crate::vmm::capabilities::Accelerator;

const WRITE: &str = "write the files of --print-command";

/// The command, a line each for the daemons and for QEMU.
pub(super) fn command(qemu: &Qemu, request: &Request<'_>, directory: Option<&Path>) -> Result<String, Error> {
    let kind = kind(request)?;
    // By hand, there is nobody who understands frames, and the streams are one terminal.
    let mut spec = RunSpec {
        terminals: Terminals::ALL,
        ..lower(request)?
    };
    let user = match request.network() {
        None => None,
        Some(network) => {
            let (network, options) = slirp::by_hand(network, request.published())
                .map_err(|why| Error::Invalid(format!("--print-command: {why}")))?;
            spec.network = Some(network.into());
            Some(options)
        }
    };
    let kernel = image_file(request, directory)?;
    let initrd = payload_file(request, &spec, directory)?;
    let mut lines = Vec::new();
    let mut mounts = Vec::new();
    for mount in request.mounts() {
        let MountSource::Dir(host) = &mount.source else {
            continue;
        };
        room_for_mount(
            kind,
            request.arch(),
            mounts.len(),
            usize::from(request.has_network()),
        )?;
        let socket = format!("{}.sock", tag(mounts.len()));
        let mut daemon = Command {
            program: qemu.virtiofsd.clone().unwrap_or_else(|| "virtiofsd".into()),
            arguments: vec![
                "--socket-path".into(),
                socket.clone().into(),
                "--shared-dir".into(),
            ],
            descriptors: Vec::new(),
            confinement: request.confinement(),
        };
        daemon.arguments.push(host.into());
        if mount.access == boot_protocol::run_spec::Access::ReadOnly {
            daemon.arguments.push("--readonly".into());
        }
        lines.push(format!("{} &", daemon.show()));
        // QEMU does not wait for it.
        lines.push(format!("while ! [ -S {} ]; do sleep 0.1; done", quote(&socket)));
        mounts.push(MountDevice {
            tag: tag(mounts.len()),
            connection: Connection::Socket(socket),
        });
    }
    let line = CommandLine {
        log: request.log(),
        ..CommandLine::default()
    };
    let line = line
        .words_with(&spec)
        .map_err(|error| Error::Invalid(format!("--print-command: {error}")))?;
    let line = command_line::join(line);
    let longest = kind.longest_command_line();
    if line.len() > longest {
        return Err(Error::Invalid(format!(
            "--print-command: the arguments and the environment are too long to be written by hand: with the options they \
             take {} bytes, and --machine {} takes {longest}",
            line.len(),
            kind.name(),
        )));
    }
    let config = QemuConfig {
        arch: request.arch(),
        machine: kind,
        accelerator: request.accelerator().unwrap_or(Accelerator::Tcg),
        memory: request.memory(),
        backend: if mounts.is_empty() {
            MemoryBackend::Private
        } else {
            MemoryBackend::Memfd
        },
        kernel: &kernel,
        initrd: initrd.as_deref(),
        payload: 0,
        mounts: &mounts,
        network: user.as_deref().map(Wire::User),
        command_line: &line,
        sandbox: request.jail() != Jail::Off,
        told: Told::NOTHING,
    };
    let command = Command {
        program: qemu
            .program
            .clone()
            .unwrap_or_else(|| usual_program(request.arch()).into()),
        arguments: config.arguments(),
        descriptors: Vec::new(),
        confinement: request.confinement(),
    };
    lines.push(command.show());
    Ok(lines.join("\n"))
}

/// The image: written into `directory`, or else as the build calls it.
fn image_file(request: &Request<'_>, directory: Option<&Path>) -> Result<PathBuf, Error> {
    let name = match request.engine() {
        Engine::Interp => format!("hermit-wasm-{}.img", request.arch().name()),
        Engine::Native => format!("hermit-wasm-native-{}.img", request.arch().name()),
    };
    match directory {
        None => Ok(name.into()),
        Some(directory) => {
            let path = directory.join(name);
            let image = request.image()?;
            fs::create_dir_all(directory)
                .and_then(|()| fs::write(&path, image))
                .map_err(StartError::file(WRITE))?;
            Ok(path)
        }
    }
}

/// What the machine is handed besides: the module itself, or an archive of it and of what is copied.
fn payload_file(
    request: &Request<'_>,
    spec: &RunSpec,
    directory: Option<&Path>,
) -> Result<Option<PathBuf>, Error> {
    let copies = request.copies();
    let alone = copies.is_empty() && request.programs().preloads.is_empty();
    if alone && spec.module == ModuleSource::Embedded {
        return Ok(None);
    }
    if alone && let Some(path) = request.program().path() {
        // As the user wrote it, so that the command can be moved with the file.
        let given = request.module().name();
        return Ok(Some(if directory.is_some() {
            path
        } else {
            given.to_path_buf()
        }));
    }
    let Some(directory) = directory else {
        return Err(Error::Invalid(
            "--print-command: this run needs a file besides the module (a translated module, native code, a module \
             that others import from, or what --copy-dir takes along); say where to write it: --print-command=DIRECTORY"
                .to_string(),
        ));
    };
    // For this user alone, whatever the umask: what is copied may be.
    let file = HostFile::temporary(directory, "payload.tar").map_err(StartError::file(WRITE))?;
    let (_, warnings) = payload::write(file.file(), None, request.programs(), &copies, request.bounds())?;
    let path = directory.join("payload.tar");
    file.rename(&path).map_err(StartError::file(WRITE))?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(Some(path))
}
