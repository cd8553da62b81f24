//! Opens 100,000 sockets and keeps what it gets, twice; then opens as many one after the other; then answers one client.
//!
//! It says how many it got, and why no more.

use std::io;

use network_guests::given_listener;
use wasmedge_wasi_socket::socket::{AddressFamily, Socket, SocketType};

/// How often it tries.
const ATTEMPTS: usize = 100_000;

fn main() -> io::Result<()> {
    let listener = given_listener()?;
    listener.set_nonblocking(false)?;
    for _ in 0..2 {
        let mut kept = Vec::new();
        let mut refused = None;
        for number in 0..ATTEMPTS {
            match open(number) {
                Ok(socket) => kept.push(socket),
                Err(error) => refused = error.raw_os_error(),
            }
        }
        println!("many-sockets: {} at a time, then errno {refused:?}", kept.len());
    }
    for number in 0..ATTEMPTS {
        open(number)?;
    }
    println!("many-sockets: {ATTEMPTS} one after the other");
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(false)?;
    io::copy(&mut &stream, &mut &stream)?;
    Ok(())
}

/// For streams and for datagrams in turn.
fn open(number: usize) -> io::Result<Socket> {
    let kind = match number % 2 {
        0 => SocketType::Stream,
        _ => SocketType::Datagram,
    };
    Socket::new(AddressFamily::Inet4, kind)
}
