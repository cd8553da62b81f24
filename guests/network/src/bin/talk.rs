//! A server with nothing but the standard library, one connection after another: does what the first line of each asks.
//!
//! | line | what it does |
//! |---|---|
//! | `echo` | sends back what comes, as it comes |
//! | `digest` | reads to the end; answers with the number of bytes and their BLAKE3 |
//! | `send N` | sends N bytes that no mistake makes by itself, and their BLAKE3 in 32 more, and ends the connection |
//! | `last N` | the same, and the program ends at once, with code 7 |
//! | `silent` | keeps the connection open, without a word, until the client ends it |

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::exit;

use blake3::{Hash, Hasher};
use network_guests::given_listener;

fn main() -> io::Result<()> {
    let listener = given_listener()?;
    // It may have been made ready for others than us.
    listener.set_nonblocking(false)?;
    eprintln!("talk: ready");
    loop {
        let (stream, _) = listener.accept()?;
        if let Err(error) = obey(&stream) {
            eprintln!("talk: {error}");
        }
    }
}

/// Serves one client.
fn obey(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let order = words.next().unwrap_or_default();
    let number = words.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    match order {
        "echo" => io::copy(&mut input, &mut &*stream).map(|_| ()),
        "digest" => {
            let (count, digest) = digest(&mut input)?;
            writeln!(&mut &*stream, "{count} {digest}")
        }
        "send" => send(stream, number),
        "last" => {
            send(stream, number)?;
            exit(7)
        }
        "silent" => digest(&mut input).map(|_| ()),
        _ => writeln!(&mut &*stream, "what is {order:?}?"),
    }
}

/// The number of bytes to the end, and their digest.
fn digest(input: &mut impl io::Read) -> io::Result<(u64, Hash)> {
    let (mut count, mut hasher) = (0, Hasher::new());
    let mut buffer = vec![0; 65_536];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok((count, hasher.finalize()));
        }
        count += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Sends so many bytes, and their digest.
fn send(mut stream: &TcpStream, mut number: usize) -> io::Result<()> {
    let (mut state, mut hasher) = (0, Hasher::new());
    let mut buffer = vec![0; 65_536];
    while number > 0 {
        fill(&mut buffer, &mut state);
        let part = buffer.get(..number).unwrap_or(&buffer);
        hasher.update(part);
        stream.write_all(part)?;
        number -= part.len();
    }
    stream.write_all(hasher.finalize().as_bytes())
}

/// Numbers that look random: SplitMix64's.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for word in buffer.chunks_exact_mut(8) {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
}
