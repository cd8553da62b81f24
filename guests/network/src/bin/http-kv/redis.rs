//! A client of Redis: one connection, made when it is first needed and again when it has failed.

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _};
use std::time::Duration;

use hyper::body::Bytes;
use redis_protocol::bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::{BytesFrame, Resp2Frame as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use wasmedge_wasi_socket::nslookup;
use wasmedge_wasi_socket::socket::{AddressFamily, Socket, SocketType};

/// preview 1's errno for a connection that is being made.
const IN_PROGRESS: i32 = 26;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection could not be made, or ended.
    Connection(io::Error),
    /// It took too long.
    Late,
    /// An answer that nobody asked for.
    Answer(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => write!(f, "Redis cannot be reached: {error}"),
            Self::Late => write!(f, "Redis did not answer in time"),
            Self::Answer(answer) => write!(f, "Redis answered {answer}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// A Redis server, by its name.
pub(crate) struct Redis {
    /// Host and port.
    name: String,
    /// How long a question may take, with all that it needs.
    patience: Duration,
    /// The connection, while no question is under way on it and if it is sound.
    idle: Mutex<Option<TcpStream>>,
}

impl Redis {
    /// The server at `HOST:PORT`. Nothing is connected yet.
    pub(crate) fn new(name: String, patience: Duration) -> Self {
        let idle = Mutex::new(None);
        Self { name, patience, idle }
    }

    /// What a command answers that gives a value or none.
    pub(crate) async fn bytes(&self, words: &[impl AsRef<[u8]>]) -> Result<Option<Bytes>, Failure> {
        match self.ask(words).await? {
            BytesFrame::BulkString(bytes) => Ok(Some(bytes)),
            BytesFrame::Null => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    /// What a command answers that counts.
    pub(crate) async fn number(&self, words: &[impl AsRef<[u8]>]) -> Result<i64, Failure> {
        match self.ask(words).await? {
            BytesFrame::Integer(number) => Ok(number),
            other => Err(unexpected(&other)),
        }
    }

    /// What a command answers that gives a list.
    pub(crate) async fn list(&self, words: &[impl AsRef<[u8]>]) -> Result<Vec<Bytes>, Failure> {
        let BytesFrame::Array(members) = self.ask(words).await? else {
            return Err(Failure::Answer("no list".into()));
        };
        let member = |frame| match frame {
            BytesFrame::BulkString(bytes) => Ok(bytes),
            other => Err(unexpected(&other)),
        };
        members.into_iter().map(member).collect()
    }

    /// Asks a question, within the time for it.
    async fn ask(&self, words: &[impl AsRef<[u8]>]) -> Result<BytesFrame, Failure> {
        let asked = timeout(self.patience, self.exchange(words)).await;
        asked.map_err(|_| Failure::Late)?
    }

    /// Asks on the connection that there is, and on a new one if that one has ended in the meantime: all commands
    /// here may be given twice.
    async fn exchange(&self, words: &[impl AsRef<[u8]>]) -> Result<BytesFrame, Failure> {
        let question = encode(words)?;
        let mut idle = self.idle.lock().await;
        // Out of its place meanwhile: a question that is given up half-way leaves no connection behind.
        if let Some(mut stream) = idle.take()
            && let Ok(answer) = converse(&mut stream, &question).await
        {
            *idle = Some(stream);
            return Ok(answer);
        }
        let mut stream = connect(&self.name).await?;
        let answer = converse(&mut stream, &question).await?;
        *idle = Some(stream);
        Ok(answer)
    }
}

/// What is to be said about an answer of the wrong kind.
fn unexpected(answer: &BytesFrame) -> Failure {
    Failure::Answer(match answer {
        BytesFrame::Error(message) => message.to_string(),
        other => format!("{:?}", other.kind()),
    })
}

/// A command in Redis's protocol.
fn encode(words: &[impl AsRef<[u8]>]) -> Result<BytesMut, Failure> {
    let word = |word: &_| BytesFrame::BulkString(Bytes::copy_from_slice(AsRef::<[u8]>::as_ref(word)));
    let command = BytesFrame::Array(words.iter().map(word).collect());
    let mut question = BytesMut::new();
    extend_encode(&mut question, &command, false).map_err(|error| Failure::Answer(error.to_string()))?;
    Ok(question)
}

/// Sends a question and reads the answer.
async fn converse(stream: &mut TcpStream, question: &[u8]) -> Result<BytesFrame, Failure> {
    stream.write_all(question).await?;
    let mut received = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let answer = decode_bytes_mut(&mut received).map_err(|error| Failure::Answer(error.to_string()))?;
        if let Some((answer, _, _)) = answer {
            return Ok(answer);
        }
    }
}

/// Makes a connection, without keeping others waiting for it.
async fn connect(name: &str) -> io::Result<TcpStream> {
    let socket = Socket::new(AddressFamily::Inet4, SocketType::Stream)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address(name)?) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
        Err(_) | Ok(()) => {}
    }
    // SAFETY: the descriptor is the socket's, which gives it away.
    let stream = unsafe { std::net::TcpStream::from_raw_fd(socket.into_raw_fd()) };
    let stream = TcpStream::from_std(stream)?;
    stream.writable().await?;
    // SAFETY: the descriptor is open, and as it is not dropped, this does not close it.
    let socket = ManuallyDrop::new(unsafe { Socket::from_raw_fd(stream.as_raw_fd()) });
    socket.take_error()?;
    Ok(stream)
}

/// The address of `HOST:PORT`, where the host may be a name.
fn address(name: &str) -> io::Result<SocketAddr> {
    if let Ok(address) = name.parse() {
        return Ok(address);
    }
    let (host, port) = name
        .rsplit_once(':')
        .ok_or_else(|| io::Error::other(format!("{name} is not HOST:PORT")))?;
    let found = nslookup(host, port)?.into_iter().next();
    found.ok_or_else(|| io::Error::other(format!("{host} has no address")))
}
