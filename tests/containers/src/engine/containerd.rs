//! containerd: a daemon of the tests' own; by `ctr`, and by the interface that Kubernetes speaks.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{Container, Engine, Kind, image};
use crate::archive::{self, Image};
use crate::host;

/// The Python that Debian's packages for it belong to.
const PYTHON: &str = "/usr/bin/python3";

/// How long the daemon may take to start.
const START: Duration = Duration::from_secs(60);

/// The name of the image whose program holds a pod's namespaces.
pub(super) const PAUSE: &str = "pause";

/// Why containerd cannot be used.
pub(super) fn missing() -> Option<String> {
    let programs = ["containerd", "ctr", "runc"];
    programs
        .iter()
        .find_map(|program| host::missing(program, "--version"))
}

/// Why its interface for Kubernetes cannot be.
pub(super) fn missing_client() -> Option<String> {
    let compiler = host::missing("protoc", "--version");
    compiler.or_else(|| {
        let import = Command::new(PYTHON)
            .args(["-c", "import grpc, google.protobuf"])
            .output();
        let there = import.is_ok_and(|output| output.status.success());
        (!there).then(|| {
            format!("{PYTHON} has no grpc and protobuf; scripts/setup --for containers installs them")
        })
    })
}

/// The daemon, which ends with this value.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Engine {
    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Starts the daemon and waits until it answers.
    pub(super) fn start_containerd(&self) -> Result<Daemon> {
        let settings = self.directory.join("containerd.toml");
        fs::write(&settings, self.containerd_settings())?;
        if self.kind == Kind::Cri {
            self.prepare_cri()?;
        }
        let log = File::create(self.directory.join("containerd.log"))?;
        let child = Command::new("env")
            .args(&self.variables)
            .args(["containerd", "--config"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start containerd")?;
        let mut daemon = Daemon(child);
        let deadline = Instant::now() + START;
        while !self.call(&["version"])?.status.success() {
            let ended = daemon.0.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("containerd.log"))?;
                bail!("containerd does not answer ({ended:?}); its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    /// Its settings. Without CAP_SYS_RESOURCE it cannot lower what the kernel takes first when memory is short.
    fn containerd_settings(&self) -> String {
        let restrict = !host::raises_limits().unwrap_or(false);
        let cri = match self.kind {
            Kind::Cri => format!(
                r#"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = {restrict}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "hermit-wasm"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hermit-wasm]
      runtime_type = "io.containerd.runc.v2"
      pod_annotations = ["org.hermit-wasm.*"]
      container_annotations = ["org.hermit-wasm.*"]
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.hermit-wasm.options]
        BinaryName = "{runtime}"
"#,
                pause = archive::reference(PAUSE),
                networks = self.path("networks"),
                runtime = self.runtime.display(),
            ),
            _ => "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n".to_owned(),
        };
        // A table's keys come after all others.
        let (before, after) = if self.kind == Kind::Cri {
            ("", cri.as_str())
        } else {
            (cri.as_str(), "")
        };
        format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n{before}[grpc]\n  address = \"{}\"\n[ttrpc]\n  address = \
             \"{}\"\n{after}",
            self.path("root"),
            self.path("state"),
            self.path("socket"),
            self.path("ttrpc"),
        )
    }

    /// A network for pods, and the client's messages.
    fn prepare_cri(&self) -> Result<()> {
        let networks = self.directory.join("networks");
        fs::create_dir_all(&networks)?;
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "test",
            "plugins": [{
                "type": "bridge",
                "bridge": "test0",
                "isGateway": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": self.path("addresses"),
                    "ranges": [[{ "subnet": "10.87.3.0/24" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            }],
        });
        fs::write(networks.join("10-test.conflist"), serde_json::to_vec(&network)?)?;
        let status = Command::new("protoc")
            .arg(format!("--python_out={}", self.directory.display()))
            .arg("cri.proto")
            .current_dir(vm_tests::root().join("tests/containers/cri"))
            .status()
            .context("cannot start protoc")?;
        ensure!(status.success(), "protoc ended with {status}");
        Ok(())
    }

    /// The words that every call of `ctr` begins with.
    pub(super) fn ctr(&self) -> Vec<String> {
        // Kubernetes looks for images in one namespace, which has this name.
        let namespace = if self.kind == Kind::Cri {
            "k8s.io"
        } else {
            "default"
        };
        let words = ["ctr", "--address", &self.path("socket"), "--namespace", namespace];
        words.map(String::from).to_vec()
    }

    /// `ctr run` of a container, whose standard input ends late enough for `ctr`: see the script `late-end`.
    pub(super) fn ctr_run(&self, container: &Container) -> Result<Vec<String>> {
        let name = self.name();
        let script = vm_tests::root().join("tests/containers/late-end");
        let run = self.ctr_run_as(container, &name)?;
        let words = [script.display().to_string(), self.path("socket"), name];
        Ok(words.into_iter().chain(run).collect())
    }

    /// The same with a name.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn ctr_run_as(&self, container: &Container, name: &str) -> Result<Vec<String>> {
        let mut words = self.client(&["run", "--rm", "--runtime", "io.containerd.runc.v2"]);
        words.push(format!("--runc-binary={}", self.runtime.display()));
        words.push(format!("--cgroup=/{}/{name}", self.group));
        words.extend(Self::ctr_options(container)?);
        words.extend([image(container), name.to_owned()]);
        if !container.args.is_empty() {
            // They replace the entry point.
            words.push(container.program.clone());
            words.extend(container.args.iter().cloned());
        }
        Ok(words)
    }

    /// Options of `ctr run` for a container.
    fn ctr_options(container: &Container) -> Result<Vec<String>> {
        let mut words = container.options("--memory-limit");
        for volume in &container.volumes {
            let (host, access) = volume.said()?;
            words.push(format!(
                "--mount=type=bind,src={host},dst={},options=rbind:{access}",
                volume.guest
            ));
        }
        for path in &container.tmpfs {
            words.push(format!("--mount=type=tmpfs,src=tmpfs,dst={path},options=nosuid"));
        }
        Ok(words)
    }

    /// The client of the interface, with a container to run and what to do meanwhile.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn cri_run(&self, container: &Container, meanwhile: &[&str]) -> Result<Vec<String>> {
        let name = self.name();
        let mounts: Vec<_> = container
            .volumes
            .iter()
            .map(|volume| json!([volume.host, volume.guest, volume.read_only]))
            .collect();
        let annotations: serde_json::Map<_, _> = container
            .annotations
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let ask = json!({
            "handler": "hermit-wasm",
            "image": image(container),
            "name": name,
            "logs": self.directory.join("logs").join(&name),
            "args": container.args,
            "env": container.env,
            "mounts": mounts,
            "annotations": annotations,
            "memory": container.memory.unwrap_or(0),
            "cgroup": format!("/{}", self.group),
            "do": meanwhile,
        });
        let client = vm_tests::root().join("tests/containers/cri/client.py");
        Ok(vec![
            "env".to_owned(),
            format!("PYTHONPATH={}", self.directory.display()),
            PYTHON.to_owned(),
            client.display().to_string(),
            self.path("socket"),
            ask.to_string(),
        ])
    }
}

/// The image whose program holds a pod's namespaces: it is the engine's, and runs beside the runtime's containers.
/// Any program that waits will do.
///
/// # Errors
/// If busybox cannot be read.
pub fn pause() -> Result<Image> {
    let busybox = fs::read("/bin/busybox").context("/bin/busybox, for a pod's own container")?;
    Ok(Image {
        name: PAUSE.to_owned(),
        entries: vec![archive::Entry::file("bin/sleep", busybox)],
        entrypoint: vec!["/bin/sleep".to_owned(), "2147483647".to_owned()],
        directory: "/".to_owned(),
    })
}
