//! Images by their documents and files. `hostile`: what is meant to mislead.

mod hostile;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::host::identity::sha256;
use crate::pack::Format;
use crate::spec::deadline::Deadline;
use crate::spec::manifest::Hermitfile;
use crate::spec::run::Run;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A directory with a Hermitfile that says this, and what it may name.
fn scratch(manifest: &str) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::write(at("m.wasm"), MODULE).unwrap();
    fs::create_dir_all(at("site/deep")).unwrap();
    fs::write(at("site/deep/file"), "content").unwrap();
    symlink("deep/file", at("site/link")).unwrap();
    fs::hard_link(at("site/deep/file"), at("site/other")).unwrap();
    fs::write(at("Hermitfile"), manifest).unwrap();
    scratch
}

fn image(kind: OciKind) -> OciImage {
    OciImage {
        kind,
        ..OciImage::DEFAULT
    }
}

/// Packs the Hermitfile.
fn pack(scratch: &TempDir, image: &OciImage, output: &str) -> Result<PathBuf, Error> {
    let never = Deadline::never();
    let file = Hermitfile::open(scratch.path().join("Hermitfile"), &never)?.to_be_packed();
    let module = file.module(1 << 28, &never)?;
    let run: Run = file.apply(Run::new(module), 1 << 28, &never)?;
    let output = scratch.path().join(output);
    run.arch(Arch::Aarch64)
        .pack(Format::Oci(image.clone()), &output)
        .map(|_| output)
}

/// A blob of the layout, which must be what its name says.
fn blob(layout: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = fs::read(layout.join("blobs/sha256").join(digest)).unwrap();
    assert_eq!(sha256(bytes.as_slice()).unwrap(), digest);
    bytes
}

fn document(layout: &Path, descriptor: &Value) -> Value {
    let bytes = blob(layout, &descriptor["digest"]);
    assert_eq!(descriptor["size"], bytes.len());
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bytes, value.to_string().into_bytes(), "its fields have an order");
    value
}

fn index(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

/// The entries of a layer: kind, mode, name, target of a link.
fn entries(layer: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(layer);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.mtime().unwrap(), 0);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let target = entry.link_name().unwrap();
        let target = target.map(|target| format!(" {}", target.display()));
        format!(
            "{} {}{}",
            char::from(header.entry_type().as_byte()),
            entry.path().unwrap().display(),
            target.unwrap_or_default()
        )
    });
    entries.collect()
}

const SAID: &str =
    "FROM m.wasm\nARGV -c x\nENV B=2 A=1\nCOPY site /usr/site\nMAP [\"d:/data\"]\nEXPOSE 8080 53/udp\n";

#[test]
fn a_plain_image_is_what_any_engine_runs() {
    let scratch = scratch(SAID);
    let layout = pack(&scratch, &image(OciKind::Plain), "image").unwrap();
    let names = |directory: &Path| {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&layout), ["blobs", "index.json", "oci-layout"]);
    assert_eq!(names(&layout.join("blobs/sha256")).len(), 3);
    assert_eq!(
        fs::read(layout.join("oci-layout")).unwrap(),
        br#"{"imageLayoutVersion":"1.0.0"}"#
    );
    let index = index(&layout);
    let found = &index["manifests"][0];
    assert_eq!(found["platform"], json!({"architecture": "arm64", "os": "linux"}));
    assert_eq!(
        found["annotations"],
        json!({"org.opencontainers.image.ref.name": "latest"})
    );
    let manifest = document(&layout, found);
    assert_eq!(
        manifest["annotations"],
        json!({
            "org.hermit-wasm.publish": "53/udp",
            "org.hermit-wasm.tcplisten": "8080",
            "org.opencontainers.image.title": "m.wasm",
        })
    );
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar"
    );
    let config = document(&layout, &manifest["config"]);
    let layer = &manifest["layers"][0]["digest"];
    assert_eq!(
        config,
        json!({
            "architecture": "arm64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": ["/app.wasm", "-c", "x"],
                "Env": ["B=2", "A=1"],
                "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
                "Volumes": {"/data": {}},
                "WorkingDir": "/",
            },
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "hermit-wasm pack"}],
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        })
    );
    assert_eq!(
        entries(&blob(&layout, layer)),
        [
            "0 app.wasm",
            "5 usr/",
            "5 usr/site/",
            "5 usr/site/deep/",
            "0 usr/site/deep/file",
            "2 usr/site/link deep/file",
            "1 usr/site/other usr/site/deep/file",
            "5 data/",
        ]
    );
}

#[test]
fn a_sealed_image_is_a_packed_file() {
    let scratch = scratch(&format!("{SAID}FUEL 5\nNET a:80\nTMPFS /tmp\nMAY_BE_WIDENED\n"));
    let sealed = image(OciKind::Sealed);
    let [layout, archive] = ["image", "image.tar"].map(|name| pack(&scratch, &sealed, name).unwrap());
    let manifest = document(&layout, &index(&layout)["manifests"][0]);
    let config = document(&layout, &manifest["config"]);
    // Its arguments are its own.
    assert_eq!(config["config"]["Entrypoint"], json!(["/app.hermit"]));
    assert_eq!(config["config"]["Env"], json!(["B=2", "A=1"]));
    assert_eq!(manifest["annotations"].as_object().unwrap().len(), 1);
    let layer = blob(&layout, &manifest["layers"][0]["digest"]);
    assert_eq!(entries(&layer), ["0 app.hermit", "5 data/"]);
    // Byte for byte what is packed without an image.
    let never = Deadline::never();
    let file = Hermitfile::open(scratch.path().join("Hermitfile"), &never).unwrap();
    let file = file.to_be_packed();
    let run = file.apply(Run::new(file.module(1 << 28, &never).unwrap()), 1 << 28, &never);
    let alone = scratch.path().join("alone");
    run.unwrap().pack(Format::Initrd, &alone).unwrap();
    let alone = fs::read(alone).unwrap();
    assert_eq!(layer[512..512 + alone.len()], alone);
    for path in [layout, archive] {
        let packed = Packed::open(&path).unwrap().unwrap();
        assert_eq!(packed.format(), Format::Oci(sealed.clone()));
        assert_eq!(packed.length(), alone.len() as u64);
        assert!(packed.manifest().is_some_and(|manifest| manifest.may_be_widened));
        let mut bytes = Vec::new();
        packed.part(0, packed.length()).read_to_end(&mut bytes).unwrap();
        assert!(bytes == alone);
    }
}

#[test]
fn an_index_names_an_image_for_each_architecture_and_they_share_their_files() {
    let scratch = scratch(SAID);
    let every = OciImage {
        every_arch: true,
        tag: Some("localhost/app:1".to_string()),
        ..image(OciKind::Sealed)
    };
    let layout = pack(&scratch, &every, "image").unwrap();
    assert_eq!(fs::read_dir(layout.join("blobs/sha256")).unwrap().count(), 8);
    let index = index(&layout);
    let found = &index["manifests"][0];
    assert_eq!(
        found["annotations"],
        json!({
            "io.containerd.image.name": "localhost/app:1",
            "org.opencontainers.image.ref.name": "localhost/app:1",
        })
    );
    let nested = document(&layout, found);
    assert_eq!(nested["mediaType"], "application/vnd.oci.image.index.v1+json");
    let mut layers = Vec::new();
    for (manifest, arch) in nested["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["amd64", "arm64", "riscv64"])
    {
        assert_eq!(manifest["platform"], json!({"architecture": arch, "os": "linux"}));
        let manifest = document(&layout, manifest);
        assert_eq!(document(&layout, &manifest["config"])["architecture"], arch);
        layers.push(manifest["layers"].clone());
    }
    assert_eq!(layers.len(), 3);
    assert!(layers.iter().all(|layer| *layer == layers[0]));
    assert!(Packed::open(&layout).unwrap().is_some());
}

#[test]
fn an_image_of_wasi_has_its_platform() {
    let scratch = scratch(SAID);
    let layout = pack(&scratch, &image(OciKind::Wasi), "image").unwrap();
    let index = index(&layout);
    let manifest = document(&layout, &index["manifests"][0]);
    let config = document(&layout, &manifest["config"]);
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasi"))
    );
    assert_eq!(config["config"]["Entrypoint"][0], "/app.wasm");
    assert_eq!(
        index["manifests"][0]["platform"],
        json!({"architecture": "wasm", "os": "wasi"})
    );
}

#[test]
fn an_artifact_is_the_module_and_what_the_specification_demands() {
    let scratch = scratch("FROM m.wasm\n");
    let layout = pack(&scratch, &image(OciKind::Artifact), "image").unwrap();
    let manifest = document(&layout, &index(&layout)["manifests"][0]);
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], "application/wasm");
    assert_eq!(
        layers[0]["annotations"]["org.opencontainers.image.title"],
        "m.wasm"
    );
    assert_eq!(blob(&layout, &layers[0]["digest"]), MODULE);
    assert_eq!(
        document(&layout, &manifest["config"]),
        json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip1",
            "layerDigests": [layers[0]["digest"]],
        })
    );
}

#[test]
fn what_nobody_would_hold_is_refused_by_its_name() {
    for (line, word) in [
        ("FUEL 5", "fuel"),
        ("MEMORY 64MiB", "max-memory-size"),
        ("TRAP_ON_GROW_FAILURE", "traps"),
        ("DETERMINISTIC", "DETERMINISTIC"),
        ("ENTRYPOINT f", "'f'"),
        ("LINK l=m.wasm", "'l'"),
        ("NET a:80", "a:80"),
        ("ENV_PWD_IS_HOST_CWD", "PWD"),
        ("TMPFS /t", "'/t'"),
        ("MAP [\"d:/d:ro\"]", "'/d'"),
        ("MAP [\"d:d\"]", "'d'"),
        ("MAP [\"d:/a/../d\"]", "'/a/../d'"),
        ("MAP [\"d:/\"]", "'/'"),
        ("COPY site site", "'site'"),
    ] {
        let scratch = scratch(&format!("FROM m.wasm\n{line}\n"));
        for kind in [OciKind::Plain, OciKind::Wasi, OciKind::Artifact] {
            let error = pack(&scratch, &image(kind), "image").expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
            let error = error.to_string();
            let begin = format!("--oci {}: ", kind.name());
            assert!(
                error.starts_with(&begin) && error.contains(word),
                "{line}: {error}"
            );
        }
        pack(&scratch, &image(OciKind::Sealed), "image").expect(line);
    }
    for line in [
        "ARGV a",
        "ENV A=1",
        "COPY site /site",
        "MAP [\"d:/d\"]",
        "EXPOSE 80",
    ] {
        let scratch = scratch(&format!("FROM m.wasm\n{line}\n"));
        let error = pack(&scratch, &image(OciKind::Artifact), "image").expect_err(line);
        assert!(error.to_string().contains("--oci sealed"), "{line}: {error}");
        pack(&scratch, &image(OciKind::Plain), "image").expect(line);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scratch = scratch("FROM m.wasm\n");
    let tagged = |tag: &str| OciImage {
        tag: Some(tag.to_string()),
        ..image(OciKind::Plain)
    };
    for tag in ["", " a", "-a", "a b", "a\n", "a\u{e9}", &"a".repeat(256)] {
        assert_eq!(
            pack(&scratch, &tagged(tag), "x").unwrap_err().exit_code(),
            2,
            "{tag}"
        );
    }
    for kind in [OciKind::Wasi, OciKind::Artifact] {
        let every = OciImage {
            every_arch: true,
            ..image(kind)
        };
        assert_eq!(pack(&scratch, &every, "x").unwrap_err().exit_code(), 2);
    }
    pack(&scratch, &tagged("a"), "x").unwrap();
    let error = pack(&scratch, &tagged("a"), "x").unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error}");
    // Neither is left: what was half made, nor what it was made of.
    let names = fs::read_dir(scratch.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["Hermitfile", "m.wasm", "site", "x"]);
}

#[test]
fn an_archive_is_told_by_its_name() {
    assert!(OciImage::is_archive(Path::new("a/b.tar")));
    for directory in ["b", "b.tar/c", "tar", ".tar", "b.tar.gz"] {
        assert!(!OciImage::is_archive(Path::new(directory)), "{directory}");
    }
}

#[test]
fn the_same_makes_the_same_bytes_whenever_it_was_written() {
    let scratch = scratch(SAID);
    let first = fs::read(pack(&scratch, &image(OciKind::Plain), "a.tar").unwrap()).unwrap();
    let file = File::options()
        .write(true)
        .open(scratch.path().join("site/deep/file"))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    // Maps have another order in each process and for each map.
    for _ in 0..8 {
        let again = fs::read(pack(&scratch, &image(OciKind::Plain), "a.tar").unwrap()).unwrap();
        assert!(first == again);
    }
    // Nothing of this host.
    let host = scratch.path().to_str().unwrap().as_bytes();
    assert!(!first.windows(host.len()).any(|bytes| bytes == host));
}
