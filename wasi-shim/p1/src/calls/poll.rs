//! `poll_oneoff`: waiting.
//!
//! Layer: calls. The list of subscriptions is read from guest memory twice, once to learn how long to wait and
//! once to tell what happened, so nothing is allocated for it however long it is.

use wasi_core::{
    Clock, Readiness, System,
    descriptor::{Awaits, Descriptor},
    poll::{Alarm, WaitSet},
    socket::{Kind, Socket},
};

use crate::{
    abi::{
        Errno,
        layout::{Decode, Event, Subscription, SubscriptionU},
        types::{Eventrwflags, Eventtype, Rights, Size, Subclockflags, Timestamp},
    },
    context::WasiP1Ctx,
    error::Error,
    fd_table::Entry,
    memory::{GuestMemory, Ptr},
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
/// `fd_read` of a listener happens when a connection waits, of a socket when there is something to receive, the end
/// included (`nbytes` 1); `fd_write` when something can be sent, or a send would tell why not, and when the making of a
/// connection has ended. A connection that has ended in both directions or failed is ready for both, with `nbytes` 0
/// and `fd_readwrite_hangup`: the next call on it tells why, and no event. A listener is never ready to be written, a
/// stream socket without a connection always, as one that has ended.
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
    ctx: &mut WasiP1Ctx<S>,
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
    ctx: &mut WasiP1Ctx<S>,
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
    let read = |mem: &GuestMemory<'_>, index| Ok(mem.read(r#in.element(index)?)?.into());
    wait(ctx, mem, &read, out, nsubscriptions, nevents)
}

/// Reads a subscription of the list.
type Read<'a> = &'a dyn Fn(&GuestMemory<'_>, Size) -> Result<Subscription, Error>;

/// Waits for what `read` gives, whatever its layout is: it is compiled once.
fn wait<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    read: Read<'_>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    nevents: Ptr<Size>,
) -> Result<(), Error> {
    let start = ctx.core.now();
    loop {
        let mut set = plan(ctx, mem, read, nsubscriptions, start)?;
        ctx.core.wait(&mut set);
        let count = report(ctx, mem, read, out, nsubscriptions, start, &set)?;
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

/// First pass over the subscriptions: what to wait for, and whether all of them can be served.
fn plan<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &GuestMemory<'_>,
    read: Read<'_>,
    nsubscriptions: Size,
    start: Result<Timestamp, Errno>,
) -> Result<WaitSet, Error> {
    let mut set = WaitSet::default();
    for index in 0..nsubscriptions {
        let source = match read(mem, index)?.u {
            SubscriptionU::Clock { id, timeout, flags } => {
                set.add_time(ctx.core.until(alarm(id, timeout, flags), start)?);
                continue;
            }
            SubscriptionU::FdRead(fd) => {
                let entry = ctx.fds.get(fd)?;
                let source = entry.descriptor.read_source()?;
                entry.require(rights(entry, Rights::FD_READ))?;
                source
            }
            SubscriptionU::FdWrite(fd) => {
                let entry = ctx.fds.get(fd)?;
                let source = entry.descriptor.write_source()?;
                entry.require(rights(entry, Rights::FD_WRITE))?;
                source
            }
        };
        match source {
            Awaits::Source(source) => set.add_source(source),
            Awaits::Nothing => set.add_time(0),
            Awaits::Forever => {}
        }
    }
    Ok(set)
}

/// The rights that a descriptor must have to be waited for. Those of a file do not matter, since it is always ready,
/// however it was opened, nor those of a listener, which is not read or written.
fn rights(entry: &Entry, direction: Rights) -> Rights {
    let is_listener = entry.descriptor.socket().is_ok_and(Socket::is_listening);
    if entry.descriptor.is_stream() && !is_listener {
        Rights::POLL_FD_READWRITE.union(direction)
    } else {
        Rights::POLL_FD_READWRITE
    }
}

/// Second pass: an event for each subscription that has happened. Returns their number.
fn report<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    read: Read<'_>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    start: Result<Timestamp, Errno>,
    set: &WaitSet,
) -> Result<Size, Error> {
    let mut count: Size = 0;
    for index in 0..nsubscriptions {
        let Subscription { userdata, u } = read(mem, index)?;
        let (r#type, readiness) = match u {
            SubscriptionU::Clock { id, timeout, flags } => {
                let remaining = ctx.core.until(alarm(id, timeout, flags), start)?;
                (Eventtype::Clock, Ok(alarm_readiness(remaining)))
            }
            SubscriptionU::FdRead(fd) => {
                let entry = ctx.fds.get(fd)?;
                let readiness = match entry.descriptor.read_source()? {
                    Awaits::Source(source) => set.readiness(source),
                    Awaits::Nothing => match entry.descriptor.file() {
                        Ok(file) => ctx.core.left(file),
                        Err(_) => Ok(Readiness::ENDED),
                    },
                    Awaits::Forever => Ok(Readiness::NotReady),
                };
                (Eventtype::FdRead, readiness)
            }
            SubscriptionU::FdWrite(fd) => {
                let descriptor = &ctx.fds.get(fd)?.descriptor;
                let readiness = match descriptor.write_source()? {
                    Awaits::Source(source) => set.readiness(source),
                    Awaits::Nothing => Ok(room(descriptor)),
                    Awaits::Forever => Ok(Readiness::NotReady),
                };
                (Eventtype::FdWrite, readiness)
            }
        };
        let (error, nbytes, hangup) = match readiness {
            Ok(Readiness::NotReady) => continue,
            Ok(Readiness::Ready { bytes, hangup }) => (None, bytes, hangup),
            Err(errno) => (Some(errno), 0, false),
        };
        let flags = if hangup {
            Eventrwflags::FD_READWRITE_HANGUP
        } else {
            Eventrwflags::NONE
        };
        let event = Event {
            userdata,
            error,
            r#type,
            nbytes,
            flags,
        };
        mem.write(out.element(count)?, event)?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// What is told of what takes whatever it is given: as in wasmtime, that there is room, not how much. A stream socket
/// without a connection takes nothing.
fn room(descriptor: &Descriptor) -> Readiness {
    match descriptor.socket().map(Socket::kind) {
        Ok(Kind::Stream) => Readiness::ENDED,
        Ok(Kind::Datagram) | Err(_) => Readiness::Ready {
            bytes: 1,
            hangup: false,
        },
    }
}

fn alarm(clock: Clock, timeout: Timestamp, flags: Subclockflags) -> Alarm {
    Alarm {
        clock,
        timeout,
        absolute: flags.contains(Subclockflags::SUBSCRIPTION_CLOCK_ABSTIME),
    }
}

/// How an alarm stands that goes off in `remaining` nanoseconds.
const fn alarm_readiness(remaining: u64) -> Readiness {
    match remaining {
        0 => Readiness::Ready {
            bytes: 0,
            hangup: false,
        },
        _ => Readiness::NotReady,
    }
}

#[cfg(test)]
mod tests;
