//! Servers that nobody here wrote: CPython's `http.server` and Go's `net/http`, each with a small program of
//! `guests/network/` that gives it the listener.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use vm_tests::download;
use vm_tests::manifest::Manifest;
use vm_tests::server::{Guest, Server, Setting, Starter, fresh};
use vm_tests::virtiofsd;

use crate::Test;
use crate::echo::pattern;
use crate::http::Client;

pub(crate) const TESTS: &[Test] = &[
    Test {
        missing: without_python,
        ..Test::new("python", python)
    },
    Test {
        missing: without_python_or_share,
        not_by: |starter| match starter {
            Starter::Reference(_) | Starter::Plain | Starter::Tap => Some("it shares no directories"),
            Starter::Launcher(_) => None,
        },
        ..Test::new("python-on-a-share", python_on_a_share)
    },
    Test {
        missing: without_go,
        ..Test::new("go", go)
    },
];

/// Where downloaded programs are.
fn downloads() -> PathBuf {
    vm_tests::root().join("target/downloads")
}

/// CPython's module, which the rows of `guests/tests/` pin.
fn python_module() -> Result<PathBuf> {
    let manifest = Manifest::read(vm_tests::root())?;
    let python = manifest
        .downloads
        .iter()
        .find(|download| download.name == "python");
    once(|| download::fetch(python.context("no row pins python")?, &downloads()))?;
    Ok(downloads().join("python.wasm"))
}

/// One fetches, the others wait for it.
fn once<R>(fetch: impl FnOnce() -> Result<R>) -> Result<R> {
    static FETCHING: Mutex<()> = Mutex::new(());
    let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    fetch()
}

fn without_python() -> Option<String> {
    python_module().err().map(|error| format!("{error:#}"))
}

fn without_python_or_share() -> Option<String> {
    without_python().or_else(virtiofsd::missing)
}

/// The directory of the small programs.
fn source() -> PathBuf {
    vm_tests::root().join("guests/network")
}

/// CPython, ready, with its program at `/app` and these flags.
fn start_python(setting: &Setting, copies: &[&str], shares: &[&str]) -> Result<Server> {
    let module = python_module()?;
    let server = setting.start(&Guest {
        module: module.to_str().context("the path is not UTF-8")?,
        args: &["/app/serve.py", "/www"],
        env: &["PYTHONDONTWRITEBYTECODE=1"],
        copies,
        shares,
        memory: Some("1G"),
        ..Guest::default()
    })?;
    server.wait_for("python: ready")?;
    Ok(server)
}

/// A directory to serve: its path, and a large file's bytes.
fn directory(setting: &Setting, name: &str) -> Result<(PathBuf, Vec<u8>)> {
    let directory = fresh(&setting.scratch, name)?;
    fs::write(directory.join("a.txt"), "text of a\n")?;
    let large = pattern(3_000_000, 9);
    fs::write(directory.join("large.bin"), &large)?;
    Ok((directory, large))
}

/// Asks for the directory's files; each on a connection of its own, as this server wants it.
fn check_files(server: &Server, large: &[u8]) -> Result<()> {
    let get = |path| Client::new(server.connect()?).ask("GET", path, b"");
    let answer = get("/a.txt")?;
    ensure!(
        answer.status == 200 && answer.body == b"text of a\n",
        "{answer:?}"
    );
    let answer = get("/large.bin")?;
    ensure!(
        answer.status == 200 && answer.body == large,
        "{} with {} bytes, or others",
        answer.status,
        answer.body.len()
    );
    let answer = get("/")?;
    let listing = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(
        listing.contains("a.txt") && listing.contains("large.bin"),
        "{listing}"
    );
    let answer = get("/missing")?;
    ensure!(answer.status == 404, "{answer:?}");
    Ok(())
}

/// From a copy.
fn python(setting: &Setting) -> Result<()> {
    let (directory, large) = directory(setting, "www")?;
    let app = format!("{}::/app", source().join("python").display());
    let www = format!("{}::/www", directory.display());
    check_files(&start_python(setting, &[&app, &www], &[])?, &large)
}

/// From a directory of this host, which changes meanwhile.
fn python_on_a_share(setting: &Setting) -> Result<()> {
    let (directory, large) = directory(setting, "share")?;
    let app = format!("{}::/app", source().join("python").display());
    let www = format!("{}::/www:ro", directory.display());
    let server = start_python(setting, &[&app], &[&www])?;
    check_files(&server, &large)?;
    fs::write(directory.join("new.txt"), "new\n")?;
    Client::new(server.connect()?).expect("GET", "/new.txt", b"", 200, b"new\n")
}

/// The pinned Go, where `cargo xtask programs` has it.
fn go_root() -> Result<PathBuf> {
    let pins = fs::read_to_string(vm_tests::root().join("tests/programs/programs.toml"))?;
    let pins: toml::Table = pins.parse()?;
    let packages = pins.get("package").and_then(toml::Value::as_array);
    let field = |package: &toml::Value, name| Some(package.get(name)?.as_str()?.to_owned());
    let version = packages.into_iter().flatten().find_map(|package| {
        let is_go = field(package, "name")? == "go";
        field(package, "version").filter(|_| is_go)
    });
    let version = version.context("programs.toml pins no Go")?;
    let root = format!("target/programs/packages/go-{version}/go");
    let root = vm_tests::root().join(root);
    let complete = root.join("../complete").exists();
    ensure!(
        complete,
        "Go is not here; ci/network and `cargo xtask programs go` fetch it"
    );
    Ok(root)
}

fn without_go() -> Option<String> {
    go_root().err().map(|error| format!("{error:#}"))
}

/// The program in Go, compiled if it has changed.
fn go_module(setting: &Setting) -> Result<PathBuf> {
    let module = setting.scratch.join("go-http.wasm");
    let build = || {
        if module.exists() {
            return Ok(());
        }
        let place = vm_tests::root().join("target/programs");
        let status = Command::new(go_root()?.join("bin/go"))
            .args(["build", "-trimpath", "-o"])
            .arg(&module)
            .arg(".")
            .current_dir(source().join("go"))
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
            .envs([("GOTOOLCHAIN", "local"), ("GOTELEMETRY", "off")])
            .envs([
                ("GOCACHE", place.join("go-cache")),
                ("GOPATH", place.join("go-path")),
            ])
            .stdin(Stdio::null())
            .status()
            .context("cannot start Go")?;
        ensure!(status.success(), "Go failed: {status}");
        Ok(())
    };
    once(build)?;
    Ok(module)
}

fn go(setting: &Setting) -> Result<()> {
    let module = go_module(setting)?;
    let server = setting.start(&Guest {
        module: module.to_str().context("the path is not UTF-8")?,
        memory: Some("1G"),
        ..Guest::default()
    })?;
    server.wait_for("go: ready")?;
    let mut client = Client::new(server.connect()?);
    client.expect("GET", "/", b"", 200, b"Hello from Go.\n")?;
    let sent = pattern(100_000, 2);
    let sum: u64 = sent.iter().map(|byte| u64::from(*byte)).sum();
    client.expect("POST", "/sum", &sent, 200, format!("100000 {sum}\n").as_bytes())?;
    client.expect("GET", "/missing", b"", 404, b"404 page not found\n")?;
    // In pieces, to the end of the connection.
    let mut stream = server.connect()?;
    stream.write_all(b"GET /slow HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.ends_with("\r\n\r\n0\n1\n2\n"), "{text:?}");
    Ok(())
}
