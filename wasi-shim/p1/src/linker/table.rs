//! The table of functions: names, types and snapshots, for any engine.
//!
//! Layer: linker. Each row says how a Wasm call becomes a typed one. The parameters' types give the Wasm signature;
//! `-> errno` returns the wire value, `-> !` never returns to the guest. A binder expands the rows with a macro of
//! its own; this file expands them to what every binder needs to find a function and to check an import's type.

use alloc::{boxed::Box, format, string::String};
use core::fmt;

/// What the rows name, for those who expand them.
pub(super) mod scope {
    pub(in crate::linker) use crate::{
        abi::{layout::*, snapshot0 as old, types::*, wasmedge::*},
        calls,
        memory::Ptr,
    };
    pub(in crate::linker) use wasi_core::Clock;
}

/// Hands the rows to the macro `$expand`.
macro_rules! functions {
    ($expand:ident) => {
        $expand! {
            // The functions of `wasi_snapshot_preview1`. All but those of the next group are `wasi_unstable`'s too.
            preview1 {
                ArgsGet: args::args_get(argv: Ptr<Ptr<u8>>, argv_buf: Ptr<u8>) -> errno;
                ArgsSizesGet: args::args_sizes_get(argc: Ptr<Size>, argv_buf_size: Ptr<Size>) -> errno;
                EnvironGet: environ::environ_get(environ: Ptr<Ptr<u8>>, environ_buf: Ptr<u8>) -> errno;
                EnvironSizesGet: environ::environ_sizes_get(environc: Ptr<Size>, environ_buf_size: Ptr<Size>) -> errno;
                ClockResGet: clock::clock_res_get(id: Clock, resolution: Ptr<Timestamp>) -> errno;
                ClockTimeGet: clock::clock_time_get(id: Clock, precision: Timestamp, time: Ptr<Timestamp>) -> errno;
                FdAdvise: fd::fd_advise(fd: Fd, offset: Filesize, len: Filesize, advice: Advice) -> errno;
                FdAllocate: fd::fd_allocate(fd: Fd, offset: Filesize, len: Filesize) -> errno;
                FdClose: fd::fd_close(fd: Fd) -> errno;
                FdDatasync: fd::fd_datasync(fd: Fd) -> errno;
                FdFdstatGet: fd::fd_fdstat_get(fd: Fd, stat: Ptr<Fdstat>) -> errno;
                FdFdstatSetFlags: fd::fd_fdstat_set_flags(fd: Fd, flags: Fdflags) -> errno;
                FdFdstatSetRights: fd::fd_fdstat_set_rights(fd: Fd, base: Rights, inheriting: Rights) -> errno;
                FdFilestatGet: fd::fd_filestat_get(fd: Fd, buf: Ptr<Filestat>) -> errno;
                FdFilestatSetSize: fd::fd_filestat_set_size(fd: Fd, size: Filesize) -> errno;
                FdFilestatSetTimes: fd::fd_filestat_set_times(fd: Fd, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> errno;
                FdPread: fd::fd_pread(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, offset: Filesize, nread: Ptr<Size>) -> errno;
                FdPrestatGet: fd::fd_prestat_get(fd: Fd, buf: Ptr<Prestat>) -> errno;
                FdPrestatDirName: fd::fd_prestat_dir_name(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
                FdPwrite: fd::fd_pwrite(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, offset: Filesize, nwritten: Ptr<Size>) -> errno;
                FdRead: fd::fd_read(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, nread: Ptr<Size>) -> errno;
                FdReaddir: fd::fd_readdir(fd: Fd, buf: Ptr<u8>, buf_len: Size, cookie: Dircookie, bufused: Ptr<Size>) -> errno;
                FdRenumber: fd::fd_renumber(fd: Fd, to: Fd) -> errno;
                FdSeek: fd::fd_seek(fd: Fd, offset: Filedelta, whence: Whence, newoffset: Ptr<Filesize>) -> errno;
                FdSync: fd::fd_sync(fd: Fd) -> errno;
                FdTell: fd::fd_tell(fd: Fd, offset: Ptr<Filesize>) -> errno;
                FdWrite: fd::fd_write(fd: Fd, iovs: Ptr<Iovec>, iovs_len: Size, nwritten: Ptr<Size>) -> errno;
                PathCreateDirectory: path::path_create_directory(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
                PathFilestatGet: path::path_filestat_get(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, buf: Ptr<Filestat>) -> errno;
                PathFilestatSetTimes: path::path_filestat_set_times(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, atim: Timestamp, mtim: Timestamp, fst_flags: Fstflags) -> errno;
                PathLink: path::path_link(old_fd: Fd, old_flags: Lookupflags, old_path: Ptr<u8>, old_path_len: Size, new_fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
                PathOpen: path::path_open(fd: Fd, dirflags: Lookupflags, path: Ptr<u8>, path_len: Size, oflags: Oflags, base: Rights, inheriting: Rights, fdflags: Fdflags, opened_fd: Ptr<Fd>) -> errno;
                PathReadlink: path::path_readlink(fd: Fd, path: Ptr<u8>, path_len: Size, buf: Ptr<u8>, buf_len: Size, bufused: Ptr<Size>) -> errno;
                PathRemoveDirectory: path::path_remove_directory(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
                PathRename: path::path_rename(fd: Fd, old_path: Ptr<u8>, old_path_len: Size, new_fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
                PathSymlink: path::path_symlink(old_path: Ptr<u8>, old_path_len: Size, fd: Fd, new_path: Ptr<u8>, new_path_len: Size) -> errno;
                PathUnlinkFile: path::path_unlink_file(fd: Fd, path: Ptr<u8>, path_len: Size) -> errno;
                PollOneoff: poll::poll_oneoff(subscriptions: Ptr<Subscription>, events: Ptr<Event>, nsubscriptions: Size, nevents: Ptr<Size>) -> errno;
                ProcExit: proc::proc_exit(rval: Exitcode) -> !;
                ProcRaise: proc::proc_raise(sig: Signal) -> errno;
                RandomGet: random::random_get(buf: Ptr<u8>, buf_len: Size) -> errno;
                SchedYield: sched::sched_yield() -> errno;
                SockAccept: sock::sock_accept(fd: Fd, flags: Fdflags, result_fd: Ptr<Fd>) -> errno;
                SockRecv: sock::sock_recv(fd: Fd, ri_data: Ptr<Iovec>, ri_data_len: Size, ri_flags: Riflags, ro_datalen: Ptr<Size>, ro_flags: Ptr<Roflags>) -> errno;
                SockSend: sock::sock_send(fd: Fd, si_data: Ptr<Iovec>, si_data_len: Size, si_flags: Siflags, so_datalen: Ptr<Size>) -> errno;
                SockShutdown: sock::sock_shutdown(fd: Fd, how: Sdflags) -> errno;
            }
            // The functions of `wasi_unstable` that are not those of preview1.
            snapshot0 {
                OldFdFilestatGet: snapshot0::fd_filestat_get(fd: Fd, buf: Ptr<old::Filestat>) -> errno;
                OldFdSeek: snapshot0::fd_seek(fd: Fd, offset: Filedelta, whence: old::Whence, newoffset: Ptr<Filesize>) -> errno;
                OldPathFilestatGet: snapshot0::path_filestat_get(fd: Fd, flags: Lookupflags, path: Ptr<u8>, path_len: Size, buf: Ptr<old::Filestat>) -> errno;
                OldPollOneoff: snapshot0::poll_oneoff(subscriptions: Ptr<old::Subscription>, events: Ptr<Event>, nsubscriptions: Size, nevents: Ptr<Size>) -> errno;
            }
            // The functions of either of a guest whose run is the same each time.
            fixed {
                FixedClockResGet: deterministic::clock_res_get(id: Clock, resolution: Ptr<Timestamp>) -> errno;
                FixedClockTimeGet: deterministic::clock_time_get(id: Clock, precision: Timestamp, time: Ptr<Timestamp>) -> errno;
                FixedRandomGet: deterministic::random_get(buf: Ptr<u8>, buf_len: Size) -> errno;
            }
            // WasmEdge's functions for sockets, which stand beside those of preview1. Of two versions the newer one.
            wasmedge {
                SockOpen: wasmedge::sock_open(family: AddressFamily, ty: SockType, result_fd: Ptr<Fd>) -> errno;
                SockBind: wasmedge::sock_bind(fd: Fd, address: Ptr<Address>, port: u32) -> errno;
                SockListen: wasmedge::sock_listen(fd: Fd, backlog: u32) -> errno;
                SockConnect: wasmedge::sock_connect(fd: Fd, address: Ptr<Address>, port: u32) -> errno;
                SockRecvFrom: wasmedge::sock_recv_from(fd: Fd, ri_data: Ptr<Iovec>, ri_data_len: Size, address: Ptr<Address>, ri_flags: Riflags, port: Ptr<u16>, ro_datalen: Ptr<Size>, ro_flags: Ptr<Roflags>) -> errno;
                SockSendTo: wasmedge::sock_send_to(fd: Fd, si_data: Ptr<Iovec>, si_data_len: Size, address: Ptr<Address>, port: u32, si_flags: Siflags, so_datalen: Ptr<Size>) -> errno;
                SockGetlocaladdr: wasmedge::sock_getlocaladdr(fd: Fd, address: Ptr<Address>, port: Ptr<u32>) -> errno;
                SockGetpeeraddr: wasmedge::sock_getpeeraddr(fd: Fd, address: Ptr<Address>, port: Ptr<u32>) -> errno;
                SockGetsockopt: wasmedge::sock_getsockopt(fd: Fd, level: SockOptLevel, name: SockOptSo, value: Ptr<u8>, value_len: Ptr<Size>) -> errno;
                SockSetsockopt: wasmedge::sock_setsockopt(fd: Fd, level: SockOptLevel, name: SockOptSo, value: Ptr<u8>, value_len: Size) -> errno;
                SockGetaddrinfo: wasmedge::sock_getaddrinfo(node: Ptr<u8>, node_len: Size, service: Ptr<u8>, service_len: Size, hints: Ptr<Addrinfo>, res: Ptr<Ptr<Addrinfo>>, max_res_len: Size, res_len: Ptr<Size>) -> errno;
            }
            // Their first versions, where those have a type of their own.
            first {
                FirstSockAccept: wasmedge_first::sock_accept(fd: Fd, result_fd: Ptr<Fd>) -> errno;
                FirstSockRecvFrom: wasmedge_first::sock_recv_from(fd: Fd, ri_data: Ptr<Iovec>, ri_data_len: Size, address: Ptr<Address>, ri_flags: Riflags, ro_datalen: Ptr<Size>, ro_flags: Ptr<Roflags>) -> errno;
                FirstSockGetlocaladdr: wasmedge_first::sock_getlocaladdr(fd: Fd, address: Ptr<Address>, address_type: Ptr<u32>, port: Ptr<u32>) -> errno;
                FirstSockGetpeeraddr: wasmedge_first::sock_getpeeraddr(fd: Fd, address: Ptr<Address>, address_type: Ptr<u32>, port: Ptr<u32>) -> errno;
            }
        }
    };
}
pub(super) use functions;

/// The module name of preview1.
const SNAPSHOT_PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module name of snapshot 0.
const UNSTABLE: &str = "wasi_unstable";

/// Whether imports from this module are WASI's.
#[must_use]
pub fn is_wasi(module: &str) -> bool {
    matches!(module, SNAPSHOT_PREVIEW1 | UNSTABLE)
}

/// A type of Wasm values that a WASI function takes or returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// A number as a parameter arrives, and its Wasm type.
trait Raw {
    const TYPE: ValueType;
}

impl Raw for u32 {
    const TYPE: ValueType = ValueType::I32;
}

impl Raw for u64 {
    const TYPE: ValueType = ValueType::I64;
}

impl Raw for i64 {
    const TYPE: ValueType = ValueType::I64;
}

/// The Wasm type of a WASI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Types of the parameters.
    pub params: &'static [ValueType],
    /// Types of the results.
    pub results: &'static [ValueType],
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&type_text(self.params.iter(), self.results.iter()))
    }
}

/// A function type as text: `(i32, i64) -> (i32)`.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn type_text<T: fmt::Display>(params: impl Iterator<Item = T>, results: impl Iterator<Item = T>) -> String {
    format!("({}) -> ({})", list_text(params), list_text(results))
}

#[cfg_attr(target_os = "hermit", optimize(size))]
fn list_text<T: fmt::Display>(types: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for ty in types {
        let comma = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!("{comma}{ty}"));
    }
    text
}

/// A module imports a WASI function with another type than it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureMismatch {
    /// Name of the module of the import.
    pub module: &'static str,
    /// Name of the function.
    pub name: Box<str>,
    /// Whether it is one of WasmEdge's, and not WASI's own.
    pub is_wasmedge: bool,
    /// The type that it has.
    pub expected: Signature,
    /// The type of WasmEdge's first version of it, if that is another.
    pub first: Option<Signature>,
    /// The type that the module imports, as text.
    pub found: Box<str>,
}

impl fmt::Display for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            module,
            name,
            is_wasmedge,
            expected,
            first,
            found,
        } = self;
        let whose = if *is_wasmedge { "WasmEdge" } else { "WASI" };
        write!(
            f,
            "import `{module}.{name}` has the type {found}, but {whose} defines {expected}"
        )?;
        match first {
            None => Ok(()),
            Some(first) if *is_wasmedge => write!(f, " and {first}"),
            Some(first) => write!(f, " and WasmEdge {first}"),
        }
    }
}

impl core::error::Error for SignatureMismatch {}

/// The function that an import names, if WASI has it under that name; its type is checked. Where a name has two
/// functions with two types, the import's type chooses.
///
/// `ty` gives the import's parameters and results, each with the [`ValueType`] that it is, if it is one; `is_fixed`:
/// the run is the same each time.
///
/// # Errors
/// [`SignatureMismatch`] if the import wants another type.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn find<T, P, R>(
    module: &str,
    name: &str,
    is_fixed: bool,
    ty: impl Fn() -> (P, R),
) -> Result<Option<Function>, SignatureMismatch>
where
    T: fmt::Display,
    P: Iterator<Item = (Option<ValueType>, T)>,
    R: Iterator<Item = (Option<ValueType>, T)>,
{
    let (module, function) = match module {
        SNAPSHOT_PREVIEW1 => (SNAPSHOT_PREVIEW1, preview1(name).or_else(|| extension(name))),
        // `sock_accept` came with preview1.
        UNSTABLE if name != "sock_accept" => (UNSTABLE, snapshot0(name).or_else(|| preview1(name))),
        _ => return Ok(None),
    };
    let own = if is_fixed { fixed(name) } else { None };
    let Some(function) = own.or(function) else {
        return Ok(None);
    };
    let has_type = |function: Function| {
        let (params, results) = ty();
        let Signature {
            params: own_params,
            results: own_results,
        } = function.signature();
        is_list(params, own_params) && is_list(results, own_results)
    };
    if has_type(function) {
        return Ok(Some(function));
    }
    let first = if module == SNAPSHOT_PREVIEW1 {
        first(name)
    } else {
        None
    };
    if let Some(first) = first
        && has_type(first)
    {
        return Ok(Some(first));
    }
    let (params, results) = ty();
    Err(SignatureMismatch {
        module,
        name: name.into(),
        is_wasmedge: preview1(name).is_none(),
        expected: function.signature(),
        first: first.map(Function::signature),
        found: type_text(params.map(|(_, text)| text), results.map(|(_, text)| text)).into(),
    })
}

/// The function of this name that WasmEdge has beside those of preview1. With `_v2` behind its name it is the newer one
/// of two; some of them are preview1's own.
#[cold]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn extension(name: &str) -> Option<Function> {
    let Some(second) = name.strip_suffix("_v2") else {
        return wasmedge(name);
    };
    match second {
        "sock_accept" | "sock_recv" | "sock_send" => preview1(second),
        "sock_getsockopt" | "sock_setsockopt" | "sock_getaddrinfo" => None,
        _ => wasmedge(second),
    }
}

fn is_list<T>(types: impl Iterator<Item = (Option<ValueType>, T)>, expected: &[ValueType]) -> bool {
    types.map(|(ty, _)| ty).eq(expected.iter().copied().map(Some))
}

macro_rules! lookups {
    ($($snapshot:ident {
        $($variant:ident: $family:ident :: $name:ident ( $($arg:ident: $ty:ty),* ) -> $ret:tt;)+
    })+) => {
        /// A function of either snapshot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function {
            $($($variant,)+)+
        }

        impl Function {
            /// The function at this place in the table, by which recordings know it (`docs/replay.md`).
            pub(super) fn from_place(place: u8) -> Option<Self> {
                [$($(Self::$variant,)+)+].get(usize::from(place)).copied()
            }

            /// Its name in an import.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $($(Self::$variant => stringify!($name),)+)+
                }
            }

            /// Its Wasm type.
            pub(super) fn signature(self) -> Signature {
                use scope::*;
                match self {
                    $($(Self::$variant => Signature {
                        params: const { &[$(<<$ty as Param>::Raw as Raw>::TYPE),*] },
                        results: lookups!(@results $ret),
                    },)+)+
                }
            }
        }

        $(/// The function of this name in this part of the table.
        fn $snapshot(name: &str) -> Option<Function> {
            Some(match name {
                $(stringify!($name) => Function::$variant,)+
                _ => return None,
            })
        })+
    };
    (@results errno) => { &[ValueType::I32] };
    (@results !) => { &[] };
}

functions!(lookups);
