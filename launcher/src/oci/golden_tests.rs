//! Configurations as engines write them, and as the delegate gets them, to the last field.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use super::config::Config;
use super::monitor::{self, Programs};
use super::rewrite::{Container, Fate};
use super::users::Users;
use crate::vmm::capabilities::Accelerator;

/// What stands for the directory of a test.
const SCRATCH: &str = "$S";

/// A node: an image, a volume, and what a monitor is made of.
fn node() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path();
    for directory in [
        "merged/srv",
        "volume",
        "shm",
        "bundle",
        "node/usr/bin",
        "node/usr/lib",
        "node/etc",
        "elsewhere",
    ] {
        fs::create_dir_all(path.join(directory)).unwrap();
    }
    symlink("usr/lib", path.join("node/lib")).unwrap();
    fs::create_dir(path.join("node/lib64")).unwrap();
    for file in ["merged/srv/app.wasm", "resolv.conf", "node/etc/ld.so.cache"] {
        fs::write(path.join(file), b"\0asm\x01\0\0\0").unwrap();
    }
    for program in [
        "node/usr/bin/qemu",
        "elsewhere/virtiofsd",
        "elsewhere/hermit-wasm",
    ] {
        fs::write(path.join(program), "").unwrap();
        fs::set_permissions(path.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    scratch
}

/// The configuration and the request that an engine's configuration becomes.
fn rewritten(given: &str, accelerator: Accelerator) -> (Value, Value) {
    let scratch = node();
    let path = scratch.path().canonicalize().unwrap();
    let name = path.to_str().unwrap();
    let bundle = path.join("bundle");
    let mut container = Container {
        bundle: &bundle,
        id: None,
        spec: serde_json::from_str(&given.replace(SCRATCH, name)).unwrap(),
    };
    let config = Config {
        monitor: path.join("node"),
        ..Config::default()
    };
    let programs = Programs {
        launcher: path.join("elsewhere/hermit-wasm"),
        qemu: path.join("node/usr/bin/qemu"),
        virtiofsd: path.join("elsewhere/virtiofsd"),
    };
    let Ok(Fate::Machine(machine)) = container.fate(&config) else {
        panic!("the container becomes no machine");
    };
    let request = container
        .rewrite(&machine, &config, &programs, Some(accelerator))
        .unwrap();
    let user = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let mounts = container.spec.mounts().as_deref().unwrap();
    let id = OsStr::new("one");
    let own = monitor::bundle(&bundle, id).unwrap();
    let root = monitor::make(&own, &config, &request, mounts, user).unwrap();
    container.set_root(root.clone(), &programs.launcher).unwrap();
    assert!(monitor::is_of_machine(&own, id) && !monitor::is_of_machine(&bundle, id));
    // The engine's own files are as they were, and the links of the node's root are there.
    assert_eq!(fs::read_dir(&bundle).unwrap().count(), 1);
    assert_eq!(fs::read_link(root.join("lib")).unwrap(), Path::new("usr/lib"));
    let kept = root.join("request.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o400);
    let shown = |text: String| serde_json::from_str(&text.replace(name, SCRATCH)).unwrap();
    (
        shown(serde_json::to_string(&container.spec).unwrap()),
        shown(fs::read_to_string(kept).unwrap()),
    )
}

/// Compares field by field, so that a difference is seen at once.
fn same(found: &Value, expected: &Value) {
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(found), fields(expected));
    for field in fields(found) {
        assert_eq!(
            serde_json::to_string_pretty(&found[&field]).unwrap(),
            serde_json::to_string_pretty(&expected[&field]).unwrap(),
            "{field}"
        );
    }
}

#[test]
fn podmans_container_becomes_a_machine() {
    let (found, request) = rewritten(include_str!("golden/podman.in.json"), Accelerator::Kvm);
    let golden: Value = serde_json::from_str(include_str!("golden/podman.out.json")).unwrap();
    same(&found, &golden["config"]);
    same(&request, &golden["request"]);
}

#[test]
fn no_secret_is_in_the_delegates_configuration() {
    let (found, request) = rewritten(include_str!("golden/podman.in.json"), Accelerator::Tcg);
    let found = found.to_string();
    assert!(!found.contains("hunter2") && !found.contains("file with spaces"));
    assert!(request.to_string().contains("hunter2"));
    // Without KVM nobody gets its device.
    assert!(!found.contains("/dev/kvm"));
}

#[test]
fn a_limit_of_memory_is_the_machines() {
    let with = |memory: &str| {
        let given = include_str!("golden/podman.in.json");
        let old = "\"memory\": { \"limit\": 67108864, \"swap\": 134217728, \"reservation\": 33554432 }";
        assert!(given.contains(old));
        rewritten(&given.replace(old, memory), Accelerator::Tcg)
    };
    let memory = |found: &Value| found["linux"]["resources"]["memory"].to_string();
    let (found, request) = with("\"memory\": { \"limit\": -1 }");
    assert_eq!(
        (memory(&found).as_str(), &request["memory"]),
        (r#"{"limit":-1}"#, &Value::Null)
    );
    // As the kernel says that there is no limit.
    let (_, request) = with("\"memory\": { \"limit\": 9223372036854771712 }");
    let system = rustix::system::sysinfo();
    assert_eq!(request["memory"], system.totalram * u64::from(system.mem_unit));
    let (found, request) = with("\"unified\": { \"memory.max\": \"67108864\", \"memory.swap.max\": \"0\" }");
    assert_eq!(request["memory"], 67_108_864);
    assert_eq!(found["linux"]["resources"]["unified"]["memory.max"], "167772160");
    assert_eq!(found["linux"]["resources"]["unified"]["memory.swap.max"], "0");
}

#[test]
fn an_engines_first_process_is_the_launcher() {
    let given = include_str!("golden/podman.in.json");
    let with = |init: &str| {
        let words = format!("\"args\": [\"{init}\", \"--\", \"./app.wasm\",");
        rewritten(
            &given.replace("\"args\": [\"./app.wasm\",", &words),
            Accelerator::Tcg,
        )
        .1
    };
    for init in ["/sbin/docker-init", "/run/podman-init"] {
        let request = with(init);
        assert_eq!(request["name"], "./app.wasm");
        assert_eq!(request["args"], serde_json::json!(["-v", "file with spaces"]));
    }
}

#[test]
fn a_user_that_the_namespace_lacks_is_refused() {
    let mut given: Value = serde_json::from_str(include_str!("golden/podman.in.json")).unwrap();
    let maps = serde_json::json!([{ "containerID": 0, "hostID": 200_000, "size": 1000 }]);
    given["linux"]["uidMappings"] = maps.clone();
    given["linux"]["gidMappings"] = maps;
    let container = Container {
        bundle: Path::new("/"),
        id: None,
        spec: serde_json::from_value(given).unwrap(),
    };
    let users = Users::of(&container.spec).unwrap();
    let refused = container.owner(&users).unwrap_err().to_string();
    assert!(refused.contains("1000:1000 is none of those"), "{refused}");
}
