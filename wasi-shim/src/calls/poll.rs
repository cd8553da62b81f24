//! `poll_oneoff`: waiting.
//!
//! Layer: calls. The list of subscriptions is read from guest memory twice, once to learn how long to wait and
//! once to tell what happened, so nothing is allocated for it however long it is.

use crate::{
    abi::{
        Errno,
        layout::{Decode, Event, Subscription, SubscriptionU},
        types::{Eventrwflags, Eventtype, Fd, Rights, Size, Subclockflags, Timestamp},
    },
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, FdTable, OpenFile},
    memory::{GuestMemory, Ptr},
    mounts::Mounts,
    system::{Clock, StdinState, System, now},
};

/// Waits until at least one of several events has happened.
///
/// ```c
/// errno poll_oneoff(const subscription *in, event *out, size nsubscriptions, size *nevents);
/// ```
///
/// - `in`: the subscriptions.
/// - `out`: gets the events, in the order of their subscriptions; room for `nsubscriptions`.
/// - `nsubscriptions`: how many of each.
/// - `nevents`: gets the number of events; at least 1.
///
/// A clock subscription happens when its time has come; `precision` is not used. Relative times pass on the
/// monotonic clock whatever clock they name. `fd_read` of standard input happens when a read would not wait, its
/// end included (`nbytes` 0 and `fd_readwrite_hangup`); `fd_write` of standard output and error happens at once. A
/// regular file is always ready, for both, however it was opened; `nbytes` is what is left to read, 0 with
/// `fd_readwrite_hangup` at its end.
///
/// **Errors:**
/// - INVAL: `nsubscriptions` is 0; a subscription has an unknown type, clock or flag, or names a clock of CPU time
///   or one that this machine does not have; `out` starts inside `in`, where events would overwrite subscriptions
///   not yet served.
/// - BADF: a subscription's descriptor is not open, is a stream that goes the other way, or a directory.
/// - NOTCAPABLE: a subscription's descriptor lacks the right `poll_fd_readwrite`, or the one to read or write.
///
/// The first subscription with a fault fails the call, as in wasmtime, before any time passes. What the machine
/// says of standard input (IO and others) is told in an event.
///
/// **Traps:** `in`, `out` or `nevents` out of bounds; `in` or `out` not a multiple of 8, `nevents` of 4. No time
/// passes then.
///
/// **Layout:** a subscription has 48 bytes: userdata u64le at 0, type u8 at 8; for a clock, id u32le at 16,
/// timeout u64le at 24, precision u64le at 32, flags u16le at 40; else descriptor u32le at 16. An event has 32
/// bytes: userdata u64le at 0, errno u16le at 8, type u8 at 10, nbytes u64le at 16, flags u16le at 24, the rest 0.
///
/// **Deviations:** wasmtime always tells 1 for `nbytes`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#poll_oneoff>
pub fn poll_oneoff<S: System>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    r#in: Ptr<Subscription>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    nevents: Ptr<Size>,
) -> Result<(), Error> {
    poll(ctx, mem, r#in, out, nsubscriptions, nevents)
}

/// A subscription in any layout.
pub(super) trait AnySubscription<const N: usize>: Decode<N> + Into<Subscription> {}

impl<const N: usize, T: Decode<N> + Into<Subscription>> AnySubscription<N> for T {}

/// [`poll_oneoff`] with any layout of the subscriptions.
pub(super) fn poll<S: System, const N: usize, T: AnySubscription<N>>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    r#in: Ptr<T>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    nevents: Ptr<Size>,
) -> Result<(), Error> {
    if nsubscriptions == 0 {
        return Err(Errno::INVAL.into());
    }
    mem.check_array(r#in, nsubscriptions)?;
    mem.check_array(out, nsubscriptions)?;
    mem.check(nevents)?;
    if starts_inside(r#in, out, nsubscriptions) {
        return Err(Errno::INVAL.into());
    }

    let WasiCtx {
        system, fds, mounts, ..
    } = ctx;
    let files = &mut Files { fds, mounts };
    let start = now(system);
    loop {
        let plan = plan(system, files.fds, mem, r#in, nsubscriptions, start)?;
        let stdin = wait(system, &plan);
        let count = report(system, files, mem, r#in, out, nsubscriptions, start, stdin)?;
        if count > 0 {
            return mem.write(nevents, count);
        }
    }
}

/// Whether `out` starts in the list `in` but not at its start. An event is smaller than a subscription, so a list
/// of events that starts at or before the subscriptions never reaches one that is not served yet.
fn starts_inside<const N: usize, T: AnySubscription<N>>(
    r#in: Ptr<T>,
    out: Ptr<Event>,
    nsubscriptions: Size,
) -> bool {
    let size = u64::try_from(N).unwrap_or(u64::MAX);
    let start = u64::from(r#in.address());
    let end = start.saturating_add(size.saturating_mul(u64::from(nsubscriptions)));
    let out = u64::from(out.address());
    start < out && out < end
}

/// What to wait for.
struct Plan {
    /// Nanoseconds until the first clock subscription; 0 if something can be told at once; `None`: no such end.
    timeout: Option<u64>,
    /// Standard input is waited for.
    stdin: bool,
}

/// First pass over the subscriptions: what to wait for, and whether all of them can be served.
fn plan<S: System, const N: usize, T: AnySubscription<N>>(
    system: &mut S,
    fds: &FdTable,
    mem: &GuestMemory<'_>,
    r#in: Ptr<T>,
    nsubscriptions: Size,
    start: Result<Timestamp, Errno>,
) -> Result<Plan, Error> {
    let mut plan = Plan {
        timeout: None,
        stdin: false,
    };
    for index in 0..nsubscriptions {
        let subscription: Subscription = mem.read(r#in.element(index)?)?.into();
        let remaining = match subscription.u {
            SubscriptionU::Clock { id, timeout, flags } => remaining(system, id, timeout, flags, start)?,
            SubscriptionU::FdRead(fd) => match source(fds, fd)? {
                Source::Stdin => {
                    plan.stdin = true;
                    continue;
                }
                Source::File(_) => 0,
            },
            SubscriptionU::FdWrite(fd) => {
                check_writable(fds, fd)?;
                0
            }
        };
        plan.timeout = Some(plan.timeout.map_or(remaining, |least| least.min(remaining)));
    }
    Ok(plan)
}

/// Waits. What standard input said, if it was asked.
fn wait<S: System>(system: &mut S, plan: &Plan) -> Option<Result<StdinState, Errno>> {
    if plan.stdin {
        return Some(system.poll_stdin(plan.timeout));
    }
    match plan.timeout {
        // Not reached without a timeout: a subscription is a clock, standard input, or told at once.
        None | Some(0) => {}
        Some(nanoseconds) => system.sleep(nanoseconds),
    }
    None
}

/// Second pass: an event for each subscription that has happened. Returns their number.
#[expect(
    clippy::too_many_arguments,
    reason = "the call's own, with what the first pass found"
)]
fn report<S: System, const N: usize, T: AnySubscription<N>>(
    system: &mut S,
    files: &mut Files<'_>,
    mem: &mut GuestMemory<'_>,
    r#in: Ptr<T>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    start: Result<Timestamp, Errno>,
    stdin: Option<Result<StdinState, Errno>>,
) -> Result<Size, Error> {
    let mut count: Size = 0;
    for index in 0..nsubscriptions {
        let Subscription { userdata, u } = mem.read(r#in.element(index)?)?.into();
        let (r#type, happened) = match u {
            SubscriptionU::Clock { id, timeout, flags } => (
                Eventtype::Clock,
                clock_happened(remaining(system, id, timeout, flags, start)?),
            ),
            SubscriptionU::FdRead(fd) => (
                Eventtype::FdRead,
                match source(files.fds, fd)? {
                    Source::Stdin => stdin.and_then(stdin_happened),
                    Source::File(file) => Some(files.left(file)),
                },
            ),
            SubscriptionU::FdWrite(_) => (Eventtype::FdWrite, Some(Ok((ROOM, Eventrwflags::NONE)))),
        };
        let event = match happened {
            None => continue,
            Some(Ok((nbytes, flags))) => Event {
                userdata,
                error: None,
                r#type,
                nbytes,
                flags,
            },
            Some(Err(errno)) => Event {
                userdata,
                error: Some(errno),
                r#type,
                nbytes: 0,
                flags: Eventrwflags::NONE,
            },
        };
        mem.write(out.element(count)?, event)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// `nbytes` of what takes whatever it is given: as in wasmtime, that there is room, not how much.
const ROOM: u64 = 1;

/// `nbytes` and flags of an event, or why the subscription could not be served; `None`: nothing happened.
type Happened = Option<Result<(u64, Eventrwflags), Errno>>;

fn clock_happened(remaining: u64) -> Happened {
    (remaining == 0).then_some(Ok((0, Eventrwflags::NONE)))
}

fn stdin_happened(state: Result<StdinState, Errno>) -> Happened {
    match state {
        Ok(StdinState::NotReady) => None,
        Ok(StdinState::Ready { bytes, hangup: false }) => Some(Ok((bytes, Eventrwflags::NONE))),
        Ok(StdinState::Ready { bytes, hangup: true }) => Some(Ok((bytes, Eventrwflags::FD_READWRITE_HANGUP))),
        Err(errno) => Some(Err(errno)),
    }
}

/// Nanoseconds until a clock subscription happens; `start` is the monotonic time at the call's beginning.
fn remaining<S: System>(
    system: &mut S,
    clock: Clock,
    timeout: Timestamp,
    flags: Subclockflags,
    start: Result<Timestamp, Errno>,
) -> Result<u64, Errno> {
    let absolute = flags.contains(Subclockflags::SUBSCRIPTION_CLOCK_ABSTIME);
    let (clock, deadline) = match clock {
        Clock::Realtime | Clock::Monotonic if absolute => (clock, timeout),
        // That the wall clock is set does not change how long a second is.
        Clock::Realtime | Clock::Monotonic => (Clock::Monotonic, start?.saturating_add(timeout)),
        // A waiting guest uses no CPU time, so these would never happen.
        Clock::ProcessCpuTime | Clock::ThreadCpuTime => return Err(Errno::INVAL),
    };
    Ok(deadline.saturating_sub(system.clock_time(clock)?))
}

/// Descriptors and the file systems behind them.
struct Files<'a> {
    fds: &'a FdTable,
    mounts: &'a mut Mounts,
}

impl Files<'_> {
    /// What is left to read of a file.
    fn left(&mut self, file: &OpenFile) -> Result<(u64, Eventrwflags), Errno> {
        let size = self.mounts.get(file.mount)?.stat(file.node)?.size;
        match size.saturating_sub(file.position) {
            0 => Ok((0, Eventrwflags::FD_READWRITE_HANGUP)),
            left => Ok((left, Eventrwflags::NONE)),
        }
    }
}

/// What a read can be waited for on.
enum Source<'a> {
    Stdin,
    File(&'a OpenFile),
}

/// Whether a read of `fd` can be waited for, and on what.
fn source(fds: &FdTable, fd: Fd) -> Result<Source<'_>, Errno> {
    let entry = fds.get(fd)?;
    match &entry.descriptor {
        Descriptor::Stdin { .. } => {
            entry.require(Rights::FD_READ.union(Rights::POLL_FD_READWRITE))?;
            Ok(Source::Stdin)
        }
        Descriptor::File(file) => {
            entry.require(Rights::POLL_FD_READWRITE)?;
            Ok(Source::File(file))
        }
        Descriptor::Output { .. } | Descriptor::Directory(_) => Err(Errno::BADF),
    }
}

/// Whether a write to `fd` can be waited for.
fn check_writable(fds: &FdTable, fd: Fd) -> Result<(), Errno> {
    let entry = fds.get(fd)?;
    match entry.descriptor {
        Descriptor::Output { .. } => entry.require(Rights::FD_WRITE.union(Rights::POLL_FD_READWRITE)),
        Descriptor::File(_) => entry.require(Rights::POLL_FD_READWRITE),
        Descriptor::Stdin { .. } | Descriptor::Directory(_) => Err(Errno::BADF),
    }
}

#[cfg(test)]
mod tests;
