//! What tests of engines work with: containers that run to their end, and such that run meanwhile.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use container_tests::{Engine, Kind, archive, engine};

/// The guest that these tests run.
pub(crate) const GUEST: &str = "container";

/// How long anything may take before a test gives up. Far longer than it takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A case: a test of one engine or of several.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) on: &'static [Kind],
    pub(crate) run: fn(&Bench<'_>) -> Result<()>,
    /// Whether it is of the short set.
    pub(crate) short: bool,
    /// Why an engine cannot do that here.
    pub(crate) missing: fn(Kind) -> Option<String>,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        on: &'static [Kind],
        run: fn(&Bench<'_>) -> Result<()>,
    ) -> Self {
        Self {
            name,
            on,
            run,
            short: false,
            missing: |_| None,
        }
    }

    /// The same, of the short set.
    pub(crate) const fn short(self) -> Self {
        Self { short: true, ..self }
    }

    /// The same, with reasons why not.
    pub(crate) const fn unless(self, missing: fn(Kind) -> Option<String>) -> Self {
        Self { missing, ..self }
    }
}

/// An engine, and a place for what a test makes.
pub(crate) struct Bench<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) scratch: PathBuf,
}

/// What a container said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Wants success and exactly this on standard output.
    pub(crate) fn is(&self, stdout: &str) -> Result<()> {
        ensure!(
            self.code == Some(0) && self.stdout == stdout,
            "expected {stdout:?}, got {self:?}"
        );
        Ok(())
    }

    /// Wants this exit code, and these words on standard error.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) -> Result<()> {
        let all = words.iter().all(|word| self.stderr.contains(word));
        ensure!(
            self.code == Some(code) && all,
            "expected {code} and {words:?}, got {self:?}"
        );
        Ok(())
    }
}

impl Bench<'_> {
    /// Runs an image to its end by podman.
    pub(crate) fn run_image(&self, options: &[&str], image: &str, args: &[&str]) -> Result<Said> {
        let mut words = self.engine.client(&["run", "--rm"]);
        words.extend(self.options(options));
        words.push(archive::reference(image));
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        Ok(engine::output(&words)?.into())
    }

    /// The same with the guest of these tests.
    pub(crate) fn run(&self, options: &[&str], args: &[&str]) -> Result<Said> {
        self.run_image(options, GUEST, args)
    }

    /// Starts the guest of these tests by podman, and waits until it has said that it is ready.
    pub(crate) fn start(&self, options: &[&str], args: &[&str]) -> Result<Running<'_>> {
        self.start_image(options, GUEST, &[args, &["say:ready", "sleep:600"]].concat())
    }

    /// Starts an image by podman, and waits until it has said that it is ready.
    pub(crate) fn start_image(&self, options: &[&str], image: &str, args: &[&str]) -> Result<Running<'_>> {
        let name = self.engine.name();
        let mut words = self.engine.client(&["run", "--detach", "--name", &name]);
        words.extend(self.options(options));
        words.push(archive::reference(image));
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        let said: Said = engine::output(&words)?.into();
        let running = Running {
            engine: self.engine,
            name,
        };
        ensure!(said.code == Some(0), "it does not start: {said:?}");
        running.wait_for("ready")?;
        Ok(running)
    }

    /// Options of `run`. A network takes time, and few tests want one.
    fn options(&self, options: &[&str]) -> Vec<String> {
        let mut words = self.engine.grouped();
        if !options.iter().any(|option| option.starts_with("--publish")) {
            words.push("--network=none".into());
        }
        words.extend(options.iter().map(|option| (*option).to_owned()));
        words
    }

    /// A directory that everybody may write in.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.scratch.join(name);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(path)
    }
}

/// A container that runs. It is removed with this value, whatever it does.
pub(crate) struct Running<'a> {
    engine: &'a Engine,
    pub(crate) name: String,
}

impl Running<'_> {
    /// Calls podman with these words and the container's name.
    pub(crate) fn call(&self, words: &[&str]) -> Result<Said> {
        let words = [words, &[&self.name]].concat();
        Ok(self.engine.call(&words)?.into())
    }

    /// The same, which must succeed; gives its standard output.
    pub(crate) fn succeed(&self, words: &[&str]) -> Result<String> {
        self.engine.succeed(&[words, &[&self.name]].concat())
    }

    /// What podman knows of it.
    pub(crate) fn inspect(&self, what: &str) -> Result<String> {
        let format = format!("{{{{{what}}}}}");
        Ok(self.succeed(&["inspect", "--format", &format])?.trim().to_owned())
    }

    /// The number of its first process, on the host.
    pub(crate) fn process(&self) -> Result<u32> {
        Ok(self.inspect(".State.Pid")?.parse()?)
    }

    /// Waits until its output has this.
    pub(crate) fn wait_for(&self, text: &str) -> Result<()> {
        self.until(&format!("it says '{text}'"), || {
            let said = self.call(&["logs"])?;
            Ok(said.stdout.contains(text) || said.stderr.contains(text))
        })
    }

    /// Waits until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !is_so()? {
            let state = self.inspect(".State.Status").unwrap_or_default();
            if Instant::now() > deadline || state == "exited" {
                let said = self.call(&["logs"])?;
                bail!("waited in vain until {what}; it is {state}: {said:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self
            .engine
            .call(&["rm", "--force", "--time", "0", "--ignore", &self.name]);
    }
}
