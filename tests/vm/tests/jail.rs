//! A real QEMU in its jail, looked at from outside while a guest runs: what /proc tells of its rights, its descriptors
//! and the files that it sees; on each machine, with and without a shared directory, as root and as an ordinary user.
//!
//! What such a process cannot do is tried by `launcher/tests/run/jail.rs`, on more kinds of hosts.
//! Environment: `LAUNCHER`, `GUESTS` and `ARCH` of `environment.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use boot_protocol::arch::Arch;
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::{environment, virtiofsd};

/// An identity for the launcher: its name, and the program that gives it.
type Identity = (&'static str, &'static [&'static str]);

const IDENTITIES: [Identity; 2] = [
    ("self", &[]),
    (
        "user",
        &[
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ],
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let machines: &[&str] = match environment::arch() {
        Ok(Arch::X86_64) => &["microvm", "q35"],
        _ => &["virt"],
    };
    let mut trials = Vec::new();
    for machine in machines {
        for shared in [false, true] {
            for identity in IDENTITIES {
                let ignored = cannot(shared, identity);
                let with = if shared { "dir" } else { "plain" };
                let name = format!("jail/{machine}-{with}-{}", identity.0);
                if let Some(reason) = &ignored {
                    eprintln!("SKIP {name}: {reason}");
                }
                let run = move || {
                    let result = look(machine, shared, identity);
                    result.map_err(|error| Failed::from(format!("{error:#}")))
                };
                trials.push(Trial::test(name, run).with_ignored_flag(ignored.is_some()));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why something cannot be looked at here.
fn cannot(shared: bool, identity: Identity) -> Option<String> {
    if let Some((program, flags)) = identity.1.split_first() {
        let output = Command::new(program).args(flags).arg("true").output();
        if !output.is_ok_and(|output| output.status.success()) {
            return Some("only root becomes another user, with setpriv".to_owned());
        }
    }
    if shared { virtiofsd::missing() } else { None }
}

/// A directory that other users can enter, deleted at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("hermit-wasm-jail-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        open_to_all(&path)?;
        Ok(Self(path))
    }

    /// A copy of a program, which may lie where other users do not get. Made by a program of its own: what is open for
    /// writing here is for a moment open in whatever another test starts, too, and cannot be executed meanwhile.
    fn copy(&self, from: &Path) -> Result<PathBuf> {
        let to = self.0.join(from.file_name().context("no file name")?);
        let copied = Command::new("cp").arg(from).arg(&to).status()?;
        ensure!(copied.success(), "cannot copy {}", from.display());
        open_to_all(&to)?;
        Ok(to)
    }
}

fn open_to_all(path: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    Ok(fs::set_permissions(path, mode)?)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a guest that waits for its input, and looks at its QEMU.
fn look(machine: &str, shared: bool, identity: Identity) -> Result<()> {
    let scratch = Scratch::new(&format!("{machine}-{shared}-{}", identity.0))?;
    let launcher = scratch.copy(&environment::needed(environment::LAUNCHER)?)?;
    let guest = scratch.copy(&environment::needed(environment::GUESTS)?.join("cat.wasm"))?;
    let mut words: Vec<PathBuf> = identity.1.iter().map(PathBuf::from).collect();
    words.push(launcher);
    words.extend(["run", "--jail", "strict", "--accel", "tcg", "--machine", machine].map(PathBuf::from));
    words.extend(environment::flags()?.into_iter().map(PathBuf::from));
    if shared {
        let directory = scratch.0.join("shared");
        fs::create_dir(&directory)?;
        open_to_all(&directory)?;
        words.push(format!("--dir={}::/", directory.display()).into());
        let daemon = virtiofsd::program();
        let daemon = match daemon.is_absolute() {
            true => daemon,
            false => in_path(&daemon).context("virtiofsd is not in PATH")?,
        };
        words.push(format!("--virtiofsd={}", scratch.copy(&daemon)?.display()).into());
    }
    words.push(guest);
    let (program, arguments) = words.split_first().context("no words")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("SECRET", "of the launcher's own")
        .env("XDG_CACHE_HOME", scratch.0.join("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let looked = converse(&mut child, shared);
    // Without more input it ends.
    drop(child.stdin.take());
    let status = child.wait()?;
    looked?;
    ensure!(status.success(), "the launcher ended with {status}");
    Ok(())
}

fn in_path(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).map(|directory| directory.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// Waits until the guest answers, and looks at all processes of the launcher's.
fn converse(launcher: &mut Child, shared: bool) -> Result<()> {
    launcher.stdin.as_mut().context("no input")?.write_all(b"x\n")?;
    let mut answer = [0];
    let stdout = launcher.stdout.as_mut().context("no output")?;
    stdout.read_exact(&mut answer).context("the guest says nothing")?;
    let mut found = BTreeSet::new();
    for process in children(launcher.id())? {
        let name = fs::read_to_string(format!("/proc/{process}/comm"))?;
        match name.trim() {
            name if name.starts_with("qemu-system") => look_at_qemu(process, shared)?,
            "virtiofsd" => look_at_every(process)?,
            other => bail!("the launcher has started {other}"),
        }
        found.insert(name);
    }
    ensure!(found.len() == 1 + usize::from(shared), "{found:?}");
    Ok(())
}

fn children(process: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let children = fs::read_to_string(task?.path().join("children"))?;
        for child in children.split_whitespace() {
            all.push(child.parse()?);
        }
    }
    Ok(all)
}

fn proc(process: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).with_context(|| format!("cannot read {file}"))
}

/// A line of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).with_context(|| format!("no {name}"))
}

/// What holds for every process.
fn look_at_every(process: u32) -> Result<()> {
    let status = proc(process, "status")?;
    for (name, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
        ensure!(field(&status, name)? == value, "{name} is not {value}: {status}");
    }
    let environment = proc(process, "environ")?;
    ensure!(environment.is_empty(), "it has an environment: {environment}");
    Ok(())
}

fn look_at_qemu(process: u32, shared: bool) -> Result<()> {
    look_at_every(process)?;
    let status = proc(process, "status")?;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value = field(&status, set)?;
        ensure!(u64::from_str_radix(value, 16)? == 0, "{set} is {value}");
    }
    // The jail's, and QEMU's own.
    ensure!(
        field(&status, "Seccomp_filters")?.parse::<u32>()? >= 2,
        "{status}"
    );
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}"));
        let (ours, its) = (of("self")?, of(&process.to_string())?);
        ensure!(ours != its, "its namespace {namespace} is this one");
    }
    look_at_descriptors(process, shared)?;
    look_at_files(process)
}

/// Streams, the three files of the machine, a connection for each daemon, and what QEMU makes itself.
fn look_at_descriptors(process: u32, shared: bool) -> Result<()> {
    let (mut files, mut pipes, mut sockets) = (BTreeSet::new(), BTreeSet::new(), 0);
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let target = fs::read_link(entry?.path())?;
        let target = target.to_str().context("not UTF-8")?.to_owned();
        match &target {
            name if name.starts_with("anon_inode:") => {}
            name if name.starts_with("pipe:") => {
                pipes.insert(target);
            }
            name if name.starts_with("socket:") => sockets += 1,
            _ => {
                files.insert(target);
            }
        }
    }
    let memory = ["payload.tar", "hermit-wasm.img", "hermit-wasm-memory"];
    let memory = memory.map(|name| format!("/memfd:{name} (deleted)"));
    ensure!(files == memory.into(), "its files are {files:?}");
    ensure!(pipes.len() == 3, "its pipes are {pipes:?}");
    // The connection to the daemon, and one that QEMU makes for the daemon's own questions.
    let most = 2 * usize::from(shared);
    ensure!(sockets <= most, "it has {sockets} sockets");
    Ok(())
}

/// The files that it sees.
fn look_at_files(process: u32) -> Result<()> {
    let entries = |place: &str| -> Result<BTreeSet<String>> {
        let entries = fs::read_dir(format!("/proc/{process}/root{place}"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    for (place, most) in [
        (
            "/",
            &["dev", "etc", "lib", "lib32", "lib64", "proc", "tmp", "usr"][..],
        ),
        ("/etc", &["ld.so.cache"]),
        ("/dev", &["null", "random", "urandom", "zero"]),
        ("/proc", &["self"]),
        ("/proc/self", &["exe", "fd"]),
        ("/tmp", &[]),
        (
            "/usr",
            &["bin", "lib", "lib32", "lib64", "libexec", "local", "share"],
        ),
    ] {
        let most: BTreeSet<String> = most.iter().map(|name| String::from(*name)).collect();
        let found = entries(place)?;
        ensure!(found.is_subset(&most), "{place} has {found:?}");
    }
    for line in proc(process, "mountinfo")?.lines() {
        let options = line.split(' ').nth(5).context("no options")?;
        let has = |option: &str| options.split(',').any(|other| other == option);
        ensure!(has("ro") && has("nosuid"), "{line}");
    }
    Ok(())
}
