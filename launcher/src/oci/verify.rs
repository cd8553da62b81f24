//! The last look at a container's mounts: a hook of the delegate's, which runs when all is mounted and nothing is started.
//!
//! Between `create` and the delegate's mounts, another container that shares a volume can put a link there, and the
//! delegate would follow it within the monitor's root. Here each mount beneath that root has to be one that was meant.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::request::GUEST;
use crate::host::shown;

/// The word behind `oci` by which the program knows that it is the hook.
pub(super) const WORD: &str = "verify-mounts";

/// Checks this process's mounts: the monitor's root, and where mounts are meant to be in it.
pub(super) fn perform(words: &[OsString]) -> Result<(), String> {
    let Some((root, places)) = words.split_first() else {
        return Err("it is given no root; only 'hermit-wasm oci create' has it run".to_string());
    };
    let mounts =
        std::fs::read("/proc/self/mountinfo").map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
    let places: Vec<&Path> = places.iter().map(Path::new).collect();
    check(&mounts, Path::new(root), &places)
}

fn check(mounts: &[u8], root: &Path, places: &[&Path]) -> Result<(), String> {
    let mut roots = 0;
    let mut sees_the_guest = false;
    for point in mounts.split(|byte| *byte == b'\n').filter_map(point) {
        let Ok(inside) = point.strip_prefix(root) else {
            continue;
        };
        if inside.as_os_str().is_empty() {
            // The delegate mounts it on itself, once.
            roots += 1;
            if roots > 1 {
                return Err("something is mounted over the monitor's root".to_string());
            }
            continue;
        }
        let inside = Path::new("/").join(inside);
        sees_the_guest |= inside == Path::new(GUEST);
        // What comes with a mount lies beneath it; and what lay there before is covered, since the monitor's mounts are
        // the last.
        let is_meant = |place: &&Path| inside.starts_with(place);
        if !inside.starts_with(GUEST) && !places.iter().any(is_meant) {
            return Err(format!(
                "something is mounted at {}, where nothing was meant to be: a link in a volume leads there",
                shown::path(&inside)
            ));
        }
    }
    // Elsewhere in the file system, or in another namespace, there is nothing to see, and nothing was checked.
    match sees_the_guest {
        true => Ok(()),
        false => Err(format!(
            "the mounts beneath {} are not to be seen in /proc/self/mountinfo, and nobody can say whether they are as they \
             were meant",
            shown::path(root)
        )),
    }
}

/// The mount point in a line of mountinfo.
fn point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, behind)) = rest.split_first() {
        // Spaces and the like are three octal digits.
        let digits = behind.get(..3).filter(|_| *byte == b'\\');
        let octal = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(octal) => {
                bytes.push(octal);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    Some(OsString::from_vec(bytes).into())
}

/// Whether something is mounted beneath a directory of this node's.
pub(super) fn has_mounts_beneath(directory: &Path) -> bool {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    is_above_mounts(directory, &mounts)
}

fn is_above_mounts(directory: &Path, mounts: &[u8]) -> bool {
    // The kernel names mount points without links. What is not there has nothing beneath it.
    let directory = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_path_buf());
    let mut points = mounts.split(|byte| *byte == b'\n').filter_map(point);
    points.any(|point| point != directory && point.starts_with(&directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(points: &[&str]) -> Vec<u8> {
        let line = |point: &&str| format!("36 35 98:0 / {point} rw,noatime master:1 - ext4 /dev/root rw\n");
        points.iter().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn only_what_is_meant_is_mounted() {
        let places = ["/guest", "/proc", "/dev", "/usr", "/etc/hosts"].map(Path::new);
        let check = |points: &[&str]| check(&mounts(points), Path::new("/b/a root"), &places);
        let usual = [
            "/",
            "/proc",
            "/b/a\\040root",
            "/b/a\\040root/guest",
            "/b/a\\040root/dev/pts",
        ];
        assert_eq!(check(&usual), Ok(()));
        assert_eq!(
            check(
                &[
                    &usual[..],
                    &["/b/a\\040root/guest/data/deep", "/b/a\\040root/usr/local"]
                ]
                .concat()
            ),
            Ok(())
        );
        // Where nothing is to be seen, nothing was checked.
        for nothing in [&[][..], &["/", "/proc"], &["/b/a\\040root"], &["/other/guest"]] {
            let error = check(nothing).unwrap_err();
            assert!(error.contains("not to be seen"), "{nothing:?}: {error}");
        }
        for (point, reason) in [
            ("/b/a\\040root/request.json", "/request.json"),
            ("/b/a\\040root/etc/ld.so.preload", "/etc/ld.so.preload"),
            ("/b/a\\040root/guests", "/guests"),
            ("/b/a\\040root", "over the monitor's root"),
        ] {
            let error = check(&[&usual[..], &[point]].concat()).unwrap_err();
            assert!(error.contains(reason), "{point}: {error}");
        }
        assert!(has_mounts_beneath(Path::new("/")));
    }

    #[test]
    fn mounts_beneath_a_link_are_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(path.join("version/lib")).unwrap();
        std::os::unix::fs::symlink("version", path.join("current")).unwrap();
        let mounts = mounts(&["/", path.join("version/lib/deep").to_str().unwrap()]);
        assert!(is_above_mounts(&path.join("current/lib"), &mounts));
        assert!(!is_above_mounts(&path.join("current/lib/deep"), &mounts));
        assert!(!is_above_mounts(&path.join("versio"), &mounts));
    }
}
