//! The program as an OCI runtime, in front of a delegate that is none: a script that notes its words.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::harness::{Done, MODULE, Scratch, finish, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("oci::the_delegate_gets_a_machine", the_delegate_gets_a_machine),
        test(
            "oci::errors_are_the_last_line_of_the_log",
            errors_are_the_last_line_of_the_log,
        ),
        test("oci::other_calls_pass_through", other_calls_pass_through),
        test("oci::a_machine_has_no_exec", a_machine_has_no_exec),
        test(
            "oci::a_state_names_the_engines_bundle",
            a_state_names_the_engines_bundle,
        ),
        test(
            "oci::an_engines_bundle_of_our_name_is_the_engines",
            an_engines_bundle_of_our_name_is_the_engines,
        ),
        test(
            "oci::new_limits_have_room_for_the_monitor",
            new_limits_have_room_for_the_monitor,
        ),
        test(
            "oci::features_are_the_delegates_and_ours",
            features_are_the_delegates_and_ours,
        ),
        test("oci::a_sandbox_is_made_as_it_is", a_sandbox_is_made_as_it_is),
        test(
            "oci::nobody_else_starts_what_runs_inside",
            nobody_else_starts_what_runs_inside,
        ),
    ]
}

/// A node with a delegate, and a bundle.
struct Node {
    scratch: Scratch,
}

impl Node {
    fn new() -> Self {
        let this = Self {
            scratch: Scratch::new(),
        };
        for directory in ["bundle/rootfs", "node/usr/bin"] {
            fs::create_dir_all(this.path(directory)).unwrap();
        }
        this.scratch.file("bundle/rootfs/app.wasm", MODULE);
        this.program("node/usr/bin/qemu", "");
        this.program("node/usr/bin/virtiofsd", "");
        let words = this.path("words");
        let state = this.path("state");
        this.program(
            "delegate",
            &format!(
                "for word; do echo \"$word\"; done >> {0}; echo . >> {0}\n\
                 case \" $* \" in *' state '*) cat {1};; *' features '*) exit 1;; esac\n",
                words.display(),
                state.display()
            ),
        );
        let path = |name: &str| this.path(name).display().to_string();
        let config = format!(
            "delegate = '{}'\nmonitor = '{}'\nqemu = '/usr/bin/qemu'\nvirtiofsd = '/usr/bin/virtiofsd'\n",
            path("delegate"),
            path("node")
        );
        this.scratch.file("oci.toml", config.as_bytes());
        this.configure(|_| {});
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.scratch.file(name, format!("#!/bin/sh\n{script}").as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Writes the container's configuration.
    fn configure(&self, change: impl FnOnce(&mut Value)) {
        let user = rustix::process::getuid().as_raw();
        let group = rustix::process::getgid().as_raw();
        let mut config = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs" },
            "process": {
                "user": { "uid": user, "gid": group },
                "cwd": "/",
                "args": ["/app.wasm", "one", "two words"],
                "env": ["SECRET=hunter2"],
            },
            "annotations": { "org.hermit-wasm.accel": "tcg" },
            "linux": { "resources": { "memory": { "limit": 67_108_864 } } },
        });
        change(&mut config);
        self.scratch
            .file("bundle/config.json", config.to_string().as_bytes());
    }

    /// The program as an engine calls it.
    fn call(&self, words: &[&str]) -> Done {
        let runtime = self.path("hermit-oci");
        if !runtime.exists() {
            symlink(env!("CARGO_BIN_EXE_hermit-wasm"), &runtime).unwrap();
        }
        let mut command = Command::new(runtime);
        command
            .args([
                "--log",
                self.path("log").to_str().unwrap(),
                "--log-format",
                "json",
            ])
            .args(words)
            .env("HERMIT_OCI_CONFIG", self.path("oci.toml"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HERMIT_WASM_COMPILER", "/nonexistent/compiler")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(&mut command)
    }

    fn create(&self) -> Done {
        self.call(&[
            "create",
            "--bundle",
            self.path("bundle").to_str().unwrap(),
            "name",
        ])
    }

    /// What the delegate was told last, without the log.
    fn words(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("words")).unwrap_or_default();
        let calls: Vec<&str> = text.split_terminator("\n.\n").collect();
        let last = calls.last().copied().unwrap_or_default();
        last.trim_start_matches('\n')
            .lines()
            .skip(4)
            .map(str::to_string)
            .collect()
    }

    fn last_line(&self) -> Value {
        let text = fs::read_to_string(self.path("log")).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn the_delegate_gets_a_machine() {
    let node = Node::new();
    node.create().expect_code(0).expect_silence();
    let bundle = node.path("bundle/hermit-wasm-name").canonicalize().unwrap();
    assert_eq!(
        node.words(),
        ["create", "--bundle", bundle.to_str().unwrap(), "name"]
    );
    let config = json_of(&bundle.join("config.json"));
    assert_eq!(
        config["process"]["args"],
        json!(["/hermit-wasm/hermit-wasm", "oci", "inside"])
    );
    assert_eq!(config["linux"]["resources"]["memory"]["limit"], 167_772_160);
    assert_eq!(config["root"]["path"], bundle.join("rootfs").to_str().unwrap());
    assert!(!config.to_string().contains("hunter2"));
    let request = json_of(&bundle.join("rootfs/request.json"));
    assert_eq!(request["args"], json!(["one", "two words"]));
    assert_eq!(request["env"], json!(["SECRET=hunter2"]));
    // The engine's own is as it was, so that it can be made again.
    let own = json_of(&node.path("bundle/config.json"));
    assert_eq!(own["process"]["args"][0], "/app.wasm");
    node.create().expect_code(0).expect_silence();
    assert_eq!(json_of(&bundle.join("config.json")), config);
}

fn errors_are_the_last_line_of_the_log() {
    for (program, limit, reason) in [
        (
            "/absent.wasm",
            67_108_864,
            "/absent.wasm: no such file or directory in the image",
        ),
        ("/app.wasm", 1_048_576, "a memory limit of 1 MiB is too low"),
    ] {
        let node = Node::new();
        node.configure(|config| {
            config["process"]["args"] = json!([program]);
            config["linux"]["resources"]["memory"]["limit"] = json!(limit);
        });
        let done = node.create().expect_code(1);
        let said = &done.stderr;
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
        let line = node.last_line();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains(reason), "{line}");
        assert!(node.words().is_empty(), "the delegate was called");
    }
}

fn other_calls_pass_through() {
    let node = Node::new();
    for words in [
        &["start", "name"][..],
        &["kill", "--all", "name", "9"],
        &["delete", "--force", "name"],
        &["state", "name"],
        &["--version"],
        &["update", "--resources", "-", "name"],
    ] {
        fs::write(node.path("state"), "").unwrap();
        node.call(words).expect_code(0);
        assert_eq!(node.words(), words);
    }
}

fn a_machine_has_no_exec() {
    let node = Node::new();
    node.create().expect_code(0);
    let state = |bundle: &str| {
        let state = json!({ "bundle": node.path(bundle) });
        fs::write(node.path("state"), state.to_string()).unwrap();
    };
    state("bundle/hermit-wasm-name");
    let done = node.call(&["exec", "name", "sh"]).expect_code(1);
    let said = &done.stderr;
    assert!(
        said.contains("exec is not possible") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(node.words(), ["state", "name"]);
    // Another container is the delegate's.
    state("bundle");
    node.call(&["exec", "name", "sh"]).expect_code(0);
    assert_eq!(node.words(), ["exec", "name", "sh"]);
}

fn a_state_names_the_engines_bundle() {
    let node = Node::new();
    // The root is that of the configuration that was named, and of the time of `create`.
    fs::rename(node.path("bundle/config.json"), node.path("other.json")).unwrap();
    let words = ["create", "--config", "other.json", "--bundle", "bundle", "name"];
    let absolute = words.map(|word| match word {
        "other.json" | "bundle" => node.path(word).display().to_string(),
        word => word.to_string(),
    });
    node.call(&absolute.each_ref().map(String::as_str)).expect_code(0);
    let own = node.path("bundle/hermit-wasm-name");
    let said = json!({ "ociVersion": "1.0.2", "id": "name", "pid": 7, "new": [1], "bundle": own, "rootfs": own.join("rootfs") });
    fs::write(node.path("state"), said.to_string()).unwrap();
    let done = node.call(&["state", "name"]).expect_code(0);
    let mut expected = said;
    expected["bundle"] = json!(node.path("bundle"));
    expected["rootfs"] = json!(node.path("bundle/rootfs").canonicalize().unwrap());
    assert_eq!(serde_json::from_slice::<Value>(&done.stdout).unwrap(), expected);
    // Another container's is the delegate's, to the last byte.
    let other = "{ \"bundle\":  \"/elsewhere\" }";
    fs::write(node.path("state"), other).unwrap();
    let done = node.call(&["state", "name"]).expect_code(0);
    assert_eq!(done.stdout, other.as_bytes());
}

/// containerd calls its bundles after the containers, which may be called like ours.
fn an_engines_bundle_of_our_name_is_the_engines() {
    let node = Node::new();
    fs::create_dir_all(node.path("default")).unwrap();
    fs::rename(node.path("bundle"), node.path("default/hermit-wasm-name")).unwrap();
    let bundle = node.path("default/hermit-wasm-name");
    let said = json!({ "bundle": bundle, "rootfs": bundle.join("rootfs") }).to_string();
    fs::write(node.path("state"), &said).unwrap();
    for id in ["hermit-wasm-name", "name"] {
        let done = node.call(&["state", id]).expect_code(0);
        assert_eq!(String::from_utf8(done.stdout).unwrap(), said, "{id}");
        for words in [&["exec", id, "sh"][..], &["update", "--memory", "64m", id]] {
            node.call(words).expect_code(0);
            assert_eq!(node.words(), words);
        }
    }
}

fn new_limits_have_room_for_the_monitor() {
    let node = Node::new();
    node.create().expect_code(0);
    let state = |bundle: &str| {
        let state = json!({ "bundle": node.path(bundle) });
        fs::write(node.path("state"), state.to_string()).unwrap();
    };
    state("bundle/hermit-wasm-name");
    let update = [
        "update",
        "--memory",
        "128m",
        "--memory-swap",
        "-1",
        "--cpu-quota",
        "5",
        "name",
    ];
    node.call(&update).expect_code(0);
    assert_eq!(
        node.words(),
        [
            "update",
            "--memory=234881024",
            "--memory-swap=-1",
            "--cpu-quota",
            "5",
            "name"
        ]
    );
    // The machine has 64 MiB.
    let limits = node.path("limits.json");
    for (limit, refused) in [(67_108_863, true), (67_108_864, false)] {
        let new = json!({ "memory": { "limit": limit } });
        fs::write(&limits, new.to_string()).unwrap();
        let done = node.call(&["update", "-r", limits.to_str().unwrap(), "name"]);
        match refused {
            true => {
                let done = done.expect_code(1);
                assert!(done.stderr.contains("has no room for it"), "{}", done.stderr);
            }
            false => {
                done.expect_code(0);
                let words = node.words();
                assert!(words[2].starts_with("/proc/self/fd/"), "{words:?}");
            }
        }
    }
    node.call(&["update", "--memory=1m", "name"]).expect_code(1);
    // Another container is the delegate's.
    state("bundle");
    node.call(&update).expect_code(0);
    assert_eq!(node.words(), update);
}

fn features_are_the_delegates_and_ours() {
    let node = Node::new();
    let done = node.call(&["features"]).expect_code(0);
    let features: Value = serde_json::from_slice(&done.stdout).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(features["annotations"]["org.hermit-wasm.version"], version);
    assert_eq!(features["ociVersionMin"], "1.0.0");
}

fn a_sandbox_is_made_as_it_is() {
    let node = Node::new();
    node.configure(|config| {
        config["process"]["args"] = json!(["/pause"]);
        config["annotations"] =
            json!({ "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "name" });
    });
    node.create().expect_code(0).expect_silence();
    assert_eq!(
        node.words(),
        [
            "create",
            "--bundle",
            node.path("bundle").to_str().unwrap(),
            "name"
        ]
    );
    assert!(!node.path("bundle/hermit-wasm-name").exists());
}

fn nobody_else_starts_what_runs_inside() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermit-wasm"));
    command.args(["oci", "inside"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = finish(&mut command).expect_code(2);
    let said = &done.stderr;
    assert!(
        said.contains("only 'hermit-wasm oci create' starts this"),
        "{said}"
    );
}
