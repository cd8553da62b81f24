//! Writes what images, launcher and compiler are made of, as software bills of materials (CycloneDX, JSON): `cargo
//! xtask sbom`. See docs/reproducible.md.
//!
//! cargo-cyclonedx knows each crate's licence, digest and address. It looks at a whole workspace with all its features
//! at once, though, so that it lists wasmtime in the interpreter's image: what is built of that is said by `cargo tree`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use test_qemu::Engine;

use crate::arch::{Arch, Target as _};
use crate::toolchain::{cargo, find, host, output, root, run};
use crate::{image, reproduce};

/// The program that `cargo cyclonedx` is.
pub(crate) const TOOL: &str = "cargo-cyclonedx";

/// The name of what it writes, beside each manifest of the workspace.
const WRITTEN: &str = "hermit-wasm-sbom";

/// Who depends on a crate: what runs, or what is run while it is built (`excluded` in CycloneDX's words).
const AT_RUN_TIME: &str = "normal,no-proc-macro";
const AT_ANY_TIME: &str = "normal,build";

/// A package that a product is made of.
struct Part {
    /// Its folder, and that of its lock file.
    folder: &'static str,
    workspace: &'static str,
    package: &'static str,
    target: String,
    features: Vec<&'static str>,
}

/// What is shipped: its name, the files that it is or has inside, and its parts.
struct Product {
    name: String,
    files: Vec<PathBuf>,
    parts: Vec<Part>,
}

impl Part {
    fn new(folder: &'static str, package: &'static str, target: &str) -> Self {
        Self {
            folder,
            workspace: folder,
            package,
            target: target.to_owned(),
            features: Vec::new(),
        }
    }

    fn of(self, workspace: &'static str) -> Self {
        Self { workspace, ..self }
    }

    fn with(self, features: &[&'static str]) -> Self {
        let features = features.to_vec();
        Self { features, ..self }
    }

    /// What cargo-cyclonedx says of it in a copy of the tree, beside whose manifests it writes.
    fn described(&self, tree: &Path) -> Result<Value> {
        let folder = tree.join(self.folder);
        run(cargo()
            .args(["cyclonedx", "-qq", "--format", "json", "--spec-version", "1.5"])
            // What is built is narrowed down afterwards: build scripts and macros are for this machine.
            .args(["--override-filename", WRITTEN, "--target", "all"])
            .args(&self.features)
            .arg("--manifest-path")
            .arg(folder.join("Cargo.toml"))
            // No time and no serial number.
            .env("SOURCE_DATE_EPOCH", "0")
            .current_dir(&folder))?;
        let file = folder.join(WRITTEN).with_extension("json");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let bom: Value = serde_json::from_str(&text).context("cargo-cyclonedx wrote no JSON")?;
        // Folders of this machine are in the names of what comes from no registry.
        let this = text_of(&bom["metadata"]["component"], "bom-ref");
        let here = this
            .split('#')
            .next()
            .and_then(|path| path.strip_suffix(&format!("/{}", self.folder)))
            .with_context(|| format!("cargo-cyclonedx calls {} {this}", self.package))?;
        Ok(serde_json::from_str(&text.replace(&format!("{here}/"), "path:"))?)
    }

    /// The crates that it is built of, with their versions.
    fn built_of(&self, edges: &str) -> Result<BTreeSet<Crate>> {
        let tree = output(
            cargo()
                .current_dir(root().join(self.workspace))
                .args(["tree", "--locked", "--prefix", "none", "--edges", edges])
                .args(["--package", self.package, "--target", &self.target])
                .args(&self.features),
        )?;
        Ok(crates(&tree))
    }

    /// Its own component and those of its dependencies, and who depends on whom.
    fn components(&self, tree: &Path) -> Result<Bom> {
        let described = self.described(tree)?;
        let bom = narrow(
            &described,
            &self.built_of(AT_ANY_TIME)?,
            &self.built_of(AT_RUN_TIME)?,
        )
        .with_context(|| format!("{} for {}", self.package, self.target))?;
        let lock = root().join(self.workspace).join("Cargo.lock");
        let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        bom.agrees_with(&lock)
            .with_context(|| format!("{} for {}", self.package, self.target))?;
        Ok(bom)
    }
}

/// Name and version.
type Crate = (String, String);

/// The crates that `cargo tree` names, one in a line: `name v1.2.3 (more)`.
fn crates(tree: &str) -> BTreeSet<Crate> {
    let named = |line: &str| {
        let mut words = line.split(' ');
        Some((
            words.next()?.to_owned(),
            words.next()?.strip_prefix('v')?.to_owned(),
        ))
    };
    tree.lines().filter_map(named).collect()
}

fn text_of<'a>(component: &'a Value, key: &str) -> &'a str {
    component[key].as_str().unwrap_or_default()
}

fn crate_of(component: &Value) -> Crate {
    ["name", "version"]
        .map(|key| text_of(component, key).to_owned())
        .into()
}

/// Components by their references, and what each of them refers to.
#[derive(Default)]
struct Bom {
    components: BTreeMap<String, Value>,
    dependencies: BTreeMap<String, BTreeSet<String>>,
    /// The packages that are built, which depend on all others.
    roots: BTreeSet<String>,
}

/// Keeps of what cargo-cyclonedx described what a package is built of.
fn narrow(described: &Value, any_time: &BTreeSet<Crate>, run_time: &BTreeSet<Crate>) -> Result<Bom> {
    let mut bom = Bom::default();
    let own = &described["metadata"]["component"];
    let others = described["components"].as_array().into_iter().flatten();
    for component in others.chain([own]) {
        if !any_time.contains(&crate_of(component)) {
            continue;
        }
        let mut component = component.clone();
        let reference = text_of(&component, "bom-ref").to_owned();
        let fields = component.as_object_mut().context("a component is no object")?;
        let scope = if run_time.contains(&crate_of(&Value::Object(fields.clone()))) {
            "required"
        } else {
            "excluded"
        };
        fields.insert("scope".into(), scope.into());
        if reference.starts_with("path:") {
            // The registry's crate of that name, if there is one, is another.
            fields.remove("purl");
            fields.remove("components");
        }
        bom.components.insert(reference, component);
    }
    bom.roots.insert(text_of(own, "bom-ref").to_owned());
    let there: BTreeSet<Crate> = bom.components.values().map(crate_of).collect();
    if let Some((name, version)) = any_time.difference(&there).next() {
        bail!("cargo-cyclonedx does not list {name} {version}");
    }
    for dependency in described["dependencies"].as_array().into_iter().flatten() {
        let from = text_of(dependency, "ref");
        if bom.components.contains_key(from) {
            let to = dependency["dependsOn"].as_array().into_iter().flatten();
            let to = to.filter_map(Value::as_str);
            let to = to
                .filter(|to| bom.components.contains_key(*to))
                .map(str::to_owned);
            bom.dependencies.insert(from.to_owned(), to.collect());
        }
    }
    Ok(bom)
}

impl Bom {
    fn add(&mut self, other: Self) {
        for (reference, component) in other.components {
            let known = self
                .components
                .entry(reference)
                .or_insert_with(|| component.clone());
            if component["scope"] == "required" {
                known["scope"] = "required".into();
            }
        }
        self.roots.extend(other.roots);
        for (from, to) in other.dependencies {
            self.dependencies.entry(from).or_default().extend(to);
        }
    }

    /// Fails unless each component is in the lock file: of that name and version, and with that digest if it comes from
    /// a registry.
    fn agrees_with(&self, lock: &str) -> Result<()> {
        let lock: toml::Table = lock.parse().context("the lock file is no TOML")?;
        let packages = lock["package"]
            .as_array()
            .context("the lock file has no packages")?;
        let value = |package: &toml::Value, key: &str| -> Option<String> {
            Some(package.get(key)?.as_str()?.to_owned())
        };
        let locked: BTreeMap<Crate, Option<String>> = packages
            .iter()
            .filter_map(|package| {
                let name = (value(package, "name")?, value(package, "version")?);
                Some((name, value(package, "checksum")))
            })
            .collect();
        for component in self.components.values() {
            let (name, version) = crate_of(component);
            let Some(checksum) = locked.get(&(name.clone(), version.clone())) else {
                bail!("{name} {version} is not in the lock file");
            };
            let digest = component["hashes"].as_array().and_then(|hashes| hashes.first());
            let digest = digest.map(|digest| text_of(digest, "content").to_owned());
            ensure!(
                digest == *checksum,
                "{name} {version}: the digest is {digest:?}, and the lock file has {checksum:?}"
            );
        }
        Ok(())
    }
}

/// The standard library, from whose source images are built; programs of the host have what comes with the compiler.
fn standard_library() -> Result<Value> {
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml"))?;
    let toolchain: toml::Table = toolchain.parse()?;
    let version = toolchain["toolchain"]["channel"]
        .as_str()
        .context("rust-toolchain.toml names no channel")?;
    let purl = format!("pkg:github/rust-lang/rust@{version}");
    Ok(json!({
        "type": "library",
        "bom-ref": purl,
        "name": "rust-std",
        "version": version,
        "description": "Rust's standard library",
        "scope": "required",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        "purl": purl,
    }))
}

/// What has been done to the kernel: our patches.
fn pedigree() -> Result<Value> {
    let folder = root().join("hermit-kernel/patches");
    let mut names = fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.ends_with(".patch"));
    names.sort();
    let patches: Vec<Value> = names
        .iter()
        .map(|name| json!({ "type": "unofficial", "diff": { "url": format!("hermit-kernel/patches/{name}") } }))
        .collect();
    Ok(json!({ "patches": patches }))
}

/// A file by its digest.
fn file_of(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digest: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(json!({ "type": "file", "name": name, "hashes": [{ "alg": "SHA-256", "content": digest }] }))
}

/// The bill of a product, which names its files by their digests.
fn bill(product: &Product, tree: &Path) -> Result<String> {
    let mut all = Bom::default();
    for part in &product.parts {
        all.add(part.components(tree)?);
    }
    for component in all.components.values_mut() {
        if component["name"] == "hermit-kernel" {
            component["pedigree"] = pedigree()?;
        }
    }
    let library = standard_library()?;
    let reference = text_of(&library, "bom-ref").to_owned();
    all.roots.insert(reference.clone());
    all.components.insert(reference, library);
    all.dependencies.insert(product.name.clone(), all.roots);
    let files = product.files.iter().map(|file| file_of(file));
    let files = files.collect::<Result<Vec<_>>>()?;
    let dependencies = all.dependencies.iter();
    let dependencies = dependencies.map(|(from, to)| json!({ "ref": from, "dependsOn": to }));
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": product.name,
                "name": product.name,
                "version": env!("CARGO_PKG_VERSION"),
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "components": files,
            },
        },
        "components": all.components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// The images of an architecture, with all that is inside.
fn images(arch: Arch) -> [Product; 2] {
    Engine::ALL.map(|engine| {
        let folder = image::default_out().join(arch.name());
        let application = folder.join(engine.file());
        let mut parts = vec![
            Part::new("loader", "hermit-wasm-loader", arch.kernel_target()),
            Part::new("hermit-kernel", "hermit-kernel-pin", arch.kernel_target()),
            Part::new("kernel-app", "kernel-app", arch.app_target())
                .of(".")
                .with(&["--no-default-features", "--features", engine.name()]),
        ];
        if engine == Engine::Interp {
            parts.push(Part::new("guests/rust", "guests", "wasm32-wasip1").of("guests"));
        }
        Product {
            name: format!("{}/{}.img", arch.name(), engine.file()),
            files: vec![
                application.with_extension("img"),
                application,
                folder.join("hermit-loader"),
            ],
            parts,
        }
    })
}

/// The programs of the host.
fn programs() -> Result<[Product; 2]> {
    let host = host()?;
    let product = |name: &str, part: Part| Product {
        name: name.to_owned(),
        files: Vec::new(),
        parts: vec![part],
    };
    Ok([
        product(
            "hermit-wasm",
            Part::new("launcher", "hermit-wasm-vm", &host).of("."),
        ),
        product(
            "hermit-wasm-compiler",
            Part::new("compiler", "hermit-wasm-compiler", &host),
        ),
    ])
}

/// Where the bills lie unless another folder is named.
pub(crate) fn default_out() -> PathBuf {
    root().join("target/sbom")
}

/// Why no bill can be made here; nothing if one can.
pub(crate) fn missing() -> Option<&'static str> {
    find(TOOL)
        .is_none()
        .then_some("cargo-cyclonedx is not here; `scripts/setup --for supply-chain` installs it")
}

/// Writes the bills of the images of `arches`, which are built if they are not, and of launcher and compiler: OUT/ARCH/
/// has those of the images beside their names. Returns how many.
///
/// # Errors
/// If one cannot be made, or does not agree with the lock files.
pub(crate) fn write(arches: &[Arch], out: &Path) -> Result<usize> {
    if let Some(reason) = missing() {
        bail!("{reason}");
    }
    let tree = root().join("target/tmp/sbom-tree");
    reproduce::remove(&tree)?;
    reproduce::copy(&root(), &tree)?;
    let mut products = Vec::from(programs()?);
    for arch in arches {
        image::build(*arch, &image::default_out())?;
        products.extend(images(*arch));
    }
    for product in &products {
        let file = out.join(format!("{}.cdx.json", product.name));
        let folder = file.parent().unwrap_or(out);
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let bill =
            bill(product, &tree).with_context(|| format!("cannot list what {} is made of", product.name))?;
        fs::write(&file, bill).with_context(|| format!("cannot write {}", file.display()))?;
    }
    reproduce::remove(&tree)?;
    Ok(products.len())
}

#[cfg(test)]
#[path = "sbom_tests.rs"]
mod tests;
