//! What calls on sockets share: the checks, and lists of buffers to and from the core's operations.
//!
//! Layer: calls. A call checks its descriptor with [`require`], then its pointers, and only then does one of the
//! others.

use alloc::vec::Vec;
use core::net::SocketAddr;

use wasi_core::{System, file::Blocking, socket::Kind};

use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Riflags, Rights, Roflags, Size},
    },
    calls::fd::iovec,
    context::WasiP1Ctx,
    error::Error,
    fd_table::Entry,
    memory::{GuestMemory, Ptr},
};

/// The longest datagram that a network could carry.
const DATAGRAM: Size = 65_535;

/// So many bytes of a list of buffers are sent over a stream as one, in as few segments as they fit into: a server's
/// answer is often a head and a body. Of more, a segment for each buffer does not matter.
const TOGETHER: Size = 4096;

/// What a receive got.
#[derive(Clone, Copy, Debug)]
pub(in crate::calls) struct Received {
    /// How many bytes.
    pub(in crate::calls) length: Size,
    /// Whether a datagram was cut off.
    pub(in crate::calls) flags: Roflags,
    /// Who sent the datagram; `None` on a stream.
    pub(in crate::calls) from: Option<SocketAddr>,
}

/// Fails unless `fd` is a socket that can be used for what this right is for, and has it.
pub(in crate::calls) fn require<S>(ctx: &WasiP1Ctx<S>, fd: Fd, right: Rights) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let socket = entry.descriptor.socket()?;
    match right {
        Rights::SOCK_ACCEPT => socket.check_listening()?,
        Rights::SOCK_SHUTDOWN if socket.kind() == Kind::Datagram => return Err(Errno::NOTSUP.into()),
        _ => socket.check_transfer()?,
    }
    Ok(entry.require(right)?)
}

/// Whether an operation on a descriptor waits.
pub(in crate::calls) const fn blocking(entry: &Entry) -> Blocking {
    match entry.flags.contains(Fdflags::NONBLOCK) {
        true => Blocking::Fail,
        false => Blocking::Wait,
    }
}

/// Accepts a connection; its descriptor, and who made it.
pub(in crate::calls) fn accept<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    fd: Fd,
    flags: Fdflags,
) -> Result<(Fd, SocketAddr), Error> {
    let number = ctx.vacancy()?;
    let entry = ctx.fds.get(fd)?;
    let inherited = entry.rights_inheriting();
    let (descriptor, peer) = ctx.core.accept(entry.descriptor.socket()?, blocking(entry))?;
    ctx.fds.insert(Entry::opened(descriptor, flags, inherited));
    Ok((number, peer))
}

/// Receives into a list of buffers, which is checked as a whole before.
#[cold]
pub(in crate::calls) fn receive<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    flags: Riflags,
) -> Result<Received, Error> {
    let total = iovec::check(mem, iovs, iovs_len)?;
    match ctx.fds.get(fd)?.descriptor.socket()?.kind() {
        Kind::Stream => receive_bytes(ctx, mem, fd, iovs, iovs_len, flags),
        Kind::Datagram => receive_datagram(ctx, mem, fd, iovs, iovs_len, total, flags),
    }
}

fn receive_bytes<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    flags: Riflags,
) -> Result<Received, Error> {
    let entry = ctx.fds.get_mut(fd)?;
    let blocks = blocking(entry);
    let socket = entry.descriptor.socket_mut()?;
    let peek = flags.contains(Riflags::RECV_PEEK);
    let all = blocks == Blocking::Wait && flags.contains(Riflags::RECV_WAITALL);
    let mut filled = false;
    let length = iovec::scatter(mem, iovs, iovs_len, |room| {
        // What stays would come again.
        if filled && peek {
            return Ok(None);
        }
        let mut count = 0_usize;
        loop {
            let mode = if filled && !all { Blocking::Fail } else { blocks };
            let rest = room.get_mut(count..).unwrap_or_default();
            match ctx.core.receive(socket, rest, peek, mode) {
                Ok(received) if received.length > 0 => count = count.saturating_add(received.length),
                Ok(_) => return Ok(Some(count)),
                // What was received before is told; the error comes again if it lasts.
                Err(_) if count > 0 => return Ok(Some(count)),
                Err(errno) => return Err(errno),
            }
            filled = true;
            if peek || !all || count >= room.len() {
                return Ok(Some(count));
            }
        }
    })?;
    Ok(Received {
        length,
        flags: Roflags::NONE,
        from: None,
    })
}

fn receive_datagram<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    total: Size,
    flags: Riflags,
) -> Result<Received, Error> {
    let entry = ctx.fds.get_mut(fd)?;
    let blocks = blocking(entry);
    let socket = entry.descriptor.socket_mut()?;
    let peek = flags.contains(Riflags::RECV_PEEK);
    let (length, received) = if iovs_len == 1 {
        let Iovec { buf, buf_len } = mem.read(iovs)?;
        let room = mem.bytes_mut(Ptr::new(buf), buf_len)?;
        let received = ctx.core.receive(socket, room, peek, blocks)?;
        // It fits the buffer, so the number fits.
        (Size::try_from(received.length).unwrap_or(buf_len), received)
    } else {
        let mut datagram = buffer(total.min(DATAGRAM))?;
        let received = ctx.core.receive(socket, &mut datagram, peek, blocks)?;
        let mut rest = datagram.get(..received.length).unwrap_or_default();
        let length = iovec::scatter(mem, iovs, iovs_len, |room| {
            let (now, later) = rest.split_at_checked(room.len()).unwrap_or((rest, &[]));
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            rest = later;
            Ok(Some(now.len()))
        })?;
        (length, received)
    };
    let flags = match received.truncated {
        true => Roflags::RECV_DATA_TRUNCATED,
        false => Roflags::NONE,
    };
    let from = received.from;
    Ok(Received { length, flags, from })
}

/// Sends a list of buffers, which is checked as a whole before, `to` somebody; how many bytes.
#[cold]
pub(in crate::calls) fn send<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    to: Option<SocketAddr>,
) -> Result<Size, Error> {
    let total = iovec::check(mem, iovs, iovs_len)?;
    let entry = ctx.fds.get_mut(fd)?;
    let blocks = blocking(entry);
    let socket = entry.descriptor.socket_mut()?;
    let where_they_lie = match socket.kind() {
        Kind::Stream => iovs_len == 1 || total == 0 || total > TOGETHER,
        // One of no bytes is sent, too.
        Kind::Datagram => iovs_len == 1 && total > 0,
    };
    if where_they_lie {
        return iovec::gather(mem, iovs, iovs_len, |bytes| {
            ctx.core.send(socket, bytes, to, blocks)
        });
    }
    if total > DATAGRAM {
        return Err(Errno::MSGSIZE.into());
    }
    let mut together = buffer(total)?;
    together.clear();
    iovec::gather(mem, iovs, iovs_len, |bytes| {
        together.extend_from_slice(bytes);
        Ok(bytes.len())
    })?;
    let sent = ctx.core.send(socket, &together, to, blocks)?;
    // No more than `total`.
    Ok(Size::try_from(sent).unwrap_or(total))
}

/// Room for what is in one piece.
fn buffer(length: Size) -> Result<Vec<u8>, Errno> {
    let length = usize::try_from(length).map_err(|_| Errno::NOBUFS)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|_| Errno::NOBUFS)?;
    buffer.resize(length, 0);
    Ok(buffer)
}
