//! The variables that say what the tests of this crate run: their names, and how their values are read.
//!
//! `scripts/test` sets what is needed; whoever runs one test program by hand sets it as `docs/testing.md` says, whose
//! table has every variable of this repository. Layer: host tests.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use boot_protocol::arch::Arch;
use test_qemu::Engine;

/// The `hermit-wasm` to test.
pub const LAUNCHER: &str = "HERMIT_WASM_BIN";

/// The directory of the built guests.
pub const GUESTS: &str = "HERMIT_WASM_GUESTS";

/// The directory with a directory of images for each architecture.
pub const IMAGES: &str = "HERMIT_WASM_IMAGES";

/// The directory with the image of each architecture that makes the kernel's calls.
pub const CALLS: &str = "HERMIT_WASM_CALLS";

/// The image of the hostile kernel.
pub const HOSTILE: &str = "HERMIT_WASM_HOSTILE";

/// The virtual machine's architecture; the host's, if it is not set.
pub const ARCH: &str = "HERMIT_WASM_ARCH";

/// What runs the modules, `interp` or `native`; the interpreter, if it is not set.
pub const ENGINE: &str = "HERMIT_WASM_ENGINE";

/// Further flags of the launcher, for every run.
pub const RUN_FLAGS: &str = "HERMIT_WASM_RUN_FLAGS";

/// Another runtime to hold the rows against, with the launcher's command line.
pub const REFERENCE: &str = "HERMIT_WASM_REFERENCE";

/// The daemon that shares directories, if it is not the one in `PATH`.
pub const VIRTIOFSD: &str = "HERMIT_WASM_VIRTIOFSD";

/// A variable's value. One that is empty is not set.
#[must_use]
pub fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A path without which there is nothing to test. A relative one starts from the repository's root.
///
/// # Errors
/// If it is not set; says what sets it.
pub fn needed(name: &str) -> Result<PathBuf> {
    get(name).map(|path| crate::root().join(path)).with_context(|| {
        format!("{name} is not set: run scripts/test, which builds what it names and sets it")
    })
}

/// The virtual machine's architecture.
///
/// # Errors
/// If the variable names none, or several.
pub fn arch() -> Result<Arch> {
    let Some(name) = get(ARCH) else {
        return Ok(Arch::host());
    };
    named(&name.to_string_lossy())
}

/// All architectures that the variable names, with commas between them; none, if it is not set.
///
/// # Errors
/// If it names what is none.
pub fn arches() -> Result<Vec<Arch>> {
    let names = get(ARCH).unwrap_or_default();
    let names = names.to_string_lossy();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(named)
        .collect()
}

fn named(name: &str) -> Result<Arch> {
    Arch::from_name(name).with_context(|| format!("{ARCH}: no architecture is called '{name}'"))
}

/// The engine.
///
/// # Errors
/// If the variable names none.
pub fn engine() -> Result<Engine> {
    let Some(name) = get(ENGINE) else {
        return Ok(Engine::Interp);
    };
    let found = name.to_string_lossy().parse();
    found.map_err(|error| anyhow::anyhow!("{ENGINE}: {error}"))
}

/// The launcher's flags for every run: architecture, engine, and what the variable adds.
///
/// # Errors
/// As [`arch`] and [`engine`].
pub fn flags() -> Result<Vec<String>> {
    flags_on(arch()?)
}

/// The same on another architecture.
///
/// # Errors
/// As [`engine`].
pub fn flags_on(arch: Arch) -> Result<Vec<String>> {
    let own = ["--arch", arch.name(), "--engine", engine()?.name()];
    let mut flags: Vec<String> = own.map(String::from).to_vec();
    flags.extend(words(RUN_FLAGS));
    Ok(flags)
}

/// A variable's words.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let value = get(name).unwrap_or_default();
    let words = value.to_string_lossy();
    words.split_whitespace().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// What all our variables begin with; in two parts, so that it is none itself.
    const PREFIX: &str = concat!("HERMIT_", "WASM_");

    /// Notes the variables that a program names.
    fn note(text: &str, names: &mut BTreeSet<String>) {
        for part in text.split(PREFIX).skip(1) {
            let end = part.find(|end: char| !end.is_ascii_uppercase() && end != '_');
            let end = part.get(..end.unwrap_or(part.len())).unwrap_or_default();
            if !end.is_empty() {
                names.insert(format!("{PREFIX}{end}"));
            }
        }
    }

    /// The same for the programs below a directory, but for what is built. Links are not followed: fixtures have some
    /// that lead anywhere.
    fn collect(directory: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (kind, path) = (entry.file_type().unwrap(), entry.path());
            let other = ["target", ".git"].iter().any(|other| path.ends_with(other));
            // Documents use none.
            let document = path.extension().is_some_and(|extension| extension == "md");
            if kind.is_dir() && !other {
                collect(&path, names);
            } else if kind.is_file() && !document {
                note(&String::from_utf8_lossy(&fs::read(&path).unwrap()), names);
            }
        }
    }

    #[test]
    fn the_table_of_variables_is_complete() {
        let mut used = BTreeSet::new();
        collect(crate::root(), &mut used);
        let text = fs::read_to_string(crate::root().join("docs/testing.md")).unwrap();
        let rows = text.lines().filter_map(|line| {
            let (name, _) = line.strip_prefix("| `")?.split_once("` |")?;
            name.starts_with(PREFIX).then(|| name.to_owned())
        });
        let rows: Vec<String> = rows.collect();
        let known: BTreeSet<String> = rows.iter().cloned().collect();
        assert_eq!(rows.len(), known.len(), "a variable has two rows");
        assert_eq!(used, known);
    }
}
