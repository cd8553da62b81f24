//! The documents of an image: its configuration, its manifest, the index.
//!
//! They are of the image specification 1.1; those of an artifact, of the CNCF's "Wasm OCI Artifact layout". Maps have no
//! order in `oci-spec`, so each document is sorted before it is written: the same image has the same bytes.

use std::collections::HashMap;
use std::str::FromStr as _;

use boot_protocol::network::Protocol;
use boot_protocol::run_spec::{Network, RunSpec};
use oci_spec::OciSpecError;
use oci_spec::image::{
    ANNOTATION_REF_NAME, ANNOTATION_TITLE, Config as Settings, ConfigBuilder, Descriptor, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, PlatformBuilder,
    RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde_json::{Value, json};

use super::layer::Layer;
use super::layout::{Blob, Layout};
use super::{MODULE, PAYLOAD, WRITE, volumes};
use crate::error::{Error, StartError};

/// When all of it was made: no clock is asked.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What made it.
const CREATED_BY: &str = "hermit-wasm pack";

/// The configuration of an artifact.
pub(super) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The layer of an artifact.
const WASM: &str = "application/wasm";

/// What containerd calls an image that it imports.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// What is called `latest` if nothing else is said.
const LATEST: &str = "latest";

/// What tells the runtime that the program has a listener at a port.
const LISTENERS: &str = "org.hermit-wasm.tcplisten";

/// What tells it that a port is the program's.
const PUBLISHED: &str = "org.hermit-wasm.publish";

/// How a container of an image starts.
#[derive(Debug)]
pub(super) struct Config {
    /// The program and its first arguments: what an engine's user says comes behind them.
    entrypoint: Vec<String>,
    env: Vec<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    /// What the runtime is told, as far as the engine hands it over.
    annotations: Vec<(&'static str, String)>,
}

impl Config {
    /// Of an image with a payload, which has arguments and variables itself. Variables are here for whoever looks.
    pub(super) fn of_sealed(spec: &RunSpec) -> Self {
        Self {
            entrypoint: vec![format!("/{PAYLOAD}")],
            ..Self::of(spec)
        }
    }

    /// Of an image with a module.
    pub(super) fn of_module(spec: &RunSpec) -> Self {
        let arguments = spec.argv.iter().skip(1).cloned();
        Self {
            entrypoint: [format!("/{MODULE}")].into_iter().chain(arguments).collect(),
            annotations: spec.network.as_deref().map(exposed).unwrap_or_default(),
            ..Self::of(spec)
        }
    }

    fn of(spec: &RunSpec) -> Self {
        let variable = |(name, value): &(String, String)| format!("{name}={value}");
        let volumes = volumes(spec).into_iter().map(|volume| format!("/{volume}"));
        Self {
            entrypoint: Vec::new(),
            env: spec.env.iter().map(variable).collect(),
            ports: spec.network.as_deref().map(ports).unwrap_or_default(),
            volumes: volumes.collect(),
            annotations: Vec::new(),
        }
    }

    fn settings(&self) -> Result<Settings, OciSpecError> {
        let mut settings = ConfigBuilder::default()
            .entrypoint(self.entrypoint.clone())
            .working_dir("/");
        if !self.env.is_empty() {
            settings = settings.env(self.env.clone());
        }
        if !self.ports.is_empty() {
            settings = settings.exposed_ports(self.ports.clone());
        }
        if !self.volumes.is_empty() {
            settings = settings.volumes(self.volumes.clone());
        }
        settings.build()
    }
}

/// The ports that a program is reachable at.
fn ports(network: &Network) -> Vec<String> {
    let listeners = network
        .listeners
        .iter()
        .map(|address| (address.port(), Protocol::Tcp));
    let published = network.published.iter().copied();
    let name = |(port, protocol)| match protocol {
        Protocol::Tcp => format!("{port}/tcp"),
        Protocol::Udp => format!("{port}/udp"),
    };
    listeners.chain(published).map(name).collect()
}

/// The same for the runtime. A payload says so itself.
fn exposed(network: &Network) -> Vec<(&'static str, String)> {
    let list = |mut ports: Vec<String>| {
        ports.sort_unstable();
        ports.join(",")
    };
    let listeners = network.listeners.iter().map(|address| address.port().to_string());
    let published = network.published.iter().map(|(port, protocol)| match protocol {
        Protocol::Tcp => port.to_string(),
        Protocol::Udp => format!("{port}/udp"),
    });
    let all = [
        (LISTENERS, list(listeners.collect())),
        (PUBLISHED, list(published.collect())),
    ];
    all.into_iter().filter(|(_, ports)| !ports.is_empty()).collect()
}

/// Adds images with this layer, one for each platform (its architecture and system): what the index names.
pub(super) fn images(
    layout: &mut Layout<'_>,
    layer: Layer,
    config: &Config,
    platforms: &[(&str, &str)],
    title: Option<String>,
) -> Result<Descriptor, Error> {
    let notes = config
        .annotations
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let notes = notes.chain(title.as_deref().map(|title| (ANNOTATION_TITLE, title)));
    let notes = annotations(notes);
    let layer = Blob::layer(layer);
    let files = described(MediaType::ImageLayer, &layer)?;
    let difference = format!("sha256:{}", layer.digest);
    layout.add(layer);
    let mut manifests = Vec::new();
    for (arch, os) in platforms {
        let make = || {
            let history = HistoryBuilder::default()
                .created(CREATED)
                .created_by(CREATED_BY)
                .build()?;
            ImageConfigurationBuilder::default()
                .created(CREATED)
                .architecture(*arch)
                .os(*os)
                .config(config.settings()?)
                .rootfs(RootFsBuilder::default().diff_ids([difference.clone()]).build()?)
                .history([history])
                .build()?
                .to_string()
        };
        let config = document(make())?;
        let config_of_it = described(MediaType::ImageConfig, &config)?;
        layout.add(config);
        manifests.push(manifest(
            layout,
            config_of_it,
            files.clone(),
            (arch, os),
            notes.clone(),
        )?);
    }
    match <[Descriptor; 1]>::try_from(manifests) {
        Ok([only]) => Ok(only),
        Err(manifests) => {
            let made = ImageIndexBuilder::default()
                .schema_version(SCHEMA_VERSION)
                .media_type(MediaType::ImageIndex)
                .manifests(manifests)
                .build()
                .and_then(|index| index.to_string());
            let index = document(made)?;
            let descriptor = described(MediaType::ImageIndex, &index)?;
            layout.add(index);
            Ok(descriptor)
        }
    }
}

/// Adds an artifact with this module: what the index names.
pub(super) fn artifact<'a>(
    layout: &mut Layout<'a>,
    module: Blob<'a>,
    title: Option<String>,
) -> Result<Descriptor, Error> {
    let config = json!({
        "created": CREATED,
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [format!("sha256:{}", module.digest)],
    });
    let mut layer = described(MediaType::Other(WASM.to_string()), &module)?;
    // What tools call the file that they make of it.
    let title = annotations(title.as_deref().map(|title| (ANNOTATION_TITLE, title)));
    layer.set_annotations(title.clone());
    layout.add(module);
    let config = document(Ok(config.to_string()))?;
    let config_of_it = described(MediaType::Other(WASM_CONFIG.to_string()), &config)?;
    layout.add(config);
    manifest(layout, config_of_it, layer, ("wasm", "wasip1"), title)
}

/// Adds a manifest.
fn manifest(
    layout: &mut Layout<'_>,
    config: Descriptor,
    layer: Descriptor,
    (arch, os): (&str, &str),
    notes: Option<HashMap<String, String>>,
) -> Result<Descriptor, Error> {
    let made = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers([layer])
        .build();
    let made = made.and_then(|mut manifest| {
        manifest.set_annotations(notes);
        manifest.to_string()
    });
    let manifest = document(made)?;
    let mut descriptor = described(MediaType::ImageManifest, &manifest)?;
    let platform = PlatformBuilder::default().architecture(arch).os(os).build();
    descriptor.set_platform(Some(platform.map_err(|error| cannot(&error))?));
    layout.add(manifest);
    Ok(descriptor)
}

/// Sets where the layout begins: at `found`, which is called `tag`.
pub(super) fn index(layout: &mut Layout<'_>, mut found: Descriptor, tag: Option<&str>) -> Result<(), Error> {
    let mut names = HashMap::from([(ANNOTATION_REF_NAME.to_string(), tag.unwrap_or(LATEST).to_string())]);
    if let Some(tag) = tag.filter(|tag| tag.contains('/')) {
        names.insert(CONTAINERD_NAME.to_string(), tag.to_string());
    }
    found.set_annotations(Some(names));
    let made = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([found])
        .build();
    layout.index = sorted(made.and_then(|index| index.to_string()))?;
    Ok(())
}

/// Annotations, if there are any.
fn annotations<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<HashMap<String, String>> {
    let all = all.into_iter();
    let all: HashMap<_, _> = all
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    (!all.is_empty()).then_some(all)
}

/// What names a blob.
fn described(kind: MediaType, blob: &Blob<'_>) -> Result<Descriptor, Error> {
    let digest = Sha256Digest::from_str(&blob.digest).map_err(|error| cannot(&error))?;
    Ok(Descriptor::new(kind, blob.length, digest))
}

fn document<'a>(made: Result<String, OciSpecError>) -> Result<Blob<'a>, Error> {
    Blob::document(sorted(made)?).map_err(StartError::file(WRITE))
}

/// The document with its fields in order.
fn sorted(made: Result<String, OciSpecError>) -> Result<Vec<u8>, Error> {
    let text = made.map_err(|error| cannot(&error))?;
    let sorted = serde_json::from_str::<Value>(&text).map(|value| value.to_string().into_bytes());
    sorted.map_err(|error| cannot(&error.into()))
}

fn cannot(error: &OciSpecError) -> Error {
    StartError::file(WRITE)(std::io::Error::other(error.to_string()))
}
