//! Images that `hermit-wasm pack --format oci` makes, and modules that run natively.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use container_tests::archive;
use container_tests::engine::Container;
use container_tests::{Engine, Kind, engine, settings};
use vm_tests::environment;

use crate::bench::{Bench, Case, GUEST, Said};

/// Whose clients run a container of an image by its name.
const CLIENTS: &[Kind] = &[Kind::Podman, Kind::Rootless, Kind::Ctr];

pub(crate) const CASES: &[Case] = &[
    Case::new("packed/plain", CLIENTS, |bench| packed(bench, "plain", None)),
    Case::new("packed/sealed", CLIENTS, |bench| packed(bench, "sealed", None)),
    Case::new("packed/wasi", CLIENTS, |bench| {
        packed(bench, "wasi", Some("wasi/wasm"))
    }),
    Case::new("packed/artifact", &[Kind::Ctr], artifact).unless(|_| newer_containerd()),
    Case::new("native-code", CLIENTS, native_code).unless(|_| {
        settings::compiler()
            .is_none()
            .then(|| "the compiler is not built; ci/containers builds it".to_owned())
    }),
];

/// What an image's module is called.
const MODULE: &str = "container.wasm";

/// An image with arguments, a variable and a file of its own says what it has; an engine's arguments come behind.
fn packed(bench: &Bench<'_>, kind: &str, system: Option<&str>) -> Result<()> {
    let directory = bench.directory("packed")?;
    fs::create_dir_all(directory.join("data"))?;
    fs::write(directory.join("data/file"), "from the image\n")?;
    fs::write(
        directory.join("Hermitfile"),
        format!("FROM {MODULE}\nARGV cat:/data/file env:A\nENV A=1\nCOPY data /data\n"),
    )?;
    let image = format!("packed-{kind}");
    let archive = pack(&directory, kind, &image, &["-f", "Hermitfile"])?;
    bench.engine.load(&archive, system)?;
    // With arguments, ctr wants all of the entry point's words.
    let (args, more) = match bench.engine.kind {
        Kind::Ctr => (Vec::new(), ""),
        _ => (vec!["say:and more".to_owned()], "and more\n"),
    };
    let container = Container {
        image,
        args,
        ..Container::default()
    };
    run(bench.engine, &container)?.is(&format!("from the image\nA is Some(\"1\")\n{more}"))
}

/// An image with the module alone is none for containerd 1: it says so, and nobody gets a container with nothing in it.
fn artifact(bench: &Bench<'_>) -> Result<()> {
    let directory = bench.directory("packed")?;
    let archive = pack(&directory, "artifact", "packed-artifact", &[MODULE])?;
    for system in [None, Some("wasm/wasip1"), Some("wasip1/wasm")] {
        let said = bench.engine.load(&archive, system);
        let said = said.err().context("it was imported")?.to_string();
        let words = [
            "image might be filtered out",
            "mismatched image rootfs and manifest layers",
        ];
        ensure!(
            words.iter().any(|words| said.contains(words)),
            "{system:?}: {said}"
        );
    }
    Ok(())
}

/// Why nothing is said here about artifacts: containerd takes them since 2.1, which no one has tried.
fn newer_containerd() -> Option<String> {
    let output = Command::new("containerd").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split(' ').nth(2)?.trim_start_matches('v').to_owned();
    (!version.starts_with("1.")).then(|| {
        format!("containerd {version} may take artifacts, and what its containers are then was not tried")
    })
}

/// Packs the guest of all tests in a directory as a container image; its archive.
fn pack(directory: &Path, kind: &str, image: &str, more: &[&str]) -> Result<PathBuf> {
    let guests = environment::needed(environment::GUESTS)?;
    fs::copy(guests.join(MODULE), directory.join(MODULE))?;
    let archive = directory.join(format!("{image}.tar"));
    let words = ["pack", "--format", "oci", "--oci", kind, "--tag"];
    let output = Command::new(environment::needed(environment::LAUNCHER)?)
        .args(words)
        .arg(archive::reference(image))
        .arg("-o")
        .arg(&archive)
        .args(more)
        .current_dir(directory)
        .output()
        .context("cannot start the launcher")?;
    ensure!(output.status.success(), "{:?}", Said::from(output));
    Ok(archive)
}

fn run(engine: &Engine, container: &Container) -> Result<Said> {
    Ok(engine::output(&engine.run(container)?)?.into())
}

/// A module that has to run natively is compiled for its first container, and the code is kept for the next one.
fn native_code(bench: &Bench<'_>) -> Result<()> {
    let annotations = [
        ("engine", "native"),
        // No other container has both, and the names of its code say so.
        ("deterministic", "7"),
        ("fuel", "1000000000"),
    ];
    let container = Container {
        image: GUEST.to_owned(),
        program: MODULE.to_owned(),
        args: vec!["say:natively".to_owned()],
        annotations: annotations
            .map(|(name, value)| (format!("org.hermit-wasm.{name}"), value.to_owned()))
            .to_vec(),
        ..Container::default()
    };
    let natively = || -> Result<BTreeMap<PathBuf, u64>> {
        run(bench.engine, &container)?.is("natively\n")?;
        code(bench.engine)
    };
    ensure!(
        code(bench.engine)?.is_empty(),
        "there is code of a module that never ran"
    );
    let first = natively()?;
    ensure!(first.len() == 1, "not one file of code is kept: {first:?}");
    let second = natively()?;
    ensure!(
        first == second,
        "it was compiled again, or lost: {first:?} became {second:?}"
    );
    // Whether that would be seen: without what is kept, it is compiled.
    for path in first.keys() {
        fs::remove_file(path)?;
    }
    let third = natively()?;
    ensure!(
        third.keys().eq(first.keys()),
        "it is not kept as before: {first:?}, {third:?}"
    );
    Ok(())
}

/// The code that is kept of modules with fuel that are deterministic, with the numbers of the files, which code that is
/// compiled again does not have.
fn code(engine: &Engine) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let mut left = vec![engine.cache()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else if name.contains("-fuel-deterministic-") && name.ends_with(".cwasm") {
                found.insert(entry.path(), entry.metadata()?.ino());
            }
        }
    }
    Ok(found)
}
