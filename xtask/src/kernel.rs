//! Builds the Hermit kernel: fetch, verify, patch, compile, reduce to one object with the system calls.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::arch::{Arch, Target as _};
use crate::toolchain::{BUILD_STD, cargo, cargo_home, compile, flags, output, root, run, step, tool};

const CRATE: &str = "hermit-kernel";

/// Builds the kernel for `arch` and returns the path of the relocatable object to link into an application.
pub(crate) fn build(arch: Arch) -> Result<PathBuf> {
    let work = root().join("target/hermit-kernel");
    let workspace = prepare_source(&work)?;

    let mut kernel = cargo();
    kernel
        .current_dir(&workspace)
        .args(["build", "--locked", "--release", "--target", arch.kernel_target()])
        .args(BUILD_STD)
        .env("CARGO_TARGET_DIR", work.join("build"));
    // What the kernel would take from the environment of whoever builds it.
    for variable in ["NO_COLOR", "UHYVE_MOUNT"] {
        kernel.env_remove(variable);
    }
    // The first as upstream builds it: parts of the kernel alias mutable references. Its warnings are not ours.
    // Nothing derived is shown: what faults and panics say is written out (patch 0055).
    let own = "-Zmutable-noalias=no -Awarnings -Zfmt-debug=shallow -Cllvm-args=-inline-threshold=50";
    flags(&mut kernel, &format!("{own}{}", arch.kernel_flags()))?;
    compile(&format!("the Hermit kernel for {}", arch.name()), &mut kernel)?;

    let library = work
        .join("build")
        .join(arch.kernel_target())
        .join("release/libhermit_kernel_pin.a");
    let object = work.join(format!("hermit-{}.o", arch.name()));
    remake(&object, &library, || localise(arch, &library, &object))?;
    Ok(object)
}

/// Joins the library's members into one object in which only the system calls and the entry point are visible.
///
/// Kernel and application are compiled for different float ABIs and each brings its own `core` and
/// `compiler_builtins`: no other symbol of the kernel may satisfy a reference of the application.
fn localise(arch: Arch, library: &Path, object: &Path) -> Result<()> {
    let joined = object.with_extension("joined.o");
    run(tool("rust-lld")?
        .args([
            "-flavor",
            "gnu",
            "-m",
            arch.linker_emulation(),
            "-r",
            "--whole-archive",
        ])
        .arg(library)
        .arg("-o")
        .arg(&joined))?;

    let names = output(
        tool("llvm-nm")?
            .args(["--defined-only", "--extern-only", "--format=just-symbols"])
            .arg(&joined),
    )?;
    let keep: Vec<&str> = names
        .lines()
        .filter(|n| n.starts_with("sys_") || *n == "_start")
        .collect();
    if keep.len() < 10 {
        bail!(
            "{}: found only {} system calls: is this the Hermit kernel?",
            library.display(),
            keep.len()
        );
    }
    let list = object.with_extension("symbols");
    fs::write(&list, keep.join("\n") + "\n").with_context(|| format!("cannot write {}", list.display()))?;

    let unfinished = object.with_extension("tmp");
    let mut keep_only = std::ffi::OsString::from("--keep-global-symbols=");
    keep_only.push(&list);
    run(tool("rust-objcopy")?
        .arg(keep_only)
        .arg("--strip-debug")
        .arg(&joined)
        .arg(&unfinished))?;
    fs::rename(&unfinished, object).with_context(|| format!("cannot write {}", object.display()))
}

/// Makes a workspace of the pinned manifest and the patched source; returns its directory.
///
/// Does nothing when source, lock file and patches are those of the last time.
fn prepare_source(work: &Path) -> Result<PathBuf> {
    let pins = root().join("hermit-kernel");
    let lock = fs::read_to_string(pins.join("Cargo.lock")).context("cannot read hermit-kernel/Cargo.lock")?;
    let pin = Pin::find(&lock)?;
    let patches = patches(&pins.join("patches"))?;

    let workspace = work.join("workspace");
    let stamp_file = workspace.join("stamp");
    let stamp = stamp(&pins, &patches)?;
    if fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(workspace);
    }

    step(&format!("fetching and patching {CRATE} {}", pin.version));
    output(
        cargo()
            .args(["fetch", "--quiet", "--locked", "--manifest-path"])
            .arg(pins.join("Cargo.toml")),
    )?;
    let archive = downloaded_crate(&pin)?;

    if workspace.exists() {
        fs::remove_dir_all(&workspace).with_context(|| format!("cannot remove {}", workspace.display()))?;
    }
    fs::create_dir_all(workspace.join("src"))?;
    tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()))
        .unpack(&workspace)
        .context("cannot unpack the kernel's source")?;
    let source = workspace.join(format!("{CRATE}-{}", pin.version));
    // It names a nightly toolchain, which would override the pinned one.
    fs::remove_file(source.join("rust-toolchain.toml")).ok();

    for patch in &patches {
        run(Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(patch)
            .current_dir(&source)
            // Inside a checkout git would take the paths as relative to its top.
            .env("GIT_CEILING_DIRECTORIES", &workspace))?;
    }

    fs::copy(pins.join("src/lib.rs"), workspace.join("src/lib.rs"))?;
    let manifest = fs::read_to_string(pins.join("Cargo.toml"))?;
    fs::write(
        workspace.join("Cargo.toml"),
        format!(
            "{manifest}\n[patch.crates-io]\n{CRATE} = {{ path = \"{CRATE}-{}\" }}\n",
            pin.version
        ),
    )?;
    fs::write(workspace.join("Cargo.lock"), pin.lock_with_path_source(&lock))?;
    fs::write(&stamp_file, stamp)?;
    Ok(workspace)
}

/// The kernel's entry in the lock file.
struct Pin {
    version: String,
    checksum: String,
}

impl Pin {
    fn find(lock: &str) -> Result<Self> {
        let entry = lock
            .split("[[package]]")
            .find(|entry| entry.contains(&format!("\nname = \"{CRATE}\"\n")))
            .context("hermit-kernel/Cargo.lock does not name the kernel")?;
        let value = |key: &str| -> Result<String> {
            let start = format!("{key} = \"");
            let line = entry
                .lines()
                .find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'));
            Ok(line
                .with_context(|| format!("hermit-kernel/Cargo.lock: the kernel has no {key}"))?
                .to_owned())
        };
        Ok(Self {
            version: value("version")?,
            checksum: value("checksum")?,
        })
    }

    /// The lock file for a build in which the kernel comes from a path: such packages have no source and checksum.
    fn lock_with_path_source(&self, lock: &str) -> String {
        let entries = lock.split("[[package]]").map(|entry| {
            if entry.contains(&format!("\nname = \"{CRATE}\"\n")) {
                let kept = entry
                    .lines()
                    .filter(|l| !l.starts_with("source = ") && !l.starts_with("checksum = "));
                kept.collect::<Vec<_>>().join("\n") + "\n\n"
            } else {
                entry.to_owned()
            }
        });
        entries.collect::<Vec<_>>().join("[[package]]")
    }
}

/// The crate file as cargo downloaded it, verified against the lock file's checksum.
fn downloaded_crate(pin: &Pin) -> Result<Vec<u8>> {
    let cache = cargo_home()?.join("registry/cache");
    let name = format!("{CRATE}-{}.crate", pin.version);
    let registries = fs::read_dir(&cache).with_context(|| format!("cannot list {}", cache.display()))?;
    for registry in registries {
        let path = registry?.path().join(&name);
        let Ok(bytes) = fs::read(&path) else { continue };
        let digest = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>();
        if digest == pin.checksum {
            return Ok(bytes);
        }
        bail!(
            "{}: checksum {digest} is not the lock file's {}",
            path.display(),
            pin.checksum
        );
    }
    bail!(
        "{name} is not below {}, though cargo has fetched it",
        cache.display()
    )
}

/// The patch files in the order in which they apply.
fn patches(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut patches = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "patch") {
            patches.push(path);
        }
    }
    patches.sort();
    Ok(patches)
}

/// What the prepared source depends on, as one digest.
fn stamp(pins: &Path, patches: &[PathBuf]) -> Result<String> {
    let mut digest = Sha256::new();
    let files = [pins.join("Cargo.toml"), pins.join("Cargo.lock")];
    for path in files.iter().chain(patches) {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", path.display()))?;
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(bytes.len().to_le_bytes());
        digest.update(&bytes);
    }
    Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Makes `made` of the file `from`, unless it was made of just that file the last time.
///
/// Newer than it is not enough: cargo keeps what it built with other flags, and puts it back as old as it is.
pub(crate) fn remake(made: &Path, from: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let record = made.with_added_extension("made-of");
    let source = identity(from)?;
    if made.exists() && fs::read_to_string(&record).is_ok_and(|last| last == source) {
        return Ok(());
    }
    // Whoever is interrupted in between starts anew.
    fs::remove_file(&record).ok();
    make()?;
    fs::write(&record, source).with_context(|| format!("cannot write {}", record.display()))
}

/// What tells a file from others that lay at its path before: its length, and when it was written.
fn identity(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let time = metadata
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!("{} {}", metadata.len(), time.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty folder.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("hermit-wasm-made-{name}-{}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_was_made_of_another_file_is_made_again_however_old_that_one_is() {
        let folder = folder("again");
        let [from, made] = ["from", "made"].map(|name| folder.join(name));
        let make = || -> bool {
            let mut is_made = false;
            remake(&made, &from, || {
                is_made = true;
                Ok(fs::copy(&from, &made).map(drop)?)
            })
            .unwrap();
            is_made
        };
        // As cargo does when flags change and change back: a file of an older time takes the place of the newer one.
        let put = |text: &str, second: u64| {
            fs::write(&from, text).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            fs::File::options()
                .write(true)
                .open(&from)
                .and_then(|file| file.set_modified(time))
                .unwrap();
        };
        put("old flags", 1_000);
        assert!(make() && !make());
        put("new flags", 2_000);
        assert!(make() && !make());
        put("old flags", 1_000);
        assert!(make() && !make());
        assert_eq!(fs::read_to_string(&made).unwrap(), "old flags");
        fs::remove_file(&made).unwrap();
        assert!(make());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_could_not_be_made_is_tried_again() {
        let folder = folder("failed");
        let [from, made] = ["from", "made"].map(|name| folder.join(name));
        fs::write(&from, "text").unwrap();
        fs::write(&made, "half").unwrap();
        assert!(remake(&made, &from, || bail!("no")).is_err());
        let mut is_made = false;
        remake(&made, &from, || {
            is_made = true;
            Ok(())
        })
        .unwrap();
        assert!(is_made);
        fs::remove_dir_all(folder).unwrap();
    }
}
