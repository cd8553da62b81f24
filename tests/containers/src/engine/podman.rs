//! podman: with directories of its own for images, containers, networks and settings.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Container, Engine, image};
use crate::settings::USER;
use crate::{archive, host};

/// Why it cannot be used.
pub(super) fn missing(rootless: bool) -> Option<String> {
    let missing = host::missing("podman", "--version").or_else(|| {
        let runtimes = ["runc", "crun"].map(|runtime| host::missing(runtime, "--version"));
        runtimes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .map(|all| all.join("; "))
    });
    missing.or_else(|| {
        let maps = || host::missing("newuidmap", "--help").filter(|reason| reason.starts_with("there is no"));
        rootless.then(maps).flatten()
    })
}

impl Engine {
    /// Writes its settings.
    pub(super) fn prepare_podman(&self) -> Result<()> {
        let mut settings = String::from("[containers]\n");
        if !host::raises_limits()? {
            // What podman gives to containers by default is more than this process has and could give.
            let (files, processes) = (host::limit("Max open files")?, host::limit("Max processes")?);
            settings += &format!("default_ulimits = [\"nofile={files}\", \"nproc={processes}\"]\n");
        }
        settings += "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let [runtime, cache] = &self.variables;
        settings += &format!("conmon_env_vars = [\"{path}\", \"{runtime}\", \"{cache}\"]\n");
        settings += "[network]\nnetwork_backend = \"netavark\"\n";
        fs::write(self.directory.join("containers.conf"), settings)?;
        // The driver is podman's choice: overlay where a user can mount one.
        fs::write(
            self.directory.join("registries.conf"),
            "unqualified-search-registries = []\n",
        )?;
        for name in ["storage", "run", "tmp", "networks", "runtime"] {
            fs::create_dir_all(self.directory.join(name))?;
        }
        if self.as_user {
            give(&self.directory)?;
        }
        Ok(())
    }

    /// The words that every call begins with.
    pub(super) fn podman(&self) -> Vec<String> {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut words = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        if self.as_user {
            add(&["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]);
        }
        // For what it starts itself, and not by conmon.
        add(&["env", &self.variables[0], &self.variables[1]]);
        add(&[&format!("CONTAINERS_CONF={}", path("containers.conf"))]);
        add(&[&format!("CONTAINERS_REGISTRIES_CONF={}", path("registries.conf"))]);
        if self.as_user {
            add(&[
                "HOME=/run/world/home",
                &format!("XDG_RUNTIME_DIR={}", path("runtime")),
            ]);
        }
        add(&["podman", "--root", &path("storage"), "--runroot", &path("run")]);
        add(&[
            "--tmpdir",
            &path("tmp"),
            "--network-config-dir",
            &path("networks"),
        ]);
        add(&["--runtime", &self.runtime.display().to_string()]);
        words
    }

    /// Has podman make the control groups that all containers share, by a container that ends at once. Where two begin
    /// together, one finds a group of the other's that is not ready, and warns.
    pub(super) fn make_groups(&self) -> Result<()> {
        let grouped = self.grouped();
        let options = grouped.iter().map(String::as_str);
        let words = ["run", "--rm", "--network=none"].into_iter().chain(options);
        let words = words.chain([
            "--annotation=org.hermit-wasm.native=allow",
            "--entrypoint=/bin/sleep",
        ]);
        let image = archive::reference(super::containerd::PAUSE);
        let words: Vec<&str> = words.chain([image.as_str(), "0"]).collect();
        self.succeed(&words)?;
        Ok(())
    }

    /// Options of `run` and `create` that keep its control groups together.
    #[must_use]
    pub fn grouped(&self) -> Vec<String> {
        // Without root's rights a control group can be had of the unified ones alone, and where it is delegated.
        if self.as_user {
            return Vec::new();
        }
        vec![format!("--cgroup-parent=/{}", self.group)]
    }
}

/// Gives a directory, and what is in it, to the world's own user.
///
/// # Errors
/// If it cannot be given away.
pub fn give(directory: &Path) -> Result<()> {
    let status = std::process::Command::new("chown")
        .args(["--recursive", "--no-dereference", &format!("{USER}:{USER}")])
        .arg(directory)
        .status()
        .context("cannot start chown")?;
    ensure!(status.success(), "chown ended with {status}");
    Ok(())
}

/// The options of `run` and `create` for a container, its image and its arguments.
pub(super) fn options(container: &Container) -> Result<Vec<String>> {
    let mut words = vec!["--network=none".to_owned()];
    if container.stdin {
        words.push("--interactive".into());
    }
    words.extend(container.options("--memory"));
    for volume in &container.volumes {
        let (host, access) = volume.said()?;
        words.push(format!("--volume={host}:{}:{access}", volume.guest));
    }
    for path in &container.tmpfs {
        words.push(format!("--tmpfs={path}"));
    }
    words.push(image(container));
    words.extend(container.args.iter().cloned());
    Ok(words)
}
