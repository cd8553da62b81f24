//! A client of HTTP, as much of it as these tests need.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

/// A connection that is kept.
pub(crate) struct Client(BufReader<TcpStream>);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Asks, and reads the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
        let mut question = format!(
            "{method} {path} HTTP/1.1\r\nHost: guest\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        question.extend_from_slice(body);
        self.0.get_mut().write_all(&question)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|number| number.parse().ok());
        let status = status.with_context(|| format!("{method} {path}: no status in {line:?}"))?;
        let mut length = None;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                ensure!(line == "\r\n", "not the end of a head: {line:?}");
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse()?);
            }
        }
        let mut body = Vec::new();
        match length {
            // Some answers have no body by their nature.
            None if status == 204 => {}
            None => _ = self.0.read_to_end(&mut body)?,
            Some(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body)?;
            }
        }
        Ok(Answer { status, body })
    }

    /// Asks, and compares the answer.
    pub(crate) fn expect(
        &mut self,
        method: &str,
        path: &str,
        sent: &[u8],
        status: u16,
        body: &[u8],
    ) -> Result<()> {
        let answer = self.ask(method, path, sent)?;
        ensure!(
            answer.status == status && answer.body == body,
            "{method} {path}: {} {:?} instead of {status} {:?}",
            answer.status,
            String::from_utf8_lossy(&answer.body),
            String::from_utf8_lossy(body)
        );
        Ok(())
    }
}
