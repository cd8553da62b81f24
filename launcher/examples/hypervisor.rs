//! Adds a hypervisor from outside of the crate, here QEMU's q35 once more: `hypervisor QEMU MODULE`. See
//! `docs/adding-a-hypervisor.md`.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;

use hermit_wasm_vm::boot_protocol::command_line::{CommandLine, Console};
use hermit_wasm_vm::boot_protocol::{payload, run_spec};
use hermit_wasm_vm::jail::Confinement;
use hermit_wasm_vm::vmm::capabilities::{Accelerator, Capabilities, ConsoleKind};
use hermit_wasm_vm::vmm::{Command, Machine, Prepared, Vmm};
use hermit_wasm_vm::{Arch, Error, Module, MountSource, Request, Run, StartError};

/// QEMU, by its program's path.
#[derive(Debug)]
struct Mine(PathBuf);

impl Vmm for Mine {
    fn name(&self) -> &'static str {
        "mine"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            architectures: &[Arch::X86_64],
            accelerators: &[Accelerator::Tcg],
            copies: true,
            directories: false,
            quotas: false,
            console: ConsoleKind::Framed,
            network: false,
            exit_code: false,
            memory: 0..=2 << 30,
            machines: false,
            commands: false,
        }
    }

    fn program(&self, _: Arch) -> Result<PathBuf, StartError> {
        match self.0.is_file() {
            true => Ok(self.0.clone()),
            false => Err(StartError::NotInstalled(format!(
                "{} is missing",
                self.0.display()
            ))),
        }
    }

    fn prepare<'a>(&'a self, request: &'a Request<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        let mut copies = 0..;
        let spec = request.spec(|_, source| {
            Ok(match source {
                MountSource::Copy(_) | MountSource::Files(_) => run_spec::MountSource::Copy {
                    member: payload::directory(copies.next().unwrap_or_default()),
                },
                // The capabilities have refused directories of the host.
                MountSource::Tmpfs | MountSource::Dir(_) => run_spec::MountSource::Tmpfs { size: None },
            })
        })?;
        let file = |source| StartError::File {
            attempt: "make the hypervisor's files",
            source,
        };
        let mut image = tempfile::tempfile().map_err(file)?;
        image.write_all(request.image()?).map_err(file)?;
        let payload = tempfile::tempfile().map_err(file)?;
        request.write_payload(&spec, &payload)?;
        let line = CommandLine {
            tsc_mhz: request.tsc_mhz(),
            log: request.log(),
            console: Console::Framed,
            spec: None,
        };
        Ok(Box::new(PreparedMine {
            // Nothing of this host but the program and the two files.
            confinement: request.confinement(),
            program: self.program(request.arch())?,
            memory: request.memory(),
            line: line.build(),
            image,
            payload,
        }))
    }
}

/// A run that is ready for it. The files live until the program has inherited them.
struct PreparedMine {
    program: PathBuf,
    memory: u64,
    line: String,
    image: File,
    payload: File,
    confinement: Confinement,
}

impl Prepared for PreparedMine {
    fn spawn(self: Box<Self>) -> Result<Machine, Error> {
        let name = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let memory = format!("{}B", self.memory);
        let (image, payload) = (name(&self.image), name(&self.payload));
        let options = "-machine q35 -cpu max -nodefaults -display none -no-reboot -serial stdio";
        let mut arguments: Vec<OsString> = options.split(' ').map(OsString::from).collect();
        for option in [
            "-m", &memory, "-kernel", &image, "-initrd", &payload, "-append", &self.line,
        ] {
            arguments.push(option.into());
        }
        let command = Command {
            program: self.program,
            arguments,
            descriptors: vec![self.image.as_fd(), self.payload.as_fd()],
            confinement: self.confinement,
        };
        Machine::spawn("mine", Accelerator::Tcg, &command)
    }
}

fn main() -> Result<(), Error> {
    let mut words = env::args_os().skip(1);
    let program = words.next().unwrap_or_default();
    let module = Module::open(words.next().unwrap_or_default())?;
    let result = Run::new(module).hypervisor(Mine(program.into())).output()?;
    println!("exit code: {}", result.status.code());
    println!("standard output: {}", String::from_utf8_lossy(&result.stdout));
    Ok(())
}
