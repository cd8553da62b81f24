//! `wait-for-all`: one wait for a clock, standard input and sockets ends for each of them.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use anyhow::{Result, ensure};
use vm_tests::server::{Guest, Setting, Starter};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[Test {
    // So it does in wasmtime 19.0.0: all that `poll` looked at is reported when one of it is ready.
    not_by: |starter| match starter {
        Starter::Reference(_) => Some("it says of descriptors that they are ready which are not"),
        Starter::Launcher(_) | Starter::Plain | Starter::Tap => None,
    },
    ..Test::new("wait-for-all", wait_for_all)
}];

fn wait_for_all(setting: &Setting) -> Result<()> {
    let mut server = setting.start(&Guest {
        module: "wait-for-all",
        ..Guest::default()
    })?;
    server.wait_for("clock\n")?;
    server.input("one\n")?;
    server.wait_for("input: \"one\"")?;
    let mut stream = server.connect()?;
    server.wait_for("listener\n")?;
    server.input("two\n")?;
    server.wait_for("input: \"two\"")?;
    stream.write_all(b"three\n")?;
    server.wait_for("connection: \"three\"")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer == "bye\n", "{answer:?}");
    let end = server.end()?;
    ensure!(end.status.code() == Some(setting.status_of(0)), "{end:?}");
    Ok(())
}
