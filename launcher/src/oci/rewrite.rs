//! A container's configuration, rewritten: the container becomes launcher, hypervisor and file server, and what it was
//! becomes what they run.
//!
//! Layer: data, besides looking at the image.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    HookBuilder, LinuxDeviceBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, Mount, Process, Root, Spec,
};

use super::NAME;
use super::annotations::{Annotations, PREFIX};
use super::config::Config;
use super::entry::{self, Entry, Kind};
use super::image_root::ImageRoot;
use super::monitor::{LAUNCHER, Monitor, Programs};
use super::mounts::{self, Guest, Placed, cannot, is_bind};
use super::refusal::{Refusal, refuse};
use super::request::{INSIDE, Request};
use super::resources;
use super::users::Users;
use super::verify::WORD;
use super::view::View;
use crate::vmm::capabilities::Accelerator;

/// KVM's device.
const KVM: &str = "/dev/kvm";

/// Its numbers, which Linux has given it for good.
const KVM_NUMBERS: (i64, i64) = (10, 232);

/// What engines put in front of a program with `--init`: Docker, and podman of several ages.
const INITS: [&str; 3] = ["/sbin/docker-init", "/run/podman-init", "/dev/init"];

/// What Kubernetes calls the container that only holds a pod's namespaces, in the words of containerd and of CRI-O; and
/// which of their annotations is its name then. Anybody may write annotations, as an image may under some engines, but
/// nobody knows a container's name before it has one.
const SANDBOX: [(&str, &str); 2] = [
    ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
    (
        "io.kubernetes.cri-o.ContainerType",
        "io.kubernetes.cri-o.SandboxID",
    ),
];

/// A container that was asked for.
pub(super) struct Container<'a> {
    /// Where its configuration lies.
    pub(super) bundle: &'a Path,
    /// What it is called.
    pub(super) id: Option<&'a OsStr>,
    pub(super) spec: Spec,
}

/// What becomes of it.
pub(super) enum Fate {
    /// The delegate makes it as it is.
    AsItIs,
    /// A machine.
    Machine(Box<Machine>),
}

/// A container that is to be a machine.
pub(super) struct Machine {
    pub(super) annotations: Annotations,
    pub(super) entry: Entry,
    /// Its mounts, for the delegate.
    pub(super) mounts: Vec<Mount>,
    /// The container's users.
    pub(super) users: Users,
}

/// A container that was looked at, and is to be a machine.
struct Looked {
    annotations: Annotations,
    entry: Entry,
    mounts: Vec<Mount>,
    placed: Vec<Placed>,
    image: ImageRoot,
}

impl Container<'_> {
    /// Whether it is a pod's sandbox.
    fn is_sandbox(&self) -> bool {
        let annotations = self.spec.annotations().as_ref();
        let said = |name: &str| annotations.and_then(|all| all.get(name)).map(OsStr::new);
        SANDBOX.iter().any(|(kind, name)| {
            said(kind) == Some(OsStr::new("sandbox")) && self.id.is_some() && said(name) == self.id
        })
    }

    fn process(&self) -> Result<&Process, Refusal> {
        match self.spec.process() {
            Some(process) => Ok(process),
            None => refuse!("the container's configuration has no process"),
        }
    }

    /// Looks at it, and decides.
    pub(super) fn fate(&self, config: &Config) -> Result<Fate, Refusal> {
        let Some(looked) = self.look(config)? else {
            return Ok(Fate::AsItIs);
        };
        // The users of what the delegate makes as it is are the delegate's.
        let users = Users::of(&self.spec)?;
        mounts::make(&looked.image, &looked.placed, users.root())?;
        Ok(Fate::Machine(Box::new(Machine {
            annotations: looked.annotations,
            entry: looked.entry,
            mounts: looked.mounts,
            users,
        })))
    }

    /// Whether it would be this machine still.
    pub(super) fn is_still(&self, machine: &Machine, config: &Config) -> Result<bool, Refusal> {
        match self.look(config)? {
            Some(now) if now.mounts == machine.mounts => {
                mounts::make(&now.image, &now.placed, machine.users.root())?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// What it is to be, if that is a machine.
    fn look(&self, config: &Config) -> Result<Option<Looked>, Refusal> {
        if self.is_sandbox() {
            return Ok(None);
        }
        let none = std::collections::HashMap::new();
        let annotations = Annotations::parse(self.spec.annotations().as_ref().unwrap_or(&none))?;
        let process = self.process()?;
        let Some(root) = self.spec.root() else {
            return refuse!("the container's configuration has no root");
        };
        let path = self.bundle.join(root.path());
        let image = ImageRoot::new(&path).map_err(cannot("open the image's root", &path))?;
        let guest = Guest {
            root: &path,
            bundle: self.bundle,
            image: &image,
            read_only: root.readonly().unwrap_or(false),
        };
        let given = self.spec.mounts().as_deref().unwrap_or_default();
        let (mounts, placed) = guest.plan(given)?;
        let entry = self.entry(process, &image, &placed)?;
        if entry.kind == Kind::Native {
            let name = self.name(process);
            return match (annotations.native, config.native) {
                (true, true) => Ok(None),
                (true, false) => refuse!(
                    "{name}: it is a native program, and this node's /etc/hermit-wasm/oci.toml does not say native = true"
                ),
                (false, _) => refuse!(
                    "{name}: it is a native program and no WebAssembly module; the annotation {PREFIX}native: allow runs it \
                     as it is, without a machine"
                ),
            };
        }
        if annotations.precompiled && !config.precompiled {
            return refuse!(
                "the annotation {PREFIX}allow-precompiled: this node's /etc/hermit-wasm/oci.toml does not say precompiled = true"
            );
        }
        Ok(Some(Looked {
            annotations,
            entry,
            mounts,
            placed,
            image,
        }))
    }

    fn entry(&self, process: &Process, image: &ImageRoot, placed: &[Placed]) -> Result<Entry, Refusal> {
        let Some((name, _)) = words(process).split_first() else {
            return refuse!("the container has no program: give it an ENTRYPOINT");
        };
        let directory = Path::new("/").join(process.cwd());
        let env = process.env().as_deref().unwrap_or_default();
        entry::find(&View { image, placed }, name, &directory, env)
    }

    /// The program's name, as it was given.
    fn name(&self, process: &Process) -> String {
        boot_protocol::shown::piece(words(process).first().map_or("", String::as_str))
    }

    /// The user of the container's process, as this process's user namespace numbers them.
    pub(super) fn owner(&self, users: &Users) -> Result<(u32, u32), Refusal> {
        let user = self.process()?.user();
        match users.outside(user.uid(), user.gid()) {
            Some(owner) => Ok(owner),
            None => refuse!(
                "the container's user {}:{} is none of those that its user namespace has",
                user.uid(),
                user.gid()
            ),
        }
    }

    /// Rewrites the configuration for a machine, and says what is to run there. The monitor's root is made later.
    pub(super) fn rewrite(
        &mut self,
        machine: &Machine,
        config: &Config,
        programs: &Programs,
        accelerator: Option<Accelerator>,
    ) -> Result<Request, Refusal> {
        let given = self.spec.mounts().clone().unwrap_or_default();
        let monitor = Monitor::new(config, programs, &given, self.bundle)?;
        let mut mounts = machine.mounts.clone();
        // Behind the guest's, so that nothing of the guest's can ever lie on top of them.
        mounts.extend(monitor.mounts);
        self.spec.set_mounts(Some(mounts));

        let mut linux = self.spec.linux().clone().unwrap_or_default();
        let mut resources = linux.resources().clone().unwrap_or_default();
        let memory = match resources::memory(&mut resources, config.overhead_bytes())? {
            Some(limit) => Some(limit.min(machine.annotations.memory.unwrap_or(u64::MAX))),
            None => machine.annotations.memory,
        };
        if let Some(memory) = memory {
            resources::check(memory)?;
        }
        resources::tasks(&mut resources);
        if accelerator != Some(Accelerator::Tcg) {
            let device = LinuxDeviceBuilder::default()
                .path(KVM)
                .typ(LinuxDeviceType::C)
                .major(KVM_NUMBERS.0)
                .minor(KVM_NUMBERS.1)
                .file_mode(0o666_u32)
                .uid(0_u32)
                .gid(0_u32)
                .build();
            let rule = LinuxDeviceCgroupBuilder::default()
                .allow(true)
                .typ(LinuxDeviceType::C)
                .major(KVM_NUMBERS.0)
                .minor(KVM_NUMBERS.1)
                .access("rwm")
                .build();
            let cannot = |error| Refusal::new(format!("cannot describe {KVM}: {error}"));
            let mut devices = linux.devices().clone().unwrap_or_default();
            devices.retain(|device| device.path() != Path::new(KVM));
            devices.push(device.map_err(cannot)?);
            linux.set_devices(Some(devices));
            let mut rules = resources.devices().clone().unwrap_or_default();
            rules.push(rule.map_err(cannot)?);
            resources.set_devices(Some(rules));
        }
        linux.set_resources(Some(resources));
        self.spec.set_linux(Some(linux));

        let Some(mut process) = self.spec.process().clone() else {
            return refuse!("the container's configuration has no process");
        };
        let mut args = words(&process).to_vec().into_iter();
        let annotations = self.spec.annotations().iter().flatten();
        let request = Request {
            module: machine.entry.path.clone(),
            name: args.next().unwrap_or_default(),
            args: args.collect(),
            env: process.env().clone().unwrap_or_default(),
            memory,
            qemu: monitor.qemu,
            virtiofsd: monitor.virtiofsd,
            annotations: annotations
                .filter(|(name, _)| name.starts_with(PREFIX))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            accelerator: accelerator.map(|accelerator| accelerator.name().to_string()),
            code: None,
        };
        process.set_args(Some([LAUNCHER, "oci", INSIDE].map(String::from).into()));
        process.set_env(Some(vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_string()]));
        process.set_cwd(PathBuf::from("/"));
        process.set_no_new_privileges(Some(true));
        self.spec.set_process(Some(process));
        Ok(request)
    }

    /// Drops what this process may not give the container's; what that was.
    pub(super) fn fit(&mut self) -> Vec<String> {
        self.spec
            .process_mut()
            .as_mut()
            .map_or_else(Vec::new, resources::fit)
    }

    /// Makes what is named from the bundle absolute: the delegate gets another one.
    pub(super) fn make_absolute(&mut self) {
        let bundle = self.bundle;
        if let Some(root) = self.spec.root_mut() {
            root.set_path(bundle.join(root.path()));
        }
        for mount in self.spec.mounts_mut().iter_mut().flatten() {
            let is_path = mount.source().as_ref().filter(|_| is_bind(mount));
            if let Some(source) = is_path.cloned() {
                mount.set_source(Some(bundle.join(source)));
            }
        }
    }

    /// Sets the monitor's root, and has the delegate look at what it has mounted there before anything starts.
    pub(super) fn set_root(&mut self, path: PathBuf, launcher: &Path) -> Result<(), Refusal> {
        let text = |path: &Path| match path.to_str() {
            Some(text) => Ok(text.to_string()),
            None => refuse!("the path {} is no text", crate::host::shown::path(path)),
        };
        let mut words = vec![NAME.to_string(), WORD.to_string(), text(&path)?];
        for mount in self.spec.mounts().iter().flatten() {
            words.push(text(mount.destination())?);
        }
        let hook = HookBuilder::default().path(launcher).args(words).build();
        let hook = hook.map_err(|error| Refusal::new(format!("cannot describe a hook: {error}")))?;
        let mut hooks = self.spec.hooks().clone().unwrap_or_default();
        let mut those = hooks.create_container().clone().unwrap_or_default();
        those.push(hook);
        hooks.set_create_container(Some(those));
        self.spec.set_hooks(Some(hooks));
        let mut root = Root::default();
        root.set_path(path);
        root.set_readonly(Some(true));
        self.spec.set_root(Some(root));
        Ok(())
    }
}

/// A container's program and its arguments, without the engine's own first process in front of them (`--init`): the
/// launcher is that.
fn words(process: &Process) -> &[String] {
    let words = process.args().as_deref().unwrap_or_default();
    match words {
        [init, dashes, rest @ ..] if INITS.contains(&init.as_str()) && dashes == "--" => rest,
        words => words,
    }
}
