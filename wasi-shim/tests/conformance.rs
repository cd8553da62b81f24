//! Published preview1 conformance modules on the host.
//!
//! Layer: tests. `WASI_TESTSUITE` names a folder with `LANG/NAME.wasm` and, where a test needs more than the
//! default, `LANG/NAME.json`: `{"args":[], "env":{}, "root":"DIR", "exit_code":0, "stdout":"…", "stderr":"…"}`.
//! `expectations.json` lists the tests that fail, each with the reason. A listed test that passes fails this
//! one as much as an unlisted one that does not, so the list stays true.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as StdError,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use wasi_shim::{
    WasiCtxBuilder,
    fs::{
        Access, FileSystem, Node, Permission,
        mem::{Bytes, Limits, MemFs},
        tar,
    },
    linker::{Host, Stop, resolve},
    testing::TestSystem,
};
use wasmi::{Engine, Extern, ExternType, Instance, Module, Store};

type AnyError = Box<dyn StdError>;

/// Past the test harness, which shows the output of failed tests only.
fn say(line: &str) {
    // That nobody reads it is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn conformance() -> Result<(), AnyError> {
    let Some(suite) = std::env::var_os("WASI_TESTSUITE").map(PathBuf::from) else {
        say("SKIP: conformance tests of WASI preview1 NOT RUN: WASI_TESTSUITE names no folder with them");
        return Ok(());
    };
    let expectations =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expectations.json"))?;
    let expected: BTreeMap<String, String> = serde_json::from_str(&expectations)?;

    let mut passed = 0;
    let mut failed = BTreeMap::new();
    for module in modules(&suite)? {
        let name = module
            .strip_prefix(&suite)?
            .with_extension("")
            .display()
            .to_string();
        // On a directory that was copied, and on one that came as an archive.
        let copied = run(&module, copied).map_err(|error| format!("on a copy: {error}"));
        let archived = run(&module, archived).map_err(|error| format!("on an archive: {error}"));
        match copied.and(archived) {
            Ok(()) => passed += 1,
            Err(error) => drop(failed.insert(name, error)),
        }
    }
    assert!(
        passed > 0,
        "no test in {} passed: is it the right folder?",
        suite.display()
    );

    let listed: BTreeSet<_> = expected.keys().collect();
    let found: BTreeSet<_> = failed.keys().collect();
    for name in found.difference(&listed) {
        say(&format!("FAIL {name}: {}", failed[*name]));
    }
    for name in listed.difference(&found) {
        say(&format!(
            "PASS {name}, which expectations.json lists as failing ({}): remove it",
            expected[*name]
        ));
    }
    say(&format!(
        "conformance: {passed} passed, {} failed as expected",
        found.intersection(&listed).count()
    ));
    assert_eq!(found, listed, "tests that fail, and those that are expected to");
    Ok(())
}

/// All modules beneath `suite/LANG/`, in order.
fn modules(suite: &Path) -> Result<Vec<PathBuf>, AnyError> {
    let mut modules = Vec::new();
    for language in fs::read_dir(suite)? {
        let language = language?.path();
        if language.is_dir() {
            for file in fs::read_dir(language)? {
                let file = file?.path();
                if file.extension().is_some_and(|extension| extension == "wasm") {
                    modules.push(file);
                }
            }
        }
    }
    modules.sort();
    Ok(modules)
}

/// Runs one test on a tree that `tree` makes of the directory it names; the error says how it differs from its
/// specification.
fn run(path: &Path, tree: fn(&Path) -> Result<MemFs, AnyError>) -> Result<(), AnyError> {
    let specification: Value = match fs::read_to_string(path.with_extension("json")) {
        Ok(json) => serde_json::from_str(&json)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(error.into()),
    };

    let mut builder = WasiCtxBuilder::new().arg(path.file_name().ok_or("no name")?.as_encoded_bytes())?;
    for arg in specification["args"].as_array().into_iter().flatten() {
        builder = builder.arg(arg.as_str().ok_or("an argument that is no string")?)?;
    }
    for (name, value) in specification["env"].as_object().into_iter().flatten() {
        builder = builder.env(name, value.as_str().ok_or("a variable that is no string")?)?;
    }

    if let Some(root) = specification["root"].as_str() {
        let fs = tree(&path.with_file_name(root))?;
        builder = builder.preopen(fs, "/", Permission::ReadWrite)?;
    }

    let mut store = Store::new(
        &Engine::default(),
        Host::new(builder.build(TestSystem::default())),
    );
    let exit_code = execute(&mut store, &fs::read(path)?)?;
    let system = &store.data().context.system;
    let wanted = specification["exit_code"].as_u64().unwrap_or(0);
    let output = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if u64::from(exit_code) != wanted {
        return Err(format!(
            "exit code {exit_code}, not {wanted}; stderr: {}",
            output(&system.stderr)
        )
        .into());
    }
    for (stream, bytes) in [("stdout", &system.stdout), ("stderr", &system.stderr)] {
        match specification[stream].as_str() {
            Some(wanted) if wanted.as_bytes() != bytes => {
                return Err(format!("{stream} is {:?}, not {wanted:?}", output(bytes)).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a test may fill its directory with.
const LIMITS: Limits = Limits {
    bytes: 16 << 20,
    entries: 10_000,
};

/// A directory of the host in memory, copied file by file.
fn copied(from: &Path) -> Result<MemFs, AnyError> {
    let mut fs = MemFs::new(LIMITS, TestSystem::default().realtime);
    let top = fs.root();
    copy(from, &mut fs, top)?;
    Ok(fs)
}

/// The same by way of an archive, as a launcher hands it over.
fn archived(from: &Path) -> Result<MemFs, AnyError> {
    let mut archive = ::tar::Builder::new(Vec::new());
    archive.append_dir_all("", from)?;
    let mut fs = MemFs::new(LIMITS, TestSystem::default().realtime);
    tar::load(&mut fs, &Bytes::Shared(Arc::new(archive.into_inner()?)))?;
    Ok(fs)
}

/// Copies a directory of the host into one of `fs`.
fn copy(from: &Path, fs: &mut MemFs, to: Node) -> Result<(), AnyError> {
    let now = &mut || TestSystem::default().realtime;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if entry.file_type()?.is_dir() {
            fs.create_dir(to, name, now).map_err(|errno| errno.to_string())?;
            let dir = fs.lookup(to, name).map_err(|errno| errno.to_string())?.node;
            copy(&entry.path(), fs, dir)?;
            continue;
        }
        let file = fs.create(to, name, now).map_err(|errno| errno.to_string())?;
        let write = Access {
            read: false,
            write: true,
        };
        let handle = fs.open(file, write).map_err(|errno| errno.to_string())?;
        let bytes = fs::read(entry.path())?;
        let count = fs
            .write(handle, 0, &bytes, now)
            .map_err(|errno| errno.to_string())?;
        fs.close(handle);
        if count < bytes.len() {
            return Err(format!("no room for {}", entry.path().display()).into());
        }
    }
    Ok(())
}

/// Runs `_start`; the exit code.
fn execute(store: &mut Store<Host<TestSystem>>, wasm: &[u8]) -> Result<u32, AnyError> {
    let module = Module::new(store.engine(), wasm)?;
    let mut imports = Vec::new();
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            return Err("it imports something else than functions".into());
        };
        let func = resolve(store, import.module(), import.name(), ty)?;
        imports.push(Extern::from(
            func.ok_or_else(|| format!("no function {}", import.name()))?,
        ));
    }
    let instance = Instance::new(&mut *store, &module, &imports)?;
    let start = instance.get_typed_func::<(), ()>(&*store, "_start")?;
    match start.call(&mut *store, ()) {
        Ok(()) => Ok(0),
        Err(error) => match Stop::of(&error) {
            Some(Stop::Exit(code)) => Ok(*code),
            _ => Err(format!(
                "trap: {error}; stderr: {}",
                String::from_utf8_lossy(&store.data().context.system.stderr)
            )
            .into()),
        },
    }
}
