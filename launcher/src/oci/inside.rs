//! The launcher in the container: what was asked for becomes a [`Run`].

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use boot_protocol::run_spec::{Access, Limits, MountSource};
use boot_protocol::shown::piece;

use super::annotations::{Annotations, Port};
use super::image_root::ImageRoot;
use super::request::{FILE, GUEST, Request};
use crate::error::{Error, StartError};
use crate::host::beneath::Beneath;
use crate::host::shown;
use crate::pack::Packed;
use crate::spec::deadline::Deadline;
use crate::spec::module::{Module, ModuleError};
use crate::spec::run::{DEFAULT_MEMORY, Run};
use crate::vmm::capabilities::Accelerator;
use crate::vmm::qemu::Qemu;

/// What the container is to run.
#[derive(Debug)]
pub struct Inside {
    request: Request,
    annotations: Annotations,
}

impl Inside {
    /// Reads what `create` has left.
    ///
    /// # Errors
    /// It cannot be read: nobody but an OCI runtime starts this.
    pub fn read() -> Result<Self, Error> {
        let cannot = |why: String| {
            Error::Invalid(format!(
                "oci inside: {FILE}: {why}; only 'hermit-wasm oci create' starts this, in a container"
            ))
        };
        let text = std::fs::read(FILE).map_err(|error| cannot(error.to_string()))?;
        let request: Request = serde_json::from_slice(&text).map_err(|error| cannot(error.to_string()))?;
        let annotations = request.annotations.clone().into_iter().collect();
        let annotations =
            Annotations::parse(&annotations).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Self { request, annotations })
    }

    /// How much the launcher says.
    #[must_use]
    pub fn verbose(&self) -> u8 {
        self.annotations.verbose
    }

    /// The deadline of the whole run, from now on.
    #[must_use]
    pub fn timeout(&self) -> std::time::Duration {
        self.annotations.timeout.unwrap_or(std::time::Duration::MAX)
    }

    /// The run that is described, with a deadline that counts already.
    ///
    /// # Errors
    /// The module cannot be read; the description makes no sense.
    pub fn run(&self, deadline: &Deadline) -> Result<Run, Error> {
        let Self { request, annotations } = self;
        let name = Path::new(&request.name);
        let unreadable = |error: std::io::Error| ModuleError::Unreadable {
            path: name.into(),
            reason: error.to_string(),
        };
        // Without links, which would be this container's, and whose targets are no part of the image.
        let file = Beneath::new(Path::new(GUEST)).and_then(|guest| guest.read(&request.module));
        let file = file.map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is no regular file any more")).into());
        }
        let memory = request.memory.unwrap_or(DEFAULT_MEMORY);
        let mut precompiled = annotations.precompiled;
        let copy = file.try_clone().map_err(unreadable)?;
        let (mut run, packed) = match Packed::of_file(name, copy)? {
            Some(packed) => (self.of_packed(&packed)?, Some(packed)),
            None => {
                let module = match &request.code {
                    // This node has made it of the file.
                    Some(code) => {
                        precompiled = true;
                        Module::open_until(code, memory, deadline)?
                    }
                    None => Module::of_file(name, file, memory, deadline)?,
                };
                let run = Run::new(module).memory(memory).argv0(&request.name);
                (
                    self.with_env(run, |_| true).dir(GUEST, "/", Access::ReadWrite),
                    None,
                )
            }
        };
        let mut limits = Limits::NONE;
        for word in &annotations.limits {
            limits
                .apply(word)
                .map_err(|error| Error::Invalid(error.to_string()))?;
        }
        let this = std::env::current_exe().map_err(StartError::file("find this program's own file"))?;
        run = run
            .args(request.args.iter().cloned())
            .limits(limits)
            .jail(annotations.jail)
            .allow_precompiled(precompiled)
            .relay(this)
            .hypervisor(Qemu {
                program: Some(request.qemu.clone()),
                virtiofsd: Some(request.virtiofsd.clone()),
            });
        if let Some(engine) = annotations.engine {
            run = run.engine(engine);
        }
        if let Some(seed) = annotations.deterministic {
            run = run.deterministic(seed);
        }
        if let Some(function) = &annotations.invoke {
            run = run.invoke(function);
        }
        let known = [Accelerator::Kvm, Accelerator::Tcg];
        let known = known
            .into_iter()
            .find(|one| request.accelerator.as_deref() == Some(one.name()));
        if let Some(accelerator) = known.or(annotations.accelerator) {
            run = run.accelerator(accelerator);
        }
        if let Some(level) = annotations.log {
            run = run.log(level);
        }
        run.contained = true;
        Ok(self.with_network(run, packed.as_ref()))
    }

    /// A run of what was packed, which has the directories and variables that it was packed with. Its directories of the
    /// host are the image's of that name.
    fn of_packed(&self, packed: &Packed) -> Result<Run, Error> {
        let spec = packed.spec();
        let mut run = Run::packed(packed.clone())?;
        if let Some(memory) = self.request.memory {
            run = run.memory(memory);
        }
        for mount in &spec.mounts {
            if let MountSource::VirtioFs { .. } = mount.source {
                let host = directory_of(&mount.guest).map_err(|why| {
                    Error::Invalid(format!(
                        "{}: it was packed with the directory '{}', which the container does not have: {why}",
                        shown::path(&self.request.name),
                        piece(&mount.guest)
                    ))
                })?;
                run = run.dir(host, mount.guest.clone(), mount.access);
            }
        }
        let is_open = |name: &str| spec.may_be_widened || spec.open.iter().any(|open| open == name);
        Ok(self.with_env(run, is_open))
    }

    /// `run` with those variables of the container that it may have.
    fn with_env(&self, mut run: Run, may_have: impl Fn(&str) -> bool) -> Run {
        for variable in &self.request.env {
            match variable.split_once('=') {
                Some((name, value)) if !name.is_empty() && may_have(name) => run = run.env(name, value),
                Some((name, _)) if !name.is_empty() => {
                    log::info!(
                        "the variable {name} is not passed: it was packed without --env {name} or ARG"
                    );
                }
                _ => {}
            }
        }
        run
    }

    /// `run` with the network that annotations and a packed file describe, at all addresses of the container's network.
    fn with_network(&self, mut run: Run, packed: Option<&Packed>) -> Run {
        let Self { annotations, .. } = self;
        let dual = has_ipv6();
        for grant in &annotations.grants {
            run = run.grant(grant.clone());
        }
        let mut ports = annotations.published.clone();
        if let Some(network) = packed.and_then(|packed| packed.spec().network.as_deref()) {
            let listeners = network
                .listeners
                .iter()
                .map(|address| (address.port(), boot_protocol::network::Protocol::Tcp));
            for (port, protocol) in listeners.chain(network.published.iter().copied()) {
                let is_said = |said: &Port| said.guest == port && said.protocol == protocol;
                if !ports.iter().any(is_said) {
                    ports.push(Port {
                        address: None,
                        outside: port,
                        guest: port,
                        protocol,
                    });
                }
            }
        }
        for port in ports {
            run = run.publish(port.publish(dual));
        }
        for port in &annotations.listeners {
            run = run.listen(port.publish(dual).host);
        }
        run.inherit_network(annotations.inherit_network)
            .allow_ip_name_lookup(annotations.look_up)
    }
}

/// The guest's directory of that name, wherever links of the image lead within the image. A file that was packed is the
/// image's, and hostile: its names and the image's links are no way into the monitor's root.
fn directory_of(guest: &str) -> std::io::Result<PathBuf> {
    let found = ImageRoot::new(Path::new(GUEST))?.find(Path::new(guest))?;
    let directory = Beneath::new(Path::new(GUEST))?.look(&found.path)?;
    match directory.metadata()?.is_dir() {
        true => Ok(Path::new(GUEST).join(found.path)),
        false => Err(std::io::Error::other("it is no directory")),
    }
}

/// Whether a socket of IPv6 can be had, which serves IPv4 too.
fn has_ipv6() -> bool {
    let only_its_own = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    only_its_own.map_or(true, |text| text.trim() == "0")
        && TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).is_ok()
}
