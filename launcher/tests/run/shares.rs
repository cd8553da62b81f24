//! A real virtiofsd under the capabilities of a container and of an ordinary user. The fake QEMU never asks it for
//! anything; that it has begun to serve is what is tested.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boot_protocol::exit_code;
use libtest_mimic::Trial;

use crate::harness::{DOCKER, Done, Scratch, finish, tcg, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("shares::root_of_a_container", root_of_a_container),
        test("shares::an_ordinary_user", an_ordinary_user),
    ]
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
            fs::copy(from, &to).unwrap();
            to
        };
        let virtiofsd = copy(&virtiofsd, "virtiofsd");
        copy(Path::new(env!("CARGO_BIN_EXE_hermit-wasm")), "hermit-wasm");
        scratch.player("qemu", "hello");
        fs::create_dir(scratch.path().join("shared")).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Some(Self { scratch, virtiofsd })
    }

    /// Runs the launcher with a shared directory, by `setpriv` with these flags.
    fn run(&self, privileges: &[&str]) -> Done {
        let place = self.scratch.path();
        let plain = tcg(&self.scratch, "hello");
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
                "shared::/",
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
    for bounding in [
        DOCKER,
        &without("mknod"),
        &without("setpcap"),
        "-all,+sys_chroot,+setpcap",
        "-all,+chown",
        "-all",
    ] {
        installed
            .run(&["--bounding-set", bounding, "--inh-caps", "-all", "--clear-groups"])
            .expect_code(0)
            .expect_output("out\n")
            .expect_message(&["serves 'shared'"]);
    }
    // Privileges that are given up for good, and a root that has none.
    for privileges in [
        [
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--clear-groups",
            "--no-new-privs",
        ]
        .as_slice(),
        &["--securebits", "+noroot", "--inh-caps", "-all", "--clear-groups"],
    ] {
        installed
            .run(privileges)
            .expect_code(0)
            .expect_message(&["serves 'shared'", "does not let virtiofsd confine itself"]);
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
