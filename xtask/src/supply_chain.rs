//! What the project is made of: licences, bans, sources and known advisories of every workspace's dependencies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::toolchain::{cargo, root, run};

/// Every folder of the repository that holds a Cargo.lock, by its name below the root, `.` for the root itself.
pub(crate) fn workspaces() -> Result<Vec<String>> {
    let mut found = Vec::new();
    find_locked(&root(), &mut found)?;
    found.sort();
    Ok(found)
}

/// Those below `folder`, but for what builds and tools leave behind.
fn find_locked(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name == "Cargo.lock" {
            let below = folder.strip_prefix(root()).unwrap_or(folder).to_string_lossy();
            found.push(if below.is_empty() {
                ".".to_owned()
            } else {
                below.into_owned()
            });
        } else if entry.file_type()?.is_dir() && name != "target" && !name.starts_with('.') {
            // No link: some of the guests' files lead up and around.
            find_locked(&path, found)?;
        }
    }
    Ok(())
}

/// The folder of cargo-deny's own choosing for the database at RustSec's address: its name, and a digest of the
/// address.
const DATABASE: &str = "advisory-db-3157b0e258782691";

/// cargo-deny's check of a workspace: `checks` is what it looks at.
pub(crate) fn deny(workspace: &str, config: &Path, flags: &[&str], checks: &[&str]) -> Command {
    let mut command = cargo();
    command
        .args(["deny", "--locked"])
        .args(flags)
        // libFuzzer is a feature.
        .args((workspace == "tests/fuzz").then_some("--all-features"))
        .arg("--manifest-path")
        .arg(root().join(workspace).join("Cargo.toml"))
        .arg("--config")
        .arg(config)
        .arg("check")
        .args(checks);
    command
}

/// Fetches what a workspace is made of, as each build does: checks without a network look at it.
pub(crate) fn fetch(workspace: &str) -> Result<()> {
    run(cargo()
        .args(["fetch", "--quiet", "--locked", "--manifest-path"])
        .arg(root().join(workspace).join("Cargo.toml")))
}

/// The configuration that all checks have.
pub(crate) fn config() -> PathBuf {
    root().join("deny.toml")
}

/// Makes a database of the advisories in `from`, a folder as RustSec's database has it, for checks without a network;
/// returns the configuration that names it. cargo-deny wants a clone of a certain name, and looks at nothing of git's
/// but the time of the last fetch: that says when this was made, not how old the list is. The list says that itself.
pub(crate) fn local(from: &Path, folder: &Path) -> Result<PathBuf> {
    let shown = || format!("cannot make {}", folder.display());
    let database = folder.join(DATABASE);
    if database.exists() {
        fs::remove_dir_all(&database).with_context(shown)?;
    }
    fs::create_dir_all(database.join(".git")).with_context(shown)?;
    fs::write(database.join(".git/FETCH_HEAD"), "").with_context(shown)?;
    for package in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let package = package?;
        let copy = database.join("crates").join(package.file_name());
        fs::create_dir_all(&copy).with_context(shown)?;
        for advisory in fs::read_dir(package.path())? {
            let advisory = advisory?;
            fs::copy(advisory.path(), copy.join(advisory.file_name())).with_context(shown)?;
        }
    }
    let text = fs::read_to_string(config()).context("cannot read deny.toml")?;
    let named = format!("[advisories]\ndb-path = {:?}\n", folder.to_string_lossy());
    let config = folder.join("deny.toml");
    fs::write(&config, text.replacen("[advisories]\n", &named, 1)).with_context(shown)?;
    Ok(config)
}

/// The advisories that the repository lists.
pub(crate) fn listed() -> PathBuf {
    root().join("ci/advisories/crates")
}

/// Checks every workspace against the whole of RustSec's database, as it is now. Needs a network.
pub(crate) fn against_all() -> Result<()> {
    let mut failed = None;
    for workspace in workspaces()? {
        println!("--- {workspace}");
        if let Err(error) = run(&mut deny(&workspace, &config(), &[], &["advisories"])) {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::find;

    #[test]
    fn every_lock_file_is_checked() {
        let found = workspaces().unwrap();
        for workspace in [
            ".",
            "compiler",
            "guests",
            "hermit-kernel",
            "loader",
            "tests/differential",
            "tests/fuzz",
        ] {
            assert!(
                found.iter().any(|found| found == workspace),
                "{workspace}: {found:?}"
            );
        }
    }

    /// A package that depends on one crate of the registry, by its lock file.
    fn dependent(folder: &Path, name: &str, version: &str) -> PathBuf {
        let manifest = format!(
            "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{name} = \"={version}\"\n"
        );
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        folder.join("Cargo.toml")
    }

    /// The check fails where it must. On a crate that is here for certain, and an advisory against it that is not real.
    #[test]
    fn a_listed_advisory_fails_the_check() {
        if find("cargo-deny").is_none() {
            println!("SKIP: cargo-deny is not here; `scripts/setup --for supply-chain` installs it");
            return;
        }
        let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
        let version = lock
            .split("[[package]]\nname = \"anyhow\"\nversion = \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("the workspace uses anyhow");
        let folder = root()
            .join("target/tmp")
            .join(format!("advisories-{}", std::process::id()));
        let advisories = folder.join("crates");
        fs::create_dir_all(advisories.join("anyhow")).unwrap();
        let manifest = dependent(&folder.join("package"), "anyhow", version);
        let check = |patched: &str| {
            let text = format!(
                "```toml\n[advisory]\nid = \"RUSTSEC-1999-0001\"\npackage = \"anyhow\"\ndate = \"1999-01-01\"\n\n[versions]\n\
                 patched = [{patched}]\n```\n\n# Made up\n\nFor a test.\n"
            );
            fs::write(advisories.join("anyhow/RUSTSEC-1999-0001.md"), text).unwrap();
            let config = local(&advisories, &folder.join("db")).unwrap();
            cargo()
                .args(["deny", "--offline", "--manifest-path"])
                .arg(&manifest)
                .arg("--config")
                .arg(config)
                .args(["check", "advisories"])
                .output()
                .unwrap()
        };
        let bad = check("");
        let said = String::from_utf8_lossy(&bad.stderr).into_owned();
        assert!(
            !bad.status.success() && said.contains("RUSTSEC-1999-0001"),
            "{said}"
        );
        let good = check(&format!("\">= {version}\""));
        assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
        fs::remove_dir_all(folder).unwrap();
    }
}
