//! Through wasmi, as a guest calls.

use std::error::Error as StdError;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem::take;

use wasi_core::{Errno, testing::TestSystem};
use wasi_p1::{
    Trap,
    linker::{
        SignatureMismatch, Stop,
        trace::ReplayStop,
        wasmi::{Host, resolve, stop},
    },
};
use wasmi::{Engine, Extern, ExternType, FuncType, Instance, Module, Store, Val, ValType};

use super::{EXTENSIONS, FUNCTIONS, MISMATCHES, SECONDS, TestResult, check_mismatch, context, garbage};

type TestStore = Store<Host<TestSystem>>;

fn store_on(system: TestSystem) -> Result<TestStore, Box<dyn StdError>> {
    Ok(Store::new(&Engine::default(), Host::new(context(system)?)))
}

fn func_type(name: &str, params: &str) -> FuncType {
    let params: Vec<_> = params
        .chars()
        .map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 })
        .collect();
    FuncType::new(
        params,
        if name == "proc_exit" {
            vec![]
        } else {
            vec![ValType::I32]
        },
    )
}

/// Links and instantiates as an embedder does: imports resolved in order.
fn instantiate(store: &mut TestStore, wat: &str) -> Result<Instance, Box<dyn StdError>> {
    let module = Module::new(store.engine(), wat::parse_str(wat)?)?;
    let mut imports = Vec::new();
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            return Err("not a function".into());
        };
        let func = resolve(store, import.module(), import.name(), ty)?.ok_or("no such function")?;
        imports.push(Extern::from(func));
    }
    Ok(Instance::new(store, &module, &imports)?)
}

/// A module that exports every function wrapped in one of its own, so that calls come from Wasm.
fn wrapper(functions: &[(&str, &str)]) -> String {
    let mut imports = String::new();
    let mut exports = String::new();
    for (name, params) in functions {
        let types: Vec<_> = params
            .chars()
            .map(|c| if c == 'I' { "i64" } else { "i32" })
            .collect();
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        let signature = format!("(param {}) {result}", types.join(" "));
        let arguments: String = (0..types.len())
            .map(|index| format!("(local.get {index})"))
            .collect();
        imports += &format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {signature}))\n");
        exports += &format!("(func (export \"{name}\") {signature} (call ${name} {arguments}))\n");
    }
    format!("(module {imports} (memory (export \"memory\") 1 2) {exports})")
}

/// Calls an export; the errno, or why the guest was stopped.
fn call(store: &mut TestStore, instance: Instance, name: &str, args: &[Val]) -> Result<i32, wasmi::Error> {
    let func = instance.get_func(&*store, name).expect("exported");
    let mut results = [Val::I32(0)];
    let count = func.ty(&*store).results().len();
    func.call(&mut *store, args, &mut results[..count])?;
    match results[0] {
        Val::I32(errno) => Ok(errno),
        _ => unreachable!("all results are i32"),
    }
}

#[test]
fn every_function_links_with_its_own_type_only() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    for (name, params) in FUNCTIONS {
        let right = func_type(name, params);
        let func = resolve(&mut store, "wasi_snapshot_preview1", name, &right)?.ok_or(name)?;
        assert_eq!(func.ty(&store), right, "{name}");

        let wrong = [
            FuncType::new(
                [right.params(), &[ValType::I32]].concat(),
                right.results().to_vec(),
            ),
            FuncType::new(right.params().to_vec(), [ValType::I64]),
            FuncType::new(
                vec![ValType::F32; right.params().len().max(1)],
                right.results().to_vec(),
            ),
        ];
        for found in wrong {
            let mismatch = resolve(&mut store, "wasi_snapshot_preview1", name, &found).expect_err(name);
            check_mismatch(&mismatch, name, params);
        }
    }
    Ok(())
}

#[test]
fn snapshot_0_has_the_same_functions_but_one() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    for (name, params) in FUNCTIONS {
        let ty = func_type(name, params);
        let func = resolve(&mut store, "wasi_unstable", name, &ty)?;
        assert_eq!(func.is_some(), name != "sock_accept", "{name}");
    }
    let wrong = FuncType::new([], []);
    let mismatch = resolve(&mut store, "wasi_unstable", "fd_seek", &wrong).expect_err("another type");
    assert_eq!((mismatch.module, &*mismatch.name), ("wasi_unstable", "fd_seek"));
    Ok(())
}

/// The type that a module imports chooses between two versions of a function.
#[test]
fn an_import_gets_the_version_whose_type_it_has() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    for (name, newer, first) in EXTENSIONS {
        for params in [Some(newer), first].into_iter().flatten() {
            let ty = func_type(name, params);
            let func = resolve(&mut store, "wasi_snapshot_preview1", name, &ty)?.ok_or(name)?;
            assert_eq!(func.ty(&store), ty, "{name}");
            let standard = name == "sock_accept";
            let refused = resolve(&mut store, "wasi_unstable", name, &ty);
            assert!(standard || refused?.is_none(), "{name}");
        }
        let wrong = func_type(name, "I");
        let mismatch = resolve(&mut store, "wasi_snapshot_preview1", name, &wrong).expect_err(name);
        check_mismatch(&mismatch, name, newer);

        let second = format!("{name}_v2");
        let found = resolve(
            &mut store,
            "wasi_snapshot_preview1",
            &second,
            &func_type(name, newer),
        );
        assert_eq!(found?.is_some(), SECONDS.contains(&name), "{second}");
        if let Some(first) = first {
            let first = func_type(name, first);
            let refused = resolve(&mut store, "wasi_snapshot_preview1", &second, &first);
            assert!(refused.is_err(), "{second}");
        }
    }
    for name in [
        "epoll_oneoff",
        "sock_open_v1",
        "sock_recv_v2_v2",
        "fd_read_v2",
        "_v2",
    ] {
        let ty = func_type(name, "iiii");
        assert!(
            resolve(&mut store, "wasi_snapshot_preview1", name, &ty)?.is_none(),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn a_mismatch_says_what_each_version_has() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    for (name, params, rest) in MISMATCHES {
        let found = func_type(name, params);
        let mismatch = resolve(&mut store, "wasi_snapshot_preview1", name, &found).expect_err(name);
        let message = mismatch.to_string();
        assert!(message.starts_with(&format!("import `wasi_snapshot_preview1.{name}` has the type (i")));
        assert!(message.ends_with(rest), "{message}");
    }
    Ok(())
}

/// Both versions of one function in one module.
#[test]
fn a_module_may_mix_versions() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "sock_accept" (func $first (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_accept" (func $newer (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "first") (result i32) (call $first (i32.const 0) (i32.const 8)))
        (func (export "newer") (param i32) (result i32)
            (call $newer (i32.const 0) (local.get 0) (i32.const 8))))"#;
    let instance = instantiate(&mut store, wat)?;
    let not_a_socket = i32::from(Errno::NOTSOCK.raw());
    assert_eq!(call(&mut store, instance, "first", &[])?, not_a_socket);
    // Only the newer version has flags.
    assert_eq!(call(&mut store, instance, "newer", &[Val::I32(0)])?, not_a_socket);
    let flags = [Val::I32(1 << 5)];
    assert_eq!(
        call(&mut store, instance, "newer", &flags)?,
        i32::from(Errno::INVAL.raw())
    );
    Ok(())
}

/// An old module: `whence` 2 is the start, `filestat` has its size at 24.
#[test]
fn an_old_module_runs() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let wat = r#"(module
        (import "wasi_unstable" "path_open"
            (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\05\00\00\00")
        (data (i32.const 16) "hello\01")
        (func (export "go") (result i32)
            (i32.or (i32.or
                (call $path_open (i32.const 3) (i32.const 0) (i32.const 21) (i32.const 1) (i32.const 0)
                    (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32))
                (call $fd_write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 36)))
            (i32.or
                (call $fd_seek (i32.load (i32.const 32)) (i64.const 2) (i32.const 2) (i32.const 40))
                (call $fd_filestat_get (i32.load (i32.const 32)) (i32.const 64))))))"#;
    let instance = instantiate(&mut store, wat)?;
    assert_eq!(call(&mut store, instance, "go", &[])?, 0);
    let memory = instance.get_memory(&store, "memory").ok_or("no memory")?;
    let bytes = memory.data(&store);
    assert_eq!(bytes[40], 2, "the position");
    assert_eq!(bytes[64 + 24], 5, "the size");
    assert_eq!(bytes[64 + 20], 1, "one name");
    Ok(())
}

#[test]
fn unknown_names_are_nobodys() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let ty = func_type("fd_close", "i");
    for (module, name) in [
        ("wasi_snapshot_preview1", "fd_clos"),
        ("env", "fd_close"),
        ("wasi_unstable", "fd_clos"),
        ("wasi_snapshot_preview2", "fd_close"),
        ("wasi_snapshot_preview1", ""),
    ] {
        assert!(
            resolve(&mut store, module, name, &ty)?.is_none(),
            "{module} {name}"
        );
    }
    Ok(())
}

#[test]
fn a_mismatch_says_what_is_wrong() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let found = FuncType::new([ValType::I32, ValType::I64], []);
    let mismatch: SignatureMismatch =
        resolve(&mut store, "wasi_snapshot_preview1", "fd_seek", &found).expect_err("another type");
    assert_eq!(
        mismatch.to_string(),
        "import `wasi_snapshot_preview1.fd_seek` has the type (i32, i64) -> (), \
         but WASI defines (i32, i64, i32, i32) -> (i32)"
    );
    Ok(())
}

#[test]
fn a_program_reads_writes_and_exits() -> TestResult {
    let mut store = store_on(TestSystem::with_stdin(b"hello"))?;
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\08\00\00\00")
        (func (export "_start")
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (call $proc_exit (i32.load (i32.const 8)))
            unreachable))"#;
    let instance = instantiate(&mut store, wat)?;
    let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
    let error = start.call(&mut store, ()).expect_err("it exits");
    assert_eq!(stop(&error), Some(&Stop::Exit(5)));
    assert_eq!(store.data().context.core.system.stdout, b"hello");
    Ok(())
}

#[test]
fn all_bits_of_the_exit_code_arrive() -> TestResult {
    for code in [0, 1, 255, 256, -1, i32::MIN] {
        let mut store = store_on(TestSystem::default())?;
        let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
        let error = call(&mut store, instance, "proc_exit", &[Val::I32(code)]).expect_err("it exits");
        assert_eq!(stop(&error), Some(&Stop::Exit(code.cast_unsigned())));
    }
    Ok(())
}

#[test]
fn a_trap_carries_its_message() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
    let error = call(
        &mut store,
        instance,
        "random_get",
        &[Val::I32(65535), Val::I32(2)],
    )
    .expect_err("it traps");
    assert_eq!(
        error.to_string(),
        "pointer out of bounds: 2 bytes at 0xffff in a memory of 65536 bytes"
    );
    let error =
        call(&mut store, instance, "fd_fdstat_get", &[Val::I32(0), Val::I32(4)]).expect_err("it traps");
    assert_eq!(
        error.to_string(),
        "pointer not aligned: 0x4 is not a multiple of 8"
    );
    Ok(())
}

#[test]
fn an_errno_goes_on() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
    let errno = |errno: Errno| i32::from(errno.raw());
    assert_eq!(
        call(&mut store, instance, "fd_close", &[Val::I32(9)])?,
        errno(Errno::BADF)
    );
    assert_eq!(
        call(&mut store, instance, "clock_res_get", &[Val::I32(4), Val::I32(0)])?,
        errno(Errno::INVAL)
    );
    let siflags = [Val::I32(0), Val::I32(0), Val::I32(0), Val::I32(1), Val::I32(0)];
    assert_eq!(
        call(&mut store, instance, "sock_send", &siflags)?,
        errno(Errno::INVAL)
    );
    Ok(())
}

#[test]
fn without_a_memory_every_call_traps() -> TestResult {
    let modules = [
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $f (result i32)))
            (func (export "go") (drop (call $f))))"#,
        r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func $f (result i32)))
            (memory (export "mem") 1) (func (export "memory")) (func (export "go") (drop (call $f))))"#,
    ];
    for wat in modules {
        let mut store = store_on(TestSystem::default())?;
        let instance = instantiate(&mut store, wat)?;
        let error = instance
            .get_typed_func::<(), ()>(&store, "go")?
            .call(&mut store, ())
            .expect_err("no memory");
        assert_eq!(stop(&error), Some(&Stop::Trap(Trap::NoMemory)));
        assert_eq!(store.data().context.core.system.yields, 0);
    }
    Ok(())
}

#[test]
fn a_start_function_may_call_before_the_memory_is_attached() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $start (drop (call $random_get (i32.const 8) (i32.const 2))))
        (start $start))"#;
    let instance = instantiate(&mut store, wat)?;
    let memory = instance.get_memory(&store, "memory").ok_or("no memory")?;
    assert_eq!(memory.data(&store)[7..11], [0, 1, 2, 0]);
    Ok(())
}

#[test]
fn the_attached_memory_is_used() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
    let other = instantiate(&mut store, r#"(module (memory (export "memory") 1))"#)?;
    let memory = other.get_memory(&store, "memory").ok_or("no memory")?;
    store.data_mut().attach_memory(memory);
    assert_eq!(
        call(&mut store, instance, "random_get", &[Val::I32(0), Val::I32(1)])?,
        0
    );
    assert_eq!(memory.data(&store)[..2], [1, 0]);
    Ok(())
}

#[test]
fn memory_that_has_grown_is_within_bounds() -> TestResult {
    let mut store = store_on(TestSystem::default())?;
    let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
    let args = [Val::I32(65536), Val::I32(1)];
    assert!(call(&mut store, instance, "random_get", &args).is_err());
    let memory = instance.get_memory(&store, "memory").ok_or("no memory")?;
    memory.grow(&mut store, 1)?;
    assert_eq!(call(&mut store, instance, "random_get", &args)?, 0);
    Ok(())
}

/// Opens the file as 4 and the directory as 5, so that garbage meets descriptors of every kind.
fn open_descriptors(store: &mut TestStore, instance: Instance) -> TestResult {
    let memory = instance.get_memory(&*store, "memory").ok_or("no memory")?;
    for (name, oflags, rights, fd) in [(1, 0, 66, 4), (2, 2, 0, 5)] {
        memory.data_mut(&mut *store)[0] = name;
        let args = [3, 0, 0, 1, oflags].map(Val::I32);
        let rights = [Val::I64(rights), Val::I64(0)];
        let rest = [Val::I32(0), Val::I32(8)];
        let args = [&args[..], &rights, &rest].concat();
        assert_eq!(call(store, instance, "path_open", &args)?, 0);
        assert_eq!(memory.data(&*store)[8], fd);
    }
    Ok(())
}

/// What was printed to standard output and to standard error.
type Printed = [Vec<u8>; 2];

/// Calls a function with garbage in its arguments and in memory; whether it succeeded, failed or trapped, and what it
/// printed.
fn call_with_garbage(
    store: &mut TestStore,
    instance: Instance,
    (name, params): (&str, &str),
    random: &mut u64,
) -> Result<(Option<bool>, Printed), Box<dyn StdError>> {
    let memory = instance.get_memory(&*store, "memory").ok_or("no memory")?;
    // Small numbers make lists, subscriptions and names that mean something now and then.
    for byte in &mut memory.data_mut(&mut *store)[..512] {
        *byte = u8::try_from(garbage(random).unsigned_abs() % 4).expect("small");
    }
    let args: Vec<_> = params
        .chars()
        .map(|c| match (c, garbage(random)) {
            ('I', value) => Val::I64(value),
            (_, value) => Val::I32(i32::from_le_bytes(
                value.to_le_bytes()[..4].try_into().expect("4 bytes"),
            )),
        })
        .collect();
    let end = match call(store, instance, name, &args) {
        Ok(0) => Some(true),
        Ok(errno) => {
            let known = Errno::ALL
                .iter()
                .any(|(known, _)| i32::from(known.raw()) == errno);
            assert!(known, "{name}");
            Some(false)
        }
        Err(error) => match stop(&error) {
            Some(Stop::Trap(Trap::NoMemory)) | None => panic!("{name}{args:?}: {error}"),
            Some(Stop::Trap(_)) => None,
            Some(stop @ (Stop::Limit(_) | Stop::Replay(_))) => panic!("{name}{args:?}: {stop}"),
            Some(Stop::Exit(_)) => {
                assert!(["proc_exit", "proc_raise"].contains(&name), "{name}");
                Some(false)
            }
        },
    };
    // What a guest wrote must not pile up, nor its closing of a stream end the test.
    let system = &mut store.data_mut().context.core.system;
    Ok((end, [take(&mut system.stdout), take(&mut system.stderr)]))
}

#[test]
fn no_arguments_make_a_function_panic() -> TestResult {
    const ROUNDS: usize = 3000;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut succeeded, mut trapped) = (0, 0);
    for function in FUNCTIONS {
        let mut store = store_on(TestSystem::with_stdin(&[1; 100]))?;
        let open = ("path_open", "iiiiiIIii");
        let both = [open, function];
        let functions = if function == open { &both[..1] } else { &both };
        let instance = instantiate(&mut store, &wrapper(functions))?;
        open_descriptors(&mut store, instance)?;
        for _ in 0..ROUNDS {
            match call_with_garbage(&mut store, instance, function, &mut random)? {
                (Some(true), _) => succeeded += 1,
                (Some(false), _) => {}
                (None, _) => trapped += 1,
            }
        }
    }
    assert!(
        succeeded > 1000 && trapped > 1000,
        "the garbage is too dull: {succeeded} succeeded, {trapped} trapped"
    );
    Ok(())
}

#[test]
fn no_arguments_make_an_extension_panic() -> TestResult {
    const ROUNDS: usize = 1000;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for (name, newer, first) in EXTENSIONS {
        for params in [Some(newer), first].into_iter().flatten() {
            let mut store = store_on(TestSystem::default())?;
            let instance = instantiate(&mut store, &wrapper(&[(name, params)]))?;
            for _ in 0..ROUNDS {
                let (end, _) = call_with_garbage(&mut store, instance, (name, params), &mut random)?;
                assert_ne!(end, Some(true), "{name} without a network");
            }
        }
    }
    Ok(())
}

#[test]
fn no_sequence_of_calls_makes_one_panic() -> TestResult {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut succeeded = 0;
    for _ in 0..20 {
        let mut store = store_on(TestSystem::with_stdin(&[1; 100]))?;
        let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
        open_descriptors(&mut store, instance)?;
        for _ in 0..2000 {
            let index = usize::try_from(garbage(&mut random).unsigned_abs() >> 7)? % FUNCTIONS.len();
            let function = FUNCTIONS[index];
            if call_with_garbage(&mut store, instance, function, &mut random)?.0 == Some(true) {
                succeeded += 1;
            }
        }
    }
    assert!(succeeded > 1000, "the garbage is too dull: {succeeded} succeeded");
    Ok(())
}

/// How a call ended, what it printed, and a hash of what it left in memory.
type Seen = (Option<bool>, Printed, u64);

/// Calls everything with garbage on a traced host: how each call ended, what it printed and left in memory.
fn traced_garbage(
    host: Host<TestSystem>,
    mut random: u64,
    system: impl FnOnce(&TestSystem),
) -> Result<Vec<Seen>, Box<dyn StdError>> {
    let mut store = Store::new(&Engine::default(), host);
    let instance = instantiate(&mut store, &wrapper(&FUNCTIONS))?;
    open_descriptors(&mut store, instance)?;
    let mut seen = Vec::new();
    for _ in 0..300 {
        let index = usize::try_from(garbage(&mut random).unsigned_abs() >> 7)? % FUNCTIONS.len();
        let (end, printed) = call_with_garbage(&mut store, instance, FUNCTIONS[index], &mut random)?;
        let memory = instance.get_memory(&store, "memory").ok_or("no memory")?;
        let mut hasher = DefaultHasher::new();
        memory.data(&store).hash(&mut hasher);
        seen.push((end, printed, hasher.finish()));
    }
    assert_eq!(store.data_mut().finish(), Ok(()));
    system(&store.data().context.core.system);
    Ok(seen)
}

#[test]
fn a_recording_answers_as_the_world_did() -> TestResult {
    let mut succeeded = 0;
    for seed in 1..30 {
        let mut recording = Vec::new();
        let world = TestSystem::with_stdin(&[1; 3000]);
        let recorded = traced_garbage(Host::new(context(world)?).recorded(), seed, |system| {
            recording.clone_from(&system.recording);
            assert_eq!(system.kept.last(), Some(&recording.len()));
        })?;
        succeeded += recorded.iter().filter(|(end, ..)| *end == Some(true)).count();
        // Nothing of the world is left.
        let nothing = TestSystem {
            realtime: 0,
            monotonic: 0,
            resolution: 7,
            random: None,
            ..TestSystem::default()
        };
        let empty = wasi_core::WasiCtxBuilder::new().build(nothing);
        let replayed = traced_garbage(Host::new(empty).replayed(recording), seed, |system| {
            assert_eq!((&system.recording, system.yields), (&Vec::new(), 0));
            assert!(system.sleeps.is_empty() && system.polls.is_empty());
        })?;
        for (call, (recorded, replayed)) in recorded.iter().zip(&replayed).enumerate() {
            assert_eq!(recorded, replayed, "seed {seed}, call {call}");
        }
    }
    assert!(succeeded > 500, "the garbage is too dull: {succeeded} succeeded");
    Ok(())
}

/// A program whose two random numbers are what it exits with; `clock` is the first clock that it asks.
fn random_program(clock: u32) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\02\00\00\00")
        (data (i32.const 16) "hi")
        (func (export "_start")
            (drop (call $clock (i32.const {clock}) (i64.const 0) (i32.const 32)))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $random (i32.const 64) (i32.const 2)))
            (call $proc_exit (i32.load16_u (i32.const 64)))))"#
    )
}

/// Runs a program: why it was stopped, and the host after it.
fn run_traced(host: Host<TestSystem>, wat: &str) -> Result<(Stop, Host<TestSystem>), Box<dyn StdError>> {
    let mut store = Store::new(&Engine::default(), host);
    let instance = instantiate(&mut store, wat)?;
    let error = call(&mut store, instance, "_start", &[]).expect_err("it exits");
    Ok((stop(&error).ok_or("an error")?.clone(), store.into_data()))
}

/// The recording of a run of the program above.
fn recorded_program() -> Result<Vec<u8>, Box<dyn StdError>> {
    let host = Host::new(context(TestSystem::default())?).recorded();
    let (end, mut host) = run_traced(host, &random_program(0))?;
    assert_eq!(end, Stop::Exit(0x0201));
    let events = host.context.core.system.recording.clone();
    assert_eq!(host.finish(), Ok(()));
    Ok(events)
}

fn replay(recording: Vec<u8>, wat: &str) -> Result<(Stop, Host<TestSystem>), Box<dyn StdError>> {
    let nothing = wasi_core::WasiCtxBuilder::new().build(TestSystem::default());
    run_traced(Host::new(nothing).replayed(recording), wat)
}

#[test]
fn a_guest_that_asks_something_else_is_stopped() -> TestResult {
    let (end, _) = replay(recorded_program()?, &random_program(1))?;
    assert_eq!(
        end.to_string(),
        "the guest does something else than was recorded: after 0 calls, it asks for clock_time_get(1, 0, 32), where it \
         had asked for clock_time_get(0, 0, 32)"
    );
    let other = random_program(0).replace("\"hi\"", "\"ho\"");
    let (end, host) = replay(recorded_program()?, &other)?;
    assert_eq!(
        end.to_string(),
        "the guest does something else than was recorded: after 1 calls, fd_write(1, 0, 1, 8) finds other bytes in \
         memory than it had found there"
    );
    assert_eq!(host.context.core.system.stdout, b"");
    // Another function.
    let other = random_program(0).replace(
        "call $clock (i32.const 0) (i64.const 0) (i32.const 32)",
        "call $random (i32.const 0) (i32.const 0)",
    );
    let (end, _) = replay(recorded_program()?, &other)?;
    assert!(
        end.to_string()
            .contains("random_get(0, 0), where it had asked for clock_time_get(0, 0, 32)"),
        "{end}"
    );
    Ok(())
}

#[test]
fn a_guest_that_ends_early_or_goes_on_is_noticed() -> TestResult {
    let early = random_program(0).replace(
        "call $random (i32.const 64) (i32.const 2)",
        "unreachable i32.const 0",
    );
    let nothing = wasi_core::WasiCtxBuilder::new().build(TestSystem::default());
    let mut store = Store::new(
        &Engine::default(),
        Host::new(nothing).replayed(recorded_program()?),
    );
    let instance = instantiate(&mut store, &early)?;
    let error = call(&mut store, instance, "_start", &[]).expect_err("it traps");
    assert_eq!(stop(&error), None);
    let noticed = store.data_mut().finish().expect_err("it had gone on");
    assert!(
        noticed.to_string().contains("after 2 calls, it comes to its end"),
        "{noticed}"
    );

    // The recording's end is there, and the exit before it is not.
    let mut events = recorded_program()?;
    let exit = events.len() - 13;
    events.splice(exit.., [1, 2]);
    let (end, _) = replay(events, &random_program(0))?;
    assert!(
        end.to_string()
            .contains("it asks for proc_exit(513), where it had come to its end"),
        "{end}"
    );
    Ok(())
}

#[test]
fn a_recording_that_is_cut_off_answers_as_far_as_it_reaches() -> TestResult {
    let whole = recorded_program()?;
    let mut calls_seen = std::collections::BTreeSet::new();
    for length in 0..whole.len() {
        let (end, host) = replay(whole[..length].to_vec(), &random_program(0))?;
        let Stop::Replay(ReplayStop::Over { calls, next }) = end else {
            panic!("{length} bytes: {end}");
        };
        calls_seen.insert((calls, next));
        assert_eq!(
            host.context.core.system.stdout,
            if calls >= 2 { &b"hi"[..] } else { b"" }
        );
    }
    let seen: Vec<_> = calls_seen
        .iter()
        .map(|(calls, next)| (*calls, next.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (0, "clock_time_get(0, 0, 32)"),
            (1, "fd_write(1, 0, 1, 8)"),
            (2, "random_get(64, 2)"),
            (3, "proc_exit(513)")
        ]
    );
    let (end, _) = replay(whole, &random_program(0))?;
    assert_eq!(end, Stop::Exit(513));
    Ok(())
}

#[test]
fn no_change_of_a_recording_makes_a_replay_panic() -> TestResult {
    let whole = recorded_program()?;
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[place] ^= 1 << bit;
            let (end, _) = replay(changed, &random_program(0))?;
            assert!(!matches!(end, Stop::Limit(_)) || bit > 0, "{end}");
        }
    }
    Ok(())
}

#[test]
fn growth_that_the_system_refused_is_refused_again() -> TestResult {
    // Grows as far as it can, then asks for the time, twice.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") 1 100)
        (func $grow
            (local $tries i32)
            (loop $more
                (drop (memory.grow (i32.const 3)))
                (br_if $more (i32.lt_u (local.tee $tries (i32.add (local.get $tries) (i32.const 1))) (i32.const 7))))
            (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 0))))
        (func (export "_start")
            (call $grow)
            (drop (memory.grow (i32.const 1)))
            (call $grow)
            (call $proc_exit (memory.size))))"#;
    let run = |host: Host<TestSystem>, prepare: fn(usize, usize) -> bool| {
        let mut host = host;
        host.growth.prepare = prepare;
        let mut store = Store::new(&Engine::default(), host);
        store.limiter(|host| &mut host.growth);
        let instance = instantiate(&mut store, wat)?;
        let error = call(&mut store, instance, "_start", &[]).expect_err("it exits");
        let end = stop(&error).ok_or("an error")?.clone();
        let mut host = store.into_data();
        let finished = host.finish();
        Ok::<_, Box<dyn StdError>>((
            end,
            finished,
            host.growth.failed,
            host.context.core.system.recording,
        ))
    };
    let little = |_: usize, desired: usize| desired <= 12 * 65536;
    let much = |_: usize, _: usize| true;
    let (end, _, failed, recording) = run(Host::new(context(TestSystem::default())?).recorded(), little)?;
    assert_eq!((&end, failed), (&Stop::Exit(11), true));
    let nothing = || wasi_core::WasiCtxBuilder::new().build(TestSystem::default());
    // In a machine with more memory, and in one with as much.
    for prepare in [much, little] {
        let replayed = run(Host::new(nothing()).replayed(recording.clone()), prepare)?;
        assert_eq!(replayed, (end.clone(), Ok(()), true, Vec::new()));
    }
    // A machine with less cannot go on.
    let (end, ..) = run(Host::new(nothing()).replayed(recording), |_, desired| {
        desired <= 5 * 65536
    })?;
    assert!(end.to_string().contains("--memory"), "{end}");
    Ok(())
}
