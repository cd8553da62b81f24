//! Two Docker engines as the two nodes of a Swarm, each in a world of its own, with a cable between them: a service has
//! its tasks on both, one node is lost as if by a power failure, and all tasks run on the other. The runtime of both is
//! `hermit-wasm`.
//!
//! Environment: as of the test `containers`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use container_tests::archive::{self, Image};
use container_tests::settings::{self, USER};
use container_tests::world::{self, World};
use container_tests::{engine, host};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;
use vm_tests::{environment, virtiofsd};

/// How long anything may take: an engine that starts, tasks that move. Far longer than it takes.
const LIMIT: Duration = Duration::from_secs(240);

/// The guest that the service runs.
const GUEST: &str = "container";

/// How many tasks the service has.
const TASKS: usize = 4;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = match world::enter() {
        Ok(World::Done(code)) => return code,
        Ok(world) => world,
        Err(error) => {
            eprintln!("error: tests of a Swarm: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let (directory, missing) = match world {
        World::Own(directory) => (directory, missing()),
        World::Machine(directory) => (directory, Some("it wants root's rights".to_owned())),
        World::Done(code) => return code,
    };
    if let Some(reason) = &missing {
        eprintln!("SKIP swarm: {reason}");
    }
    let run = move || swarm(&directory).map_err(|error| Failed::from(format!("{error:#}")));
    let trial = Trial::test("swarm/a-node-is-lost", run).with_ignored_flag(missing.is_some());
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// Why there can be no Swarm.
fn missing() -> Option<String> {
    let programs = ["dockerd", "containerd", "runc", "ip"];
    let say = |program: &str| if program == "ip" { "-Version" } else { "--version" };
    let missing = programs
        .iter()
        .find_map(|program| host::missing(program, say(program)));
    missing
        .or_else(|| host::missing(client(), "--version"))
        .or_else(virtiofsd::missing)
}

/// The client of the distribution's engine, which understands it; another one may be first in PATH.
fn client() -> &'static str {
    let own = "/usr/bin/docker";
    if Path::new(own).exists() { own } else { "docker" }
}

/// An engine, in a world of its own. The world ends with this value, and with it all that is in it.
struct Node {
    number: usize,
    directory: PathBuf,
    /// The parent of its control groups.
    group: String,
    world: Child,
}

impl Node {
    /// Starts a node, and plugs in its end of the cable.
    fn start(shared: &Path, number: usize) -> Result<Self> {
        let directory = shared.join(Self::name_of(number));
        fs::create_dir_all(&directory)?;
        let group = format!("{}/{}", settings::group(shared), Self::name_of(number));
        let path = |name: &str| directory.join(name);
        let settings = json!({
            "data-root": path("data"),
            "exec-root": path("state"),
            "pidfile": path("pid"),
            "hosts": [format!("unix://{}", path("socket").display())],
            "runtimes": { "hermit-wasm": { "path": settings::runtime(shared) } },
            "default-runtime": "hermit-wasm",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "cgroup-parent": format!("/{group}"),
        });
        fs::write(path("daemon.json"), serde_json::to_vec(&settings)?)?;
        let (address, name) = (Self::address_of(number), Self::name_of(number));
        let script = format!(
            "echo {name} >/proc/sys/kernel/hostname; until ip link set eth0 up 2>/dev/null; do sleep 0.1; done; ip address add {address}/24 dev eth0; ip route add \
             default via 10.86.5.254; exec env {} dockerd --config-file {}",
            settings::runtime_settings(shared),
            path("daemon.json").display()
        );
        let log = File::create(path("log"))?;
        let world = Command::new(vm_tests::root().join("tests/containers/world"))
            .args([USER, "bash", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start a node's world")?;
        let node = Self {
            number,
            directory,
            group,
            world,
        };
        node.plug_in()?;
        Ok(node)
    }

    fn address_of(number: usize) -> String {
        format!("10.86.5.{number}")
    }

    fn name_of(number: usize) -> String {
        format!("node-{number}")
    }

    fn name(&self) -> String {
        Self::name_of(self.number)
    }

    /// One end of a cable goes into the node's world, the other one into the bridge.
    fn plug_in(&self) -> Result<()> {
        let outer = self.world.id();
        let deadline = Instant::now() + LIMIT;
        let first = loop {
            let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
            let children = children.context("the node's world has ended")?;
            if let Some(first) = children.split_whitespace().next() {
                break first.to_owned();
            }
            ensure!(Instant::now() < deadline, "the node's world does not begin");
            thread::sleep(Duration::from_millis(20));
        };
        let (here, there) = (format!("cable{}", self.number), format!("far{}", self.number));
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there])?;
        ip(&["link", "set", &here, "master", "bridge0", "up"])?;
        ip(&["link", "set", &there, "netns", &first, "name", "eth0"])
    }

    /// Calls the node's client.
    fn docker(&self, words: &[&str]) -> Result<String> {
        let socket = format!("unix://{}", self.directory.join("socket").display());
        let words = [&[client(), "--host", &socket], words].concat();
        let words: Vec<String> = words.into_iter().map(String::from).collect();
        let output = engine::output(&words)?;
        ensure!(
            output.status.success(),
            "{} ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the engine answers, and gives it the image.
    fn load(&mut self, images: &str) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while let Err(error) = self.docker(&["version"]) {
            let ended = self.world.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log"))?;
                bail!(
                    "{} does not answer ({ended:?}): {error:#}; its log:\n{log}",
                    self.name()
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
        self.docker(&["load", "--input", images])?;
        Ok(())
    }

    /// Ends it as a power failure does: nothing in it can do anything any more.
    fn lose(&mut self) -> Result<()> {
        self.world.kill()?;
        self.world.wait()?;
        // A power failure takes these along.
        for group in host::groups(&self.group) {
            host::remove_group(&group);
        }
        Ok(())
    }

    /// What its engine has not cleared up.
    fn left(&self) -> Vec<PathBuf> {
        let groups = host::groups(&self.group);
        groups
            .iter()
            .flat_map(|group| host::groups_below(group))
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.lose();
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .context("cannot start ip")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A task as Swarm lists it.
#[derive(Debug)]
struct Task {
    node: String,
    state: String,
    error: String,
}

/// The tasks of a service that are meant to run, or those that are over too.
fn tasks(manager: &Node, service: &str, all: bool) -> Result<Vec<Task>> {
    let format = "{{.Node}}|{{.CurrentState}}|{{.Error}}";
    let mut words = vec!["service", "ps", "--no-trunc", "--format", format];
    if !all {
        words.extend(["--filter", "desired-state=running"]);
    }
    words.push(service);
    let listed = manager.docker(&words)?;
    let task = |line: &str| {
        let mut parts = line.splitn(3, '|').map(str::to_owned);
        Some(Task {
            node: parts.next()?,
            state: parts.next()?,
            error: parts.next()?,
        })
    };
    Ok(listed.lines().filter_map(task).collect())
}

/// Waits until the tasks are as they should be; gives them.
fn until(
    manager: &Node,
    service: &str,
    all: bool,
    what: &str,
    is_so: impl Fn(&[Task]) -> bool,
) -> Result<Vec<Task>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let tasks = tasks(manager, service, all)?;
        if is_so(&tasks) {
            return Ok(tasks);
        }
        if Instant::now() > deadline {
            bail!("waited in vain until {what}: {:#?}", tasks);
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn running<'a>(tasks: &'a [Task], node: &'a str) -> impl Iterator<Item = &'a Task> {
    tasks
        .iter()
        .filter(move |task| task.node == node && task.state.starts_with("Running"))
}

fn swarm(shared: &Path) -> Result<()> {
    let images = shared.join("images.tar");
    let guests = environment::needed(environment::GUESTS)?;
    let module = fs::read(guests.join("container.wasm")).context("the guest container.wasm")?;
    archive::write(&images, &[Image::of_module(GUEST, "container.wasm", module)])?;
    let images = images.to_str().context("the path is not UTF-8")?;
    let image = archive::reference(GUEST);

    ip(&["link", "add", "bridge0", "type", "bridge"])?;
    ip(&["link", "set", "bridge0", "up"])?;
    let (mut one, mut two) = (Node::start(shared, 1)?, Node::start(shared, 2)?);
    one.load(images)?;
    two.load(images)?;

    let address = Node::address_of(1);
    one.docker(&[
        "swarm",
        "init",
        "--advertise-addr",
        &address,
        "--dispatcher-heartbeat",
        "2s",
    ])?;
    let token = one.docker(&["swarm", "join-token", "--quiet", "worker"])?;
    two.docker(&[
        "swarm",
        "join",
        "--token",
        token.trim(),
        &format!("{address}:2377"),
    ])?;

    // A service that runs: on both nodes.
    let name = "service";
    let create = [
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--endpoint-mode",
        "dnsrr",
    ];
    let many = TASKS.to_string();
    let limits = [
        "--limit-memory",
        "64m",
        "--stop-grace-period",
        "60s",
        "--replicas",
        &many,
    ];
    let rest = ["--name", name, &image, "say:ready", "sleep:3600"];
    one.docker(&[&create, limits.as_slice(), &rest].concat())?;
    let (here, there) = (one.name(), two.name());
    until(&one, name, false, "all tasks run", |tasks| {
        running(tasks, &here).count() + running(tasks, &there).count() == TASKS
            && running(tasks, &here).next().is_some()
            && running(tasks, &there).next().is_some()
    })?;
    // They do what they should.
    let deadline = Instant::now() + LIMIT;
    while one
        .docker(&["service", "logs", "--raw", name])?
        .lines()
        .filter(|line| *line == "ready")
        .count()
        < TASKS
    {
        ensure!(Instant::now() < deadline, "not all tasks say that they are ready");
        thread::sleep(Duration::from_millis(500));
    }

    // A node is lost: all run on the other.
    two.lose()?;
    until(
        &one,
        name,
        false,
        "all tasks run on the node that is left",
        |tasks| running(tasks, &here).count() == TASKS,
    )?;

    // Fewer are wanted, and none: SIGTERM ends them.
    one.docker(&["service", "scale", "--detach", &format!("{name}=1")])?;
    until(&one, name, false, "one task runs", |tasks| {
        running(tasks, &here).count() == 1
    })?;
    one.docker(&["service", "rm", name])?;

    // A task that ends by itself, with a code.
    let once = ["--restart-condition", "none", "--name", "once", &image, "exit:42"];
    one.docker(&[&create, once.as_slice()].concat())?;
    let tasks = until(&one, "once", true, "it has failed", |tasks| {
        tasks.iter().any(|task| task.state.starts_with("Failed"))
    })?;
    ensure!(
        tasks.iter().any(|task| task.error.contains("(42)")),
        "the exit code is lost: {tasks:?}"
    );
    one.docker(&["service", "rm", "once"])?;

    // No container is left, once the engine has cleared up.
    let deadline = Instant::now() + LIMIT;
    while let left = one.docker(&["ps", "--all", "--quiet"])?
        && !left.trim().is_empty()
    {
        ensure!(Instant::now() < deadline, "these containers are left: {left}");
        thread::sleep(Duration::from_millis(500));
    }
    let left = one.left();
    ensure!(left.is_empty(), "these control groups are left: {left:?}");
    Ok(())
}
