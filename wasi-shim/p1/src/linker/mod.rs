//! Hands the calls to an engine: names, signatures, and how a call's end becomes the engine's.
//!
//! Layer: linker. `table` knows the functions and no engine; `wasmi` and `wasmtime` bind them, each the only
//! file that names its engine. Names are resolved by `match` rather than through an engine's `Linker`: an embedder
//! resolves a module's imports in order and passes them to the instance, without building a map of 46 names at
//! every start.

mod table;
#[cfg_attr(
    not(any(feature = "wasmi", feature = "wasmtime")),
    allow(dead_code, reason = "binders use it")
)]
pub mod trace;
#[cfg(feature = "wasmi")]
pub mod wasmi;
#[cfg(feature = "wasmtime")]
pub mod wasmtime;

/// The binders' macro for the table's rows: the function `bind`. The engine's `Store`, `Func` and `Caller` and the
/// binder's `Host` and `call` have to be in scope.
///
/// A row is a closure of its own, to which the engine adds code of its own. WasmEdge's rows share closures, one for each
/// number of parameters, and are reached through a pointer: few programs call them, and each image has them.
macro_rules! bind {
    ($($snapshot:ident {
        $($variant:ident: $family:ident :: $name:ident ( $($arg:ident: $ty:ty),* ) -> $ret:tt;)+
    })+) => {
        /// A row of the table as a function of `store`.
        #[cfg_attr(target_os = "hermit", optimize(size))]
        fn bind<S: System + 'static>(store: &mut Store<Host<S>>, function: Function) -> Func {
            match function {
                $($(Function::$variant => bind!(
                    @row $snapshot store $family $name ($($arg: $ty),*) $ret
                ),)+)+
            }
        }

        bind!(@shared a b);
        bind!(@shared a b c);
        bind!(@shared a b c d);
        bind!(@shared a b c d e);
        bind!(@shared a b c d e f g);
        bind!(@shared a b c d e f g h);
    };
    (@row wasmedge $($row:tt)+) => { bind!(@through_pointer $($row)+) };
    (@row first $($row:tt)+) => { bind!(@through_pointer $($row)+) };
    (@row $snapshot:ident $store:ident $family:ident $name:ident ($($arg:ident: $ty:ty),*) $ret:tt) => {
        Func::wrap(
            $store,
            |caller: Caller<'_, Host<S>>, $($arg: <$ty as Param>::Raw),*| {
                let end = call(caller, |ctx, mem| {
                    calls::$family::$name(ctx, mem, $(<$ty>::from_raw($arg)?),*)
                });
                bind!(@return $ret end)
            },
        )
    };
    (@through_pointer $store:ident $family:ident $name:ident ($($arg:ident: $ty:ty),*) errno) => {{
        let body: Body<S, _> = |ctx, mem, [$($arg),*]| {
            calls::$family::$name(ctx, mem, $(<$ty>::from_raw($arg)?),*)
        };
        Shared::func(body, $store)
    }};
    (@shared $($arg:ident)+) => {
        impl<S: System + 'static> Shared<Store<Host<S>>, Func> for Body<S, { [$(stringify!($arg)),+].len() }> {
            fn func(self, store: &mut Store<Host<S>>) -> Func {
                Func::wrap(store, move |caller: Caller<'_, Host<S>>, $($arg: u32),+| {
                    call(caller, |ctx, mem| self(ctx, mem, [$($arg),+]))
                })
            }
        }
    };
    (@return errno $end:ident) => { $end };
    (@return ! $end:ident) => { $end.map(|_errno| ()) };
}

use bind;

use alloc::boxed::Box;
use core::fmt;

use wasi_core::WasiCtx;
use wasi_core::limits::Limit;

pub use table::{Signature, SignatureMismatch, ValueType, is_wasi};

#[cfg(any(feature = "wasmi", feature = "wasmtime"))]
use crate::memory::GuestMemory;
use crate::{
    abi::Errno,
    context::WasiP1Ctx,
    error::{Error, Trap, limit_name},
};

/// A call whose parameters are so many i32.
#[cfg(any(feature = "wasmi", feature = "wasmtime"))]
type Body<S, const N: usize> = fn(&mut WasiP1Ctx<S>, &mut GuestMemory<'_>, [u32; N]) -> Result<(), Error>;

/// A [`Body`] as a function of an engine's store.
#[cfg(any(feature = "wasmi", feature = "wasmtime"))]
trait Shared<Store, Func> {
    fn func(self, store: &mut Store) -> Func;
}

/// What a store holds for a guest, `M` being the engine's handle of a memory: see `Host` of the engine's binder.
#[derive(Debug)]
pub struct Host<S, M> {
    /// The guest's WASI state.
    pub context: WasiP1Ctx<S>,
    /// Whether the guest was refused memory. The engine's `Store::limiter` takes it.
    pub growth: Growth,
    // Looking an export up costs more than many a call, so the handle is kept.
    memory: Option<M>,
    memories: Memories,
}

/// Whose memory the pointers of a call point into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memories {
    /// The only instance's.
    One,
    /// That of the instance that calls, each time; whether one has called.
    Callers(bool),
}

impl<S, M> Host<S, M> {
    /// A host whose guest's memory is not known yet.
    pub fn new(context: WasiCtx<S>) -> Self {
        // Each call has to tell the fuel that is left, and so each looks its memory up: what nobody else has to ask.
        let memories = match context.virtual_time() {
            Some(_) => Memories::Callers(false),
            None => Memories::One,
        };
        Self {
            context: WasiP1Ctx::new(context),
            growth: Growth::default(),
            memory: None,
            memories,
        }
    }

    /// Whether the run is the same each time. The engine has to count fuel then.
    #[cfg(any(feature = "wasmi", feature = "wasmtime"))]
    fn is_fixed(&self) -> bool {
        self.context.core.virtual_time().is_some()
    }

    /// The same for several instances, each of which may call: the pointers of a call point into the memory that the
    /// instance exports as `memory` which makes it.
    #[must_use]
    pub fn for_several(mut self) -> Self {
        self.memories = Memories::Callers(false);
        self
    }

    /// Tells which memory the guest's pointers point into: the instance's export `memory`. Without it the first
    /// call looks the export up. For [several](Self::for_several) instances this does nothing.
    pub fn attach_memory(&mut self, memory: M) {
        if self.memories == Memories::One {
            self.memory = Some(memory);
        }
    }

    /// Notes the memory that a call has looked up.
    #[cfg(any(feature = "wasmi", feature = "wasmtime"))]
    fn found_memory(&mut self, memory: M) {
        match &mut self.memories {
            Memories::One => self.memory = Some(memory),
            Memories::Callers(called) => *called = true,
        }
    }

    /// Lends the memory that was found for a call to the function within, which cannot look it up.
    #[cfg(any(feature = "wasmi", feature = "wasmtime"))]
    fn lend_memory(&mut self, memory: Option<M>) {
        if self.memory.is_none() || self.memories != Memories::One {
            self.memory = memory;
        }
    }

    /// Whether the memory is known: it was attached, or the guest has made a call.
    pub fn knows_memory(&self) -> bool {
        self.memory.is_some() || self.memories == Memories::Callers(true)
    }
}

/// What memories and tables grow in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of a linear memory.
    Memory,
    /// Elements of a table.
    Table,
}

/// How far memories and tables may grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of a memory.
    pub memory: Option<usize>,
    /// Most elements of a table.
    pub table: Option<usize>,
    /// Whether growth that fails ends the guest, rather than to answer -1.
    pub trap: bool,
    /// The same where it is the system that lacks memory: how much that has is not for the guest to see.
    pub fixed: bool,
}

/// Watches how the guest's memories and tables grow, as the engine's resource limiter.
#[derive(Debug)]
pub struct Growth {
    /// Whether the system has lacked memory for a growth: of a linear memory, or of what wasmtime collects garbage in.
    pub failed: bool,
    /// How far they may grow.
    pub bounds: Bounds,
    /// What the guest has wanted more of than the bounds allow.
    pub reached: Option<Resource>,
    /// Called with the bytes that a memory or table of the interpreter's has, and those that it is to get, right before
    /// it is allocated: whether there is memory for it. If that fails all the same, with two zeros. Of the native
    /// engine's, tables only, with the bytes that they may take for a while: memories are asked for by themselves.
    pub prepare: fn(usize, usize) -> bool,
    /// What is recorded or replayed. Here, since growth is part of it.
    trace: Option<Box<trace::Trace>>,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            failed: false,
            bounds: Bounds::default(),
            reached: None,
            prepare: |_, _| true,
            trace: None,
        }
    }
}

#[cfg(any(feature = "wasmi", feature = "wasmtime"))]
impl Growth {
    /// The bounds where the system lacks memory.
    const fn of_system(&self) -> Bounds {
        Bounds {
            trap: self.bounds.trap || self.bounds.fixed,
            ..self.bounds
        }
    }

    /// Whether a memory or table may grow: to all that its own type and the bounds allow.
    fn may_grow(&mut self, resource: Resource, desired: usize, maximum: Option<usize>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let bound = match resource {
            Resource::Memory => self.bounds.memory,
            Resource::Table => self.bounds.table,
        };
        let may = bound.is_none_or(|bound| desired <= bound);
        if !may {
            self.reached = Some(resource);
        }
        may
    }

    /// A memory or table is about to grow: whether the system has room, as far as a recording knows.
    fn asked(&mut self) -> bool {
        self.trace.as_deref_mut().is_none_or(trace::Trace::growing)
    }

    /// The system had no room for what was asked for last.
    fn refused(&mut self) {
        if let Some(trace) = self.trace.as_deref_mut() {
            trace.growth_refused();
        }
    }

    /// Whether there is memory for a growth: in the recorded system, and in this.
    fn prepared(&mut self, has_room: bool, current: usize, desired: usize) -> bool {
        let is_prepared = has_room && (self.prepare)(current, desired);
        if !is_prepared {
            self.refused();
        }
        is_prepared
    }
}

/// Why a call left the guest for good. It travels in the engine's error out of the guest's entry function; the
/// engine's binder finds it there (`stop`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest called `proc_exit`, or raised a signal that ends it.
    Exit(u32),
    /// The guest broke the rules of the interface; the message says how.
    Trap(Trap),
    /// The guest wanted more than it may use up.
    Limit(Limit),
    /// It is replayed, and the recording goes no further.
    Replay(trace::ReplayStop),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit with code {code}"),
            Self::Trap(trap) => fmt::Display::fmt(trap, f),
            Self::Limit(limit) => write!(f, "limit reached: {}", limit_name(*limit)),
            Self::Replay(stop) => fmt::Display::fmt(stop, f),
        }
    }
}

impl core::error::Error for Stop {}

/// How a call's end leaves the host: as a wire value for the guest, or not to the guest at all. The one place
/// where an [`Error`] becomes either.
#[inline]
fn leave(end: Result<(), Error>) -> Result<u32, Stop> {
    match end {
        Ok(()) => Ok(0),
        Err(Error::Errno(errno)) => Ok(wire(errno)),
        Err(Error::Exit(code)) => Err(Stop::Exit(code)),
        Err(Error::Trap(trap)) => Err(Stop::Trap(trap)),
        Err(Error::Limit(limit)) => Err(Stop::Limit(limit)),
    }
}

fn wire(errno: Errno) -> u32 {
    u32::from(errno.raw())
}
