//! `talk`: blocking calls of the standard library; ends of connections, in each order; the end of the guest.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use blake3::Hasher;
use boot_protocol::arch::Arch;
use test_qemu::Engine;
use vm_tests::memory::Memory;
use vm_tests::server::{Guest, Server, Setting, Starter};

use crate::Test;
use crate::echo::{SLACK, is_flat, pattern};

pub(crate) const TESTS: &[Test] = &[
    Test::new("half-closed", half_closed),
    Test::new("much-each-way", much_each_way),
    Test::new("right-after-the-last-write", right_after_the_last_write),
    Test::new("a-client-that-goes-away", a_client_that_goes_away),
    Test {
        not_by: |starter| match starter {
            Starter::Launcher(_) | Starter::Reference(_) => Some("its guests know their addresses"),
            Starter::Tap => Some("nobody gives addresses there"),
            Starter::Plain => None,
        },
        ..Test::new("an-address-by-dhcp", an_address_by_dhcp)
    },
    Test {
        not_by: |starter| match starter {
            Starter::Plain | Starter::Reference(_) => Some("its host lets few wait"),
            Starter::Tap => Some("the machine lets few wait, and refuses the others"),
            Starter::Launcher(_) => None,
        },
        ..Test::new("a-listener-that-does-not-accept", a_listener_that_does_not_accept)
    },
];

/// Bytes of a large transfer, each way: in the fastest setting, which is no part of what every change waits for, so many
/// that counters of 32 bits and windows are passed again and again.
fn much(setting: &Setting) -> u64 {
    let large = matches!(setting.starter, Starter::Launcher(_))
        && setting.engine == Engine::Native
        && setting.arch == Arch::X86_64;
    if large { 256 << 20 } else { 4 << 20 }
}

/// The guest, ready.
fn start(setting: &Setting) -> Result<Server> {
    let server = setting.start(&Guest {
        module: "talk",
        ..Guest::default()
    })?;
    server.wait_for("talk: ready")?;
    Ok(server)
}

/// Sends so many bytes to be digested, and compares the digest.
fn digest(server: &Server, length: u64) -> Result<()> {
    let part = pattern(65_536, 5);
    let (mut hasher, mut left) = (Hasher::new(), length);
    let mut stream = server.connect()?;
    stream.write_all(b"digest\n")?;
    while left > 0 {
        // Another beginning each time, so that parts cannot change places.
        let mut part = part
            .get(..usize::try_from(left).unwrap_or(part.len()))
            .unwrap_or(&part)
            .to_vec();
        part.iter_mut()
            .zip(left.to_le_bytes())
            .for_each(|(byte, other)| *byte ^= other);
        hasher.update(&part);
        stream.write_all(&part)?;
        left -= u64::try_from(part.len())?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let expected = format!("{length} {}\n", hasher.finalize());
    ensure!(answer == expected, "{answer:?} instead of {expected:?}");
    Ok(())
}

/// Reads what `send` and `last` send, to the end: so many bytes, and the digest that the guest has made of them.
fn check(mut stream: impl Read, length: u64) -> Result<()> {
    let (mut hasher, mut count) = (Hasher::new(), 0);
    let mut bytes = (&mut stream).take(length);
    let mut buffer = vec![0; 65_536];
    loop {
        let read = bytes
            .read(&mut buffer)
            .with_context(|| format!("after {count} bytes"))?;
        if read == 0 {
            break;
        }
        count += u64::try_from(read)?;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let mut sent = Vec::new();
    stream
        .read_to_end(&mut sent)
        .with_context(|| format!("after {count} bytes"))?;
    ensure!(count == length, "{count} bytes came of {length}");
    ensure!(
        sent == hasher.finalize().as_bytes(),
        "{length} bytes came whose digest is not that of what was sent, {sent:02x?}"
    );
    Ok(())
}

/// A client that has closed its half gets its answer.
fn half_closed(setting: &Setting) -> Result<()> {
    let server = start(setting)?;
    for length in [0, 1, 100_000] {
        digest(&server, length).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

/// A machine that asks for its address is reached at what it gets.
fn an_address_by_dhcp(setting: &Setting) -> Result<()> {
    let server = setting.start(&Guest {
        module: "talk",
        dhcp: true,
        ..Guest::default()
    })?;
    server.wait_for("talk: ready")?;
    digest(&server, 1000)
}

/// Much into the guest, and much out of it to a client that is slow at first. Either side makes a digest.
fn much_each_way(setting: &Setting) -> Result<()> {
    let server = start(setting)?;
    let much = much(setting);
    let begun = Instant::now();
    digest(&server, much).context("into the guest")?;
    let half = begun.elapsed();
    let mut stream = server.connect()?;
    stream.write_all(format!("send {much}\n").as_bytes())?;
    thread::sleep(SLOW);
    check(stream, much).context("out of the guest")?;
    println!(
        "{much} bytes into the guest in {half:?}, out of it in {:?}",
        begun.elapsed() - half
    );
    Ok(())
}

/// How late a client reads that is slow.
const SLOW: Duration = Duration::from_millis(500);

/// A guest that ends with its last write loses nothing of it, whether the client reads at once or late.
fn right_after_the_last_write(setting: &Setting) -> Result<()> {
    // What is interpreted on a machine that is translated too is too slow for as much.
    let large = match setting.engine {
        Engine::Interp if setting.arch != Arch::X86_64 => 2 << 20,
        Engine::Interp | Engine::Native => 16 << 20,
    };
    for (last, late) in [(200_000, Duration::ZERO), (large, SLOW)] {
        let server = start(setting)?;
        let mut stream = server.connect()?;
        stream.write_all(format!("last {last}\n").as_bytes())?;
        thread::sleep(late);
        check(stream, last)?;
        let end = server.end()?;
        ensure!(end.status.code() == Some(setting.status_of(7)), "{end:?}");
    }
    Ok(())
}

/// While the guest is busy with one client it accepts no other: what they send waits, within bounds, and each of them is
/// served afterwards. The third time takes no more than the first two.
fn a_listener_that_does_not_accept(setting: &Setting) -> Result<()> {
    /// More than may wait in the machine.
    const CLIENTS: u64 = 200;
    /// Two buffers for each, and what is noted of it.
    const EACH: u64 = (128 + 4) << 10;
    let server = start(setting)?;
    let before = server.memory();
    let mut others = Memory::default();
    let sent = pattern(16_384, 1);
    for round in ["the first time", "the second time", "the third time"] {
        let mut only = server.connect()?;
        only.write_all(b"silent\n")?;
        let mut waiting = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = server.connect()?;
            stream.write_all(b"digest\n")?;
            stream.write_all(&sent)?;
            stream.shutdown(Shutdown::Write)?;
            waiting.push(stream);
        }
        let now = server.memory();
        is_flat(setting, &before, &now, SLACK + CLIENTS * EACH).context(round)?;
        if round == "the third time" {
            is_flat(setting, &others, &now, SLACK).context(round)?;
        }
        others.join(&now);
        only.shutdown(Shutdown::Write)?;
        for (number, mut stream) in waiting.into_iter().enumerate() {
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            read.with_context(|| format!("{round}, client {number}"))?;
            let expected = format!("{} {}\n", sent.len(), blake3::hash(&sent));
            ensure!(answer == expected, "{round}, client {number}: {answer:?}");
        }
    }
    Ok(())
}

/// One that resets its connection, or leaves while it is sent to, costs only itself.
fn a_client_that_goes_away(setting: &Setting) -> Result<()> {
    let server = start(setting)?;
    let mut stream = server.connect()?;
    stream.write_all(b"send 100000000\n")?;
    stream.read_exact(&mut [0; 1000])?;
    // With bytes unread this is a reset.
    drop(stream);
    let mut stream = server.connect()?;
    stream.write_all(b"silent\n")?;
    drop(stream);
    let mut stream = server.connect()?;
    stream.write_all(b"what\n")?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    ensure!(answer == "what is \"what\"?\n", "{answer:?}");
    Ok(())
}
