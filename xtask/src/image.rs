//! Builds what a virtual machine boots: the applications (kernel and engine linked), the loader, the images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use test_qemu::Engine;

use crate::arch::{Arch, Target as _};
use crate::toolchain::{BUILD_STD, cargo, compile, flags, root, run, tool};
use crate::{guests, inputs, kernel, rust_src};

/// The profile of cargo's that the application is built with.
pub(crate) const PROFILE: &str = "image";

const fn what(engine: Engine) -> &'static str {
    match engine {
        Engine::Interp => "kernel and interpreter in one",
        Engine::Native => "kernel and runtime of native code in one",
    }
}

/// Builds everything for `arch` into its directory in `out`: `hermit-loader`; for each engine the application,
/// `hermit-wasm` and `hermit-wasm-native`, and the image, which is both in one file (`.img`); and `made-from`, the
/// fingerprint of what they were made of. Does nothing if that says that they are of the present sources.
pub(crate) fn build(arch: Arch, out: &Path) -> Result<()> {
    build_for(arch, &Engine::ALL, out)
}

/// The same for `engines` alone; without `made-from`, which is of all, if one is left out.
pub(crate) fn build_for(arch: Arch, engines: &[Engine], out: &Path) -> Result<()> {
    let directory = out.join(arch.name());
    let made_from = directory.join(inputs::MADE_FROM);
    // Taken first: what changes while this builds must be built again.
    let present = inputs::fingerprint(&root()).context("cannot read the image's sources")?;
    let loader = directory.join("hermit-loader");
    let file = |engine: &Engine| {
        let app = directory.join(engine.file());
        let image = app.with_extension("img");
        (*engine, app, image)
    };
    let files: Vec<_> = engines.iter().map(file).collect();
    let _lock = lock()?;
    let there = files
        .iter()
        .all(|(_, app, image)| app.is_file() && image.is_file());
    if there && loader.is_file() && fs::read_to_string(&made_from).is_ok_and(|made| made == present) {
        return Ok(());
    }
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    remove(&made_from)?;

    rust_src::check()?;
    let embedded = guests::build_embedded(&root())?;
    let object = kernel::build(arch)?;
    copy_if_changed(&build_loader(arch, None)?, &loader)?;
    for (engine, app, image) in &files {
        copy_if_changed(&strip(&build_app(arch, *engine, &object, &embedded, &[])?)?, app)?;
        copy_if_changed(&build_loader(arch, Some(app))?, image)?;
    }
    if !are_all(engines) {
        return Ok(());
    }
    fs::write(&made_from, present).with_context(|| format!("cannot write {}", made_from.display()))
}

/// Whether none is left out.
pub(crate) fn are_all(engines: &[Engine]) -> bool {
    Engine::ALL.iter().all(|engine| engines.contains(engine))
}

/// Builds an image with the application's feature `spec-tests`, for tests alone. Gives its path.
pub(crate) fn build_spec(arch: Arch, engine: Engine) -> Result<PathBuf> {
    let _lock = lock()?;
    rust_src::check()?;
    let embedded = guests::build_embedded(&root())?;
    let object = kernel::build(arch)?;
    let directory = root().join("target/spec").join(arch.name());
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let built = build_app(arch, engine, &object, &embedded, &["spec-tests"])?;
    let app = directory.join(engine.file());
    run(tool("rust-objcopy")?.arg("--strip-all").arg(built).arg(&app))?;
    let image = app.with_extension("img");
    copy_if_changed(&build_loader(arch, Some(&app))?, &image)?;
    Ok(image)
}

/// Builds the launcher with the images of `arches` inside, and with others that are there; returns its path.
pub(crate) fn build_launcher(arches: &[Arch]) -> Result<PathBuf> {
    let out = default_out();
    for arch in arches {
        build(*arch, &out)?;
    }
    forget_stale(&out)?;
    compile(
        "the launcher",
        cargo()
            .args(["build", "--locked", "--release", "--package", "hermit-wasm-vm"])
            .env("CARGO_TARGET_DIR", root().join("target"))
            // It finds the images just built by itself.
            .env_remove("HERMIT_WASM_IMAGES"),
    )?;
    Ok(root().join("target/release/hermit-wasm"))
}

/// Builds the hostile kernel of the tests with the loader, as the image is built; returns its path.
pub(crate) fn build_hostile() -> Result<PathBuf> {
    let arch = Arch::X86_64;
    let target_dir = root().join("target/hostile");
    let _lock = lock()?;
    compile("the hostile kernel", &mut hostile_build())?;
    let kernel = target_dir.join(arch.kernel_target()).join("release/hostile");
    let image = target_dir.join("hostile.img");
    copy_if_changed(&build_loader(arch, Some(&kernel))?, &image)?;
    Ok(image)
}

/// Builds the application of the tests that makes the kernel's calls, as the image is built; returns its path.
pub(crate) fn build_system_calls(arch: Arch) -> Result<PathBuf> {
    let target_dir = root().join("target/system-calls");
    let _lock = lock()?;
    let object = kernel::build(arch)?;
    compile(
        &format!("the kernel's calls for {}", arch.name()),
        &mut system_calls_build(arch, &object),
    )?;
    let app = target_dir.join(arch.app_target()).join("release/system-calls");
    let image = target_dir.join(format!("{}.img", arch.name()));
    copy_if_changed(&build_loader(arch, Some(&app))?, &image)?;
    Ok(image)
}

/// Builds all that is ours in a machine with a program in the place of rustc, for lints: with `wrapper` for cargo's
/// `RUSTC_WORKSPACE_WRAPPER`, and `variables` for it. What that depends on is as it is in the images; the wrapper's
/// results are apart from those. Gives what failed; the number of builds.
pub(crate) fn build_ours_by(wrapper: &Path, variables: &[(&str, &str)]) -> Result<(Vec<String>, usize)> {
    // Nothing is linked, and nothing run: any file will do.
    let any = root().join("deny.toml");
    let mut builds = vec![("the hostile kernel".to_owned(), hostile_build())];
    for arch in Arch::ALL {
        let mut add = |what: &str, build| builds.push((format!("{what} for {}", arch.name()), build));
        for engine in Engine::ALL {
            add(what(engine), app_build(arch, engine, &any, &any, &[])?);
        }
        add("the loader", loader_build(arch, None)?);
        add("the kernel's calls", system_calls_build(arch, &any));
    }
    let number = builds.len();
    let mut failed = Vec::new();
    for (what, mut build) in builds {
        let _lock = lock()?;
        build
            .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
            .envs(variables.iter().copied());
        if let Err(error) = run(&mut build) {
            failed.push(format!("{what}: {error:#}"));
        }
    }
    Ok((failed, number))
}

/// Waits until no other process builds images or guests; none does until the result is dropped.
pub(crate) fn lock() -> Result<fs::File> {
    let path = root().join("target/xtask.lock");
    fs::create_dir_all(root().join("target"))?;
    let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Removes images that other sources made: the launcher would leave them out, and complain.
fn forget_stale(out: &Path) -> Result<()> {
    let present = inputs::fingerprint(&root()).context("cannot read the images' sources")?;
    for arch in Arch::ALL {
        let directory = out.join(arch.name());
        let made = fs::read_to_string(directory.join(inputs::MADE_FROM)).unwrap_or_default();
        if directory.exists() && made != present {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
    }
    Ok(())
}

/// Removes a file that may be there.
fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// The directory in which images lie unless another is named.
pub(crate) fn default_out() -> PathBuf {
    root().join("target/images")
}

/// The application of `arch` with this engine and with the names of its functions, as it was built last.
pub(crate) fn app_with_symbols(arch: Arch, engine: Engine) -> PathBuf {
    products(arch).join(format!("{}.symbols", engine.file()))
}

/// Where cargo leaves the application of `arch`.
fn products(arch: Arch) -> PathBuf {
    root().join("target/app").join(arch.app_target()).join(PROFILE)
}

/// Makes a copy of the application without symbols.
fn strip(app: &Path) -> Result<PathBuf> {
    let stripped = app.with_extension("stripped");
    kernel::remake(&stripped, app, || {
        run(tool("rust-objcopy")?.arg("--strip-all").arg(app).arg(&stripped))
    })?;
    Ok(stripped)
}

/// Builds the application with an engine and the kernel `object` inside, and with the interpreter the module
/// `embedded`. `more` are features besides.
fn build_app(arch: Arch, engine: Engine, object: &Path, embedded: &Path, more: &[&str]) -> Result<PathBuf> {
    compile(
        &format!("{} for {}", what(engine), arch.name()),
        &mut app_build(arch, engine, object, embedded, more)?,
    )?;
    // The next application, of another engine or with other features, takes this one's place.
    let app = match more {
        [] => app_with_symbols(arch, engine),
        _ => products(arch).join(format!("{}-{}.symbols", engine.file(), more.join("-"))),
    };
    copy_if_changed(&products(arch).join("kernel-app"), &app)?;
    Ok(app)
}

/// The build of the application.
fn app_build(arch: Arch, engine: Engine, object: &Path, embedded: &Path, more: &[&str]) -> Result<Command> {
    let mut application = cargo();
    flags(&mut application, &arch.app_flags())?;
    application
        .args([
            "build",
            "--locked",
            "--profile",
            PROFILE,
            "--package",
            "kernel-app",
            "--bin",
            "kernel-app",
        ])
        .args(["--no-default-features", "--features", engine.name()])
        .args(more.iter().flat_map(|feature| ["--features", feature]))
        .args(["--target", arch.app_target()])
        .args(BUILD_STD)
        .env("CARGO_TARGET_DIR", root().join("target/app"))
        // For `tail_calls`; the image gets a copy without.
        .env("CARGO_PROFILE_IMAGE_STRIP", "none")
        .env("HERMIT_WASM_KERNEL", object)
        .env("HERMIT_WASM_EMBEDDED", embedded);
    Ok(application)
}

/// The build of the hostile kernel.
fn hostile_build() -> Command {
    let mut hostile = cargo();
    hostile
        .current_dir(root().join("tests/hostile"))
        .args(["build", "--locked", "--release"])
        .args(["--target", Arch::X86_64.kernel_target()])
        .args(BUILD_STD)
        .env("CARGO_TARGET_DIR", root().join("target/hostile"));
    hostile
}

/// The build of the application that makes the kernel's calls.
fn system_calls_build(arch: Arch, object: &Path) -> Command {
    let mut calls = cargo();
    calls
        .current_dir(root().join("tests/system-calls"))
        .args(["build", "--locked", "--release", "--target", arch.app_target()])
        .args(BUILD_STD)
        .env("CARGO_TARGET_DIR", root().join("target/system-calls"))
        .env("RUSTFLAGS", arch.app_flags())
        .env("HERMIT_WASM_KERNEL", object);
    calls
}

/// The build of the loader; with `app`, of one that carries the application.
fn loader_build(arch: Arch, app: Option<&Path>) -> Result<Command> {
    let mut loader = cargo();
    loader
        .current_dir(root().join("loader"))
        .args(["build", "--locked", "--release", "--bin", "hermit-loader"])
        .args(["--target", arch.kernel_target()])
        .args(BUILD_STD)
        // One folder for both: only the loader itself is compiled twice, not the libraries below it.
        .env("CARGO_TARGET_DIR", root().join("target/loader"))
        .env_remove("HERMIT_WASM_APP");
    if let Some(app) = app {
        loader.env("HERMIT_WASM_APP", app);
    }
    flags(&mut loader, "")?;
    Ok(loader)
}

/// Builds the loader; with `app`, one that carries the application.
fn build_loader(arch: Arch, app: Option<&Path>) -> Result<PathBuf> {
    let what = if app.is_some() { "the image" } else { "the loader" };
    compile(
        &format!("{what} for {}", arch.name()),
        &mut loader_build(arch, app)?,
    )?;
    let elf = root()
        .join("target/loader")
        .join(arch.kernel_target())
        .join("release/hermit-loader");
    if !arch.boots_flat_image() {
        return Ok(elf);
    }
    let flat = elf.with_extension("flat");
    kernel::remake(&flat, &elf, || {
        run(tool("rust-objcopy")?.args(["-O", "binary"]).arg(&elf).arg(&flat))
    })?;
    Ok(flat)
}

/// Copies `from` to `to` unless that would change nothing, so that what depends on `to` stays up to date.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::output;

    #[test]
    fn what_the_image_depends_on_is_among_its_sources() {
        let mut seen = Vec::new();
        for (directory, package) in [
            ("", "kernel-app"),
            ("loader", "hermit-wasm-loader"),
            ("guests", "guests"),
        ] {
            let tree = output(
                cargo()
                    .current_dir(root().join(directory))
                    .args(["tree", "--locked", "--target", "all", "--edges", "normal,build"])
                    .args(["--prefix", "none", "--package", package]),
            )
            .unwrap();
            // `name v0.1.0 (/path)`, for those that come from no registry.
            let paths = tree
                .lines()
                .filter_map(|line| line.split_once(" (/")?.1.split(')').next());
            seen.extend(paths.map(|path| PathBuf::from(format!("/{path}"))));
        }
        assert!(seen.contains(&root().join("wasi-shim/core")), "{seen:?}");
        for path in seen {
            let relative = path.strip_prefix(root()).unwrap();
            assert!(
                inputs::SOURCES.iter().any(|source| relative.starts_with(source)),
                "{} is not in xtask/src/inputs.rs",
                relative.display()
            );
        }
    }

    #[test]
    fn the_fingerprint_tells_every_change() {
        let folder = std::env::temp_dir().join(format!("hermit-wasm-inputs-{}", std::process::id()));
        let source = folder.join("wasi-shim/src");
        fs::create_dir_all(&source).unwrap();
        let mut known = vec![inputs::fingerprint(&folder).unwrap()];
        let mut changed = |what: &str| {
            let now = inputs::fingerprint(&folder).unwrap();
            assert!(!known.contains(&now), "{what}");
            known.push(now);
        };
        fs::write(source.join("a.rs"), "xy").unwrap();
        changed("a new file");
        fs::write(source.join("a.rs"), "xz").unwrap();
        changed("other contents");
        fs::rename(source.join("a.rs"), source.join("b.rs")).unwrap();
        changed("another name");
        fs::write(source.join("c.rs"), "").unwrap();
        changed("an empty file");
        fs::create_dir_all(folder.join("wasi-shim/target")).unwrap();
        fs::write(folder.join("wasi-shim/target/built"), "x").unwrap();
        fs::write(source.join(".b.rs.swp"), "x").unwrap();
        fs::create_dir_all(folder.join("docs")).unwrap();
        fs::write(folder.join("docs/a.md"), "x").unwrap();
        assert_eq!(known.last(), Some(&inputs::fingerprint(&folder).unwrap()));
        fs::remove_dir_all(folder).unwrap();
    }
}
