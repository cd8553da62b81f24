//! `sock_getsockopt`, `sock_setsockopt`: options of a socket.
//!
//! Layer: calls. An option lies in memory as Linux has it: numbers and booleans in 4 bytes, times in 16.

use wasi_core::{System, socket::Kind};

use crate::{
    abi::{
        Errno,
        types::{Fd, Size},
        wasmedge::{SockOptLevel, SockOptSo, SockType},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// How long a stream is silent before its peer is asked whether it is there, in nanoseconds: Linux's two hours.
const KEEP_ALIVE: u64 = 7_200 * SECOND;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a microsecond.
const MICROSECOND: u64 = 1_000;

/// Tells an option of a socket.
///
/// ```c
/// errno sock_getsockopt(fd fd, sock_opt_level level, sock_opt_so name, void *value, size *value_len);
/// ```
///
/// - `fd`: the socket.
/// - `level`: 0, the socket's own options; there are no others.
/// - `name`: which one: 0 `SO_REUSEADDR`, 1 `SO_TYPE`, 2 `SO_ERROR`, 4 `SO_BROADCAST`, 7 `SO_KEEPALIVE`,
///   11 `SO_RCVTIMEO`, 12 `SO_SNDTIMEO`, 13 `SO_ACCEPTCONN`.
/// - `value`: gets the option.
/// - `value_len`: how many bytes of room `value` has; gets how many are used.
///
/// `SO_ERROR` is an errno, 0 for none, and is told once. `SO_REUSEADDR` is always 1: an address is free as soon as
/// nobody listens there. `SO_BROADCAST` is always 0.
///
/// **Errors:**
/// - INVAL: `level` or `name` has a number that WasmEdge does not name; there is not room enough.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOPROTOOPT: the option is another.
///
/// **Traps:** `value` with its room, or `value_len` out of bounds; `value_len` not a multiple of 4.
///
/// **Layout:** 4 bytes i32le; a time 16 bytes: seconds i64le at 0, microseconds i64le at 8, both 0 for no limit.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn sock_getsockopt<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    _level: SockOptLevel,
    name: SockOptSo,
    value: Ptr<u8>,
    value_len: Ptr<Size>,
) -> Result<(), Error> {
    let socket = ctx.fds.get(fd)?.descriptor.socket()?;
    let room = mem.read(value_len)?;
    mem.bytes(value, room)?;
    let options = socket.options();
    let number = match name {
        SockOptSo::Rcvtimeo => return put(mem, value, value_len, room, &time(options.receive_timeout)),
        SockOptSo::Sndtimeo => return put(mem, value, value_len, room, &time(options.send_timeout)),
        SockOptSo::Reuseaddr => 1,
        SockOptSo::Type => match socket.kind() {
            Kind::Stream => SockType::Stream.raw(),
            Kind::Datagram => SockType::Dgram.raw(),
        }
        .into(),
        SockOptSo::Broadcast => 0,
        SockOptSo::Keepalive => options.keep_alive.is_some().into(),
        SockOptSo::Acceptconn => socket.is_listening().into(),
        SockOptSo::Error => {
            // It is told once, so there has to be room before it is asked for.
            if room < 4 {
                return Err(Errno::INVAL.into());
            }
            let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
            ctx.core.take_error(socket)?.map_or(0, |errno| errno.raw().into())
        }
        _ => return Err(Errno::NOPROTOOPT.into()),
    };
    put(mem, value, value_len, room, &u32::to_le_bytes(number))
}

/// Writes an option and its length.
fn put(
    mem: &mut GuestMemory<'_>,
    value: Ptr<u8>,
    value_len: Ptr<Size>,
    room: Size,
    bytes: &[u8],
) -> Result<(), Error> {
    let len = Size::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
    if room < len {
        return Err(Errno::INVAL.into());
    }
    mem.bytes_mut(value, len)?.copy_from_slice(bytes);
    mem.write(value_len, len)
}

/// Sets an option of a socket.
///
/// ```c
/// errno sock_setsockopt(fd fd, sock_opt_level level, sock_opt_so name, const void *value, size value_len);
/// ```
///
/// - `fd`, `level`: as for [`sock_getsockopt`].
/// - `name`: which one: 0 `SO_REUSEADDR`, 4 `SO_BROADCAST`, 7 `SO_KEEPALIVE`, 11 `SO_RCVTIMEO`, 12 `SO_SNDTIMEO`.
/// - `value`, `value_len`: the option, and how many bytes it has.
///
/// `SO_REUSEADDR` has no effect, whatever it is set to. A receive, an accept or a send that has waited as long as a
/// time says is AGAIN, a connect INPROGRESS.
///
/// **Errors:**
/// - INVAL: `level` or `name` has a number that WasmEdge does not name; `value_len` is less than the option has.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - DOM: a time is negative, or has microseconds of a second or more.
/// - NOPROTOOPT: the option is another, or `SO_BROADCAST` is not 0.
///
/// **Traps:** `value` out of bounds.
///
/// **Layout:** as for [`sock_getsockopt`].
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn sock_setsockopt<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    _level: SockOptLevel,
    name: SockOptSo,
    value: Ptr<u8>,
    value_len: Size,
) -> Result<(), Error> {
    let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
    let bytes = mem.bytes(value, value_len)?;
    let mut options = socket.options();
    match name {
        SockOptSo::Reuseaddr => {
            number(bytes)?;
        }
        SockOptSo::Broadcast if number(bytes)? == 0 => {}
        SockOptSo::Keepalive => options.keep_alive = (number(bytes)? != 0).then_some(KEEP_ALIVE),
        SockOptSo::Rcvtimeo => options.receive_timeout = limit(bytes)?,
        SockOptSo::Sndtimeo => options.send_timeout = limit(bytes)?,
        _ => return Err(Errno::NOPROTOOPT.into()),
    }
    Ok(ctx.core.set_options(socket, options)?)
}

/// An option that is a number.
fn number(bytes: &[u8]) -> Result<i32, Errno> {
    bytes
        .first_chunk()
        .copied()
        .map(i32::from_le_bytes)
        .ok_or(Errno::INVAL)
}

/// How long waiting may last, in nanoseconds; `None`: for ever.
fn limit(bytes: &[u8]) -> Result<Option<u64>, Errno> {
    let (seconds, rest) = bytes.split_first_chunk().ok_or(Errno::INVAL)?;
    let microseconds = rest.first_chunk().ok_or(Errno::INVAL)?;
    let [seconds, microseconds] = [seconds, microseconds].map(|bytes| i64::from_le_bytes(*bytes));
    let microseconds = u64::try_from(microseconds)
        .ok()
        .filter(|us| *us < SECOND / MICROSECOND);
    let microseconds = microseconds.ok_or(Errno::DOM)?;
    let seconds = u64::try_from(seconds).map_err(|_| Errno::DOM)?;
    let limit = seconds.saturating_mul(SECOND);
    let limit = limit.saturating_add(microseconds.saturating_mul(MICROSECOND));
    Ok((limit > 0).then_some(limit))
}

/// How long waiting may last, as it lies in memory.
fn time(limit: Option<u64>) -> [u8; 16] {
    let limit = limit.unwrap_or(0);
    let seconds = limit / SECOND;
    let microseconds = limit % SECOND / MICROSECOND;
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(8);
    head.copy_from_slice(&seconds.to_le_bytes());
    tail.copy_from_slice(&microseconds.to_le_bytes());
    bytes
}
