//! WasmEdge's functions for sockets: what preview1 lacks, in the module of its name. Of two versions the newer one.
//!
//! Layer: calls. Implements what WasmEdge's `wasifunc.cpp` does; docs/wasi.md says where not. Programs call it through
//! crate `wasmedge_wasi_socket`. Pointers and numbers are judged as preview1's are: out of bounds and misaligned are
//! traps, a number without meaning is INVAL.

pub(in crate::calls) mod address;
mod names;
mod options;

pub use names::sock_getaddrinfo;
pub use options::{sock_getsockopt, sock_setsockopt};

use core::net::SocketAddr;

use wasi_core::{
    System,
    socket::{Family, Kind},
};

use self::address::Room;
use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Riflags, Rights, Roflags, Siflags, Size},
        wasmedge::{Address, AddressFamily, SockType, Storage},
    },
    calls::sock::transfer::{self, blocking, require},
    context::WasiP1Ctx,
    error::Error,
    fd_table::Entry,
    memory::{GuestMemory, Ptr},
};

/// Opens a socket.
///
/// ```c
/// errno sock_open(address_family family, sock_type type, fd *result_fd);
/// ```
///
/// - `family`: 1 for IPv4, 2 for IPv6.
/// - `type`: 1 for datagrams, 2 for a stream.
/// - `result_fd`: gets the descriptor: the lowest number that is free.
///
/// **Errors:**
/// - INVAL: `family` or `type` has another number, or is 0, which means any.
/// - NOSYS: `family` is 3, paths of the host.
/// - ACCES: the guest has no network.
/// - MFILE: too many descriptors are open.
///
/// **Traps:** `result_fd` out of bounds or not a multiple of 4.
pub fn sock_open<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    family: AddressFamily,
    ty: SockType,
    result_fd: Ptr<Fd>,
) -> Result<(), Error> {
    let family = match family {
        AddressFamily::Inet4 => Family::V4,
        AddressFamily::Inet6 => Family::V6,
        AddressFamily::Unspec => return Err(Errno::INVAL.into()),
        AddressFamily::Unix => return Err(Errno::NOSYS.into()),
    };
    let kind = match ty {
        SockType::Stream => Kind::Stream,
        SockType::Dgram => Kind::Datagram,
        SockType::Any => return Err(Errno::INVAL.into()),
    };
    mem.check(result_fd)?;
    let descriptor = ctx.core.open_socket(family, kind)?;
    let number = ctx.vacancy()?;
    ctx.fds
        .insert(Entry::opened(descriptor, Fdflags::NONE, Rights::ALL));
    mem.write(result_fd, number)
}

/// Gives a socket its own address.
///
/// ```c
/// errno sock_bind(fd fd, const address *address, uint32_t port);
/// ```
///
/// - `fd`: the socket.
/// - `address`: where the address lies.
/// - `port`: the port; 0: a free one.
///
/// Whether a stream can have that address is known when it listens or connects.
///
/// **Errors:**
/// - INVAL: the address is 4, 16 or 128 bytes long, and this is not; the family within 128 bytes is neither 1 nor 2;
///   `port` is above 65535; `fd` has an address.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - AFNOSUPPORT: the address is of another family than `fd`.
/// - ACCES, ADDRINUSE, ADDRNOTAVAIL, NOBUFS: `fd` is for datagrams, and the network says so.
///
/// **Traps:** `address` or the bytes that it names out of bounds; `address` not a multiple of 4.
///
/// **Layout:** an address has 8 bytes: where its bytes are u32le at 0, how many u32le at 4. 4 bytes are an IPv4
/// address, 16 an IPv6 address. 128 have the family u16le at 0, and the address from 2 on.
pub fn sock_bind<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: u32,
) -> Result<(), Error> {
    let local = named(ctx, mem, fd, address, port)?;
    let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
    Ok(ctx.core.bind(socket, local)?)
}

/// The address that a call on a socket names. Of what is no socket no pointer is followed.
fn named<S>(
    ctx: &WasiP1Ctx<S>,
    mem: &GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: u32,
) -> Result<SocketAddr, Error> {
    let port = address::port(port)?;
    ctx.fds.get(fd)?.descriptor.socket()?;
    address::read(mem, address, port)
}

/// Listens for connections.
///
/// ```c
/// errno sock_listen(fd fd, uint32_t backlog);
/// ```
///
/// - `fd`: the socket.
/// - `backlog`: how many connections may wait to be accepted. The network has a limit of its own.
///
/// On a port at which the guest was given a listener, it takes connections from that one's queue.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOTSUP: `fd` is for datagrams.
/// - INVAL: `fd` is connected or is going to be.
/// - ACCES, ADDRINUSE, ADDRNOTAVAIL, AFNOSUPPORT, NOBUFS: the network says so.
pub fn sock_listen<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    backlog: u32,
) -> Result<(), Error> {
    let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
    let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
    Ok(ctx.core.listen(socket, backlog)?)
}

/// Connects a stream; or says with whom alone a socket for datagrams exchanges them.
///
/// ```c
/// errno sock_connect(fd fd, const address *address, uint32_t port);
/// ```
///
/// - `fd`: the socket.
/// - `address`: where the address lies.
/// - `port`: the port.
///
/// It waits until the stream is connected or is not going to be, unless `fd` is `nonblock`.
///
/// **Errors:**
/// - INVAL: as for [`sock_bind`], but that `fd` has an address.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - AFNOSUPPORT: the address is of another family than `fd`.
/// - ACCES: the guest may not reach that address.
/// - INPROGRESS: `fd` is `nonblock`, and goes on connecting; once it has ended, `fd` is ready to write, and
///   [`sock_getsockopt`] tells how. ALREADY: so it was before.
/// - ISCONN: `fd` is connected, or listens.
/// - CONNREFUSED, HOSTUNREACH, TIMEDOUT and others: why it is not connected.
///
/// **Traps, Layout:** as for [`sock_bind`].
pub fn sock_connect<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: u32,
) -> Result<(), Error> {
    let remote = named(ctx, mem, fd, address, port)?;
    let entry = ctx.fds.get_mut(fd)?;
    let blocks = blocking(entry);
    Ok(ctx.core.connect(entry.descriptor.socket_mut()?, remote, blocks)?)
}

/// Receives a message, and tells who sent it.
///
/// ```c
/// errno sock_recv_from(fd fd, const iovec *ri_data, size ri_data_len, const address *address, riflags ri_flags,
///                      uint16_t *port, size *ro_datalen, roflags *ro_flags);
/// ```
///
/// - `fd`, `ri_data`, `ri_data_len`, `ri_flags`, `ro_datalen`, `ro_flags`: as for
///   [`sock_recv`](super::sock::sock_recv).
/// - `address`: where room for the sender's address lies. An address that is too long for it is not told.
/// - `port`: gets the sender's port.
///
/// Of a stream no sender is told: family and port are 0.
///
/// **Errors:**
/// - INVAL: the room is 4, 16 or 128 bytes long, and this is not.
/// - others: as for [`sock_recv`](super::sock::sock_recv).
///
/// **Traps:** as for [`sock_recv`](super::sock::sock_recv); `address`, the bytes that it names, or `port` out of
/// bounds; `address` not a multiple of 4, `port` of 2. Nothing is received then.
///
/// **Layout:** as for [`sock_bind`].
///
/// **Deviations:** WasmEdge writes the port with its bytes swapped, which no program reads so.
#[expect(clippy::too_many_arguments, reason = "WasmEdge's")]
pub fn sock_recv_from<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    ri_data: Ptr<Iovec>,
    ri_data_len: Size,
    address: Ptr<Address>,
    ri_flags: Riflags,
    port: Ptr<u16>,
    ro_datalen: Ptr<Size>,
    ro_flags: Ptr<Roflags>,
) -> Result<(), Error> {
    require(ctx, fd, Rights::FD_READ)?;
    let room = Room::new(mem, address)?.of_length(&[4, 16, Storage::SIZE])?;
    mem.check(port)?;
    mem.check(ro_datalen)?;
    mem.check(ro_flags)?;
    let received = transfer::receive(ctx, mem, fd, ri_data, ri_data_len, ri_flags)?;
    room.write(mem, received.from.map(|from| from.ip()))?;
    mem.write(port, received.from.map_or(0, |from| from.port()))?;
    mem.write(ro_datalen, received.length)?;
    mem.write(ro_flags, received.flags)
}

/// Sends a message to an address.
///
/// ```c
/// errno sock_send_to(fd fd, const ciovec *si_data, size si_data_len, const address *address, uint32_t port,
///                    siflags si_flags, size *so_datalen);
/// ```
///
/// - `fd`, `si_data`, `si_data_len`, `si_flags`, `so_datalen`: as for [`sock_send`](super::sock::sock_send).
/// - `address`, `port`: to whom.
///
/// **Errors:**
/// - INVAL: the address or `port` as for [`sock_bind`].
/// - AFNOSUPPORT: the address is of another family than `fd`.
/// - ISCONN: `fd` is a stream.
/// - ACCES: the guest may not reach that address.
/// - others: as for [`sock_send`](super::sock::sock_send).
///
/// **Traps:** as for [`sock_send`](super::sock::sock_send) and [`sock_bind`]. Nothing is sent then.
///
/// **Layout:** as for [`sock_bind`].
#[expect(clippy::too_many_arguments, reason = "WasmEdge's")]
pub fn sock_send_to<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    si_data: Ptr<Iovec>,
    si_data_len: Size,
    address: Ptr<Address>,
    port: u32,
    _si_flags: Siflags,
    so_datalen: Ptr<Size>,
) -> Result<(), Error> {
    let port = address::port(port)?;
    require(ctx, fd, Rights::FD_WRITE)?;
    let to = address::read(mem, address, port)?;
    mem.check(so_datalen)?;
    let count = transfer::send(ctx, mem, fd, si_data, si_data_len, Some(to))?;
    mem.write(so_datalen, count)
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The socket's own.
    Local,
    /// The other.
    Peer,
}

/// Room of one of these lengths for an address of a socket's. Of what is no socket no pointer is followed.
pub(super) fn room_of<S>(
    ctx: &WasiP1Ctx<S>,
    mem: &GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    lengths: &[Size],
) -> Result<Room, Error> {
    ctx.fds.get(fd)?.descriptor.socket()?;
    Ok(Room::new(mem, address)?.of_length(lengths)?)
}

/// The address of an end of a socket.
pub(super) fn end_of<S: System>(ctx: &mut WasiP1Ctx<S>, fd: Fd, end: End) -> Result<SocketAddr, Errno> {
    let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
    match end {
        End::Local => ctx.core.local_address(socket),
        End::Peer => ctx.core.peer_address(socket),
    }
}

/// Tells a socket's own address.
///
/// ```c
/// errno sock_getlocaladdr(fd fd, const address *address, uint32_t *port);
/// ```
///
/// - `fd`: the socket.
/// - `address`: where room of 128 bytes lies; it gets the family and the address.
/// - `port`: gets the port.
///
/// Before a socket has an address, it is all zeros.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - INVAL: the room is not 128 bytes long.
///
/// **Traps:** `address`, the bytes that it names, or `port` out of bounds or not a multiple of 4.
///
/// **Layout:** as for [`sock_bind`].
pub fn sock_getlocaladdr<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: Ptr<u32>,
) -> Result<(), Error> {
    tell(ctx, mem, fd, address, port, End::Local)
}

/// Tells whom a socket is connected to.
///
/// ```c
/// errno sock_getpeeraddr(fd fd, const address *address, uint32_t *port);
/// ```
///
/// **Errors:**
/// - NOTCONN: `fd` is not connected.
/// - others: as for [`sock_getlocaladdr`].
///
/// Parameters, **Traps, Layout:** as for [`sock_getlocaladdr`].
pub fn sock_getpeeraddr<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: Ptr<u32>,
) -> Result<(), Error> {
    tell(ctx, mem, fd, address, port, End::Peer)
}

fn tell<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    port: Ptr<u32>,
    end: End,
) -> Result<(), Error> {
    let room = room_of(ctx, mem, fd, address, &[Storage::SIZE])?;
    mem.check(port)?;
    let found = end_of(ctx, fd, end)?;
    room.write(mem, Some(found.ip()))?;
    mem.write(port, found.port().into())
}

#[cfg(test)]
mod tests;
