//! The client: what it asks of the server.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::LIMIT;

/// Bytes of a request and its answer: `serve-cost.c`.
const REQUEST: usize = 100;
const ANSWER: usize = 200;

/// Which way bytes go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To the server.
    In,
    /// From it.
    Out,
}

/// A connection to the server.
pub(super) struct Client(TcpStream);

impl Client {
    /// Connects to a port of this host's.
    pub(super) fn connect(port: u16) -> Result<Self> {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        let limit = Some(Duration::from_secs(LIMIT.into()));
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        Ok(Self(stream))
    }

    /// A request and its answer.
    pub(super) fn request(&mut self) -> Result<()> {
        self.ask(b'r', 0)
    }

    /// So many bytes, and a request and its answer.
    pub(super) fn transfer(&mut self, way: Way, bytes: u32) -> Result<()> {
        match way {
            Way::In => self.ask(b'i', bytes),
            Way::Out => self.ask(b'o', bytes),
        }
    }

    /// Has the server end. It may end before its answer has gone.
    pub(super) fn end(mut self) {
        let _ = self.ask(b'e', 0);
    }

    fn ask(&mut self, what: u8, number: u32) -> Result<()> {
        let mut request = [0; REQUEST];
        request[0] = what;
        request[1..5].copy_from_slice(&number.to_le_bytes());
        self.0.write_all(&request)?;
        let number = usize::try_from(number)?;
        if what == b'i' {
            self.0.write_all(&vec![0x5a; number])?;
        }
        let mut answer = vec![0; ANSWER + if what == b'o' { number } else { 0 }];
        self.0
            .read_exact(&mut answer)
            .context("the server does not answer")
    }
}
