//! A server with nothing but the standard library, one connection after another: does what the first line of each asks.
//!
//! | line | what it does |
//! |---|---|
//! | `echo` | sends back what comes, as it comes |
//! | `sum` | reads to the end; answers with the number of bytes and their sum |
//! | `send N` | sends N bytes, each the lowest byte of its number, and ends the connection |
//! | `last N` | the same, and the program ends at once, with code 7 |
//! | `silent` | keeps the connection open, without a word, until the client ends it |

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::exit;

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
        "sum" => {
            let (count, sum) = add_up(&mut input)?;
            writeln!(&mut &*stream, "{count} {sum}")
        }
        "send" => send(stream, number),
        "last" => {
            send(stream, number)?;
            exit(7)
        }
        "silent" => add_up(&mut input).map(|_| ()),
        _ => writeln!(&mut &*stream, "what is {order:?}?"),
    }
}

/// The number of bytes to the end, and their sum.
fn add_up(input: &mut impl io::Read) -> io::Result<(u64, u64)> {
    let (mut count, mut sum) = (0, 0);
    let mut buffer = vec![0; 65_536];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok((count, sum));
        }
        count += read as u64;
        sum += buffer.iter().take(read).map(|byte| u64::from(*byte)).sum::<u64>();
    }
}

/// Sends so many bytes.
fn send(mut stream: &TcpStream, mut number: usize) -> io::Result<()> {
    let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(65_536).collect();
    while number > 0 {
        let part = pattern.get(..number).unwrap_or(&pattern);
        stream.write_all(part)?;
        number -= part.len();
    }
    Ok(())
}
