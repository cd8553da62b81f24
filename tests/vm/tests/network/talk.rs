//! `talk`: blocking calls of the standard library; ends of connections, in each order; the end of the guest.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;

use anyhow::{Context as _, Result, ensure};
use vm_tests::server::{Guest, Server, Setting};

use crate::Test;
use crate::echo::pattern;

pub(crate) const TESTS: &[Test] = &[
    Test::new("half-closed", half_closed),
    Test::new("much-each-way", much_each_way),
    Test::new("right-after-the-last-write", right_after_the_last_write),
    Test::new("a-client-that-goes-away", a_client_that_goes_away),
];

/// Bytes of a large transfer.
const MUCH: usize = 8 << 20;

/// The guest, ready.
fn start(setting: &Setting) -> Result<Server> {
    let server = setting.start(&Guest {
        module: "talk",
        ..Guest::default()
    })?;
    server.wait_for("talk: ready")?;
    Ok(server)
}

/// What `sum` is to answer.
fn sum_of(bytes: &[u8]) -> String {
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    format!("{} {sum}\n", bytes.len())
}

/// What `sum` answers.
fn sum(server: &Server, bytes: &[u8]) -> Result<()> {
    let mut stream = server.connect()?;
    stream.write_all(b"sum\n")?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(
        answer == sum_of(bytes),
        "{answer:?} instead of {:?}",
        sum_of(bytes)
    );
    Ok(())
}

/// A client that has closed its half gets its answer.
fn half_closed(setting: &Setting) -> Result<()> {
    let server = start(setting)?;
    for length in [0, 1, 100_000] {
        sum(&server, &pattern(length, 3)).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

/// Much into the guest, and much out of it to a client that is slow at first.
fn much_each_way(setting: &Setting) -> Result<()> {
    let server = start(setting)?;
    sum(&server, &pattern(MUCH, 5))?;
    let mut stream = server.connect()?;
    stream.write_all(format!("send {MUCH}\n").as_bytes())?;
    let mut came = vec![0];
    stream.read_exact(&mut came)?;
    stream.read_to_end(&mut came)?;
    check(&came, MUCH)
}

/// Whether these are what `send` sends.
fn check(came: &[u8], length: usize) -> Result<()> {
    ensure!(came.len() == length, "{} bytes instead of {length}", came.len());
    let wrong = came
        .iter()
        .zip((0..=u8::MAX).cycle())
        .position(|(byte, due)| *byte != due);
    ensure!(wrong.is_none(), "byte {wrong:?} is another");
    Ok(())
}

/// A guest that ends with its last write loses nothing of it.
fn right_after_the_last_write(setting: &Setting) -> Result<()> {
    const LAST: usize = 200_000;
    let server = start(setting)?;
    let mut stream = server.connect()?;
    stream.write_all(format!("last {LAST}\n").as_bytes())?;
    let mut came = Vec::new();
    stream.read_to_end(&mut came)?;
    check(&came, LAST)?;
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(7)), "{end:?}");
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
