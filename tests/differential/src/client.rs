//! The client of the guest `differential-sockets`: it connects, does what it is told, and says when it has arrived.
//!
//! Layer: host tests. `guests/rust/src/differential/sockets/control.rs` has the requests.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::sockopt;

/// How long a request or an answer is.
const LENGTH: usize = 16;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the host is asked.
const PAUSE: Duration = Duration::from_millis(1);

/// States of a connection whose end the other side has not acknowledged, in `/proc/net/tcp`.
const UNACKNOWLEDGED: [&str; 3] = ["04", "09", "0B"];

/// That of one that has ended.
const WAITING: &str = "06";

/// A port at which nothing listens now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A connection of the client's.
struct Connection {
    stream: Option<TcpStream>,
    port: u16,
    had: usize,
    sum: u64,
    next: u8,
}

/// Does what the guest that listens at a port of this host says, until it ends. `is_there`: whether it still runs.
///
/// # Errors
/// If it cannot be reached, or says what nobody understands.
pub fn serve(port: u16, mut is_there: impl FnMut() -> bool) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let start = Instant::now();
    let mut control = loop {
        match TcpStream::connect(address) {
            Ok(control) => break control,
            Err(_) if start.elapsed() < PATIENCE && is_there() => sleep(PAUSE),
            Err(error) => return Err(error).context("no guest listens"),
        }
    };
    control.set_nodelay(true)?;
    control.set_read_timeout(Some(PATIENCE))?;
    let mut connections = BTreeMap::new();
    let mut request = [0; LENGTH];
    loop {
        match control.read_exact(&mut request) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            // The guest has ended.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context("the guest says nothing"),
        }
        let request = std::str::from_utf8(&request)?.trim();
        let answer = answer(address, &mut connections, request).with_context(|| request.to_owned())?;
        control.write_all(format!("{answer:LENGTH$}").as_bytes())?;
    }
}

fn answer(server: SocketAddr, connections: &mut BTreeMap<u64, Connection>, request: &str) -> Result<String> {
    let mut words = request.split(' ');
    let name = words.next().unwrap_or_default();
    let mut number = || -> Result<u64> { Ok(words.next().context("no number")?.parse()?) };
    let id = number()?;
    if name == "connect" {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let port = stream.local_addr()?.port();
        connections.insert(
            id,
            Connection {
                stream: Some(stream),
                port,
                had: 0,
                sum: 0,
                next: 0,
            },
        );
        return Ok("done".into());
    }
    let connection = connections.get_mut(&id).context("no such connection")?;
    let mut stream = connection.stream.as_ref();
    match (name, stream.as_mut()) {
        ("send", Some(stream)) => {
            let bytes: Vec<u8> = (0..number()?)
                .map(|_| {
                    connection.next = connection.next.wrapping_add(1);
                    connection.next
                })
                .collect();
            // Nobody may be there any more.
            let _ = stream.write_all(&bytes);
            quiet(server, connection.port)?;
        }
        ("end", Some(stream)) => {
            let _ = stream.shutdown(Shutdown::Write);
            quiet(server, connection.port)?;
        }
        ("close", _) => {
            connection.stream = None;
            quiet(server, connection.port)?;
        }
        ("reset", Some(stream)) => {
            sockopt::set_socket_linger(&**stream, Some(Duration::ZERO))?;
            connection.stream = None;
            quiet(server, connection.port)?;
            gone(server.port(), connection.port)?;
        }
        ("read", Some(stream)) => {
            let wanted = usize::try_from(number()?)?;
            let mut buffer = [0; 4096];
            while connection.had < wanted {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        let bytes = buffer.iter().take(count);
                        connection.sum += bytes.map(|byte| u64::from(*byte)).sum::<u64>();
                        connection.had += count;
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(format!("{} {}", connection.had, connection.sum % 1_000_000));
        }
        ("gone", None) => gone(server.port(), connection.port)?,
        _ => bail!("no request that the client understands"),
    }
    Ok("done".into())
}

/// Waits until all that was sent from a port of this host has arrived. Its acknowledgement may take longer.
fn quiet(server: SocketAddr, port: u16) -> Result<()> {
    until(|rows| {
        let there = rows
            .iter()
            .find(|row| row.local == server.port() && row.remote == port);
        let unread = there.map_or(0, |row| row.unread);
        rows.iter()
            .filter(|row| row.local == port)
            .all(|row| row.unsent <= unread && !UNACKNOWLEDGED.contains(&row.state.as_str()))
    })
}

/// Waits until the guest's end of a connection is broken: no row of it is left that could carry anything.
fn gone(server: u16, client: u16) -> Result<()> {
    until(|rows| {
        !rows
            .iter()
            .any(|row| row.local == server && row.remote == client && row.state != WAITING)
    })
}

/// A line of `/proc/net/tcp`.
struct Row {
    local: u16,
    remote: u16,
    state: String,
    /// Bytes that the other end has not acknowledged.
    unsent: u64,
    /// Bytes that have come and nobody has read.
    unread: u64,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
        let (local, remote) = (port(words.next()?)?, port(words.next()?)?);
        let state = words.next()?.to_owned();
        let (unsent, unread) = words.next()?.split_once(':')?;
        Some(Self {
            local,
            remote,
            state,
            unsent: u64::from_str_radix(unsent, 16).ok()?,
            unread: u64::from_str_radix(unread, 16).ok()?,
        })
    }
}

fn until(is_so: impl Fn(&[Row]) -> bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp")?;
        let rows: Vec<_> = table.lines().filter_map(Row::parse).collect();
        if is_so(&rows) {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the host's sockets do not come to rest"
        );
        sleep(PAUSE);
    }
}
