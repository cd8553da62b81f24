//! The connection to a daemon, and its first answer.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long the daemon may take to its first answer; a fraction of a second is usual.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked meanwhile whether to go on waiting.
const ASK: Duration = Duration::from_millis(100);

/// A listening socket without a name, and a connection to it.
pub(super) fn socket() -> io::Result<(UnixListener, UnixStream)> {
    // A directory that only this user can enter: between `bind` and `remove_file` nobody else connects.
    let directory = tempfile::Builder::new().prefix("hermit-wasm-").tempdir()?;
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path)?;
    let connection = UnixStream::connect(&path)?;
    directory.close()?;
    Ok((listener, connection))
}

/// Asks the daemon for its features, as every vhost-user connection begins: whoever answers is ready. QEMU asks again.
pub(crate) fn greet(mut connection: &UnixStream, go_on: &dyn Fn() -> Result<(), Error>) -> io::Result<()> {
    /// VHOST_USER_GET_FEATURES.
    const GET_FEATURES: u32 = 1;
    /// Flags: version 1.
    const VERSION: u32 = 1;
    /// Request, flags and size of the payload, and 64 bits of features.
    const REPLY: usize = 12 + 8;
    let mut request = Vec::new();
    for word in [GET_FEATURES, VERSION, 0] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    connection.set_read_timeout(Some(ASK))?;
    let mut reply = [0; REPLY];
    connection
        .write_all(&request)
        .and_then(|()| read_patiently(connection, &mut reply, go_on))
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once")
            }
            io::ErrorKind::WouldBlock => io::Error::other("it does not answer"),
            _ => error,
        })?;
    connection.set_read_timeout(None)?;
    match reply.first_chunk().map(|request| u32::from_ne_bytes(*request)) {
        Some(GET_FEATURES) => Ok(()),
        _ => Err(io::Error::other("it does not speak vhost-user")),
    }
}

/// Fills `buffer`, as long as there is time and `go_on` has nothing against it.
fn read_patiently(
    mut connection: &UnixStream,
    buffer: &mut [u8],
    go_on: &dyn Fn() -> Result<(), Error>,
) -> io::Result<()> {
    let start = Instant::now();
    let mut done = 0usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match connection.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => done = done.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start.elapsed() >= PATIENCE || go_on().is_err() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
