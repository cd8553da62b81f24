//! Programs that were built for WasmEdge's functions for sockets: datagrams, a server on hyper, a client of Redis.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vm_tests::server::{End, Guest, Setting, Starter};

use crate::Test;
use crate::echo::pattern;
use crate::http::Client;
use crate::store::{Redis, with_redis};

/// A test that needs WasmEdge's functions.
const fn with_sockets(name: &'static str, run: fn(&Setting) -> Result<()>) -> Test {
    Test {
        not_by: |starter| match starter {
            Starter::Reference(_) => Some("it has no calls that bind or connect"),
            Starter::Plain | Starter::Tap | Starter::Launcher(_) => None,
        },
        ..Test::new(name, run)
    }
}

pub(crate) const TESTS: &[Test] = &[
    with_sockets("wasmedge-datagrams", datagrams),
    with_sockets("wasmedge-hyper", hyper),
    with_redis("wasmedge-redis", redis),
    with_sockets("wasmedge-not-granted", not_granted),
    with_sockets("many-sockets", many_sockets),
];

/// How long an answer may take before the question is asked again: datagrams get lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long that is tried.
const LIMIT: Duration = Duration::from_secs(60);

/// Every datagram comes back to whom it came from.
fn datagrams(setting: &Setting) -> Result<()> {
    let server = setting.start(&Guest {
        module: "wasmedge-udp",
        args: &["0.0.0.0:{port}"],
        datagrams: true,
        ..Guest::default()
    })?;
    server.wait_for("listening")?;
    let clients = [client()?, client()?];
    for (number, length) in (1..).zip([1, 1472, 100]) {
        for client in &clients {
            let sent = pattern(length, number);
            let came = exchange(client, server.address(), &sent)?;
            ensure!(came == sent, "{} bytes for {length}, or others", came.len());
        }
    }
    let [client, _] = &clients;
    ensure!(
        exchange(client, server.address(), b"end")? == b"end",
        "another end"
    );
    ended_well(setting, &server.end()?)
}

fn client() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends a datagram, until one comes back.
fn exchange(client: &UdpSocket, to: std::net::SocketAddr, sent: &[u8]) -> Result<Vec<u8>> {
    let deadline = Instant::now() + LIMIT;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        client.send_to(sent, to)?;
        if let Ok((length, from)) = client.recv_from(&mut buffer) {
            ensure!(from == to, "an answer from {from}");
            return Ok(buffer.get(..length).context("more than it could be")?.to_vec());
        }
    }
    bail!("no answer to {} bytes", sent.len())
}

/// The server listens by itself, at the port of the listener that it was given.
fn hyper(setting: &Setting) -> Result<()> {
    let server = setting.start(&Guest {
        module: "wasmedge-hyper",
        args: &["0.0.0.0:{port}"],
        ..Guest::default()
    })?;
    server.wait_for("listening")?;
    let mut clients = [Client::new(server.connect()?), Client::new(server.connect()?)];
    let large = pattern(1 << 20, 9);
    for client in &mut clients {
        client.expect("GET", "/", b"", 200, b"hello\n")?;
        client.expect("POST", "/echo", &large, 200, &large)?;
        client.expect("GET", "/nothing", b"", 404, b"hello\n")?;
    }
    let [mut client, other] = clients;
    drop(other);
    client.expect("GET", "/", b"", 200, b"hello\n")?;
    Client::new(server.connect()?).expect("GET", "/", b"", 200, b"hello\n")
}

/// The name that was granted is found, and what is behind it.
fn redis(setting: &Setting) -> Result<()> {
    let redis = Redis::start(setting, "wasmedge-redis")?;
    let server = setting.start(&Guest {
        module: "wasmedge-redis",
        args: &["redis://redis:6379/"],
        grants: &[("redis:6379", redis.port)],
        ..Guest::default()
    })?;
    let end = server.end()?;
    ended_well(setting, &end)?;
    let expected = "1048576 bytes, the same\n[1, 2, 3]\nNone\n";
    ensure!(end.said.replace('\r', "").contains(expected), "{end:?}");
    Ok(())
}

/// Neither another name nor another port is reached.
fn not_granted(setting: &Setting) -> Result<()> {
    for url in [
        "redis://other:6379/",
        "redis://redis:6380/",
        "redis://10.0.2.2:6379/",
    ] {
        let server = setting.start(&Guest {
            module: "wasmedge-redis",
            args: &[url],
            grants: &[("redis:6379", 6379)],
            ..Guest::default()
        })?;
        let end = server.end()?;
        ensure!(end.status.code() == Some(setting.status_of(1)), "{url}: {end:?}");
        ensure!(end.said.contains("Permission denied"), "{url}: {end:?}");
    }
    Ok(())
}

/// One that opens 100,000 sockets is refused most of them, each time as many; the machine is none the worse for it.
fn many_sockets(setting: &Setting) -> Result<()> {
    /// Too many descriptors are open.
    const MFILE: u32 = 33;
    let server = setting.start(&Guest {
        module: "many-sockets",
        ..Guest::default()
    })?;
    server.wait_for("100000 one after the other")?;
    let mut stream = server.connect()?;
    stream.write_all(b"still here")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "still here", "{answer:?}");
    let end = server.end()?;
    ended_well(setting, &end)?;
    let counts = end.said.split("many-sockets: ").filter_map(|part| {
        let (count, rest) = part.split_once(" at a time, then errno ")?;
        rest.starts_with(&format!("Some({MFILE})"))
            .then(|| count.parse::<u32>().ok())?
    });
    let counts: Vec<u32> = counts.collect();
    let [first, second] = counts.as_slice() else {
        bail!("not two rounds: {end:?}");
    };
    println!("{first} sockets at a time");
    ensure!(first == second && (100..100_000).contains(first), "{end:?}");
    Ok(())
}

fn ended_well(setting: &Setting, end: &End) -> Result<()> {
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    Ok(())
}
