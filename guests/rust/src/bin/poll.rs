//! `poll_oneoff` on standard input and clocks. The arguments are the subscriptions: `stdin`, `stdout`, `fd9`, or a
//! number of milliseconds on the monotonic clock, with `@` before it as a moment from now, absolutely given.

use guests::errno_name;
use wasip1::{
    Event, Subscription, SubscriptionClock, SubscriptionFdReadwrite, SubscriptionU, SubscriptionUU,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let subscriptions: Vec<Subscription> = (0..)
        .zip(&arguments)
        .map(|(userdata, argument)| Subscription {
            userdata,
            u: subscription(argument),
        })
        .collect();
    let mut events = Vec::<Event>::with_capacity(subscriptions.len());
    let start = std::time::Instant::now();
    // SAFETY: there is room for as many events as there are subscriptions.
    let result =
        unsafe { wasip1::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len()) };
    match result {
        // SAFETY: the call has written that many events.
        Ok(count) => unsafe { events.set_len(count) },
        Err(errno) => println!("poll_oneoff: {}", errno.name()),
    }
    for event in &events {
        let name = usize::try_from(event.userdata)
            .ok()
            .and_then(|index| arguments.get(index));
        print!(
            "{}: {}",
            name.map_or("(unknown)", String::as_str),
            errno_name(i32::from(event.error.raw()))
        );
        if event.type_ != wasip1::EVENTTYPE_CLOCK && event.error == wasip1::ERRNO_SUCCESS {
            let hangup = event.fd_readwrite.flags & wasip1::EVENTRWFLAGS_FD_READWRITE_HANGUP != 0;
            // How many bytes are told is an estimate; that there are some is not.
            print!(
                ", bytes: {}, hangup: {hangup}",
                if event.fd_readwrite.nbytes > 0 {
                    "some"
                } else {
                    "none"
                }
            );
        }
        println!();
    }
    println!("within two seconds: {}", start.elapsed().as_secs() < 2);
}

fn subscription(argument: &str) -> SubscriptionU {
    match argument {
        "stdin" => read(0),
        "fd9" => read(9),
        "stdout" => {
            let fd_write = SubscriptionFdReadwrite { file_descriptor: 1 };
            SubscriptionU {
                tag: wasip1::EVENTTYPE_FD_WRITE.raw(),
                u: SubscriptionUU { fd_write },
            }
        }
        _ => {
            let id = wasip1::CLOCKID_MONOTONIC;
            let absolute = argument.strip_prefix('@');
            let milliseconds: u64 = absolute.unwrap_or(argument).parse().expect("milliseconds");
            let (base, flags) = match absolute {
                // SAFETY: the call has no preconditions.
                Some(_) => (unsafe { wasip1::clock_time_get(id, 1) }.expect("the time"), 1),
                None => (0, 0),
            };
            let clock = SubscriptionClock {
                id,
                timeout: base + milliseconds * 1_000_000,
                precision: 0,
                flags,
            };
            SubscriptionU {
                tag: wasip1::EVENTTYPE_CLOCK.raw(),
                u: SubscriptionUU { clock },
            }
        }
    }
}

fn read(file_descriptor: u32) -> SubscriptionU {
    let fd_read = SubscriptionFdReadwrite { file_descriptor };
    SubscriptionU {
        tag: wasip1::EVENTTYPE_FD_READ.raw(),
        u: SubscriptionUU { fd_read },
    }
}
