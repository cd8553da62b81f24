//! Hands the calls to wasmi: names, signatures, and how a call's end becomes the engine's.
//!
//! Layer: engine, and the only file that names wasmi. Names are resolved by `match` rather than through a
//! `wasmi::Linker`: an embedder resolves a module's imports in order and passes them to `Instance::new`, without
//! building a map of 46 names at every start.

use core::fmt;

use wasmi::errors::{HostError, MemoryError};
use wasmi::{AsContextMut, Caller, Extern, Func, FuncType, Memory, ResourceLimiter, Store, ValType};
use wasmi_core::LimiterError;

use crate::{
    abi::{layout::*, snapshot0 as old, types::*},
    calls,
    context::WasiCtx,
    error::{Error, Trap},
    memory::{GuestMemory, Ptr},
    system::{Clock, System},
};

/// What a store holds for a guest: put it into `wasmi::Store::new`.
#[derive(Debug)]
pub struct Host<S> {
    /// The guest's WASI state.
    pub context: WasiCtx<S>,
    /// Whether the guest was refused memory. `Store::limiter` takes it.
    pub growth: Growth,
    // Looking an export up costs more than many a call, so the handle is kept.
    memory: Option<Memory>,
}

/// Watches how the guest's memories grow. It limits nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth {
    /// Whether the system has lacked memory for a `memory.grow`.
    pub failed: bool,
}

impl ResourceLimiter for Growth {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: &MemoryError) -> Result<(), LimiterError> {
        self.failed |= matches!(error, MemoryError::OutOfSystemMemory);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}

impl<S> Host<S> {
    /// A host whose guest's memory is not known yet.
    pub fn new(context: WasiCtx<S>) -> Self {
        Self {
            context,
            growth: Growth::default(),
            memory: None,
        }
    }

    /// Tells which memory the guest's pointers point into: the instance's export `memory`. Without it the first
    /// call looks the export up; this matters only to an embedder who links several modules.
    pub fn attach_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
}

/// Why a call left the guest for good. It is the `HostError` in the `wasmi::Error` of the guest's entry function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest called `proc_exit`, or raised a signal that ends it.
    Exit(u32),
    /// The guest broke the rules of the interface; the message says how.
    Trap(Trap),
}

impl Stop {
    /// The reason in `error`, if a WASI call caused it; else it is the engine's own (a Wasm trap, out of fuel, …).
    pub fn of(error: &wasmi::Error) -> Option<&Self> {
        error.downcast_ref()
    }
}

impl HostError for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit with code {code}"),
            Self::Trap(trap) => fmt::Display::fmt(trap, f),
        }
    }
}

/// A module imports a WASI function with another type than it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureMismatch {
    /// Name of the module of the import.
    pub module: &'static str,
    /// Name of the function.
    pub name: &'static str,
    /// The type that WASI gives it.
    pub expected: FuncType,
    /// The type that the module imports.
    pub found: FuncType,
}

impl fmt::Display for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            module,
            name,
            expected,
            found,
        } = self;
        let (expected, found) = (Signature(expected), Signature(found));
        write!(
            f,
            "import `{module}.{name}` has the type {found}, but WASI defines {expected}"
        )
    }
}

impl core::error::Error for SignatureMismatch {}

/// Prints a type as `(i32, i64) -> (i32)`.
struct Signature<'a>(&'a FuncType);

impl fmt::Display for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, types: &[ValType]| {
            f.write_str("(")?;
            for (index, ty) in types.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{}", ValTypeName(*ty))?;
            }
            f.write_str(")")
        };
        list(f, self.0.params())?;
        f.write_str(" -> ")?;
        list(f, self.0.results())
    }
}

/// Prints a value type as WAT writes it.
struct ValTypeName(ValType);

impl fmt::Display for ValTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        })
    }
}

/// The module name of preview1.
const SNAPSHOT_PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module name of snapshot 0.
const UNSTABLE: &str = "wasi_unstable";

/// The WASI function that an import names, as a function of `store`; `None` if WASI has none of that name.
///
/// # Errors
/// [`SignatureMismatch`] if the import wants another type.
pub fn resolve<S: System + 'static>(
    store: &mut Store<Host<S>>,
    module: &str,
    name: &str,
    ty: &FuncType,
) -> Result<Option<Func>, SignatureMismatch> {
    let found = match module {
        SNAPSHOT_PREVIEW1 => {
            snapshot_preview1(store, name).map(|(name, func)| (SNAPSHOT_PREVIEW1, name, func))
        }
        UNSTABLE => unstable(store, name).map(|(name, func)| (UNSTABLE, name, func)),
        _ => None,
    };
    let Some((module, name, func)) = found else {
        return Ok(None);
    };
    let expected = func.ty(&*store);
    if expected != *ty {
        return Err(SignatureMismatch {
            module,
            name,
            expected,
            found: ty.clone(),
        });
    }
    Ok(Some(func))
}

/// The table of functions: how a Wasm call becomes a typed one. The parameters' types give the Wasm signature;
/// `-> errno` returns the wire value, `-> !` never returns to the guest.
macro_rules! functions {
    ($(#[$doc:meta])* fn $table:ident; $($family:ident :: $name:ident ( $($arg:ident: $ty:ty),* ) -> $ret:tt;)+) => {
        $(#[$doc])*
        fn $table<S: System + 'static>(store: &mut Store<Host<S>>, name: &str) -> Option<(&'static str, Func)> {
            Some(match name {
                $(stringify!($name) => {
                    let func = Func::wrap(
                        store,
                        |caller: Caller<'_, Host<S>>, $($arg: <$ty as Param>::Raw),*| {
                            let end = call(caller, |ctx, mem| {
                                calls::$family::$name(ctx, mem, $(<$ty>::from_raw($arg)?),*)
                            });
                            functions!(@return $ret end)
                        },
                    );
                    (stringify!($name), func)
                })+
                _ => return None,
            })
        }
    };
    (@return errno $end:ident) => { $end };
    (@return ! $end:ident) => { $end.map(|_errno| ()) };
}

functions! {
    /// The functions of `wasi_snapshot_preview1`.
    fn snapshot_preview1;
    args::args_get(argv: Ptr<Ptr<u8>>, argv_buf: Ptr<u8>) -> errno;
    args::args_sizes_get(argc: Ptr<Size>, argv_buf_size: Ptr<Size>) -> errno;
    environ::environ_get(environ: Ptr<Ptr<u8>>, environ_buf: Ptr<u8>) -> errno;
    environ::environ_sizes_get(environc: Ptr<Size>, environ_buf_size: Ptr<Size>) -> errno;
    clock::clock_res_get(id: Clock, resolution: Ptr<Timestamp>) -> errno;
    clock::clock_time_get(id: Clock, precision: Timestamp, time: Ptr<Timestamp>) -> errno;
    fd::fd_advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> errno;
    fd::fd_allocate(fd: Fd, offset: Filesize, len: Filesize) -> errno;
    fd::fd_close(fd: Fd) -> errno;
    fd::fd_datasync(fd: Fd) -> errno;
    fd::fd_fdstat_get(fd: Fd, stat: Ptr<Fdstat>) -> errno;
    fd::fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> errno;
    fd::fd_fdstat_set_rights(fd: Fd, base: Rights, inheriting: Rights) -> errno;
    fd::fd_filestat_get(fd: Fd, buf: Ptr<Filestat>) -> errno;
    fd::fd_filestat_set_size(fd: Fd, size: Filesize) -> errno;
    fd::fd_filestat_set_times(fd: Fd, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> errno;
    fd::fd_pread(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, offset: Filesize, nread: Ptr<Size>) -> errno;
    fd::fd_prestat_get(fd: Fd, buf: Ptr<Prestat>) -> errno;
    fd::fd_prestat_dir_name(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
    fd::fd_pwrite(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, offset: Filesize, nwritten: Ptr<Size>) -> errno;
    fd::fd_read(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, nread: Ptr<Size>) -> errno;
    fd::fd_readdir(fd: Fd, buf: Ptr<u8>, buf_len: Size, cookie: Dircookie, bufused: Ptr<Size>) -> errno;
    fd::fd_renumber(fd: Fd, to: Fd) -> errno;
    fd::fd_seek(fd: Fd, offset: Filedelta, whence: Whence, newoffset: Ptr<Filesize>) -> errno;
    fd::fd_sync(fd: Fd) -> errno;
    fd::fd_tell(fd: Fd, offset: Ptr<Filesize>) -> errno;
    fd::fd_write(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, nwritten: Ptr<Size>) -> errno;
    path::path_create_directory(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
    path::path_filestat_get(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, buf: Ptr<Filestat>) -> errno;
    path::path_filestat_set_times(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> errno;
    path::path_link(old_fd: Fd, old_flags: Lookupflags, old_path: Ptr<u8>, old_path_len: Size, new_fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
    path::path_open(fd: Fd, dirflags: Lookupflags, path: Ptr<u8>, path_len: Size, oflags: Oflags, base: Rights, inheriting: Rights, fdflags: Fdflags, opened_fd: Ptr<Fd>) -> errno;
    path::path_readlink(fd: Fd, path: Ptr<u8>, path_len: Size, buf: Ptr<u8>, buf_len: Size, bufused: Ptr<Size>) -> errno;
    path::path_remove_directory(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
    path::path_rename(fd: Fd, old_path: Ptr<u8>, old_path_len: Size, new_fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
    path::path_symlink(old_path: Ptr<u8>, old_path_len: Size, fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
    path::path_unlink_file(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
    poll::poll_oneoff(subscriptions: Ptr<Subscription>, events: Ptr<Event>, nsubscriptions: Size, nevents: Ptr<Size>) -> errno;
    proc::proc_exit(rval: Exitcode) -> !;
    proc::proc_raise(sig: Signal) -> errno;
    random::random_get(buf: Ptr<u8>, buf_len: Size) -> errno;
    sched::sched_yield() -> errno;
    sock::sock_accept(fd: Fd, flags: Fdflags, result_fd: Ptr<Fd>) -> errno;
    sock::sock_recv(fd: Fd, ri_data: Ptr<Iovec>, ri_data_len: Size, ri_flags: Riflags, ro_datalen: Ptr<Size>, ro_flags: Ptr<Roflags>) -> errno;
    sock::sock_send(fd: Fd, si_data: Ptr<Iovec>, si_data_len: Size, si_flags: Siflags, so_datalen: Ptr<Size>) -> errno;
    sock::sock_shutdown(fd: Fd, how: Sdflags) -> errno;
}

functions! {
    /// The functions of `wasi_unstable` that are not those of preview1.
    fn snapshot0;
    snapshot0::fd_filestat_get(fd: Fd, buf: Ptr<old::Filestat>) -> errno;
    snapshot0::fd_seek(fd: Fd, offset: Filedelta, whence: old::Whence, newoffset: Ptr<Filesize>) -> errno;
    snapshot0::path_filestat_get(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, buf: Ptr<old::Filestat>) -> errno;
    snapshot0::poll_oneoff(subscriptions: Ptr<old::Subscription>, events: Ptr<Event>, nsubscriptions: Size, nevents: Ptr<Size>) -> errno;
}

/// The functions of `wasi_unstable`.
fn unstable<S: System + 'static>(store: &mut Store<Host<S>>, name: &str) -> Option<(&'static str, Func)> {
    match name {
        // Came with preview1.
        "sock_accept" => None,
        name => snapshot0(store, name).or_else(|| snapshot_preview1(store, name)),
    }
}

/// Runs a call on the guest's context and memory. The one place where an [`Error`] becomes a wire value or leaves
/// the guest.
#[inline]
fn call<S>(
    mut caller: Caller<'_, Host<S>>,
    body: impl FnOnce(&mut WasiCtx<S>, &mut GuestMemory<'_>) -> Result<(), Error>,
) -> Result<u32, wasmi::Error> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find_memory(&mut caller)?,
    };
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    match body(&mut host.context, &mut GuestMemory::new(bytes)) {
        Ok(()) => Ok(0),
        Err(Error::Errno(errno)) => Ok(u32::from(errno.raw())),
        Err(Error::Exit(code)) => Err(wasmi::Error::host(Stop::Exit(code))),
        Err(Error::Trap(trap)) => Err(wasmi::Error::host(Stop::Trap(trap))),
    }
}

/// The first call: a start function may come before the embedder could attach the memory.
#[cold]
fn find_memory<S>(caller: &mut Caller<'_, Host<S>>) -> Result<Memory, wasmi::Error> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            caller.data_mut().attach_memory(memory);
            Ok(memory)
        }
        _ => Err(wasmi::Error::host(Stop::Trap(Trap::NoMemory))),
    }
}
