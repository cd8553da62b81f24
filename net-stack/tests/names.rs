//! Names that are known, and names that a DNS server knows.

mod wire;

use std::net::IpAddr;

use net_stack::{Config, Error, Family};
use wire::{CLIENT, SERVER, World, config};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn known_names() {
    let names = [
        ("redis", "10.0.2.100"),
        ("Api.Example.com.", "10.0.2.101"),
        ("api.example.com", "10.0.2.102"),
    ];
    let names = names
        .map(|(name, known)| (name.to_owned(), address(known)))
        .to_vec();
    let mut world = World::with([
        Config {
            names,
            lookups: 1,
            ..config(CLIENT)
        },
        config(SERVER),
    ]);
    let stack = world.client();
    let mut look_up = |name: &str, family| {
        let lookup = stack.look_up(name, family).unwrap();
        assert_eq!(stack.look_up("redis", family), Err(Error::TooMany));
        assert_eq!(stack.lookup_is_done(lookup), Ok(true));
        let result = stack.lookup_result(lookup);
        assert_eq!(stack.lookup_result(lookup), Err(Error::BadHandle));
        result
    };
    assert_eq!(look_up("redis", Family::Ipv4), Ok(vec![address("10.0.2.100")]));
    assert_eq!(look_up("REDIS.", Family::Ipv4), Ok(vec![address("10.0.2.100")]));
    assert_eq!(look_up("redis", Family::Ipv6), Err(Error::NameNotFound));
    let both = ["10.0.2.101", "10.0.2.102"].map(address).to_vec();
    assert_eq!(look_up("api.example.com", Family::Ipv4), Ok(both));
    assert_eq!(look_up("192.0.2.7", Family::Ipv4), Ok(vec![address("192.0.2.7")]));
    assert_eq!(look_up("192.0.2.7", Family::Ipv6), Err(Error::NameNotFound));
    let long = "x".repeat(64);
    for none in [
        "example.com",
        "",
        ".",
        "a..b",
        "redis..",
        &long,
        &"x.".repeat(200),
    ] {
        assert_eq!(look_up(none, Family::Ipv4), Err(Error::NameNotFound), "{none}");
    }
}

#[cfg(all(feature = "dns", feature = "udp"))]
mod servers {
    use net_stack::{LookupId, UdpId};

    use super::*;
    use crate::wire::{at, wait};

    fn world() -> (World, UdpId) {
        let dns_servers = vec![address("10.0.2.2")];
        let mut world = World::with([
            Config {
                dns_servers,
                ..config(CLIENT)
            },
            config(SERVER),
        ]);
        let server = world.server().udp_bind(at(SERVER, 53)).unwrap();
        (world, server)
    }

    /// Receives a question and answers it with these records: (type, data).
    fn answer(world: &mut World, server: UdpId, code: u8, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut buffer = [0; 512];
        let question = world.until(|[_, stack]| wait(stack.receive_from(server, &mut buffer)));
        let mut message = buffer[..question.length].to_vec();
        let asked = message[12..].to_vec();
        message[2] |= 0x80;
        message[3] = code;
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            // The name of the question, of class IN, for a minute.
            message.extend([0xc0, 12]);
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(*data);
        }
        world
            .server()
            .send_to(server, &message, Some(question.from))
            .unwrap();
        asked
    }

    fn result(world: &mut World, lookup: LookupId) -> Result<Vec<IpAddr>, Error> {
        world.until(|[stack, _]| match stack.lookup_result(lookup) {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })
    }

    #[test]
    fn a_server_answers() {
        let (mut world, server) = world();
        let lookup = world.client().look_up("Example.COM", Family::Ipv4).unwrap();
        assert_eq!(world.client().lookup_result(lookup), Err(Error::WouldBlock));
        let records: [(u16, &[u8]); 2] = [(1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])];
        let asked = answer(&mut world, server, 0, &records);
        assert_eq!(asked, b"\x07example\x03com\x00\x00\x01\x00\x01");
        assert_eq!(
            result(&mut world, lookup),
            Ok(["192.0.2.1", "192.0.2.2"].map(address).to_vec())
        );
    }

    #[cfg(feature = "ipv6")]
    #[test]
    fn a_server_answers_with_ipv6() {
        let (mut world, server) = world();
        let lookup = world.client().look_up("example.com", Family::Ipv6).unwrap();
        let data = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let asked = answer(&mut world, server, 0, &[(28, &data)]);
        assert_eq!(asked, b"\x07example\x03com\x00\x00\x1c\x00\x01");
        assert_eq!(result(&mut world, lookup), Ok(vec![address("2001:db8::1")]));
    }

    #[test]
    fn there_is_no_such_name() {
        let (mut world, server) = world();
        for (code, records) in [(3, &[][..]), (0, &[][..]), (0, &[(16, &b"text"[..])][..])] {
            let lookup = world.client().look_up("example.com", Family::Ipv4).unwrap();
            answer(&mut world, server, code, records);
            assert_eq!(result(&mut world, lookup), Err(Error::NameNotFound));
        }
    }

    /// Whoever asks again may hear something else.
    #[test]
    fn a_server_that_fails_does_not_know_that_there_is_no_such_name() {
        let (mut world, server) = world();
        let lookup = world.client().look_up("example.com", Family::Ipv4).unwrap();
        answer(&mut world, server, 2, &[]);
        assert_eq!(result(&mut world, lookup), Err(Error::TimedOut));
    }

    #[test]
    fn a_question_is_asked_again() {
        let (mut world, server) = world();
        world.wire.borrow_mut().faults.loss = 500;
        for _ in 0..20 {
            let lookup = world.client().look_up("example.com", Family::Ipv4).unwrap();
            let outcome = world.until(|[client, stack]| {
                let mut buffer = [0; 512];
                if let Ok(question) = stack.receive_from(server, &mut buffer) {
                    let mut message = buffer[..question.length].to_vec();
                    (message[2], message[7]) = (message[2] | 0x80, 1);
                    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 3]);
                    let _ = stack.send_to(server, &message, Some(question.from));
                }
                match client.lookup_result(lookup) {
                    Err(Error::WouldBlock) => None,
                    result => Some(result),
                }
            });
            assert!(matches!(outcome, Ok(_) | Err(Error::TimedOut)), "{outcome:?}");
        }
    }

    #[test]
    fn nobody_answers() {
        let (mut world, _server) = world();
        let lookup = world.client().look_up("example.com", Family::Ipv4).unwrap();
        assert_eq!(result(&mut world, lookup), Err(Error::TimedOut));
        let lookup = world.client().look_up("example.com", Family::Ipv4).unwrap();
        world.run(1000);
        world.client().cancel_lookup(lookup).unwrap();
        assert_eq!(world.client().lookup_result(lookup), Err(Error::BadHandle));
        let lookups: Vec<_> = (0..16)
            .map(|_| world.client().look_up("example.com", Family::Ipv4))
            .collect();
        assert!(lookups.iter().all(Result::is_ok));
        assert_eq!(
            world.client().look_up("example.com", Family::Ipv4),
            Err(Error::TooMany)
        );
        for lookup in lookups {
            assert_eq!(result(&mut world, lookup.unwrap()), Err(Error::TimedOut));
        }
    }
}
