//! Builds the images a second time, of a copy of the tree in another folder, with another folder for cargo's crates, and
//! compares them byte for byte: `cargo xtask reproduce`. See docs/reproducible.md.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use test_qemu::Engine;

use crate::arch::Arch;
use crate::toolchain::{ROOT, cargo, cargo_home, root, run, step};
use crate::{image, inputs};

/// The second place, below `target/`. Its path is longer than the first: lengths must not matter either.
const ELSEWHERE: &str = "reproduce/in another folder";

/// Folders of a checkout that are not copied: nothing in an image may be of them.
const LEFT_OUT: [&str; 2] = ["target", ".git"];

/// Builds the images of `arches` in both places and compares those of `engines`; the others are not built again.
///
/// # Errors
/// If something differs, with the names of all that does; the second place is then left for a look. Or if nothing can
/// be built.
pub(crate) fn check(arches: &[Arch], engines: &[Engine]) -> Result<()> {
    for arch in arches {
        image::build(*arch, &image::default_out())?;
    }
    let elsewhere = root().join("target").join(ELSEWHERE);
    remove(&elsewhere)?;
    let tree = elsewhere.join("tree");
    copy(&root(), &tree)?;
    let home = second_cargo_home(&elsewhere)?;
    step(&format!("building once more, in {}", tree.display()));
    let mut found = String::new();
    for arch in arches {
        build(*arch, engines, &tree, &home)?;
        for file in products(*arch, engines) {
            compare(&file, [&root(), &tree], &mut found)?;
        }
        for file in products(*arch, engines) {
            said(
                &tree.join(&file),
                &[&elsewhere, &root(), &cargo_home()?],
                &mut found,
            )?;
        }
    }
    if !found.is_empty() {
        bail!("what was built differs, or tells where it was built:\n{found}Both are left for a look.");
    }
    remove(&root().join("target/reproduce"))
}

/// What is compared, in the order in which one goes into the other: the first that differs is where to look.
fn products(arch: Arch, engines: &[Engine]) -> Vec<PathBuf> {
    let images = Path::new("target/images").join(arch.name());
    let mut products = vec![
        "target/guests/greet.wasm".into(),
        format!("target/hermit-kernel/hermit-{}.o", arch.name()).into(),
        images.join("hermit-loader"),
    ];
    for engine in engines {
        products.push(images.join(engine.file()));
        products.push(images.join(engine.file()).with_extension("img"));
    }
    // It is written where all are built.
    if image::are_all(engines) {
        products.push(images.join(inputs::MADE_FROM));
    }
    products
}

/// Builds the images of the copy by this very program, in an environment that is another in what must not matter.
fn build(arch: Arch, engines: &[Engine], tree: &Path, home: &Path) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let only = if image::are_all(engines) { &[] } else { engines };
    run(Command::new(program)
        .args(["image", "--arch", arch.name()])
        .args(only.iter().flat_map(|engine| ["--engine", engine.name()]))
        .current_dir(tree)
        .env(ROOT, tree)
        .env("CARGO_HOME", home)
        .env("TZ", "Pacific/Chatham")
        .env("NO_COLOR", "1")
        .env("UHYVE_MOUNT", "/elsewhere")
        .env("LC_ALL", "C"))
}

/// A folder for cargo of which only the crates' archives are the first's: their sources are unpacked anew.
fn second_cargo_home(elsewhere: &Path) -> Result<PathBuf> {
    let (first, second) = (cargo_home()?, elsewhere.join("cargo"));
    let shown = || format!("cannot make {}", second.display());
    fs::create_dir_all(second.join("registry")).with_context(shown)?;
    // `config.toml` may say where crates come from.
    for shared in ["registry/cache", "registry/index", "config.toml", "config"] {
        if first.join(shared).exists() {
            symlink(first.join(shared), second.join(shared)).with_context(shown)?;
        }
    }
    for workspace in [".", "guests", "loader"] {
        run(cargo()
            .args(["fetch", "--quiet", "--locked", "--manifest-path"])
            .arg(root().join(workspace).join("Cargo.toml"))
            .env("CARGO_HOME", &second))?;
    }
    Ok(second)
}

/// Removes a folder that may be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Copies a folder without what is [`LEFT_OUT`]; links stay links.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let shown = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(shown)?;
    for entry in fs::read_dir(from).with_context(shown)? {
        let entry = entry.with_context(shown)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(shown)?;
        if LEFT_OUT.iter().any(|name| entry.file_name() == OsStr::new(name)) {
            continue;
        }
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source).with_context(shown)?, &target).with_context(shown)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).with_context(shown)?;
        }
    }
    Ok(())
}

/// Adds a line to `found` if the `file` below both `roots` is not the same.
fn compare(file: &Path, roots: [&Path; 2], found: &mut String) -> Result<()> {
    let read = |root: &Path| {
        let path = root.join(file);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let [first, second] = [read(roots[0])?, read(roots[1])?];
    if let Some(difference) = difference(&first, &second) {
        writeln!(found, "  {}: {difference}", file.display())?;
    }
    Ok(())
}

/// Adds a line to `found` for each of `folders` whose path is in the `file`.
fn said(file: &Path, folders: &[&Path], found: &mut String) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    for folder in folders {
        let name = [folder.as_os_str().as_bytes(), b"/"].concat();
        if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            let text = excerpt(&bytes, at);
            writeln!(
                found,
                "  {}: names a folder: at byte {at} is {text}",
                file.display()
            )?;
        }
    }
    Ok(())
}

/// Says where two files differ first, in how much, and what stands there; nothing if they are equal.
fn difference(first: &[u8], second: &[u8]) -> Option<String> {
    if first == second {
        return None;
    }
    let pairs = || first.iter().zip(second);
    let count = pairs().filter(|(a, b)| a != b).count() + first.len().abs_diff(second.len());
    let at = pairs()
        .position(|(a, b)| a != b)
        .unwrap_or(first.len().min(second.len()));
    let [was, is] = [first, second].map(|bytes| excerpt(bytes, at));
    Some(format!(
        "{} and {} bytes, {count} of which differ; the first at {at}: {was} and {is}",
        first.len(),
        second.len()
    ))
}

/// What stands around a byte: the text that it is a part of, or the bytes behind it.
fn excerpt(bytes: &[u8], at: usize) -> String {
    let text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let before = bytes[..at.min(bytes.len())]
        .iter()
        .rev()
        .take(40)
        .take_while(|byte| text(byte))
        .count();
    let rest = &bytes[at.min(bytes.len())..];
    let behind = rest.iter().take(80).take_while(|byte| text(byte)).count();
    if before + behind < 8 {
        return format!("{:02x?}", &rest[..rest.len().min(8)]);
    }
    format!("{:?}", String::from_utf8_lossy(&bytes[at - before..at + behind]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_by_place_number_and_text() {
        assert_eq!(difference(b"same", b"same"), None);
        let said = difference(b"\0/home/a/src/lib.rs\0", b"\0/home/b/src/lib.rs\0").unwrap();
        assert_eq!(
            said,
            "20 and 20 bytes, 1 of which differ; the first at 7: \"/home/a/src/lib.rs\" and \"/home/b/src/lib.rs\""
        );
        let said = difference(b"\x01\x02\x03", b"\x01\x02").unwrap();
        assert_eq!(
            said,
            "3 and 2 bytes, 1 of which differ; the first at 2: [03] and []"
        );
    }

    #[test]
    fn a_copy_has_the_files_and_links_and_nothing_that_was_built() {
        let folder = std::env::temp_dir().join(format!("hermit-wasm-reproduce-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("loader/target")).unwrap();
        fs::create_dir_all(from.join(".git")).unwrap();
        fs::write(from.join("loader/target/built"), "x").unwrap();
        fs::write(from.join("loader/a.rs"), "text").unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("loader/a.rs")).unwrap(), "text");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        assert!(!to.join("loader/target").exists() && !to.join(".git").exists());
        let mut found = String::new();
        compare(Path::new("loader/a.rs"), [&from, &to], &mut found).unwrap();
        assert_eq!(found, "");
        fs::write(to.join("loader/a.rs"), "test").unwrap();
        compare(Path::new("loader/a.rs"), [&from, &to], &mut found).unwrap();
        assert!(
            found.starts_with("  loader/a.rs: 4 and 4 bytes, 1 of which differ"),
            "{found}"
        );
        fs::write(to.join("loader/a.rs"), format!("at {}/x", from.display())).unwrap();
        found.clear();
        said(&to.join("loader/a.rs"), &[&from], &mut found).unwrap();
        assert!(found.contains("names a folder: at byte 3 is"), "{found}");
        fs::remove_dir_all(folder).unwrap();
    }
}
