//! A bundle's configuration, rewritten: a machine whose monitor nothing covers, or a sentence.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use hermit_wasm_vm::fuzzing::{Made, container};
use oci_spec::runtime::Spec;
use serde_json::Value;
use tempfile::TempDir;

use super::document;
use super::given::UNKNOWN;

/// The shortest module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// What a monitor's mounts lie at or beneath.
const MONITORS: [&str; 8] = [
    "/proc",
    "/dev",
    "/tmp",
    "/usr",
    "/lib64",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/hermit-wasm",
];

/// Where a monitor has what the guest sees.
const GUEST: &str = "/guest";

/// A node with a bundle, whose image and volume have links to everywhere.
fn node() -> TempDir {
    let scratch = tempfile::tempdir().expect("there is room for a directory");
    let at = |name: &str| scratch.path().join(name);
    for directory in [
        "bundle/rootfs/data/dir",
        "bundle/rootfs/etc",
        "bundle/volume/dir",
        "outside",
        "node/usr/bin",
        "node/lib64",
    ] {
        fs::create_dir_all(at(directory)).expect("it can be made");
    }
    for (target, link) in [
        ("/etc", "bundle/rootfs/data/sub"),
        ("/request.json", "bundle/rootfs/data/link"),
        ("/usr", "bundle/rootfs/link"),
        ("../../../outside", "bundle/rootfs/up"),
        ("loop", "bundle/rootfs/loop"),
        ("/request.json", "bundle/volume/sub"),
        ("../rootfs/app.wasm", "bundle/volume/link"),
        ("../../outside", "bundle/volume/out"),
        ("usr/lib", "node/lib"),
    ] {
        symlink(target, at(link)).expect("it can be made");
    }
    for file in [
        "bundle/rootfs/app.wasm",
        "bundle/volume/app.wasm",
        "outside/secret.wasm",
    ] {
        fs::write(at(file), MODULE).expect("it can be written");
    }
    fs::write(at("bundle/rootfs/elf"), b"\x7fELF\x02\x01\x01").expect("it can be written");
    for program in ["hermit-wasm", "qemu", "virtiofsd"] {
        let program = at("node/usr/bin").join(program);
        fs::write(&program, "").expect("it can be written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is this process's");
    }
    scratch
}

/// All that is in a directory and beneath it, links unfollowed.
fn tree(path: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("it can be read").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            all.insert(entry.path());
        }
    }
    all
}

/// Rewrites a configuration, and checks what it has become: what was given, and what was written, if it is a machine.
pub(super) fn rewrite(text: &[u8]) -> Option<(Value, Value)> {
    let scratch = node();
    let path = scratch.path().canonicalize().expect("it is there");
    let (bundle, root) = (path.join("bundle"), path.join("bundle/rootfs"));
    let others = || -> BTreeSet<_> {
        let all = tree(&path).into_iter();
        all.filter(|one| !one.starts_with(&root) && !one.starts_with(bundle.join("hermit-wasm-fuzz")))
            .collect()
    };
    let before = (others(), tree(&root));
    let made = container(&bundle, &path.join("node"), text);
    // Only the image has something new.
    assert_eq!(others(), before.0);
    assert!(tree(&root).is_superset(&before.1));
    match made {
        Ok(Some(made)) => Some(machine(&bundle, text, &made)),
        Ok(None) => {
            assert!(!bundle.join("hermit-wasm-fuzz").exists());
            None
        }
        Err(sentence) => {
            assert!(!sentence.is_empty());
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            None
        }
    }
}

fn machine(bundle: &Path, text: &[u8], made: &Made) -> (Value, Value) {
    let given: Value = serde_json::from_slice(text).expect("it was read");
    let written: Value = serde_json::from_str(&made.config).expect("it is JSON");
    let spec: Spec = serde_json::from_str(&made.config).expect("delegates read it");
    let root = made.bundle.join("rootfs");
    assert_eq!(
        written["root"]["path"].as_str().map(Path::new),
        Some(root.as_path())
    );
    assert_eq!(written["root"]["readonly"], true);
    assert_eq!(written["process"]["noNewPrivileges"], true);
    assert_eq!(written["process"]["cwd"], "/");
    assert_eq!(
        written["process"]["args"],
        serde_json::json!(["/hermit-wasm/hermit-wasm", "oci", "inside"])
    );
    // What it was to run is for the container's user alone.
    let request = root.join("request.json");
    let about = fs::symlink_metadata(&request).expect("it is there");
    assert!(about.is_file() && about.permissions().mode() & 0o777 == 0o400);
    assert_eq!(
        document(&request)["env"],
        given["process"]
            .get("env")
            .cloned()
            .unwrap_or(Value::Array(vec![]))
    );
    mounts(bundle, &spec);
    (given, written)
}

/// Where the guest's mounts are, and then the monitor's: by names that lead nowhere else.
fn mounts(bundle: &Path, spec: &Spec) {
    let mounts = spec.mounts().as_deref().expect("there are some");
    let is_guests = |place: &Path| place.starts_with(GUEST);
    let guests = mounts
        .iter()
        .take_while(|mount| is_guests(mount.destination()))
        .count();
    let (guests, monitors) = mounts.split_at(guests);
    assert_eq!(guests[0].destination(), Path::new(GUEST));
    assert_eq!(
        guests[0].source().as_deref(),
        Some(bundle.join("rootfs").as_path())
    );
    for mount in mounts {
        let place = mount.destination();
        let mut names = place.components();
        assert_eq!(names.next(), Some(Component::RootDir), "{}", place.display());
        assert!(
            names.all(|name| matches!(name, Component::Normal(_))),
            "{}",
            place.display()
        );
    }
    for mount in monitors {
        let place = mount.destination();
        assert!(
            MONITORS.iter().any(|one| place.starts_with(one)),
            "{} is no place of a monitor's",
            place.display()
        );
    }
    for (number, mount) in guests.iter().enumerate().skip(1) {
        assert_ne!(mount.destination(), Path::new(GUEST), "it covers the image");
        follow(&guests[..number], mount.destination());
    }
}

/// Goes the way of whoever mounts something at `place`, over the mounts that are there by then: no link is on it.
fn follow(mounts: &[oci_spec::runtime::Mount], place: &Path) {
    let mut at = PathBuf::from("/");
    for name in place.components().skip(1) {
        at.push(name);
        // The last mount that this is, or lies beneath, is what is seen.
        let Some(mount) = mounts
            .iter()
            .rev()
            .find(|mount| at.starts_with(mount.destination()))
        else {
            continue;
        };
        let rest = at.strip_prefix(mount.destination()).expect("it lies beneath");
        let is_bind = mount.typ().as_deref() == Some("bind")
            || mount
                .options()
                .iter()
                .flatten()
                .any(|option| option == "bind" || option == "rbind");
        if let (true, Some(source)) = (is_bind && !rest.as_os_str().is_empty(), mount.source()) {
            let there = fs::symlink_metadata(source.join(rest));
            assert!(
                !there.is_ok_and(|there| there.is_symlink()),
                "{} leads through a link, {}",
                place.display(),
                source.join(rest).display()
            );
        }
    }
}

/// What was not understood is there as it was, in objects, and in those items of lists that are as they were.
pub(super) fn unknown(given: &Value, written: &Value) {
    match given {
        Value::Object(given) => {
            for (name, value) in given {
                let there = written.get(name);
                if name.starts_with(UNKNOWN) {
                    assert_eq!(there, Some(value), "{name}");
                } else if let Some(there) = there {
                    unknown(value, there);
                }
            }
        }
        Value::Array(items) => {
            let all = written.to_string();
            for item in items {
                let names = item.as_object().into_iter().flatten();
                for (name, value) in names.filter(|(name, _)| name.starts_with(UNKNOWN)) {
                    // The device of KVM is the machine's, whatever was given.
                    if item["path"] != "/dev/kvm" {
                        assert!(all.contains(&format!("\"{name}\":{value}")), "{name}");
                    }
                }
            }
        }
        _ => {}
    }
}
