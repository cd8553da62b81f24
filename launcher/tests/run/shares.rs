//! A real virtiofsd under the capabilities of a container and of an ordinary user. The fake QEMU never asks it for
//! anything; that it has begun to serve is what is tested.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{DOCKER, Done, Scratch, finish, tcg, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("shares::root_of_a_container", root_of_a_container),
        test("shares::an_ordinary_user", an_ordinary_user),
        test("shares::an_owned_machine", an_owned_machine),
        test("shares::a_quota_holds", a_quota_holds),
        test(
            "shares::nested_directories_are_measured",
            nested_directories_are_measured,
        ),
    ]
}

/// A guest must not keep later runs from measuring its directory: it can nest more deeply than a process has
/// descriptors.
fn nested_directories_are_measured() {
    let scratch = Scratch::new();
    let mut deepest = scratch.path().join("d");
    for _ in 0..200 {
        deepest.push("n");
    }
    fs::create_dir_all(&deepest).unwrap();
    fs::create_dir(scratch.path().join("d/n/beside")).unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -n 64; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_hermit-wasm"),
        ])
        // What comes after the measuring: a virtiofsd that is none.
        .args(["run", "--greet", "--accel", "tcg", "--virtiofsd", "/bin/false"])
        .args(["--dir", "d::/d,quota=10M"])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(&mut command)
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["namespace: it ended at once"]);
}

/// Privileges with which neither namespaces nor a root can be had.
const NO_WALL: [&[&str]; 3] = [
    &[
        "--bounding-set",
        "-all,+chown",
        "--inh-caps",
        "-all",
        "--clear-groups",
    ],
    &[
        "--bounding-set",
        "-all",
        "--inh-caps",
        "-all",
        "--clear-groups",
        "--no-new-privs",
    ],
    &["--securebits", "+noroot", "--inh-caps", "-all", "--clear-groups"],
];

/// Whether this kernel has Landlock, as the launcher says.
fn landlock() -> bool {
    let check = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"))
        .arg("check")
        .output()
        .unwrap();
    let text = String::from_utf8(check.stdout).unwrap();
    text.lines()
        .any(|line| line.starts_with("Landlock") && line.contains(" ok "))
}

/// Whether root can make user namespaces here.
fn user_namespaces() -> bool {
    let made = Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .status();
    made.is_ok_and(|status| status.success())
}

/// A launcher that other users can run too, with its virtiofsd.
struct Installed {
    scratch: Scratch,
    virtiofsd: PathBuf,
}

impl Installed {
    /// Nothing, and a word about it, where this cannot be tested.
    fn new() -> Option<Self> {
        let skip = |why: &str| eprintln!("SKIPPED: virtiofsd with few capabilities is not tested: {why}");
        if !rustix::process::geteuid().is_root() {
            skip("only root can give capabilities up");
            return None;
        }
        if !Command::new("setpriv")
            .arg("true")
            .status()
            .is_ok_and(|status| status.success())
        {
            skip("setpriv is missing");
            return None;
        }
        let Some(virtiofsd) = virtiofsd() else {
            skip("virtiofsd is missing; scripts/setup installs it");
            return None;
        };
        let scratch = Scratch::new();
        let copy = |from: &Path, name: &str| {
            let to = scratch.path().join(name);
            // By another process: a file that this one has open for writing is busy in each process that it forks.
            let copied = Command::new("cp").arg(from).arg(&to).status();
            assert!(copied.is_ok_and(|status| status.success()));
            to
        };
        let virtiofsd = copy(&virtiofsd, "virtiofsd");
        copy(Path::new(env!("CARGO_BIN_EXE_hermit-wasm")), "hermit-wasm");
        fs::create_dir(scratch.path().join("shared")).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Some(Self { scratch, virtiofsd })
    }

    /// Runs the launcher with a shared directory, by `setpriv` with these flags.
    fn run(&self, privileges: &[&str]) -> Done {
        self.play("hello", privileges)
    }

    /// The same with another machine.
    fn play(&self, scenario: &str, privileges: &[&str]) -> Done {
        self.share("shared::/", scenario, privileges)
    }

    /// The same with another value of `--dir`.
    fn share(&self, directory: &str, scenario: &str, privileges: &[&str]) -> Done {
        let place = self.scratch.path();
        let plain = tcg(&self.scratch, scenario);
        self.scratch.player("qemu", scenario);
        let mut command = Command::new("setpriv");
        command
            .args(privileges)
            .arg(place.join("hermit-wasm"))
            .args([
                "run",
                "--greet",
                "--accel",
                "tcg",
                "--verbose",
                "--dir",
                directory,
            ])
            .arg("--qemu")
            .arg(place.join("qemu"))
            .arg("--virtiofsd")
            .arg(&self.virtiofsd)
            .envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))))
            .current_dir(place)
            .stdin(Stdio::null());
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }
}

/// The daemon that `HERMIT_WASM_VIRTIOFSD` names, else one in PATH that is not QEMU's old one.
fn virtiofsd() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("HERMIT_WASM_VIRTIOFSD").filter(|name| !name.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join("virtiofsd"))
        .find(|program| {
            let output = Command::new(program).arg("--version").output();
            output.is_ok_and(|output| output.stdout.starts_with(b"virtiofsd 1."))
        })
}

fn root_of_a_container() {
    let Some(installed) = Installed::new() else {
        return;
    };
    let without = |name: &str| DOCKER.replace(&format!(",+{name}"), "");
    // With SETFCAP it can be root of a user namespace, where the system has those; with less it has less.
    let mapped = if user_namespaces() {
        "in a user namespace"
    } else {
        "wall: chroot"
    };
    for (bounding, wall) in [
        (DOCKER, mapped),
        (&without("mknod"), mapped),
        (&without("setpcap"), mapped),
        ("-all,+sys_chroot,+setpcap", "wall: chroot"),
        ("-all,+sys_chroot", "wall: chroot"),
    ] {
        installed
            .run(&["--bounding-set", bounding, "--inh-caps", "-all", "--clear-groups"])
            .expect_code(0)
            .expect_output("out\n")
            .expect_message(&["serves 'shared'", wall]);
    }
    // Few privileges, privileges that are given up for good, and a root that has none.
    for privileges in NO_WALL {
        let done = installed.run(privileges);
        if landlock() {
            done.expect_code(0).expect_output("out\n").expect_message(&[
                "serves 'shared', wall: Landlock",
                "those that it makes itself were tried before",
            ]);
        } else {
            eprintln!("SKIPPED: Landlock as the only wall is not tested: this kernel has none");
            done.expect_code(exit_code::VM_FAILED).expect_message(&[
                "does not serve 'shared' behind any wall",
                "--copy-dir",
                "--jail off",
            ]);
        }
    }
    // virtiofsd insists on leaving its groups.
    installed
        .run(&["--bounding-set", "-all", "--inh-caps", "-all", "--groups", "1"])
        .expect_code(exit_code::VM_FAILED)
        .expect_message(&["DropSupplementalGroups", "CAP_SETGID"]);
}

fn an_ordinary_user() {
    let Some(installed) = Installed::new() else {
        return;
    };
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    for few in [
        [].as_slice(),
        &["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"],
    ] {
        installed
            .run(&[&user, few].concat())
            .expect_code(0)
            .expect_output("out\n")
            .expect_message(&["serves 'shared'"]);
    }
}

/// Whoever owns the machine speaks FUSE to virtiofsd, behind each wall: of root, of an ordinary user, of a root with a
/// container's capabilities or none. What the host has afterwards counts, not the errnos.
fn an_owned_machine() {
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let container = ["--bounding-set", DOCKER, "--inh-caps", "-all", "--clear-groups"];
    let chroot = [
        "--bounding-set",
        "-all,+sys_chroot",
        "--inh-caps",
        "-all",
        "--clear-groups",
    ];
    let [_, landlock_only, _] = NO_WALL;
    for (who, privileges, uid) in [
        ("root", ["--clear-groups"].as_slice(), 0),
        ("an ordinary user", &user, 65534),
        ("root of a container", &container, 0),
        ("root that can chroot", &chroot, 0),
        ("root without privileges", landlock_only, 0),
    ] {
        if privileges == landlock_only && !landlock() {
            continue;
        }
        let Some(installed) = Installed::new() else {
            return;
        };
        let place = installed.scratch.path();
        let outside = place.join("outside");
        fs::write(&outside, "secret").unwrap();
        std::os::unix::fs::chown(&outside, Some(uid), Some(uid)).unwrap();
        std::os::unix::fs::chown(place.join("shared"), Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o640)).unwrap();
        let before = names(place);
        let scenario = format!("attack the share:{}", outside.display());
        let done = installed.play(&scenario, privileges).expect_code(0);
        let report = String::from_utf8(done.stdout).unwrap();
        assert!(report.contains("still serves: 0\n"), "{who}: {report}");

        let mut found = Vec::new();
        for entry in fs::read_dir(place.join("shared")).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            let kind = about.file_type();
            let name = entry.file_name();
            assert!(
                kind.is_file() || kind.is_dir() || kind.is_symlink(),
                "{who}: {name:?} {about:?}\n{report}"
            );
            assert_eq!(
                about.mode() & 0o6000,
                0,
                "{who}: {name:?} {:o}\n{report}",
                about.mode()
            );
            assert_eq!(
                (about.uid(), about.gid()),
                (uid, uid),
                "{who}: {name:?}\n{report}"
            );
            found.push(name.into_string().unwrap());
        }
        for allowed in ["file", "hard", "directory", "link-out", "control\u{1b}[31m\nname"] {
            assert!(
                found.contains(&allowed.to_string()),
                "{who}: {allowed} is missing: {found:?}\n{report}"
            );
        }
        assert_eq!(
            before,
            names(place),
            "{who}: something outside was made\n{report}"
        );
        assert_eq!(fs::read_to_string(&outside).unwrap(), "secret", "{who}\n{report}");
        assert_eq!(
            fs::metadata(&outside).unwrap().mode() & 0o7777,
            0o640,
            "{who}\n{report}"
        );
        let lookups = report.lines().filter(|line| line.contains(": lookup: "));
        assert!(lookups.clone().count() >= 3, "{who}: {report}");
        for line in lookups {
            assert!(!line.ends_with(" 0"), "{who}: {line}\n{report}");
        }
    }
}

/// What lies in a directory, but for what the tests themselves write.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["journal", "cache", "qemu", "qemu.play"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// An owned machine takes all the room that it can get in each way that there is, and it is no more than the quota, but
/// not much less either, whoever runs the launcher. EDQUOT is 122.
fn a_quota_holds() {
    const QUOTA: u64 = 2 << 20;
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let [_, landlock_only, _] = NO_WALL;
    for (who, privileges, uid) in [
        ("root", ["--clear-groups"].as_slice(), 0),
        ("an ordinary user", &user, 65534),
        ("root without privileges", landlock_only, 0),
    ] {
        if privileges == landlock_only && !landlock() {
            continue;
        }
        let Some(installed) = Installed::new() else {
            return;
        };
        let shared = installed.scratch.path().join("shared");
        for (way, bytes) in [
            ("write", true),
            ("scatter", true),
            ("allocate", true),
            ("copy", true),
            ("create", false),
            ("mkdir", false),
            ("mknod", false),
            ("symlink", false),
            ("link", false),
        ] {
            fs::remove_dir_all(&shared).unwrap();
            fs::create_dir(&shared).unwrap();
            fs::write(shared.join("before"), vec![1; 1 << 20]).unwrap();
            std::os::unix::fs::chown(&shared, Some(uid), Some(uid)).unwrap();
            let before = disk_use(&shared);
            let scenario = format!("fill the share:{way}");
            let done = installed.share("shared::/,quota=2M", &scenario, privileges);
            let grown = disk_use(&shared) - before;
            let names = fs::read_dir(&shared).unwrap().count();
            let message = "'shared' would have grown by more than its quota of 2 MiB";
            done.expect_code(0)
                .expect_message(&[message])
                .expect_output(&format!("{way}: 122\nafter deleting: 0\n"));
            let seen = format!("{who}, {way}: {grown} bytes, {names} names");
            assert!(grown <= QUOTA, "{seen}");
            if bytes {
                assert!(grown > QUOTA / 2, "{seen}");
            } else {
                assert!((50..=512).contains(&names), "{seen}");
            }
        }
    }
}

/// What a directory takes on the disk.
fn disk_use(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let mut links = std::collections::HashSet::new();
    entries
        .map(|entry| entry.metadata().unwrap())
        .filter(|about| links.insert(about.ino()))
        .map(|about| about.blocks() * 512)
        .sum()
}
