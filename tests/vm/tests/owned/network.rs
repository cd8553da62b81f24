//! Frames that a hostile machine sends by the launcher's own relay, on a host that is a network namespace: listeners at
//! all of its addresses hear nothing, and the kernel counts what left.
//!
//! The test program starts itself once more in that namespace ([`play`]).

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use test_frames::{attempts, connection, names, scan};
use vm_tests::namespace::{self, Way};

use crate::directory::Scratch;
use crate::run;

/// An address of that host's on its link.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// Where clouds keep their machines' secrets.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The router's address inside.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// What is granted.
const GRANTED: &str = "127.0.0.1:40100";

/// Ports of services that hosts have. Each is listened at, by all addresses of IPv4.
const PORTS: [u16; 5] = [22, 53, 80, 6379, 30_001];

/// The same for IPv6, where they serve IPv4 as well.
const PORTS_6: [u16; 3] = [443, 8080, 30_002];

/// Makes the host: links, addresses and a way to everywhere.
const MAKE: &str = "set -e
ip link set lo up
ip link add host type veth peer name world
ip link set host up
ip link set world up
ip address add 192.0.2.10/24 dev host
ip address add 169.254.169.254/32 dev lo
ip route add default via 192.0.2.1
! [ -e /proc/sys/net/ipv6 ] || ip -6 address add 2001:db8::10/64 dev host nodad";

/// How such a host can be made here, or why not.
pub(crate) fn way() -> Result<Way, String> {
    namespace::way(MAKE)
}

/// Starts this program there.
pub(crate) fn on_a_host_of_its_own(way: Way, launcher: &Path) -> Result<()> {
    namespace::start(way, &[launcher.as_os_str()])
}

/// If this is the host of its own, does everything that is to be done there, and says how it ended.
pub(crate) fn play() -> Option<ExitCode> {
    let words = namespace::words()?;
    let launcher = words.first()?;
    match frames(Path::new(launcher)) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error:#}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// All that a machine may send, where one port of one name is granted, and where this host's network is.
fn frames(launcher: &Path) -> Result<()> {
    namespace::make(MAKE)?;
    let planted = Planted::new()?;
    let granted = TcpListener::bind(GRANTED)?;
    granted.set_nonblocking(true)?;
    let module = module()?;
    for inherit in [false, true] {
        let scratch = Scratch::new(&format!("network-frames-{inherit}"))?;
        let module = scratch.write("module.wasm", &module)?;
        let mut arguments = [
            "run",
            "--accel=tcg",
            "--arch=x86_64",
            "--memory=64M",
            "--timeout=200s",
            "--net",
        ]
        .map(String::from)
        .to_vec();
        arguments.push(format!("granted:80={GRANTED}"));
        if inherit {
            arguments.extend(["-S", "inherit-network"].map(String::from));
        }
        let before = Sent::now()?;
        let ended = run::watch(launcher, &arguments, &module, true)?;
        let sent = Sent::now()?.since(&before);
        println!("network-frames, inherit {inherit}: {}; {sent:?}", ended.summary());
        let told = format!("\n{}\n{}", ended.stdout_start(), ended.stderr());
        ensure!(ended.code == 42, "it ended with {}{told}", ended.code);
        ensure!(told.contains("all frames are sent"), "not all was tried{told}");
        ended.nothing_raw()?;
        ended.within_memory(64, false)?;
        scratch.nothing_but_the_flags(&ended)?;
        planted.heard_nothing()?;
        // The last frame is the only one that is right, and it was understood.
        let accepted: Vec<_> = std::iter::from_fn(|| granted.accept().ok()).collect();
        ensure!(
            accepted.len() == 1,
            "{} connections to what was granted, not 1{told}",
            accepted.len()
        );
        // What is elsewhere may be reached where all is granted.
        if !inherit {
            let only = Sent {
                connections: 1,
                ..Sent::default()
            };
            ensure!(sent == only, "this host sent {sent:?} instead of {only:?}");
        }
    }
    Ok(())
}

/// What the launcher takes for a module: an order, and the frames.
fn module() -> Result<Vec<u8>> {
    let mut module = b"\0asm\x01\0\0\0attack=network-frames\n".to_vec();
    let mut frames = names();
    for port in PORTS.into_iter().chain(PORTS_6) {
        frames.extend(attempts(port, OWN));
    }
    frames.extend(scan(GATEWAY, 1..=u16::MAX));
    for own in [OWN, METADATA, Ipv4Addr::LOCALHOST] {
        frames.extend(scan(own, 1..=1024));
    }
    frames.push(connection(2000));
    println!("{} frames", frames.len());
    for frame in frames {
        module.extend(u16::try_from(frame.len())?.to_be_bytes());
        module.extend(frame);
    }
    module.extend([0, 0]);
    Ok(module)
}

/// Listeners that must hear nothing.
struct Planted {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Planted {
    fn new() -> Result<Self> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        let all = PORTS.map(|port| format!("0.0.0.0:{port}")).into_iter();
        for address in all.chain(PORTS_6.map(|port| format!("[::]:{port}"))) {
            let listener = match TcpListener::bind(&address) {
                Err(error) if error.kind() != ErrorKind::AddrInUse && address.starts_with('[') => {
                    println!("SKIP {address}: this host has no IPv6: {error}");
                    continue;
                }
                listener => listener.with_context(|| address.clone())?,
            };
            listener.set_nonblocking(true)?;
            tcp.push(listener);
            let socket = UdpSocket::bind(&address).with_context(|| address.clone())?;
            socket.set_nonblocking(true)?;
            udp.push(socket);
        }
        Ok(Self { tcp, udp })
    }

    fn heard_nothing(&self) -> Result<()> {
        for listener in &self.tcp {
            if let Ok((_, client)) = listener.accept() {
                bail!("{client} has connected to {listener:?}");
            }
        }
        for socket in &self.udp {
            if let Ok((length, peer)) = socket.recv_from(&mut [0; 2048]) {
                bail!("{peer} has sent {length} bytes to {socket:?}");
            }
        }
        Ok(())
    }
}

/// What this host has sent so far, as its kernel counts it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sent {
    /// Connections of TCP that it began, by IPv4 and IPv6.
    connections: u64,
    datagrams: u64,
    /// Messages of ICMP, raw packets among them.
    messages: u64,
}

impl Sent {
    fn now() -> Result<Self> {
        // Two lines for each protocol: names, and numbers.
        let text = fs::read_to_string("/proc/net/snmp")?;
        let count = |protocol: &str, name: &str| -> Result<u64> {
            let mut lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
            let (names, numbers) = lines.next().zip(lines.next()).context("a protocol is missing")?;
            let mut pairs = names.split(' ').zip(numbers.split(' '));
            let number = pairs.find(|(known, _)| *known == name);
            Ok(number
                .with_context(|| format!("{protocol} has no {name}"))?
                .1
                .parse()?)
        };
        // One line for each number; without IPv6 there is no such file.
        let text_6 = fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
        let count_6 = |name: &str| {
            let number = text_6.lines().find_map(|line| line.strip_prefix(name));
            number
                .and_then(|number| number.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        Ok(Self {
            connections: count("Tcp", "ActiveOpens")?,
            datagrams: count("Udp", "OutDatagrams")? + count_6("Udp6OutDatagrams"),
            messages: count("Icmp", "OutMsgs")?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            connections: self.connections - before.connections,
            datagrams: self.datagrams - before.datagrams,
            messages: self.messages - before.messages,
        }
    }
}
