//! The jail, from inside, by a program in QEMU's place that tries to get out, and from outside, by what /proc tells of
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::harness::{DOCKER, Scratch, finish, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("jail::nothing_works_from_inside", nothing_works_from_inside),
        test(
            "jail::nothing_works_from_inside_on_any_host",
            nothing_works_from_inside_on_any_host,
        ),
        test("jail::proc_shows_the_layers", proc_shows_the_layers),
        test(
            "jail::it_has_namespaces_and_a_root_of_its_own",
            it_has_namespaces_and_a_root_of_its_own,
        ),
        test("jail::what_is_off_is_said", what_is_off_is_said),
        test("jail::a_script_may_start_qemu", a_script_may_start_qemu),
        test("jail::a_script_leaves_nothing", a_script_leaves_nothing),
        test("jail::it_dies_with_the_launcher", it_dies_with_the_launcher),
    ]
}

/// A launcher whose QEMU plays `scenario` in its jail.
fn launcher(scratch: &Scratch, scenario: &str) -> Command {
    run(&scratch.player("qemu", scenario))
}

/// A launcher with that QEMU.
fn run(qemu: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command
        .args(["run", "--greet", "--accel", "tcg", "--qemu"])
        .arg(qemu)
        .env("SECRET", "of the launcher's own")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A host as a launcher may find it.
struct Host {
    name: &'static str,
    /// What starts the launcher there.
    by: &'static [&'static str],
    /// Whether namespaces can be had.
    namespaces: bool,
}

/// Allows no user namespace below a new one, and goes on as the rest of the words says.
const FORBID: &str = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"";

/// Hosts that root can make of this one.
const HOSTS: &[Host] = &[
    Host {
        name: "root",
        by: &["setpriv", "--clear-groups"],
        namespaces: true,
    },
    Host {
        name: "an ordinary user",
        by: &[
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ],
        namespaces: true,
    },
    Host {
        name: "root in a container that allows namespaces",
        by: &["setpriv", "--bounding-set", DOCKER, "--inh-caps", "-all"],
        namespaces: true,
    },
    Host {
        name: "root where user namespaces are forbidden",
        by: &["unshare", "--user", "--map-root-user", "sh", "-c", FORBID, "sh"],
        namespaces: true,
    },
    Host {
        name: "root in a container that forbids namespaces",
        by: &[
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            FORBID,
            "sh",
            "setpriv",
            "--bounding-set",
            DOCKER,
            "--inh-caps",
            "-all",
        ],
        namespaces: false,
    },
    Host {
        name: "an ordinary user that can get no privileges",
        by: &[
            "unshare",
            "--user",
            "--map-user",
            "1000",
            "--map-group",
            "1000",
            "setpriv",
            "--no-new-privs",
        ],
        namespaces: true,
    },
];

/// The attempts to get out, on every host that root can make of this one; by itself where this is not root.
fn nothing_works_from_inside_on_any_host() {
    let scratch = Scratch::new();
    scratch.player("qemu", "try to break out");
    let launcher = scratch.path().join("hermit-wasm");
    fs::copy(env!("CARGO_BIN_EXE_hermit-wasm"), &launcher).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    if !rustix::process::geteuid().is_root() {
        return println!("SKIP: other hosts than this NOT TRIED: only root can make them");
    }
    for host in HOSTS {
        let made = Command::new(host.by[0]).args(&host.by[1..]).arg("true").output();
        if !made.is_ok_and(|output| output.status.success()) {
            println!(
                "SKIP: NOT TRIED as {}: '{}' does not work here",
                host.name,
                host.by.join(" ")
            );
            continue;
        }
        let start = |flags: &[&str]| {
            let mut command = Command::new(host.by[0]);
            command
                .args(&host.by[1..])
                .arg(&launcher)
                .args(["run", "--greet", "--accel", "tcg", "--qemu", "./qemu"])
                .args(flags)
                .env("XDG_CACHE_HOME", scratch.path().join("cache"))
                .current_dir(scratch.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            finish(&mut command)
        };
        let done = start(&["-v"]).expect_code(0);
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(!said.contains("done"), "{}: {said}{}", host.name, done.stderr);
        let jail = done.stderr.lines().find(|line| line.contains("the jail of QEMU"));
        let jail = jail.unwrap();
        assert!(jail.contains("system call filter"), "{}: {jail}", host.name);
        let missing = jail.contains("missing: namespaces and empty root (");
        assert_eq!(missing, !host.namespaces, "{}: {jail}", host.name);

        let strict = start(&["--jail", "strict"]);
        if jail.contains("missing: ") {
            strict.expect_code(125).expect_message(&[
                "--jail strict: this host lacks ",
                "to get that: ",
                "--jail auto",
            ]);
        } else {
            strict.expect_code(0);
        }
    }
}

fn nothing_works_from_inside() {
    let scratch = Scratch::new();
    let done = finish(&mut launcher(&scratch, "try to break out"))
        .expect_code(0)
        .expect_silence();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.starts_with("environment: 0\n"), "{said}");
    assert!(said.lines().count() > 15, "{said}");
    assert!(!said.contains("done"), "{said}");

    // The same attempts succeed where nothing is in their way: they are real.
    let mut free = launcher(&scratch, "try to break out");
    let done = finish(free.args(["--jail", "off"])).expect_code(0);
    let said = String::from_utf8(done.stdout).unwrap();
    for attempt in [
        "start a program",
        "listen on TCP",
        "make a Unix socket",
        "signal another process",
        "signal a thread of another process",
        "make a socket that reaches any other",
        "use queues of System V",
        "outlive the launcher",
        "have a descriptor signal another process",
        "make a file in memory",
        "share memory that is no file's",
        "read the users",
        "look into /proc",
        "look into /sys",
        "write into its own directory",
        "leave for the old root",
    ] {
        assert!(said.contains(&format!("{attempt}: done\n")), "{attempt}: {said}");
    }
    assert!(!said.contains("environment: 0"), "{said}");
}

/// A launcher whose QEMU sits in its jail, and that QEMU's process id.
struct Sitting {
    launcher: Child,
    qemu: u32,
}

impl Sitting {
    fn start(command: &mut Command) -> Self {
        let mut launcher = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = launcher.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "inside\n");
        // Each of its threads may have started children; one has.
        let tasks = fs::read_dir(format!("/proc/{}/task", launcher.id())).unwrap();
        let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
        let children: String = children.collect();
        let qemu = children.trim().parse().expect("one child");
        Self { launcher, qemu }
    }

    /// A file of QEMU's in /proc.
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.qemu)).unwrap()
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

/// Lines of `NAME:\tVALUE`.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name, value.trim())).collect()
}

fn proc_shows_the_layers() {
    let scratch = Scratch::new();
    // A descriptor that the launcher inherits, and must keep.
    let secret = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(secret.as_fd(), rustix::io::FdFlags::empty()).unwrap();
    let sitting = Sitting::start(&mut launcher(&scratch, "sit in jail"));

    let status = sitting.proc("status");
    let status = fields(&status);
    const NONE: &str = "0000000000000000";
    for (name, value) in [
        ("Seccomp", "2"),
        ("NoNewPrivs", "1"),
        ("CapInh", NONE),
        ("CapPrm", NONE),
        ("CapEff", NONE),
        ("CapAmb", NONE),
    ] {
        assert_eq!(status[name], value, "{name}");
    }
    assert_eq!(sitting.proc("environ"), "");
    let limits = sitting.proc("limits");
    // One byte keeps dumps from handlers too; none is what the launcher may have been left with.
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<_> = core.unwrap().split_whitespace().take(2).collect();
    assert!(core == ["1", "1"] || core == ["0", "0"], "{core:?}");
    for (name, value) in [
        ("Max file size", "268435456"),
        ("Max open files", "1024"),
        ("Max locked memory", "0"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!([words.next(), words.next()], [Some(value); 2], "{name}{line}");
    }

    let open = fs::read_dir(format!("/proc/{}/fd", sitting.qemu)).unwrap();
    let open: BTreeSet<_> = open
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap())
        .collect();
    let secret = fs::read_link(format!("/proc/self/fd/{}", secret.as_raw_fd())).unwrap();
    assert!(!open.contains(&secret), "{open:?}");
    // Streams, of which the program has made copies; image, payload, memory.
    assert_eq!(open.len(), 6, "{open:?}");
}

fn it_has_namespaces_and_a_root_of_its_own() {
    let scratch = Scratch::new();
    let done = finish(launcher(&scratch, "hello").arg("-v")).expect_code(0);
    if done.stderr.contains("missing: ") {
        // That this is said where it must be is what `the_layers_fit_the_host` looks at.
        return println!("SKIP: namespaces NOT LOOKED AT: {}", done.stderr);
    }
    let sitting = Sitting::start(&mut launcher(&scratch, "sit in jail"));
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "user"] {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of("self"), of(&sitting.qemu.to_string()), "{namespace}");
    }
    let net = sitting.proc("net/dev");
    let interfaces: Vec<_> = net
        .lines()
        .skip(2)
        .map(|line| line.trim().split(':').next())
        .collect();
    assert_eq!(interfaces, [Some("lo")], "{net}");
    // Alone with its own number.
    let status = sitting.proc("status");
    assert!(fields(&status)["NSpid"].ends_with("\t1"), "{status}");

    // Nothing can be written to but devices, and no device be made.
    for line in sitting.proc("mountinfo").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let (place, options) = (words[4], words[5]);
        let options: Vec<_> = options.split(',').collect();
        assert!(options.contains(&"ro") && options.contains(&"nosuid"), "{line}");
        assert!(options.contains(&"nodev") || place.starts_with("/dev/"), "{line}");
    }
    let root = format!("/proc/{}/root", sitting.qemu);
    let entries = |place: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(format!("{root}{place}")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    };
    assert!(!entries("/").contains("home"));
    assert!(entries("/etc").is_subset(&["ld.so.cache".to_string()].into()));
    assert_eq!(entries("/proc"), ["self".to_string()].into());
    let devices = ["null", "random", "urandom"].map(String::from);
    assert!(entries("/dev").is_subset(&devices.into()));
}

fn what_is_off_is_said() {
    let scratch = Scratch::new();
    let mut command = launcher(&scratch, "hello");
    let done = finish(command.args(["--jail", "off", "-v"])).expect_code(0);
    assert!(done.jail_is_off, "{done:?}");
    done.expect_message(&["the jail of QEMU: off"]);
    let mut command = launcher(&scratch, "hello");
    finish(command.arg("-v")).expect_code(0).expect_message(&[
        "the jail of QEMU: ",
        "empty environment",
        "system call filter",
    ]);
}

fn a_script_may_start_qemu() {
    let scratch = Scratch::new();
    scratch.player("qemu", "hello");
    let script = scratch.file(
        "script",
        b"#!/bin/sh\ntrue | cat\n\"${0%/*}/qemu\" \"$@\"\nexit $?\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    finish(&mut run(&script)).expect_code(0).expect_output("out\n");
}

fn a_script_leaves_nothing() {
    let scratch = Scratch::new();
    let left = scratch.path().join("left");
    let text = format!(
        "#!/bin/sh\n\
         setsid -w true 2>/dev/null && echo it has left its group >&2\n\
         sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >'{}'\n\
         exit 3\n",
        left.display()
    );
    let script = scratch.file("script", text.as_bytes());
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let done = finish(&mut run(&script)).expect_code(125);
    assert!(!done.stderr.contains("it has left"), "{}", done.stderr);
    // Without a namespace, in which everything ends with the first process, its group does.
    let done = finish(run(&script).args(["--jail", "off"])).expect_code(125);
    assert!(done.stderr.contains("it has left"), "{}", done.stderr);
    let left = fs::read_to_string(left).unwrap().trim().parse().unwrap();
    crate::harness::until("what the script started is gone", || !crate::harness::runs(left));
}

fn it_dies_with_the_launcher() {
    let scratch = Scratch::new();
    let mut sitting = Sitting::start(&mut launcher(&scratch, "sit in jail"));
    let qemu = i32::try_from(sitting.qemu).unwrap();
    assert!(crate::harness::runs(qemu));
    sitting.launcher.kill().unwrap();
    crate::harness::until("QEMU is gone", || !crate::harness::runs(qemu));
}
