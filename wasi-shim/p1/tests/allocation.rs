//! The busiest calls allocate nothing, neither in themselves nor on their way through the engine.
//!
//! Layer: tests. The allocator counts for each thread: the harness's own allocates whenever it likes.

use std::{
    alloc::{GlobalAlloc, Layout, System as HostAllocator},
    cell::Cell,
    error::Error as StdError,
};

use wasi_core::{
    Clock, Errno, Readiness, Stream, System, Wait, WasiCtxBuilder,
    fs::{
        Permission,
        mem::{Limits, MemFs},
    },
};
use wasi_p1::linker::wasmi::{Host, resolve};
use wasmi::{Engine, Extern, ExternType, Instance, Module, Store};

/// Counts what is handed out.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every method hands its arguments, and with them the caller's promises, to the host's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no count any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { HostAllocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `HostAllocator.alloc` above, with this layout.
        unsafe { HostAllocator.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// A machine that takes and gives without keeping anything.
struct Machine;

impl System for Machine {
    fn clock_time(&mut self, _clock: Clock) -> Result<u64, Errno> {
        Ok(1)
    }
    fn clock_resolution(&mut self, _clock: Clock) -> Result<u64, Errno> {
        Ok(1)
    }
    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno> {
        buf.fill(7);
        Ok(())
    }
    fn console_write(&mut self, _stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        Ok(buf.len())
    }
    fn console_read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        Ok(buf.len())
    }
    fn wait(&mut self, on: &mut [Wait], _timeout: Option<u64>) {
        for wait in on {
            wait.answer = Ok(Readiness::Ready {
                bytes: 1,
                hangup: false,
            });
        }
    }
    fn yield_now(&mut self) {}

    fn record(&mut self, _: &[u8]) {}

    fn recorded(&mut self, _: bool) {}
}

/// Each round: three buffers read, three written, the time, random bytes, a poll of output; of a file, all that
/// can be done without its growing; its attributes by descriptor and by name; the directory that it is in.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    ;; three iovecs at 0, a subscription to fd_write of 1 at 512
    (data (i32.const 0) "\00\10\00\00\10\00\00\00" "\00\20\00\00\00\00\00\00" "\00\30\00\00\00\10\00\00")
    (data (i32.const 520) "\02\00\00\00\00\00\00\00\01\00\00\00")
    (data (i32.const 600) "f")
    ;; opens `f` as 4
    (func (export "open") (result i32)
        (call $path_open (i32.const 3) (i32.const 0) (i32.const 600) (i32.const 1) (i32.const 1)
            (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 64)))
    (func $file (result i32)
        (i32.or
            (i32.or
                (i32.or
                    (call $fd_seek (i32.const 4) (i64.const 0) (i32.const 0) (i32.const 64))
                    (call $fd_write (i32.const 4) (i32.const 0) (i32.const 3) (i32.const 64)))
                (i32.or
                    (call $fd_seek (i32.const 4) (i64.const -100) (i32.const 2) (i32.const 64))
                    (call $fd_read (i32.const 4) (i32.const 0) (i32.const 3) (i32.const 64))))
            (i32.or
                (i32.or
                    (call $fd_pwrite (i32.const 4) (i32.const 0) (i32.const 3) (i64.const 1) (i32.const 64))
                    (call $fd_pread (i32.const 4) (i32.const 0) (i32.const 3) (i64.const 1) (i32.const 64)))
                (i32.or
                    (i32.or
                        (call $fd_filestat_get (i32.const 4) (i32.const 64))
                        (call $path_filestat_get
                            (i32.const 3) (i32.const 0) (i32.const 600) (i32.const 1) (i32.const 64)))
                    (call $fd_readdir
                        (i32.const 3) (i32.const 2048) (i32.const 1000) (i64.const 0) (i32.const 64))))))
    (func (export "rounds") (param $n i32) (result i32) (local $errnos i32)
        (loop $again
            (local.set $errnos (i32.or (local.get $errnos) (i32.or
                (call $fd_read (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 64))
                (call $fd_write (i32.const 1) (i32.const 0) (i32.const 3) (i32.const 64)))))
            (local.set $errnos (i32.or (local.get $errnos) (i32.or
                (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 64))
                (call $random_get (i32.const 8192) (i32.const 100)))))
            (local.set $errnos (i32.or (local.get $errnos) (call $file)))
            (local.set $errnos (i32.or (local.get $errnos)
                (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 64))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $errnos)))"#;

#[test]
fn the_busiest_calls_allocate_nothing() -> Result<(), Box<dyn StdError>> {
    let mut store = Store::new(
        &Engine::default(),
        Host::new(
            WasiCtxBuilder::new()
                .preopen(MemFs::new(Limits::NONE, 0), "/", Permission::ReadWrite)?
                .build(Machine),
        ),
    );
    let module = Module::new(store.engine(), wat::parse_str(GUEST)?)?;
    let mut imports = Vec::new();
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else {
            return Err("not a function".into());
        };
        imports.push(Extern::from(
            resolve(&mut store, import.module(), import.name(), ty)?.ok_or("unknown")?,
        ));
    }
    let instance = Instance::new(&mut store, &module, &imports)?;
    let open = instance.get_typed_func::<(), u32>(&store, "open")?;
    assert_eq!(open.call(&mut store, ())?, 0);
    let rounds = instance.get_typed_func::<u32, u32>(&store, "rounds")?;

    let mut allocations = |n: u32| -> Result<usize, wasmi::Error> {
        let before = ALLOCATIONS.get();
        let errnos = rounds.call(&mut store, n)?;
        assert_eq!(errnos, 0, "a call failed");
        Ok(ALLOCATIONS.get() - before)
    };
    // The first rounds may set the engine up; then a thousand rounds cost as many allocations as one.
    allocations(1)?;
    let (one, thousand) = (allocations(1)?, allocations(1000)?);
    assert_eq!(thousand, one, "each round allocates");
    Ok(())
}
