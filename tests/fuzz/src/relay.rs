//! The host's end of a guest's network: whatever a machine says on its wire, what it hears is well-formed, and no more
//! than it said.
//!
//! The input is a script of frames: questions for neighbours, segments, datagrams and questions for names, each with a
//! byte changed or not, and bytes that are no frame. The grants lead to a port of this host that nobody listens at, and
//! to a name that nobody has, so nothing leaves the host.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use boot_protocol::network::Grant;
use boot_protocol::network::inside::{GATEWAY_LINK, GUEST, GUEST_V6};
use relay::{Policy, Relay, Setup};

const GUEST_LINK: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Port 9 is for what is to be discarded; where somebody listens there after all, that is what happens.
const GRANTS: [&str; 5] = [
    "closed:80=127.0.0.1:9",
    "closed:80/udp=127.0.0.1:9",
    "nobody:80",
    "nobody:53/udp",
    "192.0.2.7:80=127.0.0.1:9",
];
/// Frames at most: all fit into the wire at once.
const MOST: usize = 64;

/// The bytes of the input, one by one; zeros behind its end.
struct Script<'i>(&'i [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.split_off(..length).unwrap_or_default().to_vec()
    }
}

/// The bytes say what the machine sends.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let (mut said, mut frames, mut is_wire) = (Vec::new(), 0, true);
    while !script.0.is_empty() && frames < MOST {
        let kind = script.byte() % 8;
        if kind == 7 {
            said.extend(script.bytes());
            is_wire = false;
            continue;
        }
        let frame = frame(kind, &mut script);
        said.extend(u32::try_from(frame.len()).unwrap_or_default().to_be_bytes());
        said.extend(frame);
        frames += 1;
    }
    let (mut wire, theirs) = UnixStream::pair().expect("this process may have sockets");
    wire.write_all(&said).expect("it fits into the socket");
    wire.shutdown(Shutdown::Write).expect("it is open");
    match relay(theirs).run() {
        Ok(()) => {}
        Err(error) => assert!(!is_wire && error.kind() == ErrorKind::InvalidData, "{error}"),
    }
    let mut heard = Vec::new();
    wire.read_to_end(&mut heard).expect("the relay closed it");
    let answers = check(&heard);
    assert!(
        !is_wire || answers <= frames,
        "{answers} answers to {frames} frames"
    );
}

fn relay(wire: UnixStream) -> Relay {
    let grants = GRANTS.map(|grant| grant.parse::<Grant>().expect("it is a grant"));
    let policy = Policy::new(&grants, false).expect("they do not contradict each other");
    let mut setup = Setup::new(policy.allow_lookup(), Vec::new(), GUEST_LINK);
    (setup.connections, setup.buffer, setup.datagram_flows) = (8, 4096, 4);
    setup.resolve = Arc::new(|name| match name {
        "nobody" => Ok(Vec::new()),
        _ => Ok(vec![
            [192, 0, 2, 7].into(),
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(),
        ]),
    });
    Relay::new(wire, setup).expect("it has what it needs")
}

/// Whom the machine talks to.
fn address(number: u8, ipv6: bool) -> IpAddr {
    if ipv6 {
        let last = [0x2, 0x3, 0x64, 0x65, 0x7f][usize::from(number % 5)];
        let group = u16::from(last >= 0x64);
        return [0xfd00, 0xa, 0, 2, 0, 0, group, last].into();
    }
    let v4 = [
        [10, 0, 2, 2],
        [10, 0, 2, 3],
        [10, 0, 2, 100],
        [10, 0, 2, 101],
        [192, 0, 2, 7],
        [127, 0, 0, 1],
        [10, 0, 2, 15],
        [8, 8, 8, 8],
    ];
    v4[usize::from(number % 8)].into()
}

/// A frame of the machine's.
fn frame(kind: u8, script: &mut Script<'_>) -> Vec<u8> {
    let to = script.byte();
    let mut frame = match kind {
        0 => {
            let mut frame = [&GATEWAY_LINK[..], &GUEST_LINK].concat();
            frame.extend(script.bytes());
            frame
        }
        1 => arp(address(to, false)),
        2 => neighbour(address(to, true)),
        3 | 4 => {
            let (port, flags) = (script.byte(), script.byte());
            let sequence = [0, 0, script.byte(), 7];
            let header = [
                &[4, port % 4, 0, port][..],
                &sequence,
                &[0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
                &script.bytes(),
            ];
            packet(address(to, kind == 4), 6, &header.concat())
        }
        5 => {
            let (port, data) = (script.byte(), script.bytes());
            let length = u16::try_from(8 + data.len()).unwrap_or_default().to_be_bytes();
            let header = [&[4, 1, 0, port][..], &length, &[0, 0], &data];
            packet(address(to, to & 8 != 0), 17, &header.concat())
        }
        _ => {
            let question = [&[7, to, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &script.bytes()].concat();
            let length = u16::try_from(8 + question.len())
                .unwrap_or_default()
                .to_be_bytes();
            let header = [&[4, 2, 0, 53][..], &length, &[0, 0], &question];
            packet(address(1, to & 8 != 0), 17, &header.concat())
        }
    };
    if let (place, value) = (usize::from(script.byte()), script.byte())
        && place > 0
        && let Some(byte) = frame.get_mut(place)
    {
        *byte ^= value;
        if value & 1 != 0 {
            sums(&mut frame, true);
        }
    }
    frame
}

fn arp(target: IpAddr) -> Vec<u8> {
    let IpAddr::V4(target) = target else {
        return Vec::new();
    };
    [
        &[0xff; 6][..],
        &GUEST_LINK,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &GUEST_LINK,
        &GUEST.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

fn neighbour(target: IpAddr) -> Vec<u8> {
    let IpAddr::V6(address) = target else {
        return Vec::new();
    };
    let message = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &address.octets(),
        &[1, 1],
        &GUEST_LINK,
    ]
    .concat();
    let mut frame = packet(target, 58, &message);
    frame[21] = 255;
    frame
}

/// A frame with a packet to `to`, with its checksums.
fn packet(to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = |more: usize| {
        u16::try_from(payload.len() + more)
            .unwrap_or_default()
            .to_be_bytes()
    };
    let header = match to {
        IpAddr::V4(to) => {
            let [high, low] = length(20);
            let start = [8, 0, 0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
            [&start[..], &GUEST.octets(), &to.octets()].concat()
        }
        IpAddr::V6(to) => {
            let [high, low] = length(0);
            let start = [0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, 64];
            [&start[..], &GUEST_V6.octets(), &to.octets()].concat()
        }
    };
    let mut frame = [&GATEWAY_LINK[..], &GUEST_LINK, &header, payload].concat();
    sums(&mut frame, true);
    frame
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    let words = words.map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    words.sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default()
}

/// Whether a frame's checksums are right. `mend`: makes them so.
fn sums(frame: &mut [u8], mend: bool) -> bool {
    let (protocol, addresses, start) = match frame.get(12..15) {
        Some([8, 0, first]) if frame.len() >= 34 => (frame[23], 26..34, 14 + usize::from(first & 15) * 4),
        Some([0x86, 0xdd, _]) if frame.len() >= 54 => (frame[20], 22..54, 54),
        _ => return true,
    };
    let is_v4 = addresses.start == 26;
    if start < 34 || start > frame.len() {
        return false;
    }
    if is_v4 {
        if mend {
            frame[24..26].fill(0);
            let checksum = !fold(sum(&frame[14..start]));
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        if fold(sum(&frame[14..start])) != 0xffff {
            return false;
        }
    }
    let offset = match protocol {
        1 if is_v4 => 2,
        58 => 2,
        6 => 16,
        17 => 6,
        _ => return true,
    };
    let payload = start..frame.len();
    if payload.len() < offset + 2 {
        return false;
    }
    let pseudo = match protocol {
        1 => 0,
        _ => sum(&frame[addresses]) + u32::from(protocol) + u32::try_from(payload.len()).unwrap_or_default(),
    };
    if mend {
        let place = start + offset..start + offset + 2;
        frame[place.clone()].fill(0);
        let checksum = !fold(pseudo + sum(&frame[payload.clone()]));
        frame[place].copy_from_slice(&checksum.to_be_bytes());
    }
    fold(pseudo + sum(&frame[payload])) == 0xffff
}

/// What the machine hears is made of frames that are for it, and right to the last bit. Counts them.
fn check(mut heard: &[u8]) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = heard.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*head)).expect("a word");
        assert!((42..=1514).contains(&length) && length <= rest.len(), "{length}");
        let (frame, rest) = rest.split_at(length);
        assert_eq!(frame[..12], [GUEST_LINK, GATEWAY_LINK].concat());
        match &frame[12..14] {
            [8, 6] => assert_eq!(length, 42),
            [8, 0] => {
                assert_eq!(
                    usize::from(u16::from_be_bytes([frame[16], frame[17]])),
                    length - 14
                );
                assert_eq!(frame[30..34], GUEST.octets());
            }
            [0x86, 0xdd] => {
                assert_eq!(
                    usize::from(u16::from_be_bytes([frame[18], frame[19]])),
                    length - 54
                );
            }
            other => panic!("{other:?}"),
        }
        assert!(sums(&mut frame.to_vec(), false), "{frame:x?}");
        heard = rest;
        count += 1;
    }
    assert!(heard.is_empty(), "{heard:?}");
    count
}
