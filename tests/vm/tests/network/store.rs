//! `http-kv`: an HTTP server in the machine whose values are in a real Redis on this host.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use vm_tests::server::{Guest, Server, Setting, Starter, free_port, fresh, wait_for_listener};

use crate::Test;
use crate::http::Client;

const REDIS: &str = "redis-server";

/// A test that needs Redis.
pub(crate) const fn with_redis(name: &'static str, run: fn(&Setting) -> Result<()>) -> Test {
    Test {
        missing,
        not_by: |starter| match starter {
            Starter::Reference(_) => Some("it has no calls for connections to elsewhere"),
            Starter::Launcher(_) | Starter::Plain | Starter::Tap => None,
        },
        ..Test::new(name, run)
    }
}

pub(crate) const TESTS: &[Test] = &[
    Test::new("store-without-grant", without_grant),
    with_redis("store", store),
    with_redis("store-outlives-all", outlives_all),
];

/// Why there is no Redis.
fn missing() -> Option<String> {
    let found = Command::new(REDIS)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    found
        .err()
        .map(|error| format!("{REDIS}: {error}; `scripts/setup` installs it"))
}

/// A Redis that keeps what it has in a file. It ends with the value.
pub(crate) struct Redis {
    pub(crate) port: u16,
    address: Ipv4Addr,
    directory: PathBuf,
    child: Option<Child>,
}

impl Redis {
    pub(crate) fn start(setting: &Setting, name: &str) -> Result<Self> {
        let name = format!("{name}-{}", setting.name());
        let mut redis = Self {
            port: free_port()?,
            address: setting.host(),
            directory: fresh(&setting.scratch, &name)?,
            child: None,
        };
        redis.run()?;
        Ok(redis)
    }

    /// Starts it, again perhaps.
    fn run(&mut self) -> Result<()> {
        let [address, port] = [self.address.to_string(), self.port.to_string()];
        let child = Command::new(REDIS)
            .args(["--bind", &address, "--port", &port, "--protected-mode", "no"])
            .args(["--appendonly", "yes", "--save", ""])
            .arg("--dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start Redis")?;
        self.child = Some(child);
        let address = (self.address, self.port).into();
        wait_for_listener(address)?;
        // It listens before it has read its file, and says so to all that it is asked meanwhile.
        loop {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            match answer.as_str() {
                "+PONG\r\n" => return Ok(()),
                loading if loading.starts_with("-LOADING ") => thread::sleep(Duration::from_millis(20)),
                other => bail!("Redis answers {other:?}"),
            }
        }
    }

    /// Ends it as its user would: it writes its file.
    fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let status = Command::new("kill").arg(child.id().to_string()).status()?;
        ensure!(status.success(), "kill: {status}");
        child.wait()?;
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The guest, ready, with what it is granted.
fn start(setting: &Setting, grants: &[(&str, u16)]) -> Result<Server> {
    let server = setting.start(&Guest {
        module: "http-kv",
        // Longer than any answer takes, on the slowest machine.
        args: &["redis:6379", "60000"],
        grants,
        ..Guest::default()
    })?;
    server.wait_for("http-kv: ready")?;
    Ok(server)
}

/// Nothing is reached without a grant, and the server goes on.
fn without_grant(setting: &Setting) -> Result<()> {
    let server = start(setting, &[])?;
    let mut client = Client::new(server.connect()?);
    for _ in 0..3 {
        client.expect("GET", "/a", b"", 502, b"Redis does not answer.\n")?;
    }
    client.expect("POST", "/a", b"", 405, b"GET, PUT or DELETE a key, or GET /.\n")?;
    server.wait_for("Redis cannot be reached: ")
}

/// Every route, on one connection.
fn store(setting: &Setting) -> Result<()> {
    const NONE: &[u8] = b"There is no such key.\n";
    let redis = Redis::start(setting, "store")?;
    let server = start(setting, &[("redis:6379", redis.port)])?;
    let mut client = Client::new(server.connect()?);
    client.expect("GET", "/", b"", 200, b"")?;
    client.expect("GET", "/a", b"", 404, NONE)?;
    client.expect("PUT", "/a", b"one", 201, b"")?;
    client.expect("PUT", "/a", b"two", 204, b"")?;
    client.expect("GET", "/a", b"", 200, b"two")?;
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    client.expect("PUT", "/large", &large, 201, b"")?;
    client.expect("GET", "/large", b"", 200, &large)?;
    client.expect("GET", "/", b"", 200, b"a\nlarge\n")?;
    client.expect("DELETE", "/a", b"", 204, b"")?;
    client.expect("DELETE", "/a", b"", 404, NONE)?;
    client.expect("GET", "/", b"", 200, b"large\n")
}

/// What Redis's end does, and the guest's.
fn outlives_all(setting: &Setting) -> Result<()> {
    let mut redis = Redis::start(setting, "outlives")?;
    let grants = [("redis:6379", redis.port)];
    let server = start(setting, &grants)?;
    let mut client = Client::new(server.connect()?);
    client.expect("PUT", "/a", b"kept", 201, b"")?;
    redis.stop()?;
    // It may wait for a minute, and does not have to: the quickest of some answers is one on a machine that has nothing
    // else to do.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        client.expect("GET", "/a", b"", 502, b"Redis does not answer.\n")?;
        quickest = quickest.min(begun.elapsed());
    }
    ensure!(quickest < Duration::from_secs(1), "502 after {quickest:?}");
    redis.run()?;
    let kept = |mut client: Client, server: &Server| {
        let kept = client.expect("GET", "/a", b"", 200, b"kept");
        kept.with_context(|| format!("the guest said: {}", server.said()))
    };
    kept(client, &server).context("Redis is there again")?;
    drop(server);
    let server = start(setting, &grants)?;
    kept(Client::new(server.connect()?), &server).context("the guest is there again")
}
