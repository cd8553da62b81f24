//! Waits for a clock, standard input, a listener and a connection, all with one call at a time; says what came.
//!
//! Each turn waits for all four, the clock being far away after the first. Ends when the connection has ended.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use network_guests::given_listener;
use wasip1::{
    CLOCKID_MONOTONIC, EVENTRWFLAGS_FD_READWRITE_HANGUP, EVENTTYPE_CLOCK, EVENTTYPE_FD_READ, Event,
    Subscription, SubscriptionClock, SubscriptionFdReadwrite, SubscriptionU, SubscriptionUU,
};

/// What each subscription is known by.
const CLOCK: u64 = 1;
const INPUT: u64 = 2;
const LISTENER: u64 = 3;
const CONNECTION: u64 = 4;

/// Nanoseconds of the first turn.
const SOON: u64 = 20_000_000;

/// Nanoseconds of all others: longer than any test takes.
const LATE: u64 = 3_600_000_000_000;

fn main() -> io::Result<()> {
    let listener = given_listener()?;
    listener.set_nonblocking(true)?;
    let mut connection = None;
    let mut clock = SOON;
    let mut input_open = true;
    let (mut input, mut received) = (Vec::new(), Vec::new());
    println!("waiting");
    loop {
        for event in wait(clock, input_open, &listener, connection.as_ref())? {
            if event.error != wasip1::ERRNO_SUCCESS {
                println!("{}: {:?}", event.userdata, event.error);
            }
            match event.userdata {
                CLOCK => {
                    println!("clock");
                    clock = LATE;
                }
                INPUT => input_open = read("input", &event, &mut io::stdin(), &mut input)?,
                LISTENER => match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(true)?;
                        println!("listener");
                        connection = Some(stream);
                    }
                    // It may have gone again.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                },
                _ => {
                    let Some(stream) = &mut connection else { continue };
                    if !read("connection", &event, stream, &mut received)? {
                        stream.write_all(b"bye\n")?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Reads what there is, and says so at the end of each line, as consoles give one byte at a time; false at the end.
fn read(name: &str, event: &Event, from: &mut impl io::Read, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 256];
    let count = from.read(&mut buffer)?;
    line.extend_from_slice(buffer.get(..count).unwrap_or_default());
    if count == 0 || line.ends_with(b"\n") {
        let hang_up = event.fd_readwrite.flags & EVENTRWFLAGS_FD_READWRITE_HANGUP != 0;
        let text = String::from_utf8_lossy(line);
        println!(
            "{name}: {:?}{}",
            text.trim_end(),
            if hang_up { ", hung up" } else { "" }
        );
        line.clear();
    }
    Ok(count > 0)
}

/// One wait for all that there is.
fn wait(
    nanoseconds: u64,
    input: bool,
    listener: &TcpListener,
    connection: Option<&TcpStream>,
) -> io::Result<Vec<Event>> {
    let clock = SubscriptionClock {
        id: CLOCKID_MONOTONIC,
        timeout: nanoseconds,
        precision: 0,
        flags: 0,
    };
    let mut all = vec![Subscription {
        userdata: CLOCK,
        u: SubscriptionU {
            tag: EVENTTYPE_CLOCK.raw(),
            u: SubscriptionUU { clock },
        },
    }];
    let descriptors = [
        (INPUT, input.then_some(0)),
        (LISTENER, connection.is_none().then(|| listener.as_raw_fd())),
        (CONNECTION, connection.map(|stream| stream.as_raw_fd())),
    ];
    for (userdata, descriptor) in descriptors {
        let Some(descriptor) = descriptor else { continue };
        let file_descriptor = u32::try_from(descriptor).map_err(io::Error::other)?;
        let fd_read = SubscriptionFdReadwrite { file_descriptor };
        all.push(Subscription {
            userdata,
            u: SubscriptionU {
                tag: EVENTTYPE_FD_READ.raw(),
                u: SubscriptionUU { fd_read },
            },
        });
    }
    let mut events = Vec::with_capacity(all.len());
    // SAFETY: there is room for an event of each subscription, and the call says how many it has written.
    unsafe {
        let count = wasip1::poll_oneoff(all.as_ptr(), events.as_mut_ptr(), all.len())
            .map_err(|errno| io::Error::from_raw_os_error(errno.raw().into()))?;
        events.set_len(count);
    }
    Ok(events)
}
