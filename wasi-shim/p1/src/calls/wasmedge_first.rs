//! WasmEdge's functions for sockets in their first version, where its type differs from the newer one.
//!
//! Layer: calls. Which version a module means follows from the type that it imports, for each function of its own:
//! programs mix both.

use wasi_core::System;

use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Riflags, Rights, Roflags, Size},
        wasmedge::{Address, AddressFamily},
    },
    calls::{
        sock,
        sock::transfer::{self, require},
        wasmedge::{
            End,
            address::{Room, family},
            end_of, room_of,
        },
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// As [`sock::sock_accept`], without flags.
///
/// ```c
/// errno sock_accept(fd fd, fd *result_fd);
/// ```
pub fn sock_accept<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    result_fd: Ptr<Fd>,
) -> Result<(), Error> {
    sock::sock_accept(ctx, mem, fd, Fdflags::NONE, result_fd)
}

/// As [`wasmedge::sock_recv_from`](super::wasmedge::sock_recv_from), without the port, and with room of any length: an
/// address that is too long for it is not told.
///
/// ```c
/// errno sock_recv_from(fd fd, const iovec *ri_data, size ri_data_len, const address *address, riflags ri_flags,
///                      size *ro_datalen, roflags *ro_flags);
/// ```
#[expect(clippy::too_many_arguments, reason = "WasmEdge's")]
pub fn sock_recv_from<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    ri_data: Ptr<Iovec>,
    ri_data_len: Size,
    address: Ptr<Address>,
    ri_flags: Riflags,
    ro_datalen: Ptr<Size>,
    ro_flags: Ptr<Roflags>,
) -> Result<(), Error> {
    require(ctx, fd, Rights::FD_READ)?;
    let room = Room::new(mem, address)?;
    mem.check(ro_datalen)?;
    mem.check(ro_flags)?;
    let received = transfer::receive(ctx, mem, fd, ri_data, ri_data_len, ri_flags)?;
    room.write_bare(mem, received.from.map(|from| from.ip()))?;
    mem.write(ro_datalen, received.length)?;
    mem.write(ro_flags, received.flags)
}

/// Tells a socket's own address: its bytes alone, and what they are.
///
/// ```c
/// errno sock_getlocaladdr(fd fd, const address *address, uint32_t *address_type, uint32_t *port);
/// ```
///
/// - `fd`: the socket.
/// - `address`: where room of 4 or 16 bytes lies; it gets the address.
/// - `address_type`: gets 4 for an IPv4 address, 6 for an IPv6 address.
/// - `port`: gets the port.
///
/// **Errors:**
/// - INVAL: the room is neither 4 nor 16 bytes long.
/// - NOMEM: the address is longer than its room.
/// - others: as for [`wasmedge::sock_getlocaladdr`](super::wasmedge::sock_getlocaladdr).
///
/// **Traps:** `address`, the bytes that it names, `address_type` or `port` out of bounds or not a multiple of 4.
pub fn sock_getlocaladdr<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    address_type: Ptr<u32>,
    port: Ptr<u32>,
) -> Result<(), Error> {
    tell(ctx, mem, fd, address, address_type, port, End::Local)
}

/// Tells whom a socket is connected to, as [`sock_getlocaladdr`] does. NOTCONN if it is not.
///
/// ```c
/// errno sock_getpeeraddr(fd fd, const address *address, uint32_t *address_type, uint32_t *port);
/// ```
pub fn sock_getpeeraddr<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    address_type: Ptr<u32>,
    port: Ptr<u32>,
) -> Result<(), Error> {
    tell(ctx, mem, fd, address, address_type, port, End::Peer)
}

fn tell<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    address: Ptr<Address>,
    address_type: Ptr<u32>,
    port: Ptr<u32>,
    end: End,
) -> Result<(), Error> {
    let room = room_of(ctx, mem, fd, address, &[4, 16])?;
    mem.check(address_type)?;
    mem.check(port)?;
    let found = end_of(ctx, fd, end)?;
    if !room.write_bare(mem, Some(found.ip()))? {
        return Err(Errno::NOMEM.into());
    }
    let version = match family(found.ip()) {
        AddressFamily::Inet4 => 4_u32,
        _ => 6,
    };
    mem.write(address_type, version)?;
    mem.write(port, found.port().into())
}
