//! The relay's process: from what it is told to the guest's end.

use std::ffi::OsStr;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;

use boot_protocol::network::Protocol;
use relay::{Policy, Published, Setup, Socket};
use rustix::process::Resource;

use super::words::{NAME, Words};
use super::{BUFFER, CONNECTIONS, DESCRIPTORS, FLOWS, GUEST_LINK};
use crate::host::inherited;
use crate::jail;

/// If this process was started as the relay of a guest's network, is that until the guest's end, and ends. Otherwise
/// returns at once.
///
/// A program that gives its runs a network calls this at the beginning of `main`, before it starts threads, and names
/// itself by [`Run::relay`](crate::Run::relay). The program `hermit-wasm` does so.
pub fn serve_if_asked() {
    if std::env::args_os().next().as_deref() != Some(OsStr::new(NAME)) {
        return;
    }
    let code = match serve() {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            1
        }
    };
    std::process::exit(code)
}

fn serve() -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut words = String::new();
    std::io::stdin()
        .read_to_string(&mut words)
        .map_err(|error| format!("cannot read on standard input what it is to do: {error}"))?;
    let words = Words::parse(&words)?;
    if words.confined {
        jail::start_no_program().map_err(text)?;
    }
    let inherited = |number| {
        inherited::any(number).map_err(|error| format!("the descriptor {number}, which it inherits: {error}"))
    };
    let mut published = Vec::new();
    for (number, guest, protocol) in &words.published {
        let socket = inherited(*number)?;
        published.push(Published::new(
            *guest,
            match protocol {
                Protocol::Tcp => Socket::Tcp(TcpListener::from(socket)),
                Protocol::Udp => Socket::Udp(UdpSocket::from(socket)),
            },
        ));
    }
    let wire = UnixStream::from(inherited(words.wire)?);
    let mut policy = Policy::new(&words.grants, words.inherit).map_err(|error| error.to_string())?;
    if words.look_up {
        policy = policy.allow_lookup();
    }
    let (connections, flows) = room(
        published.len(),
        rustix::process::getrlimit(Resource::Nofile).current,
    );
    let setup = Setup {
        connections,
        buffer: BUFFER,
        datagram_flows: flows,
        ..Setup::new(policy, published, GUEST_LINK)
    };
    let relay = relay::Relay::new(wire, setup).map_err(text)?;
    relay.run().map_err(text)
}

/// So many connections, and so many exchanges of datagrams, as there are descriptors for.
fn room(published: usize, descriptors: Option<u64>) -> (usize, usize) {
    let descriptors = descriptors.and_then(|number| usize::try_from(number).ok());
    let others = (DESCRIPTORS / 4).saturating_add(published);
    let room = descriptors.unwrap_or(usize::MAX).saturating_sub(others).max(8);
    let flows = FLOWS.min(room / 4);
    (CONNECTIONS.min(room - flows), flows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_descriptor() {
        assert_eq!(room(0, None), (CONNECTIONS, FLOWS));
        let all = u64::try_from(CONNECTIONS + FLOWS + DESCRIPTORS).unwrap();
        assert_eq!(room(32, Some(all)), (CONNECTIONS, FLOWS));
        let (connections, flows) = room(2, Some(1024));
        assert!(
            connections + flows + 64 + 2 <= 1024 && connections > 512,
            "{connections}"
        );
        // Even so, something goes on.
        assert_eq!(room(0, Some(3)), (6, 2));
    }
}
