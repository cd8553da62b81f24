//! A run as its hypervisor sees it.

use std::ffi::OsString;
use std::fs::File;

use boot_protocol::arch::Arch;
use boot_protocol::network::Publish;
use boot_protocol::run_spec::{
    self, Limit, LogLevel, ModuleSource, Network, RunSpec, Terminals, Tracing, unique_variables,
};

use super::copying::Copied;
use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::mounts::{Mount, MountSource, check_places};
use super::network::Reach;
use super::payload::{self, Bounds};
use super::program::{Program, Programs};
use super::run::Run;
use crate::error::{Error, StartError};
use crate::host::image::{self, Image};
use crate::host::interrupt::Interrupt;
use crate::host::tsc::Measurement;
use crate::jail::{Confinement, Jail};
use crate::pack::Packed;
use crate::relay::{self, Relay};
use crate::vmm::capabilities::Accelerator;
use crate::vmm::qemu::MachineKind;

/// A run as its hypervisor sees it.
#[derive(Debug)]
pub struct Request<'a> {
    run: &'a Run,
    programs: Programs<'a>,
    spec: RunSpec,
    reach: Option<Reach>,
    deadline: Deadline,
    tsc: Measurement,
}

impl Run {
    /// The guest's `argv[0]`, which for the image's own module is the application's to choose.
    pub(super) fn name(&self) -> Option<String> {
        if self.argv0.is_some() || self.module.is_greeting() || self.packed.is_some() {
            return self.argv0.clone();
        }
        let path = self.module.name();
        let name: OsString = path.file_name().unwrap_or(path.as_os_str()).into();
        Some(name.to_string_lossy().into_owned())
    }
}

impl<'a> Request<'a> {
    /// Checks what does not depend on the hypervisor, and fills in what the builder leaves open.
    pub(super) fn new(
        run: &'a Run,
        programs: Programs<'a>,
        terminals: Terminals,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        // What the launcher does anyway until the machine starts is part of the time that this takes.
        let tsc = Measurement::begin();
        check_places(&run.mounts)?;
        let mut spec = run.spec.clone();
        spec.tracing = match (&run.replay, &run.record) {
            (Some(_), _) => Some(Tracing::Replay),
            (None, Some(_)) => Some(Tracing::Record),
            (None, None) => None,
        };
        match run.name() {
            // The recording has it.
            _ if run.replay.is_some() => {}
            Some(name) => spec.argv.insert(0, name),
            // The application knows its own module's name; it takes it from an empty list only.
            None if spec.argv.is_empty() => {}
            None => spec.argv.insert(
                0,
                match run.packed {
                    // What was packed has a name already, which this does not touch.
                    Some(_) => ModuleSource::Payload,
                    None => ModuleSource::Embedded,
                }
                .default_name()
                .to_string(),
            ),
        }
        spec.env = unique_variables(
            spec.env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        spec.terminals = terminals;
        spec.module = match programs.main.member() {
            None => ModuleSource::Embedded,
            Some(_) => ModuleSource::Payload,
        };
        let preloads = run.preloads.iter().zip(&programs.preloads).enumerate();
        spec.preloads = preloads
            .map(|(index, ((name, _), program))| run_spec::Preload {
                name: name.clone(),
                member: program.preload_member(index),
            })
            .collect();
        let reach = Reach::of(run)?;
        if let Some(Reach { network, .. }) = &reach {
            // What is packed says nothing of the wire. Words beside it do, and what else is said here.
            spec.network.get_or_insert_default().wire = network.wire;
        }
        Ok(Self {
            run,
            programs,
            spec,
            reach,
            deadline,
            tsc,
        })
    }

    /// The description of the run for the machine; `lower` is given each directory's place and source and says how the
    /// machine finds it.
    ///
    /// # Errors
    /// `lower`'s, or a value that cannot reach a guest.
    pub fn spec(
        &self,
        mut lower: impl FnMut(usize, &MountSource) -> Result<run_spec::MountSource, Error>,
    ) -> Result<RunSpec, Error> {
        let mut spec = self.spec.clone();
        for (index, mount) in self.run.mounts.iter().enumerate() {
            let mut source = lower(index, &mount.source)?;
            if let (run_spec::MountSource::Tmpfs { size }, MountSource::Tmpfs) = (&mut source, &mount.source)
            {
                *size = mount.quota;
            }
            spec.mounts.push(run_spec::Mount {
                source,
                guest: mount.guest.clone(),
                access: mount.access,
            });
        }
        spec.check().map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(spec)
    }

    /// The description so far, without directories.
    pub(super) fn described(&self) -> &RunSpec {
        &self.spec
    }

    /// The image that the machine boots: the one with the run's [engine](Self::engine).
    ///
    /// # Errors
    /// This crate was built without an image for the architecture.
    pub fn image(&self) -> Result<&'static [u8], StartError> {
        Ok(self.named_image()?.bytes)
    }

    /// The same with its fingerprint.
    pub(crate) fn named_image(&self) -> Result<Image, StartError> {
        image::of(self.arch(), self.engine())
    }

    /// Writes the payload that the machine is handed into `file`, which is empty: `spec`, the module or its native
    /// code, whichever the image's engine takes, and the directories to copy, the first as
    /// [`payload::directory`](boot_protocol::payload::directory)`(0)`. Returns its length.
    ///
    /// # Errors
    /// Something cannot be read or written, or is larger than the machine's memory.
    pub fn write_payload(&self, spec: &RunSpec, file: &File) -> Result<u64, Error> {
        let (length, warnings) =
            payload::write(file, Some(spec), self.programs(), &self.copies(), self.bounds())?;
        for warning in warnings {
            log::warn!("{warning}");
        }
        Ok(length)
    }

    /// The Hermitfile that describes it, if one does.
    pub(crate) fn manifest(&self) -> Option<&'a hermitfile::Manifest> {
        self.run.manifest.as_ref()
    }

    /// What was packed, if that is run.
    pub(crate) fn packed(&self) -> Option<&Packed> {
        match &self.programs.main {
            Program::Packed(packed) => Some(packed),
            Program::Module(_) | Program::Code(_) => None,
        }
    }

    /// What to copy, in order.
    pub(crate) fn copies(&self) -> Vec<Copied<'a>> {
        let mounts = self.run.mounts.iter();
        mounts
            .filter_map(|mount| match &mount.source {
                MountSource::Copy(host) => Some(Copied::Directory(host)),
                MountSource::Files(files) => Some(Copied::Files(files)),
                MountSource::Tmpfs | MountSource::Dir(_) => None,
            })
            .collect()
    }

    /// What bounds the making of a payload.
    pub(crate) fn bounds(&self) -> Bounds<'_> {
        Bounds {
            bytes: self.memory(),
            deadline: self.deadline(),
        }
    }

    /// What executes the guest's code.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.programs.main.engine()
    }

    /// The program.
    pub(crate) fn program(&self) -> Program<'a> {
        self.programs.main
    }

    /// All that the machine is given to run.
    pub(crate) fn programs(&self) -> &Programs<'a> {
        &self.programs
    }

    /// Whether the run may be given more once it is packed.
    pub(crate) fn may_be_widened(&self) -> bool {
        self.run.may_be_widened
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.run.module
    }

    /// The module, and those that it and others import from, in the order of [`Self::programs`].
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.run.modules()
    }

    /// The guest's directories, in order.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.run.mounts
    }

    /// The machine's architecture.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.run.machine.arch
    }

    /// The machine's memory in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.run.machine.memory
    }

    /// The accelerator that was demanded.
    #[must_use]
    pub fn accelerator(&self) -> Option<Accelerator> {
        self.run.machine.accelerator
    }

    /// The machine that was demanded.
    #[must_use]
    pub fn kind(&self) -> Option<MachineKind> {
        self.run.machine.kind
    }

    /// The level of kernel's and application's log.
    #[must_use]
    pub fn log(&self) -> Option<LogLevel> {
        self.run.spec.log
    }

    /// What the guest has of a network; `None`: nothing, and the machine has no network device.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.reach.as_ref().map(|reach| &reach.network)
    }

    /// Ports of this host's that lead to the guest's.
    #[must_use]
    pub fn published(&self) -> &[Publish] {
        self.reach.as_ref().map_or(&[], |reach| &reach.published)
    }

    /// Whether the machine has a network device.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.reach.is_some()
    }

    /// Starts the host's end of the guest's network, if it has one. Call it on the thread that stays until the end.
    pub(crate) fn relay(&self) -> Result<Option<Relay>, Error> {
        let Some(reach) = &self.reach else {
            return Ok(None);
        };
        if let Some(chosen) = &reach.chosen {
            log::warn!("{chosen}");
        }
        relay::start(reach, self.run.outside.relay.as_deref(), self.jail()).map(Some)
    }

    /// Whether this process is in a container that has nothing but this run.
    #[must_use]
    pub(crate) fn is_contained(&self) -> bool {
        self.run.contained
    }

    /// How much of the jail is demanded for what this run starts.
    #[must_use]
    pub fn jail(&self) -> Jail {
        self.run.jail
    }

    /// A process that needs nothing of this host but its program and its descriptors.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        Confinement::new(self.jail())
    }

    /// When the run must be over.
    #[must_use]
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// What stops the run.
    pub(crate) fn interrupts(&self) -> &[Interrupt] {
        self.deadline.interrupts()
    }

    /// The frequency of an x86-64 machine's time stamp counter in MHz, where it is known and may be said: a time limit
    /// that was packed is nobody's to stretch, so that the machine measures for itself.
    #[must_use]
    pub fn tsc_mhz(&self) -> Option<u32> {
        let ceiling = self.packed().map(Packed::spec);
        if ceiling.is_some_and(|spec| !spec.may_be_widened && spec.limits.get(Limit::Deadline).is_some()) {
            return None;
        }
        match self.arch() {
            Arch::X86_64 => self.tsc.finish(),
            Arch::Aarch64 | Arch::Riscv64 => None,
        }
    }

    /// A request of `run`, for unit tests of hypervisors.
    #[cfg(test)]
    pub(crate) fn for_tests(run: &'a Run) -> Self {
        use super::choice::Chosen;
        let programs = Chosen::Module.programs(run);
        Self::new(run, programs, Terminals::NONE, run.deadline_from_now()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::choice::Chosen;
    use boot_protocol::payload as names;
    use boot_protocol::run_spec::Access;
    use std::io::{Read as _, Seek as _};

    #[test]
    fn a_hypervisor_of_somebody_else_s_can_make_the_payload() {
        const MODULE: &[u8] = b"\0asm\x01\0\0\0";
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "content").unwrap();
        let run = Run::new(Module::from_bytes("m.wasm", MODULE).unwrap())
            .env("A", "1")
            .copy_dir(directory.path(), "/", Access::ReadOnly);
        let request = Request::for_tests(&run);
        let member = names::directory(0);
        let spec = request
            .spec(|_, _| {
                Ok(run_spec::MountSource::Copy {
                    member: member.clone(),
                })
            })
            .unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let length = request.write_payload(&spec, &file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), length);

        file.rewind().unwrap();
        let mut archive = tar::Archive::new(file);
        let members: Vec<(String, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes)
            })
            .collect();
        let [(spec_name, encoded), (module_name, module), (copy_name, copy)] = members.as_slice() else {
            panic!("{} members", members.len());
        };
        assert_eq!(
            [spec_name, module_name, copy_name],
            [names::RUN_SPEC, names::MODULE, &member]
        );
        assert_eq!(RunSpec::decode(encoded), Ok(spec));
        assert_eq!(module, MODULE);
        assert!(copy.windows(7).any(|bytes| bytes == b"content"));
    }

    fn importing(from: &str) -> Module {
        Module::from_bytes("m.wat", format!(r#"(module (import "{from}" "x" (func)))"#)).unwrap()
    }

    /// The names of what a run of a module that imports from these is given, in order.
    fn given(run: Run) -> Result<Vec<(String, String)>, Error> {
        let run = run.in_order(&Deadline::never())?;
        let request = Request::for_tests(&run);
        let spec = request.spec(|_, _| Ok(run_spec::MountSource::Tmpfs { size: None }))?;
        let preloads = spec.preloads.into_iter();
        Ok(preloads.map(|preload| (preload.name, preload.member)).collect())
    }

    fn pairs(names: [&str; 3]) -> Vec<(String, String)> {
        let pair = |(index, name): (usize, &str)| (name.to_string(), names::preload(index, false));
        names.into_iter().enumerate().map(pair).collect()
    }

    #[test]
    fn linked_modules_are_put_in_order_and_preloads_are_not() {
        let run = || Run::new(importing("a"));
        let linked = run()
            .link("a", importing("b"))
            .link("b", importing("c"))
            .link("c", importing("env"));
        assert_eq!(given(linked).unwrap(), pairs(["c", "b", "a"]));
        let preloads = run()
            .preload("a", importing("b"))
            .preload("b", importing("c"))
            .preload("c", importing("env"));
        assert_eq!(given(preloads).unwrap(), pairs(["a", "b", "c"]));

        let cycle = run().link("a", importing("b")).link("b", importing("a"));
        let error = given(cycle).unwrap_err();
        assert_eq!(error.exit_code(), boot_protocol::exit_code::USAGE);
        let message = error.to_string();
        assert!(
            message.ends_with("'a' imports from 'b', which imports from 'a'"),
            "{message}"
        );
        // Two of one name hide each other.
        let twice = run().preload("a", importing("x")).preload("a", importing("x"));
        assert_eq!(
            given(twice).unwrap_err().exit_code(),
            boot_protocol::exit_code::USAGE
        );
    }

    #[test]
    fn the_payload_has_each_module() {
        let run = Run::new(importing("a"))
            .invoke("f")
            .preload("a", importing("b"))
            .preload("b", importing("c"));
        let programs = Chosen::Module.programs(&run);
        let members: Vec<_> = programs.members().map(|(name, at, _)| (name, at)).collect();
        assert_eq!(
            members,
            [
                (names::MODULE.into(), 1),
                ("preload-0.wasm".into(), 1),
                ("preload-1.wasm".into(), 1)
            ]
        );
        let request = Request::for_tests(&run);
        let spec = request
            .spec(|_, _| Ok(run_spec::MountSource::Tmpfs { size: None }))
            .unwrap();
        assert_eq!(spec.entry.as_deref(), Some("f"));
    }
}
