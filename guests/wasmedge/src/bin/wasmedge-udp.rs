//! Sends every datagram back to whom it came from, with `wasmedge_wasi_socket`. The argument is the address to listen
//! at; after a datagram `end` it ends.

use std::io;

use wasmedge_wasi_socket::UdpSocket;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).expect("an address");
    let socket = UdpSocket::bind(&*address)?;
    println!("listening");
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let datagram = &buffer[..length];
        socket.send_to(datagram, from)?;
        if datagram == b"end" {
            return Ok(());
        }
    }
}
