//! Names and their addresses.
//!
//! Layer: tests.

use super::*;
use crate::{abi::layout::Encode as _, abi::wasmedge::Addrinfo};

/// Where the question lies, where the list's first element is named, and where its length goes.
const NODE: Ptr<u8> = Ptr::new(0);
const SERVICE: Ptr<u8> = Ptr::new(64);
const HINTS: Ptr<Addrinfo> = Ptr::new(80);
const RES: Ptr<Ptr<Addrinfo>> = Ptr::new(112);
const RES_LEN: Ptr<Size> = Ptr::new(116);

/// The list: elements of 28 bytes, their addresses, and the bytes of those.
const LIST: u32 = 128;
const SOCKADDRS: u32 = 300;
const DATA: u32 = 400;
const ELEMENT: u32 = 28;

/// What is asked: a hint with flags, family, kind and protocol.
#[derive(Clone, Copy)]
struct Asked<'a> {
    node: &'a str,
    service: &'a str,
    hint: (u16, u8, u8, u8),
    max: Size,
}

const REDIS: Asked<'_> = Asked {
    node: "redis\0",
    service: "http\0",
    hint: (0, 1, 2, 1),
    max: 3,
};

/// Puts a question and a list of three elements with so much room each.
fn put(bed: &mut TestBed, asked: Asked<'_>, room: Size) {
    bed.put(NODE.address(), asked.node.as_bytes());
    bed.put(SERVICE.address(), asked.service.as_bytes());
    let (ai_flags, ai_family, ai_socktype, ai_protocol) = asked.hint;
    let hint = Addrinfo {
        ai_flags,
        ai_family,
        ai_socktype,
        ai_protocol,
        ai_addrlen: 0,
        ai_addr: 0,
        ai_canonname: 0,
        ai_canonname_len: 0,
        ai_next: 0,
    };
    bed.put(HINTS.address(), &hint.to_bytes());
    bed.put(RES.address(), &le32(LIST));
    for index in 0..3 {
        let element = Addrinfo {
            ai_addr: SOCKADDRS + 12 * index,
            ai_canonname: 0x1111,
            ai_canonname_len: 9,
            ai_next: if index < 2 {
                LIST + ELEMENT * (index + 1)
            } else {
                0
            },
            ..hint
        };
        bed.put(LIST + ELEMENT * index, &element.to_bytes());
        let sockaddr = [le32(7), le32(room), le32(DATA + 32 * index)].concat();
        bed.put(SOCKADDRS + 12 * index, &sockaddr);
    }
}

fn ask(asked: Asked<'_>) -> impl Fn(&mut WasiP1Ctx<TestSystem>, &mut GuestMemory<'_>) -> Result<(), Error> {
    let len = |text: &str| Size::try_from(text.len()).expect("short");
    let (node_len, service_len) = (len(asked.node), len(asked.service));
    move |c, m| {
        sock_getaddrinfo(
            c,
            m,
            NODE,
            node_len,
            SERVICE,
            service_len,
            HINTS,
            RES,
            asked.max,
            RES_LEN,
        )
    }
}

fn bed_where(name: &'static str, found: Result<Vec<IpAddr>, Errno>) -> TestBed {
    bed_with([(5, Happening::Found(name, found))])
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 2, last).into()
}

/// What an element of the list holds: family, kind, protocol, port and address.
fn element(bed: &TestBed, index: u32) -> (u8, u8, u8, u16, Vec<u8>) {
    let at = |address: u32, len: usize| {
        let start = usize::try_from(address).expect("small");
        bed.memory[start..start + len].to_vec()
    };
    let info = at(LIST + ELEMENT * index, 28);
    let sockaddr = at(SOCKADDRS + 12 * index, 12);
    assert_eq!(info[2], sockaddr[0]);
    let len = u32::from_le_bytes(*sockaddr[4..].first_chunk().expect("4 bytes"));
    let addrlen = u32::from_le_bytes(*info[8..].first_chunk().expect("4 bytes"));
    assert_eq!(addrlen, len + 2);
    let data = at(DATA + 32 * index, usize::try_from(len).expect("small"));
    let port = u16::from_be_bytes([data[0], data[1]]);
    let address = match info[2] {
        1 => data[2..6].to_vec(),
        2 => data[6..22].to_vec(),
        other => panic!("family {other}"),
    };
    (info[2], info[3], info[4], port, address)
}

#[test]
fn an_answer_byte_by_byte() {
    let mut bed = bed_where("redis", Ok(vec![v4(100)]));
    put(&mut bed, REDIS, 14);
    bed.ok(
        ask(REDIS),
        &[
            // Flags, family, kind, protocol, 3 of padding, length on the host; the name's length.
            (LIST, &[0, 0, 1, 2, 1, 0, 0, 0, 16, 0, 0, 0]),
            (LIST + 20, &[0, 0, 0, 0]),
            (SOCKADDRS, &[1, 0, 0, 0, 14, 0, 0, 0]),
            // Port 80, then the address, then zeros.
            (DATA, &[0, 80, 10, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0]),
            (RES_LEN.address(), &le32(1)),
        ],
    );
}

#[test]
fn addresses_come_in_order_for_each_kind_as_long_as_there_are_elements() {
    let any = Asked {
        hint: (0, 0, 0, 0),
        service: "6379",
        ..REDIS
    };
    let mut bed = bed_where("redis", Ok(vec![v4(1), v4(2)]));
    put(&mut bed, any, 26);
    assert_eq!(bed.run(ask(any)), Ok(()));
    assert_eq!(bed.memory[116], 3);
    assert_eq!(element(&bed, 0), (1, 2, 1, 6379, vec![10, 0, 2, 1]));
    assert_eq!(element(&bed, 1), (1, 1, 2, 6379, vec![10, 0, 2, 1]));
    assert_eq!(element(&bed, 2), (1, 2, 1, 6379, vec![10, 0, 2, 2]));

    let one = Asked { max: 1, ..any };
    let mut bed = bed_where("redis", Ok(vec![v4(1), v4(2)]));
    put(&mut bed, one, 26);
    assert_eq!(bed.run(ask(one)), Ok(()));
    assert_eq!(bed.memory[116], 1);
}

#[test]
fn an_address_needs_room() {
    let v6: IpAddr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into();
    let any = Asked {
        hint: (0, 0, 2, 0),
        ..REDIS
    };
    // What does not fit is left out.
    let mut bed = bed_where("redis", Ok(vec![v6, v4(1)]));
    put(&mut bed, any, 25);
    assert_eq!(bed.run(ask(any)), Ok(()));
    assert_eq!(bed.memory[116], 1);
    assert_eq!(element(&bed, 0), (1, 2, 1, 80, vec![10, 0, 2, 1]));

    let mut bed = bed_where("redis", Ok(vec![v6, v4(1)]));
    put(&mut bed, any, 26);
    assert_eq!(bed.run(ask(any)), Ok(()));
    assert_eq!(bed.memory[116], 2);
    let IpAddr::V6(address) = v6 else { panic!("IPv6") };
    assert_eq!(element(&bed, 0), (2, 2, 1, 80, address.octets().to_vec()));

    let mut bed = bed_where("redis", Ok(vec![v6]));
    put(&mut bed, any, 14);
    bed.errno(ask(any), Errno::AIMEMORY);
}

#[test]
fn what_needs_no_lookup() {
    for (node, flags, family, address) in [
        ("192.168.1.9", 0, 0, vec![192, 168, 1, 9]),
        ("192.168.1.9", Addrinfo::NUMERICHOST, 1, vec![192, 168, 1, 9]),
        ("::1", 0, 2, Ipv6Addr::LOCALHOST.octets().to_vec()),
        ("", 0, 1, vec![127, 0, 0, 1]),
        ("", Addrinfo::PASSIVE, 1, vec![0; 4]),
        ("\0", Addrinfo::PASSIVE, 2, vec![0; 16]),
    ] {
        let asked = Asked {
            node,
            service: "8080\0",
            hint: (flags, family, 2, 0),
            max: 1,
        };
        let mut bed = bed_with([]);
        put(&mut bed, asked, 26);
        assert_eq!(bed.run(ask(asked)), Ok(()), "{node}");
        let (_, _, _, port, found) = element(&bed, 0);
        assert_eq!((port, found), (8080, address), "{node}");
    }
}

#[test]
fn questions_that_have_no_answer() {
    let with = |hint| Asked { hint, ..REDIS };
    let numeric = (Addrinfo::NUMERICHOST, 1, 2, 1);
    for (asked, errno) in [
        (
            Asked {
                node: "",
                service: "",
                ..REDIS
            },
            Errno::AINONAME,
        ),
        (
            Asked {
                node: "\0",
                service: "\0",
                ..REDIS
            },
            Errno::AINONAME,
        ),
        (Asked { max: 0, ..REDIS }, Errno::AIMEMORY),
        (with((0x80, 1, 2, 1)), Errno::AIBADFLAG),
        (
            Asked {
                node: "",
                hint: (2, 1, 2, 1),
                ..REDIS
            },
            Errno::AIBADFLAG,
        ),
        (with((0, 3, 2, 1)), Errno::AIFAMILY),
        (with((0, 4, 2, 1)), Errno::AIFAMILY),
        (with((0, 1, 3, 1)), Errno::NOSYS),
        (with((0, 1, 2, 3)), Errno::NOSYS),
        (with((0, 1, 2, 2)), Errno::AISOCKTYPE),
        (with((0, 1, 1, 1)), Errno::AISOCKTYPE),
        (
            Asked {
                hint: numeric,
                ..REDIS
            },
            Errno::AINONAME,
        ),
        (
            Asked {
                hint: (Addrinfo::NUMERICSERV, 1, 2, 1),
                ..REDIS
            },
            Errno::AINONAME,
        ),
        (
            Asked {
                service: "65536",
                ..REDIS
            },
            Errno::AISERVICE,
        ),
        (
            Asked {
                service: "gopher",
                ..REDIS
            },
            Errno::AISERVICE,
        ),
        (Asked { node: "::1", ..REDIS }, Errno::AIADDRFAMILY),
    ] {
        let mut bed = bed_with([]);
        put(&mut bed, asked, 26);
        bed.errno(ask(asked), errno);
    }
}

#[test]
fn what_a_lookup_says() {
    for (found, errno) in [
        (Err(Errno::NOENT), Errno::AINONAME),
        (Err(Errno::TIMEDOUT), Errno::AIAGAIN),
        (Ok(vec![]), Errno::AIADDRFAMILY),
        (Ok(vec![Ipv6Addr::LOCALHOST.into()]), Errno::AIADDRFAMILY),
    ] {
        let mut bed = bed_where("redis", found);
        put(&mut bed, REDIS, 26);
        bed.errno(ask(REDIS), errno);
    }
}

#[test]
fn a_list_beyond_memory_traps_before_anything_is_looked_up() {
    let asked = REDIS;
    let with_bed = |change: &dyn Fn(&mut TestBed)| {
        let mut bed = bed_where("redis", Ok(vec![v4(1)]));
        put(&mut bed, asked, 26);
        change(&mut bed);
        bed.trap(ask(asked));
    };
    with_bed(&|bed| bed.put(RES.address(), &le32(SIZE - 27)));
    with_bed(&|bed| bed.put(RES.address(), &le32(LIST + 2)));
    // The second element, its address, the bytes of that.
    with_bed(&|bed| bed.put(LIST + 24, &le32(SIZE)));
    with_bed(&|bed| bed.put(LIST + ELEMENT + 12, &le32(SIZE - 8)));
    with_bed(&|bed| bed.put(SOCKADDRS + 12 + 8, &le32(SIZE - 25)));

    let mut bed = bed_where("redis", Ok(vec![v4(1)]));
    put(&mut bed, asked, 26);
    let far = u32::MAX;
    for [node, hints, res, res_len] in [
        [far, 80, 112, 116],
        [0, SIZE - 24, 112, 116],
        [0, 81, 112, 116],
        [0, 80, SIZE, 116],
        [0, 80, 112, SIZE],
        [0, 80, 112, 118],
    ] {
        bed.trap(|c, m| {
            let (node, hints) = (Ptr::new(node), Ptr::new(hints));
            let (res, res_len) = (Ptr::new(res), Ptr::new(res_len));
            sock_getaddrinfo(c, m, node, 6, SERVICE, 5, hints, res, 3, res_len)
        });
    }
}

/// A list that leads to itself is filled no further than there are answers.
#[test]
fn a_list_that_goes_in_circles() {
    let asked = Asked {
        max: u32::MAX,
        ..REDIS
    };
    let mut bed = bed_where("redis", Ok(vec![v4(1), v4(2)]));
    put(&mut bed, asked, 26);
    bed.put(LIST + 24, &le32(LIST));
    assert_eq!(bed.run(ask(asked)), Ok(()));
    assert_eq!(bed.memory[116], 2);
    assert_eq!(element(&bed, 0), (1, 2, 1, 80, vec![10, 0, 2, 2]));
}
