//! Builds the guest programs of `guests/` into one directory, each as `NAME.wasm`, and checks that tests run them.
//!
//! | folder | language | built with |
//! |---|---|---|
//! | `rust/src/bin/*.rs` | Rust | cargo, for wasm32-wasip1 |
//! | `uuid/`, `wasmedge/` | Rust, packages of their own | cargo, for wasm32-wasip1 |
//! | `network/src/bin/` | Rust, a workspace of its own | cargo, for wasm32-wasip1, with `--cfg tokio_unstable` |
//! | `c/*.c` | C | clang and wasi-libc |
//! | `wat/*.wat` | WebAssembly's text format | the crate `wat` |
//! | `hex/*.hex` | bytes, mostly of bad modules | [`parse_hex`] |
//!
//! What is up to date is left alone: cargo knows by itself; the others are newer than their source and than this
//! program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use vm_tests::bytes::parse_hex;
use vm_tests::download;
use vm_tests::manifest::Manifest;

use crate::image;
use crate::toolchain::{cargo, compile, flags, output, run, sysroot};

/// The target of the guests in Rust.
const TARGET: &str = "wasm32-wasip1";

/// The guest that the image runs when it is given no module.
const EMBEDDED: &str = "greet";

/// Guests in Rust that are in packages of their own, because of what they depend on.
const PACKAGES: [&str; 4] = ["uuid", "wasmedge-hyper", "wasmedge-redis", "wasmedge-udp"];

/// A workspace of guests in Rust.
struct Workspace {
    /// Its folder.
    folder: &'static str,
    /// Where it is built, below `target/`.
    target: &'static str,
    /// Flags of the compiler's.
    flags: &'static str,
}

/// The guests' workspace.
const GUESTS: Workspace = Workspace {
    folder: "guests",
    target: "guests-build",
    flags: "",
};

/// That of the guests that use the network. tokio shows sockets on this target only with the flag.
const NETWORK: Workspace = Workspace {
    folder: "guests/network",
    target: "guests-build/network",
    flags: "--cfg=tokio_unstable",
};

/// How the guests in C are compiled. Their libraries are those of Debian's `wasi-libc`.
const CLANG: [&str; 8] = [
    "--target=wasm32-wasi",
    "-std=c11",
    "-D_GNU_SOURCE",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,--strip-all",
];

/// How many bytes are kept of so many.
type Keep = fn(usize) -> usize;

/// Guests that are another guest's first bytes: name, origin, how many.
const CUT: [(&str, &str, Keep); 2] = [
    ("truncated-half", "hello-rust", |length| length / 2),
    ("truncated-by-one", "hello-rust", |length| {
        length.saturating_sub(1)
    }),
];

/// Builds all guests into `out` and removes what no source makes any more.
///
/// # Errors
/// If a guest cannot be built, two have the same name, one is run by no test, or a test's guest doesn't exist.
pub(crate) fn build(root: &Path, out: &Path) -> Result<()> {
    let _lock = image::lock()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut built = Built {
        out,
        guests: BTreeMap::new(),
        tool: this_program()?,
    };
    build_rust(root, &mut built)?;
    built.compile(&sources(root, "c", "c")?, |source, target| {
        compile_c(root, source, target)
    })?;
    built.compile(&sources(root, "wat", "wat")?, |source, target| {
        Ok(fs::write(target, wat::parse_file(source)?)?)
    })?;
    built.compile(&sources(root, "hex", "hex")?, |source, target| {
        Ok(fs::write(target, parse_hex(&fs::read_to_string(source)?)?)?)
    })?;
    for (name, origin, keep) in CUT {
        let whole = built
            .guests
            .get(origin)
            .with_context(|| format!("{name}: there is no guest {origin}"))?;
        let bytes = fs::read(whole)?;
        let kept = bytes
            .get(..keep(bytes.len()))
            .with_context(|| format!("{name}: longer than {origin}"))?
            .to_vec();
        let target = built.add(name.into())?;
        write_if_changed(&target, &kept)?;
    }
    for (name, text) in GENERATED {
        let target = built.add(name.into())?;
        write_if_changed(&target, &wat::parse_str(text())?)?;
    }
    built.remove_strangers()?;
    Manifest::read(root)?.check_guests(built.guests.keys().map(String::as_str))
}

/// Makes a module's text.
type Text = fn() -> String;

/// Guests whose text is too long to be written by hand.
const GENERATED: [(&str, Text); 6] = [
    ("many-exports", many_exports),
    ("long-constant", long_constant),
    ("long-constant-no-start", long_constant_without_start),
    ("wide-branches", wide_branches),
    ("limit-checking", limit_checking),
    ("limit-translating", limit_translating),
];

/// A module that makes the interpreter allocate many small blocks.
fn many_exports() -> String {
    let exports: String = (0..60_000)
        .map(|number| format!("(export \"e{number}\" (func $start))"))
        .collect();
    format!("(module (func $start (export \"_start\")) {exports})")
}

/// A sum of so many numbers and one. The interpreter evaluates and drops it on the native stack: the machine's
/// overflows at less than 25,000 where it is evaluated, 50,000 where it is only dropped.
fn sum(numbers: usize) -> String {
    format!("i32.const 1 {}", "i32.const 1 i32.add ".repeat(numbers))
}

/// A module that places data at a long sum.
fn long_constant() -> String {
    let offset = sum(25_000);
    format!("(module (memory 1) (data (offset {offset}) \"x\") (func (export \"_start\")))")
}

/// A library with a global that begins as a long sum: it is made and dropped, and never evaluated.
fn long_constant_without_start() -> String {
    format!("(module (global i32 {}))", sum(50_000))
}

/// A module of 103 KB: a table of 100,000 branches that pass 1,000 values each. It takes 15 s to check.
fn wide_branches() -> String {
    let results = "i32 ".repeat(1_000);
    let targets = "0 ".repeat(100_000);
    format!("(module (func (export \"_start\")) (func (result {results}) unreachable br_table {targets}))")
}

/// Tables of branches, so many times 60,000 of them: more are no compiler's business.
fn branches(times: usize) -> String {
    let targets = "0 ".repeat(60_000);
    format!("(block (br_table {targets} (i32.const 0)))").repeat(times)
}

/// A module of 6 MB that takes seconds to check. Were that done, it would loop without end.
fn limit_checking() -> String {
    let branches = branches(100);
    format!("(module (func {branches}) (func (export \"_start\") (loop (br 0))))")
}

/// A module of 1 MB that prints a line, and then calls what takes much longer to translate than to check. Were that
/// done, it would loop without end.
fn limit_translating() -> String {
    let branches = branches(17);
    let fd_write = "(import \"wasi_snapshot_preview1\" \"fd_write\" (func $fd_write (param i32 i32 i32 i32) (result i32)))";
    format!(
        "(module {fd_write} (memory (export \"memory\") 1) (data (i32.const 0) \"\\08\\00\\00\\00\\06\\00\\00\\00begun\\n\")
           (func $large {branches})
           (func (export \"_start\")
             (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
             (call $large)
             (loop (br 0))))"
    )
}

/// Builds only the guest that the image carries; gives its path. Needs no C compiler.
///
/// # Errors
/// If it cannot be built.
pub(crate) fn build_embedded(root: &Path) -> Result<PathBuf> {
    let target = root.join("target/guests").join(format!("{EMBEDDED}.wasm"));
    fs::create_dir_all(root.join("target/guests"))?;
    let release = cargo_build(root, &GUESTS, &["--bin", EMBEDDED])?;
    copy_if_changed(&release.join(format!("{EMBEDDED}.wasm")), &target)?;
    Ok(target)
}

/// Builds one guest in Rust for use outside the tests of guests, or fetches a downloaded program; gives its path.
///
/// # Errors
/// If it cannot be built or fetched.
pub(crate) fn one(root: &Path, name: &str) -> Result<PathBuf> {
    let manifest = Manifest::read(root)?;
    if let Some(program) = manifest.downloads.iter().find(|program| program.name == name) {
        let downloads = root.join("target/downloads");
        download::fetch(program, &downloads)?;
        return Ok(downloads.join(format!("{name}.wasm")));
    }
    let of_network = entries(root, "network/src/bin")?;
    let mut of_network = of_network.iter().filter_map(|path| path.file_stem());
    let workspace = if of_network.any(|found| found == name) {
        &NETWORK
    } else {
        &GUESTS
    };
    Ok(cargo_build(root, workspace, &["--bin", name])?.join(format!("{name}.wasm")))
}

/// The guests that are built so far.
struct Built<'a> {
    out: &'a Path,
    guests: BTreeMap<String, PathBuf>,
    /// When this program was made: what it builds may depend on that.
    tool: SystemTime,
}

impl Built<'_> {
    /// Takes a name into the list; gives the path to write to.
    fn add(&mut self, name: String) -> Result<PathBuf> {
        let path = self.out.join(format!("{name}.wasm"));
        let before = self.guests.insert(name.clone(), path.clone());
        ensure!(
            before.is_none(),
            "two guests are named {name}: names must differ across guests/'s folders"
        );
        Ok(path)
    }

    /// Runs `make` for each source that is newer than its module.
    fn compile(&mut self, sources: &[PathBuf], make: impl Fn(&Path, &Path) -> Result<()>) -> Result<()> {
        for source in sources {
            let target = self.add(stem(source)?)?;
            let newest = modified(source)?.max(self.tool);
            if modified(&target).is_ok_and(|built| built >= newest) {
                continue;
            }
            make(source, &target).with_context(|| format!("cannot build {}", source.display()))?;
        }
        Ok(())
    }

    /// Removes modules that no source made: tests must not run what no longer exists.
    fn remove_strangers(&self) -> Result<()> {
        for entry in fs::read_dir(self.out)? {
            let path = entry?.path();
            if !self.guests.values().any(|known| *known == path) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Builds the guests in Rust.
fn build_rust(root: &Path, built: &mut Built<'_>) -> Result<()> {
    let release = cargo_build(root, &GUESTS, &["--bins"])?;
    let network = cargo_build(root, &NETWORK, &["--bins"])?;
    let mut own = sources(root, "rust/src/bin", "rs")?;
    own.extend(PACKAGES.map(PathBuf::from));
    // Files, and folders of larger ones.
    let of_network = entries(root, "network/src/bin")?;
    let own = own.into_iter().map(|source| (&release, source));
    for (release, source) in own.chain(of_network.into_iter().map(|source| (&network, source))) {
        let name = stem(&source)?;
        let target = built.add(name.clone())?;
        copy_if_changed(&release.join(format!("{name}.wasm")), &target)?;
    }
    Ok(())
}

/// Runs `cargo build` for a workspace of guests; gives the directory of the results.
fn cargo_build(root: &Path, workspace: &Workspace, what: &[&str]) -> Result<PathBuf> {
    let target_dir = root.join("target").join(workspace.target);
    let mut command = cargo();
    command
        .args([
            "build",
            "--locked",
            "--release",
            "--target",
            TARGET,
            "--manifest-path",
        ])
        .arg(root.join(workspace.folder).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        .args(what);
    let mut own = workspace.flags.to_owned();
    if !sysroot()?.join("lib/rustlib").join(TARGET).join("lib").exists() {
        own = format!("{own} {}", build_std(&mut command)?);
    }
    flags(&mut command, &own)?;
    compile(&format!("guests in Rust ({}/)", workspace.folder), &mut command)?;
    Ok(target_dir.join(TARGET).join("release"))
}

/// Compiles a guest in C.
fn compile_c(root: &Path, source: &Path, target: &Path) -> Result<()> {
    let mut command = clang();
    command.args(CLANG);
    // `__FILE__` must not tell where the checkout lies.
    command.arg(format!("-ffile-prefix-map={}/=", root.display()));
    run(command.arg("-o").arg(target).arg(source)).context("scripts/setup installs what guests in C need")
}

/// Lets cargo build the standard library too, where rustup has none for the target. What rustup's would bring along,
/// the C library and its start-up code, then comes from clang's sysroot: returns the flags for that.
fn build_std(command: &mut Command) -> Result<String> {
    let found = output(clang().args(["--target=wasm32-wasi", "-print-file-name=crt1-command.o"]))
        .context("the guests in Rust need rustup's target wasm32-wasip1, or else clang and wasi-libc: run scripts/setup")?;
    let start = Path::new(found.trim());
    // clang answers with the bare name if it doesn't find the file.
    let Some(libraries) = start.parent().filter(|_| start.is_absolute()) else {
        bail!("there is neither rustup's target {TARGET} nor wasi-libc: run scripts/setup");
    };
    command.arg("-Zbuild-std=std,panic_abort");
    Ok(format!(
        "-Clink-self-contained=no -Clink-arg={} -Lnative={}",
        start.display(),
        libraries.display()
    ))
}

/// The C compiler.
fn clang() -> Command {
    Command::new("clang")
}

/// The files of `guests/folder` with this extension, sorted.
fn sources(root: &Path, folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = entries(root, folder)?;
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    ensure!(!files.is_empty(), "guests/{folder} has no *.{extension}");
    Ok(files)
}

/// All that is in `guests/folder`, sorted.
fn entries(root: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let directory = root.join("guests").join(folder);
    let mut entries: Vec<PathBuf> = fs::read_dir(&directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}

/// A file's name without its extension.
fn stem(path: &Path) -> Result<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    Ok(stem
        .with_context(|| format!("{} has no UTF-8 name", path.display()))?
        .to_owned())
}

/// When a file was changed last.
fn modified(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("cannot read the time of {}", path.display()))
}

/// When this program was built.
fn this_program() -> Result<SystemTime> {
    modified(&std::env::current_exe().context("cannot find this program")?)
}

/// Copies a file unless the copy is there already: what depends on it would be rebuilt for nothing.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write_if_changed(to, &bytes)
}

/// Writes a file unless it holds just that already.
fn write_if_changed(to: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
