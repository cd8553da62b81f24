//! Configurations in words that mean something, as random bytes hardly ever do.

use arbitrary::{Arbitrary, Unstructured};
use serde_json::{Map, Value, json};

use super::Word;

/// Paths in a container: of the image, of what is mounted, out of both.
const PLACES: [&str; 20] = [
    "/data",
    "/data/sub",
    "/data/sub/deep",
    "/data/link/x",
    "/data/out",
    "/data/dir",
    "/data/..",
    "/link",
    "/link/new",
    "/up/made",
    "/loop",
    "/app.wasm",
    "/app.wasm/x",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/proc/self",
    "/dev/termination-log",
    "/../../request.json",
    "/guest",
    "relative/./place",
];

/// What is mounted.
const SOURCES: [&str; 8] = [
    "volume",
    "volume/dir",
    "volume/app.wasm",
    "volume/link",
    "rootfs",
    "absent",
    "tmpfs",
    "proc",
];

const KINDS: [&str; 5] = ["bind", "tmpfs", "proc", "overlay", "none"];

const OPTIONS: [&str; 8] = [
    "rbind",
    "bind",
    "ro",
    "rw",
    "tmpcopyup",
    "mode=1777",
    "mode=7",
    "rprivate",
];

const PROGRAMS: [&str; 8] = [
    "/app.wasm",
    "app.wasm",
    "/data/app.wasm",
    "/data/link/app.wasm",
    "/one.wasm",
    "/link",
    "/elf",
    "/sbin/docker-init",
];

const ANNOTATIONS: [(&str, &str); 6] = [
    ("org.hermit-wasm.fuel", "5"),
    ("org.hermit-wasm.memory", "64M"),
    ("org.hermit-wasm.native", "allow"),
    ("org.hermit-wasm.engine", "interp"),
    ("io.kubernetes.cri.container-type", "sandbox"),
    ("io.kubernetes.cri.sandbox-id", "fuzz"),
];

#[derive(Arbitrary, Debug)]
struct Mount {
    at: Word,
    source: Option<Word>,
    kind: Option<u8>,
    options: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Parts {
    args: Vec<Word>,
    env: Vec<String>,
    cwd: Option<Word>,
    user: (u32, u32),
    mapping: Option<(u32, u32, u32)>,
    read_only: bool,
    mounts: Vec<Mount>,
    annotations: Vec<u8>,
    note: Option<(String, String)>,
    memory: Option<i64>,
    unified: Option<String>,
    tasks: Option<i64>,
    device: Option<String>,
    hook: bool,
    unknown: Vec<u8>,
}

/// The places in a configuration where fields are that nobody knows.
const OBJECTS: [&str; 7] = [
    "",
    "/process",
    "/process/user",
    "/linux",
    "/linux/resources",
    "/linux/devices/0",
    "/hooks/prestart/0",
];

/// What such a field is called, with its number.
pub(super) const UNKNOWN: &str = "xUnknown";

/// The configuration that the bytes describe.
pub(super) fn configuration(script: &[u8]) -> Option<Value> {
    let parts = Parts::arbitrary(&mut Unstructured::new(script)).ok()?;
    let text = |list: &[&str], number: u8| list[usize::from(number) % list.len()].to_string();
    let mount = |mount: Mount| {
        let mut fields = Map::new();
        fields.insert("destination".into(), mount.at.of(&PLACES).into());
        if let Some(source) = mount.source {
            fields.insert("source".into(), source.of(&SOURCES).into());
        }
        if let Some(kind) = mount.kind {
            fields.insert("type".into(), text(&KINDS, kind).into());
        }
        let options: Vec<_> = mount
            .options
            .iter()
            .map(|number| text(&OPTIONS, *number))
            .collect();
        fields.insert("options".into(), options.into());
        Value::from(fields)
    };
    let mut annotations: Map<_, _> = parts
        .annotations
        .iter()
        .map(|number| ANNOTATIONS[usize::from(*number) % ANNOTATIONS.len()])
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect();
    annotations.extend(parts.note.map(|(name, value)| (name, value.into())));
    let args: Vec<_> = match parts.args.is_empty() {
        true => vec![PROGRAMS[0].to_string()],
        false => parts.args.into_iter().map(|word| word.of(&PROGRAMS)).collect(),
    };
    let mapping = parts
        .mapping
        .map(|(inside, outside, size)| json!({ "containerID": inside, "hostID": outside, "size": size }));
    let mut all = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": parts.read_only },
        "process": {
            "user": { "uid": parts.user.0, "gid": parts.user.1 },
            "cwd": parts.cwd.map_or_else(|| "/".to_string(), |cwd| cwd.of(&PLACES)),
            "args": args,
            "env": parts.env,
        },
        "mounts": parts.mounts.into_iter().map(mount).collect::<Vec<_>>(),
        "annotations": annotations,
        "linux": {
            "uidMappings": mapping.iter().collect::<Vec<_>>(),
            "gidMappings": mapping.iter().collect::<Vec<_>>(),
            "resources": {},
            "devices": [{
                "path": parts.device.unwrap_or_else(|| "/dev/fuse".to_string()),
                "type": "c", "major": 10, "minor": 229,
            }],
        },
    });
    let resources = &mut all["linux"]["resources"];
    if let Some(limit) = parts.memory {
        resources["memory"] = json!({ "limit": limit, "swap": limit });
    }
    if let Some(limit) = parts.unified {
        resources["unified"] = json!({ "memory.max": limit });
    }
    if let Some(limit) = parts.tasks {
        resources["pids"] = json!({ "limit": limit });
    }
    if parts.hook {
        all["hooks"] =
            json!({ "prestart": [{ "path": "/bin/true" }], "createContainer": [{ "path": "/bin/true" }] });
    }
    for (number, place) in parts.unknown.into_iter().take(8).enumerate() {
        let place = OBJECTS[usize::from(place) % OBJECTS.len()];
        if let Some(Value::Object(object)) = all.pointer_mut(place) {
            object.insert(format!("{UNKNOWN}{number}"), json!({ "of": [number, place] }));
        }
    }
    Some(all)
}
