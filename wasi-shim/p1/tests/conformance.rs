//! Published preview1 conformance modules on the host: crate `conformance` says what they are.

use std::{error::Error as StdError, fs, path::Path, process::ExitCode, sync::Arc};

#[path = "../../core/tests/support/directory.rs"]
mod directory;
#[path = "../../core/tests/support/passthrough.rs"]
mod passthrough;

use conformance::{Case, Expectations};
use libtest_mimic::{Arguments, Failed, Trial};
use wasi_core::{
    WasiCtxBuilder,
    fs::{
        Access, FileSystem, Node, Permission,
        fuse::FuseFs,
        mem::{Bytes, Limits, MemFs},
        tar,
    },
    testing::TestSystem,
};
use wasi_p1::linker::{
    Stop,
    wasmi::{Host, resolve, stop},
};
use wasmi::{Engine, Extern, ExternType, Instance, Module, Store};

use self::{
    directory::Directory,
    passthrough::{Client, Config},
};

type AnyError = Box<dyn StdError>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: the conformance tests cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A trial for each module; an ignored one that stands for all where there is no suite.
fn trials() -> Result<Vec<Trial>, AnyError> {
    let Some(folder) = conformance::folder() else {
        eprintln!(
            "SKIP conformance on the host: {} names no folder with the suite",
            conformance::VARIABLE
        );
        return Ok(vec![
            Trial::test("conformance", || Ok(())).with_ignored_flag(true),
        ]);
    };
    let memory = Arc::new(Expectations::of("memory")?);
    let served = Arc::new(Expectations::of("served")?);
    let in_memory = |case: Case| {
        let expectations = Arc::clone(&memory);
        Trial::test(case.name.clone(), move || {
            // On a directory that was copied, and on one that came as an archive.
            let copied = run(&case, copied).map_err(|error| format!("on a copy: {error}"));
            let archived = run(&case, archived).map_err(|error| format!("on an archive: {error}"));
            expectations
                .judge(&case.name, copied.and(archived))
                .map_err(Failed::from)
        })
    };
    let on_a_share = |case: Case| {
        let expectations = Arc::clone(&served);
        Trial::test(case.name.clone(), move || {
            let result = run_served(&case).map_err(|error| error.to_string());
            expectations.judge(&case.name, result).map_err(Failed::from)
        })
        .with_kind("served")
    };
    let cases = conformance::cases(&folder)?;
    let in_memory = cases.iter().cloned().map(in_memory);
    Ok(in_memory.chain(cases.iter().cloned().map(on_a_share)).collect())
}

/// Runs one test on a tree that `tree` makes of the directory it names; the error says how it differs from its
/// specification.
fn run<F: FileSystem + 'static>(
    case: &Case,
    mut tree: impl FnMut(&Path) -> Result<F, AnyError>,
) -> Result<(), AnyError> {
    let name = case.module.file_name().ok_or("no name")?;
    let mut builder = WasiCtxBuilder::new()
        .arg(name.as_encoded_bytes())?
        .args(&case.args)?;
    for (name, value) in &case.env {
        builder = builder.env(name, value)?;
    }
    for (here, there) in &case.directories {
        builder = builder.preopen(tree(here)?, there, Permission::ReadWrite)?;
    }
    let mut store = Store::new(
        &Engine::default(),
        Host::new(builder.build(TestSystem::default())),
    );
    let exit_code = execute(&mut store, &fs::read(&case.module)?)?;
    let system = &store.data().context.core.system;
    Ok(case.judge(exit_code, &system.stdout, &system.stderr)?)
}

/// Runs one test on copies of its directories, which FUSE servers of this process serve.
fn run_served(case: &Case) -> Result<(), AnyError> {
    let mut directories = Vec::new();
    run(case, |from| {
        let directory = Directory::new();
        copy_on_host(from, &directory)?;
        let client = Client::new(&directory, Config::default());
        directories.push(directory);
        FuseFs::new(client, 0o022).map_err(|errno| errno.to_string().into())
    })
}

/// Copies a directory of the host into another.
fn copy_on_host(from: &Path, to: &Path) -> Result<(), AnyError> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&to)?;
            copy_on_host(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
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
        Err(error) => match stop(&error) {
            Some(Stop::Exit(code)) => Ok(*code),
            _ => Err(format!(
                "trap: {error}; stderr: {}",
                String::from_utf8_lossy(&store.data().context.core.system.stderr)
            )
            .into()),
        },
    }
}
