//! The engines: how each is started, what containers are to it, and how its client is called.

mod containerd;
mod podman;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};

use crate::archive;
use crate::settings;
use crate::world::World;
use containerd::Daemon;
pub use containerd::pause;
pub use podman::give;

/// The directory in which the runtime keeps what it has compiled, in an engine's.
const CACHE: &str = "cache";

/// What a container is given.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// The image's own name.
    pub image: String,
    /// The image's entry point, of one word.
    pub program: String,
    /// The arguments after that.
    pub args: Vec<String>,
    /// Variables, `NAME=value` each.
    pub env: Vec<String>,
    /// Directories of the host.
    pub volumes: Vec<Volume>,
    /// Empty directories in memory.
    pub tmpfs: Vec<String>,
    /// Annotations, a name and a value each.
    pub annotations: Vec<(String, String)>,
    /// The most memory, in bytes.
    pub memory: Option<u64>,
    /// What the engine itself adds for standard input.
    pub stdin: bool,
}

impl Container {
    /// What all clients that are called by words call the same, but for the option that limits memory.
    fn options(&self, memory: &str) -> Vec<String> {
        let annotations = self.annotations.iter();
        let annotations = annotations.map(|(name, value)| format!("--annotation={name}={value}"));
        let variables = self.env.iter().map(|variable| format!("--env={variable}"));
        let memory = self.memory.map(|bytes| format!("{memory}={bytes}"));
        annotations.chain(variables).chain(memory).collect()
    }
}

/// A directory of the host in a container.
#[derive(Clone, Debug)]
pub struct Volume {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub guest: String,
    /// Whether it cannot be changed.
    pub read_only: bool,
}

impl Volume {
    /// Where it is on the host, and what clients call its access.
    fn said(&self) -> Result<(&str, &'static str)> {
        let host = self.host.to_str().context("a volume's path is not UTF-8")?;
        Ok((host, if self.read_only { "ro" } else { "rw" }))
    }
}

/// Engines, with the ways to speak to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// podman with root's rights.
    Podman,
    /// podman of an ordinary user.
    Rootless,
    /// containerd, by its own client.
    Ctr,
    /// containerd, by the interface that Kubernetes speaks.
    Cri,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Podman, Self::Rootless, Self::Ctr, Self::Cri];

    /// What tests call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Rootless => "rootless",
            Self::Ctr => "ctr",
            Self::Cri => "cri",
        }
    }

    /// Why it cannot be used in this world.
    #[must_use]
    pub fn missing(self, world: &World) -> Option<String> {
        match (self, world) {
            (Self::Rootless, _) => podman::missing(true),
            (_, World::Machine(_)) => Some("it wants root's rights".to_owned()),
            (Self::Podman, _) => podman::missing(false),
            (Self::Ctr, _) => containerd::missing(),
            (Self::Cri, _) => containerd::missing().or_else(containerd::missing_client),
        }
    }
}

/// An engine that runs.
#[derive(Debug)]
pub struct Engine {
    /// Which.
    pub kind: Kind,
    /// What it keeps things in.
    pub directory: PathBuf,
    /// The parent of its control groups.
    group: String,
    /// The runtime that it is told to use.
    runtime: PathBuf,
    /// What of the environment the runtime has to see: where its settings are, and what it keeps.
    variables: [String; 2],
    /// Whether it is not root's, but that user's whom the world has for it.
    as_user: bool,
    /// What has to run for it.
    daemon: Option<Daemon>,
    /// How many containers have been named.
    named: AtomicUsize,
}

impl Engine {
    /// Starts one and gives it the images of an archive.
    ///
    /// # Errors
    /// If it does not start, or does not like the images; with what it said.
    pub fn start(kind: Kind, world: &World, images: &Path) -> Result<Self> {
        let (World::Own(shared) | World::Machine(shared)) = world else {
            anyhow::bail!("there is no world");
        };
        let directory = shared.join(kind.name());
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let mut engine = Self {
            kind,
            group: settings::group(shared),
            runtime: settings::runtime(shared),
            variables: [
                settings::runtime_settings(shared),
                format!("XDG_CACHE_HOME={}", directory.join(CACHE).display()),
            ],
            as_user: kind == Kind::Rootless && matches!(world, World::Own(_)),
            directory,
            daemon: None,
            named: AtomicUsize::new(0),
        };
        std::fs::create_dir_all(engine.cache())?;
        match kind {
            Kind::Podman | Kind::Rootless => engine.prepare_podman()?,
            Kind::Ctr | Kind::Cri => engine.daemon = Some(engine.start_containerd()?),
        }
        engine.load(images, None)?;
        if kind == Kind::Podman {
            engine.make_groups()?;
        }
        Ok(engine)
    }

    /// Gives it the image of an archive, which is for this system unless another is named.
    ///
    /// # Errors
    /// If it does not like it; with what it said.
    pub fn load(&self, archive: &Path, system: Option<&str>) -> Result<String> {
        let archive = archive.to_str().context("the archive's path is not UTF-8")?;
        let mut words = match self.kind {
            Kind::Podman | Kind::Rootless => vec!["load", "--quiet", "--input"],
            Kind::Ctr | Kind::Cri => vec!["images", "import"],
        };
        // podman takes any.
        if let (Some(system), Kind::Ctr | Kind::Cri) = (system, self.kind) {
            words.extend(["--platform", system]);
        }
        words.push(archive);
        self.succeed(&words)
    }

    /// Where the runtime keeps what it has compiled.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.directory.join(CACHE)
    }

    /// A name for a container that no other has.
    #[must_use]
    pub fn name(&self) -> String {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.kind.name())
    }

    /// The words that run a container to its end, and pass on its streams and its exit code.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn run(&self, container: &Container) -> Result<Vec<String>> {
        match self.kind {
            Kind::Podman | Kind::Rootless => {
                let mut words = self.client(&["run", "--rm"]);
                words.extend(self.grouped());
                words.extend(podman::options(container)?);
                Ok(words)
            }
            Kind::Ctr => self.ctr_run(container),
            Kind::Cri => self.cri_run(container, &[]),
        }
    }

    /// The words of its client, with these behind its own.
    #[must_use]
    pub fn client(&self, words: &[&str]) -> Vec<String> {
        let mut all = match self.kind {
            Kind::Podman | Kind::Rootless => self.podman(),
            Kind::Ctr | Kind::Cri => self.ctr(),
        };
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }

    /// Runs its client with these words.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn call(&self, words: &[&str]) -> Result<Output> {
        output(&self.client(words))
    }

    /// The same, and gives its standard output.
    ///
    /// # Errors
    /// If it does not succeed; with what it said.
    pub fn succeed(&self, words: &[&str]) -> Result<String> {
        let output = self.call(words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{} {} ended with {}: {}{said}",
            self.kind.name(),
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }
}

/// Runs a command line to its end, with nothing on standard input.
///
/// # Errors
/// If it cannot be started.
pub fn output(words: &[String]) -> Result<Output> {
    let (program, arguments) = words.split_first().context("no command to run")?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .output();
    output.with_context(|| format!("cannot start {program}"))
}

/// What an engine calls an image.
fn image(container: &Container) -> String {
    archive::reference(&container.image)
}
