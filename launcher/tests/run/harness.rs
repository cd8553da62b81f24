//! Starts the launcher, waits for it under a watchdog, and looks at what it did.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::fake_qemu::{BESIDE, JOURNAL, SCENARIO};

/// Long enough for the slowest machine; only what hangs comes here.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(120);

/// A test by its name and function.
pub(crate) fn test(name: &'static str, function: fn()) -> Trial {
    Trial::test(name, move || {
        function();
        Ok(())
    })
}

/// A directory of the test's own, deleted at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hermit-wasm-run-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The fake QEMU as a file here, called `name`, that plays `scenario` in any environment.
    pub(crate) fn player(&self, name: &str, scenario: &str) -> PathBuf {
        let path = self.0.join(name);
        let this = std::env::current_exe().unwrap();
        if !path.exists() && fs::hard_link(&this, &path).is_err() {
            fs::copy(this, &path).unwrap();
        }
        self.file(&format!("{name}{BESIDE}"), scenario.as_bytes());
        path
    }

    /// The lines that the fake QEMU has written.
    pub(crate) fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("journal")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    /// The process ids of the fake QEMUs that were started.
    pub(crate) fn started(&self) -> Vec<i32> {
        let starts = self.journal();
        let pids = starts
            .iter()
            .filter_map(|line| line.strip_prefix("start ")?.split(' ').next());
        pids.map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What Docker leaves to root, in setpriv's words.
pub(crate) const DOCKER: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,\
                      +net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

/// The smallest module.
pub(crate) const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A launcher with the fake QEMU, which plays `scenario` as the greeting. Flags are still to come.
pub(crate) fn launcher(scratch: &Scratch, scenario: &str) -> Command {
    let mut command = without_module(scratch, scenario);
    command.arg("--greet");
    command
}

/// A launcher with the fake QEMU, which plays `scenario`. Flags and the module are still to come.
fn without_module(scratch: &Scratch, scenario: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command
        .args(["run", "--qemu"])
        .arg(std::env::current_exe().unwrap())
        // The scenario comes in the environment, and the journal is written where no jail reaches: `jail.rs` has the
        // tests of that.
        .args(["--jail", "off"])
        .env(SCENARIO, scenario)
        .env(JOURNAL, scratch.path().join("journal"))
        .env("XDG_CACHE_HOME", scratch.path().join("cache"))
        // None, unless a test has one: nothing is compiled.
        .env("HERMIT_WASM_COMPILER", "/nonexistent/compiler")
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The same under TCG, so that nothing is tried first.
pub(crate) fn tcg(scratch: &Scratch, scenario: &str) -> Command {
    let mut command = launcher(scratch, scenario);
    command.args(["--accel", "tcg"]);
    command
}

/// The same for a module that is still to come.
pub(crate) fn tcg_module(scratch: &Scratch, scenario: &str) -> Command {
    let mut command = without_module(scratch, scenario);
    command.args(["--accel", "tcg"]);
    command
}

/// What a launcher has done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Without the warning of `--jail off`.
    pub(crate) stderr: String,
    /// Whether that warning was given.
    pub(crate) jail_is_off: bool,
}

impl Done {
    /// Checks the exit code, and shows everything if it is another one.
    #[track_caller]
    pub(crate) fn expect_code(self, code: u8) -> Self {
        assert_eq!(self.status.code(), Some(code.into()), "{self:?}");
        self
    }

    /// Checks the signal that ended the launcher.
    #[track_caller]
    pub(crate) fn expect_signal(self, signal: i32) -> Self {
        assert_eq!(self.status.signal(), Some(signal), "{self:?}");
        self
    }

    /// Checks that standard error has all these parts.
    #[track_caller]
    pub(crate) fn expect_message(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is missing: {}", self.stderr);
        }
        self
    }

    /// Checks standard output.
    #[track_caller]
    pub(crate) fn expect_output(self, output: &str) -> Self {
        assert_eq!(String::from_utf8_lossy(&self.stdout), output, "{}", self.stderr);
        self
    }

    /// Checks that nothing was said.
    #[track_caller]
    pub(crate) fn expect_silence(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }
}

/// Runs to the end, with nothing on standard input.
pub(crate) fn finish(command: &mut Command) -> Done {
    wait(command.spawn().unwrap())
}

/// Runs to the end with these bytes on standard input, followed by its end.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Done {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // Who reads only a part closes the pipe.
        let _ = stdin.write_all(&input);
    });
    let done = wait(child);
    writer.join().unwrap();
    done
}

/// What the launcher says if it did not come to its end by itself, and its own watchdog ended it.
pub(crate) const WATCHED: &str = "it waited in the kernel";

/// Waits for the end, reading what comes. The launcher must come to it by itself.
pub(crate) fn wait(child: Child) -> Done {
    let done = wait_however_it_ends(child);
    assert!(!done.stderr.contains(WATCHED), "{done:?}");
    done
}

/// Checks that a launcher has ended its run and reported on it in this file, for launchers whose messages nobody sees:
/// its watchdog, which would end it too, knows no figures.
#[track_caller]
pub(crate) fn expect_ended_by_itself(scratch: &Scratch, status_file: &str) {
    let report = fs::read_to_string(scratch.path().join(status_file)).unwrap();
    let words: String = report.split_whitespace().collect();
    assert!(words.contains("\"hypervisor\":\"QEMU\""), "{report}");
}

/// Waits for the end as [`wait`] does; the launcher's own watchdog may bring it.
pub(crate) fn wait_however_it_ends(mut child: Child) -> Done {
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let stdout = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    });
    let stderr = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    });
    let status = wait_for_end(&mut child);
    let stderr = stderr.join().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    let (warnings, others): (Vec<_>, Vec<_>) = stderr
        .split_inclusive('\n')
        .partition(|line| line.starts_with(JAIL_OFF));
    Done {
        status,
        stdout: stdout.join().unwrap(),
        stderr: others.concat(),
        jail_is_off: !warnings.is_empty(),
    }
}

/// What the launcher says of `--jail off` begins with this.
pub(crate) const JAIL_OFF: &str = "hermit-wasm: --jail off: ";

/// Waits for the end without reading anything.
pub(crate) fn wait_for_end(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > WATCHDOG {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the launcher hangs");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WATCHDOG, "still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process runs (a zombie does not).
pub(crate) fn runs(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // "pid (name) state …", and the name may contain anything.
    status
        .rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Checks that every fake QEMU of this test has been ended.
#[track_caller]
pub(crate) fn expect_no_qemu(scratch: &Scratch, number: usize) {
    let pids = scratch.started();
    assert_eq!(pids.len(), number, "{:?}", scratch.journal());
    for pid in pids {
        until("QEMU is gone", || !runs(pid));
    }
}
