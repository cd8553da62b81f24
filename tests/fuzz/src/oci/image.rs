//! Images: what was packed is what the specification's types read, and what our own reader runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use arbitrary::{Arbitrary, Unstructured};
use hermit_wasm_vm::pack::{Format, OciImage, OciKind, Packed};
use hermit_wasm_vm::{Access, Arch, Module, Protocol, Run};
use oci_spec::image::{
    Config, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout,
};
use tempfile::TempDir;

use super::Word;

/// The shortest module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// What a guest calls directories.
const PLACES: [&str; 9] = [
    "/data",
    "/data/deep",
    "/",
    ".",
    "here",
    "/app.wasm",
    "/app.hermit/x",
    "/../up",
    "/.wh.data",
];

const TAGS: [&str; 4] = ["latest", "localhost/app:1", "example.com/a/b", "../up"];

/// Names and values of variables, arguments, a program's name.
const WORDS: [&str; 6] = ["A", "PATH", "-c", "a b", "=", "\u{1b}[2J"];

#[derive(Arbitrary, Debug)]
struct Script {
    kind: u8,
    every_arch: bool,
    archive: bool,
    arch: u8,
    tag: Option<Word>,
    name: Option<Word>,
    args: Vec<Word>,
    env: Vec<(Word, Word)>,
    directories: Vec<(Word, bool)>,
    copies: Vec<Word>,
    memory: Option<Word>,
    ports: Vec<(u16, bool)>,
}

/// What is packed, and how.
struct Parts {
    kind: OciKind,
    every_arch: bool,
    archive: bool,
    arch: Arch,
    tag: Option<String>,
    name: Option<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    directories: Vec<(String, bool)>,
    copies: Vec<String>,
    memory: Option<String>,
    ports: Vec<(u16, bool)>,
}

impl From<Script> for Parts {
    fn from(script: Script) -> Self {
        let word = |word: &Word| word.of(&WORDS);
        let place = |word: &Word| word.of(&PLACES);
        Self {
            kind: OciKind::ALL[usize::from(script.kind) % OciKind::ALL.len()],
            every_arch: script.every_arch,
            archive: script.archive,
            arch: Arch::ALL[usize::from(script.arch) % Arch::ALL.len()],
            tag: script.tag.map(|tag| tag.of(&TAGS)),
            name: script.name.as_ref().map(word),
            args: script.args.iter().map(word).collect(),
            env: script
                .env
                .iter()
                .map(|(name, value)| (word(name), word(value)))
                .collect(),
            directories: script
                .directories
                .iter()
                .map(|(guest, read_only)| (place(guest), *read_only))
                .collect(),
            copies: script.copies.iter().map(place).collect(),
            memory: script.memory.as_ref().map(place),
            ports: script.ports,
        }
    }
}

impl Parts {
    fn image(&self) -> OciImage {
        OciImage {
            kind: self.kind,
            every_arch: self.every_arch,
            tag: self.tag.clone(),
        }
    }

    fn run(&self, site: &Path) -> Option<Run> {
        let module = Module::from_bytes("m.wasm", MODULE).ok()?;
        let mut run = Run::new(module).arch(self.arch).args(self.args.iter().cloned());
        if let Some(name) = &self.name {
            run = run.argv0(name);
        }
        for (name, value) in &self.env {
            run = run.env(name, value);
        }
        for (guest, read_only) in &self.directories {
            let access = match read_only {
                true => Access::ReadOnly,
                false => Access::ReadWrite,
            };
            run = run.dir(site, guest, access);
        }
        for guest in &self.copies {
            run = run.copy_dir(site, guest, Access::ReadOnly);
        }
        if let Some(guest) = &self.memory {
            run = run.tmpfs(guest);
        }
        for (port, is_datagrams) in &self.ports {
            let protocol = match is_datagrams {
                true => Protocol::Udp,
                false => Protocol::Tcp,
            };
            run = run.expose(*port, protocol);
        }
        Some(run)
    }
}

/// A directory to copy, with links out of it.
fn site(scratch: &TempDir) -> std::path::PathBuf {
    let site = scratch.path().join("site");
    fs::create_dir_all(site.join("deep")).expect("it can be made");
    fs::write(site.join("deep/file"), "content").expect("it can be written");
    symlink("deep/file", site.join("link")).expect("it can be made");
    symlink("../../etc", site.join("out")).expect("it can be made");
    site
}

/// Packs what the bytes describe, twice, and reads it.
pub(super) fn pack(script: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(script)) else {
        return;
    };
    let parts = Parts::from(script);
    let scratch = tempfile::tempdir().expect("there is room for a directory");
    let site = site(&scratch);
    let make = |output: &str| {
        let output = scratch.path().join(output);
        let made = parts.run(&site)?.pack(Format::Oci(parts.image()), &output);
        match made {
            Ok(_) => Some(output),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(!output.exists(), "it was refused and is there: {error}");
                None
            }
        }
    };
    let Some(layout) = make("image") else { return };
    check(&layout, &parts);
    read_back(&layout, &parts);
    if parts.archive {
        let archive = make("image.tar").expect("its layout was made");
        read_back(&archive, &parts);
        let unpacked = scratch.path().join("unpacked");
        let mut reader = tar::Archive::new(File::open(&archive).expect("it is there"));
        reader.unpack(&unpacked).expect("others read it");
        let same = |name: &str| fs::read(unpacked.join(name)).ok() == fs::read(layout.join(name)).ok();
        assert!(same("index.json") && same("oci-layout"));
        for entry in fs::read_dir(layout.join("blobs/sha256")).expect("it is there") {
            let name = entry.expect("it can be read").file_name();
            assert!(same(&format!("blobs/sha256/{}", name.display())));
        }
    }
}

/// Looks at an image as `run`, `inspect` and `unpack` do.
fn read_back(image: &Path, parts: &Parts) {
    match (parts.kind, Packed::open(image)) {
        (OciKind::Sealed, Ok(Some(packed))) => {
            let spec = packed.spec();
            // The last of a name counts.
            for (name, value) in &spec.env {
                let mut said = parts.env.iter().rev();
                assert_eq!(
                    said.find(|(other, _)| other == name).map(|(_, value)| value),
                    Some(value)
                );
            }
            assert!(spec.argv.ends_with(&parts.args));
            for (guest, _) in &parts.directories {
                assert!(spec.mounts.iter().any(|mount| mount.guest == *guest), "{guest:?}");
            }
            let shown = packed.inspect(parts.arch).expect("it is shown");
            assert!(shown.text().chars().all(|c| c == '\n' || !c.is_control()));
        }
        (kind, Ok(Some(_))) => panic!("an image of the kind {} has a payload", kind.name()),
        (kind, Ok(None)) => panic!("an image of the kind {} is none", kind.name()),
        (OciKind::Sealed, Err(error)) => panic!("{error}"),
        (_, Err(error)) => assert!(
            error.to_string().contains("none with a sealed payload"),
            "{error}"
        ),
    }
}

/// Looks at a layout as engines do.
fn check(layout: &Path, parts: &Parts) {
    OciLayout::from_file(layout.join("oci-layout")).expect("it says what it is");
    let index = ImageIndex::from_file(layout.join("index.json")).expect("it has an index");
    let [first] = index.manifests().as_slice() else {
        panic!("it names one image, or one index of images");
    };
    let name = first
        .annotations()
        .as_ref()
        .and_then(|all| all.get("org.opencontainers.image.ref.name"));
    assert_eq!(
        name.map(String::as_str),
        Some(parts.tag.as_deref().unwrap_or("latest"))
    );
    let mut seen = BTreeSet::new();
    let manifests = match first.media_type() {
        MediaType::ImageIndex => {
            let index = ImageIndex::from_reader(blob(layout, first, &mut seen).as_slice());
            index.expect("it is an index").manifests().clone()
        }
        _ => vec![first.clone()],
    };
    assert_eq!(
        manifests.len(),
        if parts.every_arch { Arch::ALL.len() } else { 1 }
    );
    for manifest in manifests {
        let text = blob(layout, &manifest, &mut seen);
        let manifest = ImageManifest::from_reader(text.as_slice()).expect("it is a manifest");
        let [layer] = manifest.layers().as_slice() else {
            panic!("it has one layer");
        };
        let content = blob(layout, layer, &mut seen);
        let config = blob(layout, manifest.config(), &mut seen);
        if parts.kind == OciKind::Artifact {
            assert_eq!(content, MODULE);
            continue;
        }
        let config = ImageConfiguration::from_reader(config.as_slice()).expect("it is a configuration");
        let layer_digest = layer.digest().to_string();
        assert_eq!(config.rootfs().diff_ids().as_slice(), [layer_digest]);
        settings(config.config().as_ref().expect("it says how to start"), parts);
        files(&content, parts);
    }
    // Nothing lies there that nobody names.
    let all = fs::read_dir(layout.join("blobs/sha256")).expect("there are some");
    let all: BTreeSet<_> = all
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .into_string()
                .expect("it is a digest")
        })
        .collect();
    assert_eq!(all, seen);
}

/// A blob, which has the length that its descriptor says.
fn blob(layout: &Path, descriptor: &Descriptor, seen: &mut BTreeSet<String>) -> Vec<u8> {
    let digest = descriptor
        .as_digest_sha256()
        .expect("it has a digest")
        .to_string();
    let bytes = fs::read(layout.join("blobs/sha256").join(&digest)).expect("it is there");
    assert_eq!(u64::try_from(bytes.len()), Ok(descriptor.size()));
    seen.insert(digest);
    bytes
}

/// How a container starts.
fn settings(config: &Config, parts: &Parts) {
    let entry = config.entrypoint().as_deref().unwrap_or_default();
    match parts.kind {
        OciKind::Sealed => assert_eq!(entry, ["/app.hermit"]),
        _ => {
            assert_eq!(entry.first().map(String::as_str), Some("/app.wasm"));
            assert_eq!(entry[1..], parts.args);
        }
    }
    for variable in config.env().iter().flatten() {
        let (name, value) = variable.split_once('=').expect("it is a variable");
        // A name may have no '=', or it would be another.
        assert!(
            parts
                .env
                .iter()
                .any(|(given, text)| given == name && text == value),
            "{variable:?}"
        );
    }
    for volume in config.volumes().iter().flatten() {
        assert!(
            is_plain(Path::new(volume.strip_prefix('/').expect("it is absolute"))),
            "{volume:?}"
        );
    }
    for port in config.exposed_ports().iter().flatten() {
        let (port, protocol) = port.split_once('/').expect("it has a protocol");
        let is_it = |(given, is_datagrams): &(u16, bool)| {
            given.to_string() == port && (protocol == "udp") == *is_datagrams
        };
        assert!(parts.ports.iter().any(is_it), "{port}/{protocol}");
    }
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|name| matches!(name, Component::Normal(_)))
}

/// The files: by plain names, each once, the program among them.
fn files(layer: &[u8], parts: &Parts) {
    let mut archive = tar::Archive::new(layer);
    let mut names = BTreeSet::new();
    for entry in archive.entries().expect("it is an archive") {
        let entry = entry.expect("it is whole");
        let path = entry.path().expect("it has a name").into_owned();
        assert!(is_plain(&path), "{}", path.display());
        let kind = entry.header().entry_type();
        assert!(
            kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link(),
            "{kind:?}"
        );
        assert!(names.insert(path.clone()), "{} is there twice", path.display());
        if kind.is_hard_link() {
            let target = entry
                .link_name()
                .expect("it is a link")
                .expect("it leads somewhere");
            assert!(names.contains(&*target), "{} leads nowhere", path.display());
        }
    }
    let program = match parts.kind {
        OciKind::Sealed => "app.hermit",
        _ => "app.wasm",
    };
    assert!(names.contains(Path::new(program)));
}
