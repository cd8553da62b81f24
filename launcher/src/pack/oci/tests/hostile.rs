//! Archives to copy and layouts to read that are meant to mislead.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, symlink};

use serde_json::{Value, json};
use tar::EntryType as EntryKind;
use tempfile::TempDir;

use super::super::layer::Builder;
use super::super::{OciKind, Packed};
use super::{SAID, entries, image, pack, scratch};
use crate::pack::section::Section;

/// An archive of these entries.
fn archive(entries: &[(EntryKind, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, data) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        match kind {
            EntryKind::Regular => {
                header.set_size(data.len() as u64);
                header.set_cksum();
                bytes.extend(header.as_bytes());
                bytes.extend(*data);
                bytes.resize(bytes.len().next_multiple_of(512), 0);
            }
            _ => {
                header.set_size(0);
                header.as_mut_bytes()[157..157 + data.len()].copy_from_slice(data);
                header.set_cksum();
                bytes.extend(header.as_bytes());
            }
        }
    }
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn what_leads_out_of_its_directory_is_in_no_layer() {
    use EntryKind::{Directory, Fifo, Link, Regular, Symlink};
    let scratch = tempfile::tempdir().unwrap();
    let made = |entries: &[(EntryKind, &str, &[u8])]| {
        let mut layer = Builder::new(scratch.path())?;
        layer.file("app.wasm", 0o755, 1, &mut &b"m"[..])?;
        layer.tree("site", archive(entries).as_slice())?;
        layer.tree("", archive(&[(Regular, "at-root", b"r")]).as_slice())?;
        layer.finish()
    };
    let good = made(&[
        (Directory, "./", b""),
        (Directory, "d/", b""),
        (Regular, "d/f", b"x"),
        (Symlink, "up", b"../../../etc"),
        (Link, "again", b"d/f"),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut file = Section::of(&good.file, 0, good.length);
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(
        entries(&bytes),
        [
            "0 app.wasm",
            "5 site/",
            "5 site/d/",
            "0 site/d/f",
            "2 site/up ../../../etc",
            "1 site/again site/d/f",
            "0 at-root",
        ]
    );
    for bad in [
        &[(Regular, "../f", &b"x"[..])][..],
        &[(Regular, "/f", b"x")],
        &[(Directory, "d/../../e/", b"")],
        &[(Link, "f", b"../app.wasm")],
        &[(Link, "f", b"/app.wasm")],
        &[(Link, "f", b"not-there")],
        &[(Fifo, "f", b"")],
        &[(Regular, "f", b"x"), (Regular, "f", b"y")],
        &[(Regular, "f", b"x"), (Regular, "f/g", b"y")],
        &[(Regular, "d/g", b"x"), (Regular, "d", b"y")],
        &[(Regular, ".wh.f", b"")],
        &[(Directory, "d/.wh..wh..opq/", b"")],
    ] {
        let error = made(bad).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains("cannot be in the image"), "{error}");
    }
    let mut layer = Builder::new(scratch.path()).unwrap();
    layer.file("app.wasm", 0o755, 1, &mut &b"m"[..]).unwrap();
    let other = archive(&[(Regular, "app.wasm", b"other")]);
    assert!(
        layer.tree("", other.as_slice()).is_err(),
        "the module is not replaced"
    );
}

/// Writes a layout whose index is `index`, with these blobs, which are called as is said.
fn misleading(index: &Value, blobs: &[(&str, &[u8])]) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir_all(at("blobs/sha256")).unwrap();
    fs::write(at("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(at("index.json"), index.to_string()).unwrap();
    for (name, bytes) in blobs {
        fs::write(at("blobs/sha256").join(name), bytes).unwrap();
    }
    scratch
}

#[test]
fn a_strangers_layout_leads_nowhere_else() {
    let digest = "a".repeat(64);
    let named = |digest: &str| {
        json!({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": digest,
        }]})
    };
    let refused = |layout: &TempDir| {
        let error = Packed::open(layout.path()).unwrap_err();
        assert_eq!(error.exit_code(), 126, "{error}");
        assert!(error.to_string().contains("is a container image"), "{error}");
    };
    // Nothing, what is not there, what leads elsewhere, what is no document.
    refused(&misleading(&json!({"schemaVersion": 2, "manifests": []}), &[]));
    refused(&misleading(&named(&format!("sha256:{digest}")), &[]));
    refused(&misleading(&named("sha256:../../../etc/passwd"), &[]));
    refused(&misleading(&named(&format!("sha512:{}", "a".repeat(128))), &[]));
    refused(&misleading(&json!([1]), &[]));
    refused(&misleading(
        &named(&format!("sha256:{digest}")),
        &[(&digest, b"{}")],
    ));
    let long = vec![b' '; (4 << 20) + 1];
    refused(&misleading(
        &named(&format!("sha256:{digest}")),
        &[(&digest, &long)],
    ));
    // A link out of the layout is not followed.
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "{}").unwrap();
    let layout = misleading(&named(&format!("sha256:{digest}")), &[]);
    symlink(&secret, layout.path().join("blobs/sha256").join(&digest)).unwrap();
    assert!(Packed::open(layout.path()).is_err());
    // A directory that is no layout is none.
    assert!(Packed::open(outside.path()).unwrap().is_none());
}

#[test]
fn an_extensions_text_is_not_kept() {
    let scratch = scratch(SAID);
    let path = pack(&scratch, &image(OciKind::Sealed), "image.tar").unwrap();
    let good = fs::read(&path).unwrap();
    // A name of two gigabytes, of which the file has nothing but a hole.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryKind::GNULongName);
    header.as_mut_bytes()[..13].copy_from_slice(b"././@LongLink");
    header.set_size(1 << 31);
    header.set_cksum();
    let file = File::create(&path).unwrap();
    file.write_all_at(header.as_bytes(), 0).unwrap();
    file.write_all_at(&good, 512 + (1 << 31)).unwrap();
    let packed = Packed::open(&path).unwrap().unwrap();
    assert!(packed.start() > 1 << 31, "it is skipped");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 1536 << 10, "{peak} KiB of memory were used");
}

#[test]
fn a_damaged_archive_is_never_run() {
    let scratch = scratch(SAID);
    let path = pack(&scratch, &image(OciKind::Sealed), "image.tar").unwrap();
    let good = fs::read(&path).unwrap();
    let packed = Packed::open(&path).unwrap().unwrap();
    let payload = packed.start()..packed.start() + packed.length();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        // Outside of the payload, nothing that is read may matter; inside, everything does.
        if let Ok(Some(_)) = Packed::open(&path) {
            assert!(!payload.contains(&(at as u64)), "byte {at}");
        }
    }
    for length in (0..good.len()).step_by(301) {
        fs::write(&path, &good[..length]).unwrap();
        let opened = Packed::open(&path);
        let is_whole = payload.end <= length as u64;
        assert!(is_whole || !matches!(opened, Ok(Some(_))), "{length} bytes");
    }
}
