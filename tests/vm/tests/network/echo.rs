//! `tokio-echo`: many connections at a time, bytes unchanged, and the half that a client has not closed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use vm_tests::server::{Guest, Server, Setting};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    Test::new("tokio-echo", echo),
    Test::new("two-hundred-at-a-time", at_a_time),
    Test::new("a-thousand-one-after-another", one_after_another),
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
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    Ok(())
}

/// All are open before the first is used.
fn at_a_time(setting: &Setting) -> Result<()> {
    let server = start(setting, "200")?;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(server.connect()?);
    }
    for (number, stream) in streams.into_iter().enumerate() {
        let seed = u8::try_from(number)?;
        through(stream, &pattern(1000, seed)).with_context(|| format!("connection {number}"))?;
    }
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    Ok(())
}

/// Each begins after the one before has ended.
fn one_after_another(setting: &Setting) -> Result<()> {
    let server = start(setting, "1000")?;
    for number in 0..1000_u32 {
        let seed = number.to_be_bytes()[3];
        through(server.connect()?, &pattern(10, seed)).with_context(|| format!("connection {number}"))?;
    }
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    Ok(())
}
