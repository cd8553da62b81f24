//! Through wasmi, as a guest calls.

use std::error::Error as StdError;

use wasi_core::{Errno, testing::TestSystem};
use wasi_p1::{
    Trap,
    linker::{
        SignatureMismatch, Stop,
        wasmi::{Host, resolve, stop},
    },
};
use wasmi::{Engine, Extern, ExternType, FuncType, Instance, Module, Store, Val, ValType};

use super::{FUNCTIONS, TestResult, check_mismatch, context, garbage};

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
    assert_eq!((mismatch.module, mismatch.name), ("wasi_unstable", "fd_seek"));
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

/// Calls a function with garbage in its arguments and in memory; whether it succeeded, failed or trapped.
fn call_with_garbage(
    store: &mut TestStore,
    instance: Instance,
    (name, params): (&str, &str),
    random: &mut u64,
) -> Result<Option<bool>, Box<dyn StdError>> {
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
            Some(Stop::Limit(limit)) => panic!("{limit:?}"),
            Some(Stop::Exit(_)) => {
                assert!(["proc_exit", "proc_raise"].contains(&name), "{name}");
                Some(false)
            }
        },
    };
    // What a guest wrote must not pile up, nor its closing of a stream end the test.
    let system = &mut store.data_mut().context.core.system;
    system.stdout.clear();
    system.stderr.clear();
    Ok(end)
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
                Some(true) => succeeded += 1,
                Some(false) => {}
                None => trapped += 1,
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
            if call_with_garbage(&mut store, instance, function, &mut random)? == Some(true) {
                succeeded += 1;
            }
        }
    }
    assert!(succeeded > 1000, "the garbage is too dull: {succeeded} succeeded");
    Ok(())
}
