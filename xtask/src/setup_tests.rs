//! Tests of `scripts/setup` where apt would do what nobody asked for: a fake apt-get stands in for Debian's.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::toolchain::root;

/// What the fake is asked for is appended to the file `asked`; what it would do is read from the file `plan`. Asked to
/// do it, it installs QEMU.
const APT_GET: &str = r#"#!/bin/sh
here=$(dirname "$0")/..
echo "$*" >>"$here/asked"
case " $* " in
    *' -s '*) cat "$here/plan" ;;
    *' install '*) ln -s /bin/true "$here/bin/qemu-system-x86_64" ;;
esac
"#;

/// A machine with all that this one has except for QEMU, and the fake.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, plan: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hermit-wasm-setup-{name}-{}", std::process::id()));
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        for directory in std::env::split_paths(&path) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name != "qemu-system-x86_64" && name != "apt-get" && name != "sudo" {
                    // The first of a name counts.
                    let _ = symlink(entry.path(), bin.join(name));
                }
            }
        }
        fs::write(folder.join("plan"), plan).unwrap();
        program(&bin.join("apt-get"), APT_GET);
        program(&bin.join("sudo"), "#!/bin/sh\nshift\nexec \"$@\"\n");
        Self(folder)
    }

    fn setup(&self, may_remove: bool) -> Output {
        let mut command = Command::new(root().join("scripts/setup"));
        command.args(["--for", "run", "--arch", "x86_64"]);
        command.env("PATH", self.0.join("bin"));
        let may_remove = if may_remove { "1" } else { "" };
        command
            .env("HERMIT_WASM_APT_MAY_REMOVE", may_remove)
            .output()
            .unwrap()
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.0.join("asked")).unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_package_that_is_there_is_not_removed() {
    let machine = Machine::new(
        "remove",
        "Remv qemu-utils [1:9.2]\nInst qemu-system-x86 (1:7.2)\n",
    );
    let output = machine.setup(false);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("apt would REMOVE: qemu-utils."), "{said}");
    assert!(said.contains("still missing: qemu-system-x86_64"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    for line in machine.asked().lines() {
        assert!(line.contains(" -s ") || line.contains("update"), "{line}");
    }
}

#[test]
fn what_is_installed_is_said_before() {
    let machine = Machine::new("install", "Inst seabios (1.16)\nInst qemu-system-x86 (1:7.2)\n");
    let output = machine.setup(false);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("installing with apt: seabios qemu-system-x86"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    let asked = machine.asked();
    let real = asked.lines().find(|line| line.contains(" -y ")).unwrap();
    assert!(real.contains("--no-remove"), "{real}");
}

#[test]
fn a_package_is_removed_where_that_is_allowed() {
    let plan = "Remv qemu-utils [1:9.2]\nInst qemu-system-x86 (1:7.2)\n";
    let machine = Machine::new("may-remove", plan);
    let output = machine.setup(true);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("removing with apt, as HERMIT_WASM_APT_MAY_REMOVE=1 allows: qemu-utils"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
    let asked = machine.asked();
    let real = asked.lines().find(|line| line.contains(" -y ")).unwrap();
    assert!(!real.contains("--no-remove"), "{real}");
}
