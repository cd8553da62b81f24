//! Bundles of images that want out: what each is answered, and that nothing of the host's is opened, covered or made.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode};
use serde_json::{Value, json};

use super::config::Config;
use super::rewrite::{Container, Fate, Machine};

/// The shortest module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A bundle, and beside it what no container may see.
struct Bundle {
    scratch: tempfile::TempDir,
}

impl Bundle {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let this = Self { scratch };
        fs::create_dir_all(this.root().join("bin")).unwrap();
        fs::write(this.root().join("bin/app.wasm"), MODULE).unwrap();
        fs::create_dir(this.outside()).unwrap();
        fs::write(this.outside().join("secret.wasm"), MODULE).unwrap();
        fs::create_dir_all(this.volume()).unwrap();
        this
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn root(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    fn outside(&self) -> PathBuf {
        self.path().join("outside")
    }

    fn volume(&self) -> PathBuf {
        self.path().join("volume")
    }

    fn container(&self, change: impl FnOnce(&mut Value)) -> Container<'_> {
        let mut config = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs" },
            "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/bin/app.wasm"], "env": ["PATH=/bin"] },
            "mounts": [],
            "linux": {},
        });
        change(&mut config);
        let spec: Spec = serde_json::from_value(config).unwrap();
        Container {
            bundle: self.path(),
            id: Some(OsStr::new("name")),
            spec,
        }
    }

    fn fate(&self, change: impl FnOnce(&mut Value)) -> Result<Fate, String> {
        self.container(change)
            .fate(&Config::default())
            .map_err(|refusal| refusal.to_string())
    }

    fn machine(&self, change: impl FnOnce(&mut Value)) -> Result<Box<Machine>, String> {
        match self.fate(change)? {
            Fate::Machine(machine) => Ok(machine),
            Fate::AsItIs => Err("as it is".to_string()),
        }
    }

    /// What a program of this name is answered.
    fn refusal_of(&self, program: &str) -> String {
        match self.machine(|config| config["process"]["args"] = json!([program])) {
            Ok(machine) => panic!("{program} is {}", machine.entry.path.display()),
            Err(sentence) => sentence,
        }
    }
}

#[test]
fn programs_that_are_none_get_one_sentence() {
    let bundle = Bundle::new();
    let root = bundle.root();
    let outside = bundle.outside().join("secret.wasm");
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../outside/secret.wasm", root.join("relative")).unwrap();
    symlink("/proc/self/exe", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink(bundle.outside(), root.join("way")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("fifo"), Mode::RWXU).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    for (name, bytes) in [
        ("truncated", &b"\0asm\x01"[..]),
        ("empty", b""),
        ("component", b"\0asm\x0d\0\x01\0"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("script", b"#!/bin/app.wasm\n"),
        ("text", b"hello"),
    ] {
        fs::write(root.join(name), bytes).unwrap();
    }
    for (program, reason) in [
        ("/absolute", "no such file or directory"),
        ("/relative", "no such file or directory"),
        ("/magic", "no such file or directory"),
        ("/way/secret.wasm", "no such file or directory"),
        ("/../outside/secret.wasm", "no such file or directory"),
        ("/bin/app.wasm/x", "no such file or directory"),
        ("absent", "no such file or directory"),
        ("", "no program"),
        ("/loop", "symbolic links"),
        ("/fifo", "no regular file"),
        ("/socket", "no regular file"),
        ("/bin", "a directory"),
        ("/", "a directory"),
        ("/truncated", "within its first 8 bytes"),
        ("/empty", "empty"),
        ("/component", "component"),
        ("/elf", "org.hermit-wasm.native: allow"),
        ("/script", "org.hermit-wasm.native: allow"),
        ("/text", "it is text"),
        ("/bin/app.wasm\n\u{1b}[2J", "no such file or directory"),
    ] {
        let sentence = bundle.refusal_of(program);
        assert!(sentence.contains(reason), "{program}: {sentence}");
        assert!(!sentence.chars().any(char::is_control), "{program}: {sentence:?}");
    }
}

#[test]
fn a_programs_name_is_resolved_as_a_shell_does() {
    let bundle = Bundle::new();
    symlink("/bin", bundle.root().join("usr")).unwrap();
    fs::create_dir(bundle.root().join("work")).unwrap();
    fs::write(bundle.root().join("work/here.wasm"), MODULE).unwrap();
    for (program, expected) in [
        ("/bin/app.wasm", "bin/app.wasm"),
        ("/usr/app.wasm", "bin/app.wasm"),
        ("app.wasm", "bin/app.wasm"),
        ("./here.wasm", "work/here.wasm"),
        ("here.wasm", "work/here.wasm"),
        ("../bin/app.wasm", "bin/app.wasm"),
    ] {
        let machine = bundle.machine(|config| {
            config["process"]["args"] = json!([program]);
            config["process"]["cwd"] = json!("/work");
        });
        assert_eq!(machine.unwrap().entry.path, Path::new(expected), "{program}");
    }
}

#[test]
fn native_programs_run_as_they_are_where_node_and_pod_allow_it() {
    let bundle = Bundle::new();
    fs::write(bundle.root().join("elf"), b"\x7fELF\x02\x01\x01\0").unwrap();
    let allowed = |config: &mut Value| {
        config["process"]["args"] = json!(["/elf"]);
        config["annotations"] = json!({ "org.hermit-wasm.native": "allow" });
    };
    let node = Config {
        native: true,
        ..Config::default()
    };
    assert!(matches!(bundle.container(allowed).fate(&node), Ok(Fate::AsItIs)));
    // Who its users are is the delegate's business.
    let unknown = |config: &mut Value| {
        let namespace = bundle.outside().join("secret.wasm");
        config["linux"]["namespaces"] = json!([{ "type": "user", "path": namespace }]);
    };
    let native = bundle.container(|config| {
        allowed(config);
        unknown(config);
    });
    assert!(matches!(native.fate(&node), Ok(Fate::AsItIs)));
    let machine = bundle.machine(unknown).err().unwrap();
    assert!(machine.contains("users are not known"), "{machine}");
    // An image can bring annotations.
    let refused = bundle.fate(allowed).err().unwrap();
    assert!(refused.contains("native = true"), "{refused}");
    let precompiled = bundle.fate(|config| {
        config["annotations"] = json!({ "org.hermit-wasm.allow-precompiled": "y" });
    });
    assert!(precompiled.err().unwrap().contains("precompiled = true"));
    // A module is a machine all the same.
    let module = bundle.fate(|config| config["annotations"] = json!({ "org.hermit-wasm.native": "allow" }));
    assert!(matches!(module, Ok(Fate::Machine(_))));
    for (name, is_sandbox) in [("name", true), ("other", false)] {
        let sandbox = bundle.fate(|config| {
            config["process"]["args"] = json!(["/elf"]);
            config["annotations"] = json!({
                "io.kubernetes.cri.container-type": "sandbox",
                "io.kubernetes.cri.sandbox-id": name,
            });
        });
        assert_eq!(matches!(sandbox, Ok(Fate::AsItIs)), is_sandbox, "{name}");
    }
}

#[test]
fn targets_of_mounts_stay_in_the_image() {
    let bundle = Bundle::new();
    let root = bundle.root();
    symlink(bundle.outside(), root.join("out")).unwrap();
    symlink("../../outside", root.join("up")).unwrap();
    symlink("/usr", root.join("data")).unwrap();
    for (destination, expected) in [
        ("/data", "/guest/usr"),
        ("/data/deep", "/guest/usr/deep"),
        ("/up/made", "/guest/outside/made"),
        ("/../../new", "/guest/new"),
        ("/new/./place/", "/guest/new/place"),
    ] {
        let machine = bundle.machine(|config| {
            config["mounts"] = json!([
                { "destination": destination, "type": "bind", "source": "volume", "options": ["rbind"] }
            ]);
        });
        let mounts = machine.unwrap().mounts;
        let placed = mounts.last().unwrap();
        assert_eq!(placed.destination(), Path::new(expected), "{destination}");
        assert_eq!(
            placed.source().as_deref(),
            Some(bundle.volume().as_path()),
            "{destination}"
        );
    }
    let absolute = bundle.machine(|config| {
        config["mounts"] = json!([{ "destination": "/out/made", "type": "tmpfs", "source": "tmpfs" }]);
    });
    let inside = Path::new("/guest")
        .join(bundle.outside().strip_prefix("/").unwrap())
        .join("made");
    assert_eq!(absolute.unwrap().mounts.last().unwrap().destination(), &inside);
    assert!(
        fs::read_dir(bundle.outside()).unwrap().count() == 1,
        "something was made outside"
    );
    let whole = bundle.machine(|config| {
        config["mounts"] = json!([{ "destination": "/bin/..", "type": "tmpfs", "source": "tmpfs" }]);
    });
    assert!(whole.err().unwrap().contains("the root of the image"));
}

#[test]
fn links_in_volumes_are_no_way_for_mounts() {
    let bundle = Bundle::new();
    symlink("/usr", bundle.volume().join("link")).unwrap();
    fs::create_dir(bundle.volume().join("plain")).unwrap();
    // The volume hides what the image has there.
    fs::create_dir(bundle.root().join("vol")).unwrap();
    symlink("/bin", bundle.root().join("vol/plain")).unwrap();
    let nested = |place: &str| {
        let place = format!("/vol/{place}");
        bundle.machine(move |config| {
            config["mounts"] = json!([
                { "destination": "/vol", "type": "bind", "source": "volume", "options": ["rbind"] },
                { "destination": place, "type": "tmpfs", "source": "tmpfs" },
            ]);
        })
    };
    for place in ["link", "link/deep"] {
        let sentence = nested(place).err().unwrap();
        assert!(sentence.contains("a link on the way"), "{sentence}");
    }
    for place in ["plain", "plain/new"] {
        let machine = nested(place).unwrap();
        let destination = machine.mounts.last().unwrap().destination().clone();
        assert_eq!(destination, Path::new("/guest/vol").join(place));
    }
    assert!(
        !bundle.volume().join("plain/new").exists(),
        "a volume was changed"
    );
}

#[test]
fn a_copy_in_memory_has_what_was_there_before() {
    let bundle = Bundle::new();
    // Of a volume: who shares it chooses where a link in it leads.
    fs::create_dir_all(bundle.volume().join("cache")).unwrap();
    symlink("/somewhere", bundle.volume().join("cache/l")).unwrap();
    fs::write(bundle.volume().join("cache/app.wasm"), MODULE).unwrap();
    // Of the image: nobody else changes it.
    for directory in ["run", "var/lock", "data/cache/l"] {
        fs::create_dir_all(bundle.root().join(directory)).unwrap();
    }
    symlink("/var/lock", bundle.root().join("run/lock")).unwrap();
    let machine = |kind: &str, place: &str, mounted: &str, program: &str| {
        let (kind, place) = (kind.to_string(), place.to_string());
        let (mounted, program) = (mounted.to_string(), program.to_string());
        bundle.machine(move |config| {
            config["process"]["args"] = json!([program]);
            config["mounts"] = json!([
                { "destination": "/data", "type": "bind", "source": "volume", "options": ["rbind"] },
                { "destination": place, "type": kind, "source": kind, "options": ["tmpcopyup"] },
                { "destination": mounted, "type": "bind", "source": "volume", "options": ["rbind", "ro"] },
            ]);
        })
    };
    let secret = machine("tmpfs", "/data/cache", "/data/cache/l/x", "/bin/app.wasm");
    let sentence = secret.err().unwrap();
    assert!(
        sentence.contains("a link on the way, in the volume at /data"),
        "{sentence}"
    );
    for (kind, place, mounted, expected) in [
        ("tmpfs", "/data/cache", "/data/cache/new", "/guest/data/cache/new"),
        ("tmpfs", "/run", "/run/lock/x", "/guest/var/lock/x"),
        // No delegate copies anything into these.
        ("ramfs", "/run", "/run/lock/x", "/guest/run/lock/x"),
    ] {
        let machine = machine(kind, place, mounted, "/bin/app.wasm").unwrap();
        let destination = machine.mounts.last().unwrap().destination().clone();
        assert_eq!(destination, Path::new(expected), "{kind} at {place}");
    }
    for (place, program) in [("/bin", "bin/app.wasm"), ("/data/cache", "data/cache/app.wasm")] {
        let machine = machine("tmpfs", place, "/new", &format!("/{program}"));
        assert_eq!(machine.unwrap().entry.path, Path::new(program));
    }
    let hidden = machine("ramfs", "/bin", "/new", "/bin/app.wasm").err().unwrap();
    assert!(hidden.contains("no such file"), "{hidden}");
}

#[test]
fn a_program_may_lie_in_a_volume_and_leads_nowhere_there() {
    let bundle = Bundle::new();
    fs::write(bundle.volume().join("app.wasm"), MODULE).unwrap();
    symlink(
        bundle.outside().join("secret.wasm"),
        bundle.volume().join("out.wasm"),
    )
    .unwrap();
    let program = |name: &str| {
        let name = name.to_string();
        bundle.machine(move |config| {
            config["process"]["args"] = json!([name]);
            config["mounts"] = json!([
                { "destination": "/vol", "type": "bind", "source": "volume", "options": ["rbind"] },
                { "destination": "/one.wasm", "type": "bind", "source": "volume/app.wasm", "options": ["bind"] },
            ]);
        })
    };
    assert_eq!(
        program("/vol/app.wasm").unwrap().entry.path,
        Path::new("vol/app.wasm")
    );
    assert_eq!(program("/one.wasm").unwrap().entry.path, Path::new("one.wasm"));
    assert!(program("/vol/out.wasm").err().unwrap().contains("no such file"));
}
