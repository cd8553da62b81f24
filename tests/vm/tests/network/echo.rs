//! `tokio-echo`: many connections, bytes unchanged, the half that a client has not closed, and memory that stays as it
//! is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use vm_tests::memory::Memory;
use vm_tests::server::{Guest, Server, Setting, Starter};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("tokio-echo", echo),
    Test::new("many-connections", many),
    Test {
        not_by: |starter| match starter {
            Starter::Plain => Some("slirp lets the others wait"),
            Starter::Launcher(_) | Starter::Tap | Starter::Reference(_) => None,
        },
        ..Test::new("peers-that-send-for-ever", peers_that_send_for_ever)
    },
];

/// The guest, ready, which ends after so many connections.
fn start(setting: &Setting, connections: &str) -> Result<Server> {
    let server = setting.start(&Guest {
        module: "tokio-echo",
        args: &[connections],
        ..Guest::default()
    })?;
    server.wait_for("tokio-echo: ready")?;
    Ok(server)
}

/// Bytes that tell where they are from.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = || {
        // Numerical Recipes' generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Sends bytes, closes this half, and reads what comes back.
fn through(mut stream: TcpStream, sent: &[u8]) -> Result<()> {
    let mut writer = stream.try_clone()?;
    let bytes = sent.to_vec();
    let writing = thread::spawn(move || {
        writer.write_all(&bytes)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut came = Vec::new();
    stream.read_to_end(&mut came).context("reading the echo")?;
    writing.join().ok().context("the writer panicked")??;
    ensure!(
        came == sent,
        "{} bytes came back for {}, or others",
        came.len(),
        sent.len()
    );
    Ok(())
}

/// A mebibyte, an empty connection, and one more; then the guest ends by itself.
fn echo(setting: &Setting) -> Result<()> {
    let server = start(setting, "3")?;
    for length in [1 << 20, 0, 1] {
        through(server.connect()?, &pattern(length, 1)).with_context(|| format!("{length} bytes"))?;
    }
    room_at_the_end(setting, server).map(|_| ())
}

/// The guest's end, and how much memory it could have then, in MiB.
fn room_at_the_end(setting: &Setting, server: Server) -> Result<u64> {
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    let mut words = end.said.split("tokio-echo: ");
    let number = words.find_map(|words| words.split_once(" MiB")?.0.parse().ok());
    number.with_context(|| format!("it does not say how much memory it has: {end:?}"))
}

/// A thousand one after another and two hundred at a time, after as many of each as it takes until memory is as
/// allocators like it. From then on neither the relay, nor QEMU, nor the guest has less than before.
fn many(setting: &Setting) -> Result<()> {
    const WARM: u32 = 100;
    // slirp makes each slow, and is not ours to look after.
    let more = match setting.starter {
        Starter::Plain => 300,
        Starter::Launcher(_) | Starter::Tap | Starter::Reference(_) => 1000,
    };
    let warm_up = |server: &Server| {
        at_a_time(server)?;
        one_after_another(server, WARM)
    };
    let few = start(setting, &(AT_A_TIME + WARM).to_string())?;
    warm_up(&few)?;
    let room = room_at_the_end(setting, few)?;

    let server = start(setting, &(2 * (AT_A_TIME + WARM) + more + AT_A_TIME).to_string())?;
    let mut before = Memory::default();
    for _ in 0..2 {
        warm_up(&server)?;
        before.join(&server.memory());
    }
    one_after_another(&server, more)?;
    at_a_time(&server)?;
    is_flat(setting, &before, &server.memory(), SLACK)?;
    let left = room_at_the_end(setting, server)?;
    println!("the guest could have {room} MiB after some connections, {left} MiB after many");
    ensure!(
        left + ROOM_SLACK >= room,
        "the guest could have {room} MiB after some connections, {left} MiB after many"
    );
    Ok(())
}

/// Connections that are open together.
const AT_A_TIME: u32 = 200;

/// What a process's memory may grow by between two looks, in bytes. A page for each connection of [`many`] would be
/// more.
pub(crate) const SLACK: u64 = 4 << 20;

/// What the guest may lack after many connections, in MiB: heaps get crumbly.
const ROOM_SLACK: u64 = 3;

/// How much more of the machine's own memory may be touched for the first time, in bytes: its heap goes up to where it
/// ends sooner or later, depending on who is quicker. What it has lost there is seen by [`room_at_the_end`].
const TOUCHED: u64 = 24 << 20;

/// Fails if the relay takes more than `slack` bytes more, or QEMU more than that and [`TOUCHED`].
pub(crate) fn is_flat(setting: &Setting, before: &Memory, after: &Memory, slack: u64) -> Result<()> {
    const RELAY: (&str, u64) = ("relay-of-a-network", 0);
    const QEMU: (&str, u64) = ("qemu-system", TOUCHED);
    let parts: &[(&str, u64)] = match &setting.starter {
        Starter::Launcher(_) => &[RELAY, QEMU],
        Starter::Plain | Starter::Tap => &[QEMU],
        // What it takes is not ours to judge.
        Starter::Reference(_) => &[],
    };
    for (part, more) in parts {
        let [before, after] = [before, after].map(|memory| memory.own_of(part));
        println!("{part}: {before} bytes before, {after} bytes after");
        ensure!(before > 0 && after > 0, "{part}: its memory was not seen");
        ensure!(
            after <= before + slack + more,
            "{part}: {before} bytes before, {after} bytes after"
        );
    }
    Ok(())
}

/// All are open before the first is used.
fn at_a_time(server: &Server) -> Result<()> {
    let mut streams = Vec::new();
    for _ in 0..AT_A_TIME {
        streams.push(server.connect()?);
    }
    for (number, stream) in streams.into_iter().enumerate() {
        let seed = u8::try_from(number)?;
        through(stream, &pattern(1000, seed)).with_context(|| format!("connection {number} at a time"))?;
    }
    Ok(())
}

/// Each begins after the one before has ended.
fn one_after_another(server: &Server, count: u32) -> Result<()> {
    for number in 0..count {
        let seed = number.to_be_bytes()[3];
        through(server.connect()?, &pattern(10, seed)).with_context(|| format!("connection {number}"))?;
    }
    Ok(())
}

/// Peers that send for ever, one that reads what comes back and one that does not: others are served meanwhile, and
/// nothing grows.
fn peers_that_send_for_ever(setting: &Setting) -> Result<()> {
    const OTHERS: u32 = 20;
    let server = start(setting, &(2 + 2 * OTHERS).to_string())?;
    let (reads, does_not) = (server.connect()?, server.connect()?);
    let reader = reads.try_clone()?;
    let writers = [reads.try_clone()?, does_not.try_clone()?].map(|mut stream| {
        // To the end of the connection, which this test makes.
        thread::spawn(move || while stream.write_all(&[7; 65_536]).is_ok() {})
    });
    let reading = thread::spawn(move || std::io::copy(&mut &reader, &mut std::io::sink()));
    one_after_another(&server, OTHERS)?;
    let before = server.memory();
    one_after_another(&server, OTHERS)?;
    is_flat(setting, &before, &server.memory(), SLACK)?;
    for stream in [&reads, &does_not] {
        stream.shutdown(Shutdown::Both)?;
    }
    drop((reads, does_not));
    for writer in writers {
        writer.join().ok().context("a writer panicked")?;
    }
    let back = reading.join().ok().context("the reader panicked")?;
    println!("{back:?} bytes came back meanwhile");
    room_at_the_end(setting, server).map(|_| ())
}
