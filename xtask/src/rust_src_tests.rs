//! What is not recorded is refused, by the build and by `scripts/setup`, whichever way it came.

use std::process::{Command, Output};

use super::*;
use crate::toolchain::root;

/// A folder of this test's own, in the place for what builds leave behind.
fn folder(name: &str) -> PathBuf {
    let folder = root()
        .join("target/tmp")
        .join(format!("rust-src-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A small standard library.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("library");
    fs::create_dir_all(library.join("core/src")).unwrap();
    fs::write(library.join("Cargo.lock"), "lock").unwrap();
    fs::write(library.join("core/src/lib.rs"), "//! core").unwrap();
    library
}

/// Sources `scripts/lib/rust-src.sh` as `scripts/setup` does, for a toolchain in `folder`, and runs `command`.
fn setup(folder: &Path, archive: &Path, record: &Path, command: &str) -> Output {
    let script = format!(
        "set -euo pipefail; say() {{ echo \"$*\" >&2; }}; channel=1.2.3 sysroot='{}'; source scripts/lib/rust-src.sh; {command}",
        folder.join("sysroot").display()
    );
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(root())
        .env("HERMIT_WASM_RUST_SRC", archive)
        .env("rust_src_record", record)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_digest_is_what_the_record_says_how_to_compute() {
    let folder = folder("digest");
    let library = library(&folder);
    // Names whose order differs by locale.
    for name in ["B.rs", "a.rs", "core/Z", "core-x"] {
        fs::write(library.join(name), name).unwrap();
    }
    let command = RECORD.lines().find_map(|line| line.strip_prefix("#   ")).unwrap();
    let output = Command::new("bash")
        .args(["-c", command])
        .current_dir(&library)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        printed.split_whitespace().next(),
        Some(tree(&library).unwrap().as_str())
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_record_is_of_the_pinned_version() {
    let version = version().unwrap();
    assert!(recorded(RECORD, version, "tree").all(|digest| digest.len() == 64));
    assert!(recorded(RECORD, version, "tree").count() > 0);
    assert!(recorded(RECORD, version, "archive").count() > 0);
}

#[test]
fn a_library_that_was_changed_is_refused_with_both_digests() {
    let folder = folder("changed");
    let library = library(&folder);
    let good = tree(&library).unwrap();
    let record = format!("1.2.3 tree {good} a test\n");
    check_tree(&library, &record, "1.2.3").unwrap();
    assert!(check_tree(&library, &record, "1.2.4").is_err());

    fs::write(library.join("core/src/lib.rs"), "//! core, and more").unwrap();
    let error = check_tree(&library, &record, "1.2.3").unwrap_err().to_string();
    assert!(
        error.contains(&good) && error.contains(&tree(&library).unwrap()),
        "{error}"
    );

    std::os::unix::fs::symlink("lib.rs", library.join("core/src/link.rs")).unwrap();
    let error = check_tree(&library, &record, "1.2.3").unwrap_err().to_string();
    assert!(error.contains("neither a file nor a folder"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_archive_that_is_not_recorded_is_refused_before_it_is_unpacked() {
    let folder = folder("archive");
    let good = tree(&library(&folder)).unwrap();
    let archive = folder.join("rust-src.tar");
    let tar = Command::new("tar")
        .args(["-cf", "rust-src.tar", "library"])
        .current_dir(&folder)
        .status();
    assert!(tar.unwrap().success());
    let bytes = fs::read(&archive).unwrap();
    let digest = hex(&Sha256::digest(&bytes));
    let record = folder.join("record");
    fs::write(
        &record,
        format!("1.2.3 archive {digest} a test\n1.2.3 tree {good} a test\n"),
    )
    .unwrap();
    let placed = folder.join("sysroot/lib/rustlib/src/rust/library");

    // One bit in the middle of a file's content.
    let mut corrupted = bytes.clone();
    let at = bytes.windows(8).position(|bytes| bytes == b"//! core").unwrap();
    corrupted[at + 4] ^= 1;
    fs::write(&archive, &corrupted).unwrap();
    let output = setup(&folder, &archive, &record, "rust_src_from_archive");
    assert!(!output.status.success());
    let wrong = hex(&Sha256::digest(&corrupted));
    assert!(
        said(&output).contains(&digest) && said(&output).contains(&wrong),
        "{}",
        said(&output)
    );
    assert!(!placed.exists());

    fs::write(&archive, &bytes).unwrap();
    let output = setup(&folder, &archive, &record, "rust_src_from_archive");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(tree(&placed).unwrap(), good);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_is_not_recorded_is_not_put_in_place() {
    let folder = folder("placed");
    let library = library(&folder);
    let record = folder.join("record");
    let other = "0".repeat(64);
    fs::write(&record, format!("1.2.3 tree {other} a test\n")).unwrap();
    // As Debian's package comes, and what rustup has put there.
    let place = format!("place_library '{}'", library.display());
    for command in [&place, &format!("rust_src_is_recorded '{}'", library.display())] {
        let output = setup(&folder, Path::new(""), &record, command);
        assert!(!output.status.success(), "{command}");
        let found = tree(&library).unwrap();
        assert!(
            said(&output).contains(&other) && said(&output).contains(&found),
            "{}",
            said(&output)
        );
    }
    assert!(!folder.join("sysroot/lib/rustlib/src/rust/library").exists());
    fs::remove_dir_all(folder).unwrap();
}
