//! What the guests share: the listener that they were given.

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, RawFd};

/// The first listener among the descriptors that a program begins with. Directories come before it, and nothing says
/// how many there are.
///
/// # Errors
/// If there is none.
pub fn given_listener() -> io::Result<TcpListener> {
    let none = || io::Error::other("no listener was given: run with --tcplisten ADDRESS:PORT");
    let descriptor = given().find(|descriptor| is_stream(*descriptor));
    let descriptor = RawFd::try_from(descriptor.ok_or_else(none)?).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and no other part of the program uses it.
    Ok(unsafe { TcpListener::from_raw_fd(descriptor) })
}

/// The descriptors behind standard input, output and error, up to the first that is not open.
fn given() -> impl Iterator<Item = u32> {
    (3..).take_while(|descriptor| {
        // SAFETY: it writes no memory but its own result.
        unsafe { wasip1::fd_fdstat_get(*descriptor) }.is_ok()
    })
}

/// Whether a descriptor is a listener or a connection.
fn is_stream(descriptor: u32) -> bool {
    // SAFETY: as above.
    let status = unsafe { wasip1::fd_fdstat_get(descriptor) };
    status.is_ok_and(|status| status.fs_filetype == wasip1::FILETYPE_SOCKET_STREAM)
}

/// The same for tokio, which must never wait in a call.
///
/// # Errors
/// If there is none.
pub fn given_to_tokio() -> io::Result<tokio::net::TcpListener> {
    let listener = given_listener()?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
