//! Datagrams of the guest's and to it.

mod guest;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use guest::Guest;
use net_stack::{Error, Family, UdpId};
use relay::Published;

fn receive(guest: &mut Guest, socket: UdpId) -> Result<(Vec<u8>, SocketAddr), Error> {
    let mut buffer = [0; 2000];
    guest.until(|stack| match stack.receive_from(socket, &mut buffer) {
        Err(Error::WouldBlock) => None,
        Ok(datagram) => Some(Ok((buffer[..datagram.length].to_vec(), datagram.from))),
        Err(error) => Some(Err(error)),
    })
}

fn server() -> UdpSocket {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    server
}

#[test]
fn a_granted_server_is_asked_and_answers() {
    let server = server();
    let grant = format!("time:123/udp={}", server.local_addr().unwrap());
    let mut guest = Guest::new(&[&grant]);
    for to in ["10.0.2.100:123", "[fd00:a:0:2::1:64]:123"] {
        let to: SocketAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = guest.stack.udp_bind(any.parse().unwrap()).unwrap();
        for data in [&b"question"[..], b"", &[7; 1400]] {
            guest.stack.send_to(socket, data, Some(to)).unwrap();
            let mut buffer = [0; 2000];
            let (length, client) = guest.until(|_| server.recv_from(&mut buffer).ok());
            assert_eq!(&buffer[..length], data);
            server.send_to(&buffer[..length], client).unwrap();
            assert_eq!(receive(&mut guest, socket), Ok((data.to_vec(), to)));
        }
    }
}

#[test]
fn what_is_not_delivered_is_said() {
    let nobody = server();
    let grant = format!("gone:123/udp={}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut guest = Guest::with(&[&grant, "self:53/udp"], Vec::new(), |setup| {
        setup.resolve = Arc::new(|_| Ok(vec!["127.0.0.1".parse().unwrap()]));
    });
    for (to, error) in [
        ("10.0.2.100:123", Error::ConnectionRefused),
        ("10.0.2.100:124", Error::Prohibited),
        ("10.0.2.101:53", Error::Prohibited),
        ("10.0.2.2:53", Error::Prohibited),
        ("[fd00:a:0:2::1:64]:123", Error::ConnectionRefused),
        ("[2001:db8::1]:53", Error::Prohibited),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = guest.stack.udp_bind(any.parse().unwrap()).unwrap();
        guest.stack.udp_connect(socket, Some(to)).unwrap();
        guest.stack.send_to(socket, b"question", None).unwrap();
        assert_eq!(receive(&mut guest, socket), Err(error), "{to}");
        guest.stack.close_udp(socket).unwrap();
    }
}

#[test]
fn a_published_port_has_its_clients_and_no_others() {
    let published = Published::bind(&"0:53/udp".parse().unwrap()).unwrap();
    let to = published.host().unwrap();
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let socket = guest.stack.udp_bind("0.0.0.0:53".parse().unwrap()).unwrap();
    let clients = [server(), server()];
    for round in 0..2u8 {
        for (number, client) in clients.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            client.send_to(&[round, number], to).unwrap();
            let (data, from) = receive(&mut guest, socket).unwrap();
            assert_eq!(data, [round, number]);
            assert_eq!(from.port(), client.local_addr().unwrap().port());
            guest.stack.send_to(socket, &[number], Some(from)).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(guest.until(|_| client.recv_from(&mut buffer).ok()), (1, to));
            assert_eq!(buffer[0], number);
        }
    }
    // Nobody has sent from there.
    let planted = server();
    let port = planted.local_addr().unwrap().port();
    let strange = guest.stack.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let gateway = SocketAddr::new([10, 0, 2, 2].into(), port);
    guest.stack.udp_connect(strange, Some(gateway)).unwrap();
    guest.stack.send_to(strange, b"x", None).unwrap();
    assert_eq!(receive(&mut guest, strange), Err(Error::Prohibited));
    assert!(planted.recv(&mut [0; 8]).is_err());
}

#[test]
fn a_flood_at_a_published_port_does_not_reach_what_the_guest_has_begun() {
    const FLOWS: usize = 8;
    let published = Published::bind(&"0:53/udp".parse().unwrap()).unwrap();
    let to = published.host().unwrap();
    let clock = server();
    let grant = format!("time:123/udp={}", clock.local_addr().unwrap());
    let mut guest = Guest::with(&[&grant], vec![published], |setup| {
        setup.datagram_flows = FLOWS;
    });
    let served = guest.stack.udp_bind("0.0.0.0:53".parse().unwrap()).unwrap();
    let time: SocketAddr = "10.0.2.100:123".parse().unwrap();
    let mut buffer = [0; 8];
    let mut ask = |guest: &mut Guest| {
        let own = guest.stack.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
        guest.stack.send_to(own, b"when", Some(time)).unwrap();
        let (_, asker) = guest.until(|_| clock.recv_from(&mut buffer).ok());
        (own, asker)
    };
    let flood = |guest: &mut Guest| {
        for number in 0..4 * FLOWS {
            let client = server();
            client.send_to(&[1], to).unwrap();
            // As many as are let in arrive; if none were, the guest would wait here for ever.
            if number < FLOWS / 2 {
                receive(guest, served).unwrap();
            }
            guest.run_for(2);
        }
    };
    // Some before the flood, some after it.
    let mut asked = vec![ask(&mut guest), ask(&mut guest)];
    flood(&mut guest);
    asked.extend((0..FLOWS - 2).map(|_| ask(&mut guest)));
    // By now all places are the guest's.
    for _ in 0..2 {
        let client = server();
        client.send_to(&[2], to).unwrap();
        guest.run_for(20);
    }
    for (own, asker) in asked {
        clock.send_to(b"now", asker).unwrap();
        assert_eq!(receive(&mut guest, own), Ok((b"now".to_vec(), time)));
    }
}

#[test]
fn names_that_were_not_granted_are_looked_up_only_if_that_was() {
    let found: [IpAddr; 2] = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    for allowed in [false, true] {
        let mut guest = Guest::with(&["granted:80"], Vec::new(), |setup| {
            if allowed {
                setup.policy = setup.policy.clone().allow_lookup();
            }
            setup.resolve = Arc::new(move |name| match name {
                "other.example" => Ok(found.to_vec()),
                "denied.example" => Err(ErrorKind::NotFound.into()),
                // What the system's resolver says when no server answers, or one that it has failed.
                "unknown.example" => Err(io::Error::other("Temporary failure in name resolution")),
                _ => Ok(Vec::new()),
            });
        });
        for (family, address) in [(Family::Ipv4, found[0]), (Family::Ipv6, found[1])] {
            let other = guest.look_up("other.example", family);
            if allowed {
                assert_eq!(other, Ok(vec![address]));
            } else {
                assert!(other.is_err(), "{other:?}");
            }
        }
        if allowed {
            for (name, error) in [
                ("nobody.example", Error::NameNotFound),
                ("denied.example", Error::NameNotFound),
                ("unknown.example", Error::TimedOut),
            ] {
                assert_eq!(guest.look_up(name, Family::Ipv4), Err(error), "{name}");
            }
        }
        let granted = guest.look_up("granted", Family::Ipv4);
        assert_eq!(granted, Ok(vec![[10, 0, 2, 100].into()]));
        // A name's address is no permission.
        assert_eq!(guest.connect("192.0.2.7:80"), Err(Error::Prohibited));
    }
}
