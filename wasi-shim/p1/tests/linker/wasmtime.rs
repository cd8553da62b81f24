//! Through wasmtime, called by the host: the runtime alone has no compiler, so no guest can call here. Guests do in
//! the VM, where every one of them runs on the native image.

use std::error::Error as StdError;

use wasi_core::{Errno, testing::TestSystem};
use wasi_p1::{
    Trap,
    linker::{
        Stop,
        wasmtime::{Host, resolve, stop},
    },
};
use wasmtime::{Engine, FuncType, Memory, MemoryType, Ref, RefType, Store, Table, TableType, Val, ValType};

use super::{EXTENSIONS, FUNCTIONS, MISMATCHES, SECONDS, TestResult, check_mismatch, context, garbage};

type TestStore = Store<Host<TestSystem>>;

/// A store whose guest has no memory.
fn bare_store(system: TestSystem) -> Result<TestStore, Box<dyn StdError>> {
    let mut store = Store::new(&Engine::default(), Host::new(context(system)?));
    store.limiter(|host| &mut host.growth);
    Ok(store)
}

/// A store with a memory of one page, that may have two.
fn store_on(system: TestSystem) -> Result<(TestStore, Memory), Box<dyn StdError>> {
    let mut store = bare_store(system)?;
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    store.data_mut().attach_memory(memory);
    Ok((store, memory))
}

fn func_type(engine: &Engine, name: &str, params: &str) -> FuncType {
    let params = params
        .chars()
        .map(|c| if c == 'I' { ValType::I64 } else { ValType::I32 });
    let result = (name != "proc_exit").then_some(ValType::I32);
    FuncType::new(engine, params, result)
}

/// Calls a function of preview1; the errno, or why the guest was stopped.
fn call(store: &mut TestStore, name: &str, args: &[Val]) -> wasmtime::Result<i32> {
    let (_, params) = FUNCTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a function");
    let ty = func_type(store.engine(), name, params);
    let func = resolve(store, "wasi_snapshot_preview1", name, &ty)
        .expect("its own type")
        .expect("a function");
    let mut results = [Val::I32(0)];
    let count = ty.results().len();
    func.call(&mut *store, args, &mut results[..count])?;
    Ok(results[0].unwrap_i32())
}

#[test]
fn every_function_links_with_its_own_type_only() -> TestResult {
    let mut store = bare_store(TestSystem::default())?;
    let engine = store.engine().clone();
    for (name, params) in FUNCTIONS {
        let right = func_type(&engine, name, params);
        let func = resolve(&mut store, "wasi_snapshot_preview1", name, &right)?.ok_or(name)?;
        assert!(FuncType::eq(&func.ty(&store), &right), "{name}");

        let wrong = [
            FuncType::new(&engine, right.params().chain([ValType::I32]), right.results()),
            FuncType::new(&engine, right.params(), [ValType::I64]),
            FuncType::new(&engine, vec![ValType::F32; params.len().max(1)], right.results()),
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
    let mut store = bare_store(TestSystem::default())?;
    let engine = store.engine().clone();
    for (name, params) in FUNCTIONS {
        let ty = func_type(&engine, name, params);
        let func = resolve(&mut store, "wasi_unstable", name, &ty)?;
        assert_eq!(func.is_some(), name != "sock_accept", "{name}");
        for (module, name) in [("env", name), ("wasi_snapshot_preview1", &name[1..])] {
            assert!(
                resolve(&mut store, module, name, &ty)?.is_none(),
                "{module} {name}"
            );
        }
    }
    Ok(())
}

/// The type that a module imports chooses between two versions of a function.
#[test]
fn an_import_gets_the_version_whose_type_it_has() -> TestResult {
    let mut store = bare_store(TestSystem::default())?;
    let engine = store.engine().clone();
    for (name, newer, first) in EXTENSIONS {
        for params in [Some(newer), first].into_iter().flatten() {
            let ty = func_type(&engine, name, params);
            let func = resolve(&mut store, "wasi_snapshot_preview1", name, &ty)?.ok_or(name)?;
            assert!(FuncType::eq(&func.ty(&store), &ty), "{name}");
        }
        let wrong = func_type(&engine, name, "I");
        let mismatch = resolve(&mut store, "wasi_snapshot_preview1", name, &wrong).expect_err(name);
        check_mismatch(&mismatch, name, newer);

        let ty = func_type(&engine, name, newer);
        let second = format!("{name}_v2");
        let found = resolve(&mut store, "wasi_snapshot_preview1", &second, &ty)?;
        assert_eq!(found.is_some(), SECONDS.contains(&name), "{second}");
    }
    for (name, params, rest) in MISMATCHES {
        let found = func_type(&engine, name, params);
        let mismatch = resolve(&mut store, "wasi_snapshot_preview1", name, &found).expect_err(name);
        assert!(mismatch.to_string().ends_with(rest), "{mismatch}");
    }
    Ok(())
}

#[test]
fn a_mismatch_says_what_is_wrong() -> TestResult {
    let mut store = bare_store(TestSystem::default())?;
    let found = FuncType::new(store.engine(), [ValType::I32, ValType::F64], []);
    let mismatch =
        resolve(&mut store, "wasi_snapshot_preview1", "fd_seek", &found).expect_err("another type");
    assert_eq!(
        mismatch.to_string(),
        "import `wasi_snapshot_preview1.fd_seek` has the type (i32, f64) -> (), \
         but WASI defines (i32, i64, i32, i32) -> (i32)"
    );
    Ok(())
}

#[test]
fn results_lie_in_the_attached_memory() -> TestResult {
    let (mut store, memory) = store_on(TestSystem::with_stdin(b"hello"))?;
    memory.data_mut(&mut store)[..8].copy_from_slice(&[16, 0, 0, 0, 8, 0, 0, 0]);
    let args = [0, 0, 1, 4].map(Val::I32);
    assert_eq!(call(&mut store, "fd_read", &args)?, 0);
    assert_eq!(memory.data(&store)[4], 5);
    assert_eq!(memory.data(&store)[16..21], *b"hello");
    Ok(())
}

#[test]
fn an_errno_goes_on() -> TestResult {
    let (mut store, _) = store_on(TestSystem::default())?;
    for (name, args, errno) in [
        ("fd_close", &[9][..], Errno::BADF),
        ("clock_res_get", &[4, 0], Errno::INVAL),
        ("sock_send", &[0, 0, 0, 1, 0], Errno::INVAL),
    ] {
        let args: Vec<_> = args.iter().copied().map(Val::I32).collect();
        assert_eq!(call(&mut store, name, &args)?, i32::from(errno.raw()), "{name}");
    }
    Ok(())
}

#[test]
fn all_bits_of_the_exit_code_arrive() -> TestResult {
    for code in [0, 1, 255, 256, -1, i32::MIN] {
        let (mut store, _) = store_on(TestSystem::default())?;
        let error = call(&mut store, "proc_exit", &[Val::I32(code)]).expect_err("it exits");
        assert_eq!(stop(&error), Some(&Stop::Exit(code.cast_unsigned())));
    }
    Ok(())
}

#[test]
fn a_trap_carries_its_message() -> TestResult {
    let (mut store, _) = store_on(TestSystem::default())?;
    let error = call(&mut store, "random_get", &[65535, 2].map(Val::I32)).expect_err("it traps");
    let expected = Trap::OutOfBounds {
        start: 65535,
        len: 2,
        memory: 65536,
    };
    assert_eq!(stop(&error), Some(&Stop::Trap(expected)));
    assert_eq!(
        error.to_string(),
        "pointer out of bounds: 2 bytes at 0xffff in a memory of 65536 bytes"
    );
    Ok(())
}

#[test]
fn without_a_memory_every_call_traps() -> TestResult {
    let mut store = bare_store(TestSystem::default())?;
    let error = call(&mut store, "sched_yield", &[]).expect_err("no memory");
    assert_eq!(stop(&error), Some(&Stop::Trap(Trap::NoMemory)));
    assert_eq!(store.data().context.core.system.yields, 0);
    Ok(())
}

#[test]
fn memory_that_has_grown_is_within_bounds() -> TestResult {
    let (mut store, memory) = store_on(TestSystem::default())?;
    let args = [65536, 1].map(Val::I32);
    assert!(call(&mut store, "random_get", &args).is_err());
    memory.grow(&mut store, 1)?;
    assert_eq!(call(&mut store, "random_get", &args)?, 0);
    Ok(())
}

#[test]
fn only_what_the_system_refuses_counts_as_refused() -> TestResult {
    let (mut store, memory) = store_on(TestSystem::default())?;
    assert!(memory.grow(&mut store, 2).is_err(), "its type allows two pages");
    assert!(!store.data().growth.failed);
    // More than any machine maps.
    let large = Memory::new(&mut store, MemoryType::new64(1, None))?;
    assert!(large.grow(&mut store, 1 << 40).is_err());
    assert!(store.data().growth.failed);
    Ok(())
}

#[test]
fn no_arguments_make_a_function_panic() -> TestResult {
    const ROUNDS: usize = 500;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut succeeded, mut trapped) = (0, 0);
    for (name, params) in FUNCTIONS {
        let (mut store, memory) = store_on(TestSystem::with_stdin(&[1; 100]))?;
        for _ in 0..ROUNDS {
            for byte in &mut memory.data_mut(&mut store)[..512] {
                *byte = u8::try_from(garbage(&mut random).unsigned_abs() % 4)?;
            }
            let args: Vec<_> = params
                .chars()
                .map(|c| match (c, garbage(&mut random)) {
                    ('I', value) => Val::I64(value),
                    (_, value) => Val::I32(i32::from_le_bytes(
                        value.to_le_bytes()[..4].try_into().expect("4 bytes"),
                    )),
                })
                .collect();
            match call(&mut store, name, &args) {
                Ok(0) => succeeded += 1,
                Ok(errno) => assert!(
                    Errno::ALL
                        .iter()
                        .any(|(known, _)| i32::from(known.raw()) == errno),
                    "{name}"
                ),
                Err(error) => match stop(&error) {
                    Some(Stop::Trap(Trap::NoMemory)) | None => panic!("{name}{args:?}: {error}"),
                    Some(Stop::Trap(_)) => trapped += 1,
                    Some(stop @ (Stop::Limit(_) | Stop::Replay(_))) => panic!("{name}{args:?}: {stop}"),
                    Some(Stop::Exit(_)) => assert!(["proc_exit", "proc_raise"].contains(&name), "{name}"),
                },
            }
            let system = &mut store.data_mut().context.core.system;
            system.stdout.clear();
            system.stderr.clear();
        }
    }
    assert!(
        succeeded > 500 && trapped > 500,
        "the garbage is too dull: {succeeded} succeeded, {trapped} trapped"
    );
    Ok(())
}

#[test]
fn no_arguments_make_an_extension_panic() -> TestResult {
    const ROUNDS: usize = 500;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for (name, newer, first) in EXTENSIONS {
        for params in [Some(newer), first].into_iter().flatten() {
            let (mut store, _) = store_on(TestSystem::default())?;
            let ty = func_type(store.engine(), name, params);
            let func = resolve(&mut store, "wasi_snapshot_preview1", name, &ty)?.ok_or(name)?;
            for _ in 0..ROUNDS {
                let number = || i32::try_from(garbage(&mut random)).unwrap_or(i32::MIN);
                let args: Vec<_> = std::iter::repeat_with(number)
                    .map(Val::I32)
                    .take(params.len())
                    .collect();
                let mut results = [Val::I32(0)];
                match func.call(&mut store, &args, &mut results) {
                    Ok(()) => assert_ne!(results[0].unwrap_i32(), 0, "{name} without a network"),
                    Err(error) => assert!(matches!(stop(&error), Some(Stop::Trap(_))), "{name}: {error}"),
                }
            }
        }
    }
    Ok(())
}

/// A table of the host's, which grows as a guest's does.
#[test]
fn a_table_grows_as_far_as_there_is_memory() -> TestResult {
    let mut store = bare_store(TestSystem::default())?;
    let table = Table::new(
        &mut store,
        TableType::new(RefType::FUNCREF, 4, Some(5000)),
        Ref::Func(None),
    )?;
    // While it is copied there are two of them, and the new one may be twice of what is wanted.
    store.data_mut().growth.prepare = |current, desired| {
        assert!(current >= 4 * 8 && current < desired);
        desired <= 32 << 10
    };
    assert!(table.grow(&mut store, 4000, Ref::Func(None)).is_err());
    assert_eq!(table.size(&store), 4);
    assert_eq!(table.grow(&mut store, 1000, Ref::Func(None))?, 4);
    // The type's own limit is not asked about.
    assert!(table.grow(&mut store, 5000, Ref::Func(None)).is_err());
    assert_eq!(table.size(&store), 1004);
    assert!(!store.data().growth.failed);
    Ok(())
}

/// What calls answered, how the last one ended, what lies in memory then, and the machine.
type Traced = (Vec<i32>, Stop, Vec<u8>, TestSystem);

/// Makes the same calls on a traced host.
fn traced(host: Host<TestSystem>) -> Result<Traced, Box<dyn StdError>> {
    let mut store = Store::new(&Engine::default(), host);
    store.limiter(|host| &mut host.growth);
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    store.data_mut().attach_memory(memory);
    memory.data_mut(&mut store)[..8].copy_from_slice(&[16, 0, 0, 0, 8, 0, 0, 0]);
    let mut answers = Vec::new();
    let list = |fd| [fd, 0, 1, 8].map(Val::I32);
    for (name, args) in [
        ("fd_read", &list(0)[..]),
        ("random_get", &[64, 16].map(Val::I32)),
        ("clock_time_get", &[Val::I32(0), Val::I64(1), Val::I32(96)]),
        ("fd_write", &list(1)),
        ("fd_write", &list(2)),
        ("fd_write", &list(9)),
        ("args_get", &[128, 160].map(Val::I32)),
    ] {
        answers.push(call(&mut store, name, args)?);
    }
    let error = call(&mut store, "random_get", &[65536, 1].map(Val::I32)).expect_err("a trap");
    let end = stop(&error).ok_or("an error")?.clone();
    store.data_mut().finish()?;
    let bytes = memory.data(&store).to_vec();
    Ok((answers, end, bytes, store.into_data().context.core.system))
}

#[test]
fn a_recording_answers_as_the_world_did() -> TestResult {
    let world = context(TestSystem::with_stdin(b"hello"))?;
    let (answers, end, memory, world) = traced(Host::new(world).recorded())?;
    assert_eq!(answers, [0, 0, 0, 0, 0, i32::from(Errno::BADF.raw()), 0]);
    assert_eq!(
        (&memory[16..21], &world.stdout),
        (&b"hello"[..], &b"hello\0\0\0".to_vec())
    );

    let nothing = TestSystem {
        realtime: 0,
        random: None,
        ..TestSystem::default()
    };
    let nothing = wasi_core::WasiCtxBuilder::new().build(nothing);
    let replayed = traced(Host::new(nothing).replayed(world.recording))?;
    assert_eq!((replayed.0, replayed.1, replayed.2), (answers, end, memory));
    assert_eq!(
        (replayed.3.stdout, replayed.3.stderr),
        (world.stdout, world.stderr)
    );
    Ok(())
}

#[test]
fn a_guest_that_asks_something_else_is_stopped() -> TestResult {
    let world = context(TestSystem::with_stdin(b"hello"))?;
    let (.., world) = traced(Host::new(world).recorded())?;
    let nothing = wasi_core::WasiCtxBuilder::new().build(TestSystem::default());
    let mut store = Store::new(&Engine::default(), Host::new(nothing).replayed(world.recording));
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    store.data_mut().attach_memory(memory);
    let error = call(&mut store, "sched_yield", &[]).expect_err("another call");
    assert_eq!(
        stop(&error).ok_or("an error")?.to_string(),
        "the guest does something else than was recorded: after 0 calls, it asks for sched_yield(), where it had asked \
         for fd_read(0, 0, 1, 8)"
    );
    Ok(())
}
