//! `poll_oneoff` on files: ready at once, for reading and writing, alone and among many, with clocks beside them.
//!
//! The argument chooses: `alike`, `mixed` (several readings, and writing beside it) or `bytes` (how many are told).

use guests::files::*;
use wasip1::{
    Event, Subscription, SubscriptionClock, SubscriptionFdReadwrite, SubscriptionU, SubscriptionUU,
};

fn main() {
    put(FIRST, "full", "0123456789").unwrap();
    put(FIRST, "empty", "").unwrap();
    let full = open(FIRST, "full", 0, BOTH).unwrap();
    let empty = open(FIRST, "empty", 0, READ).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("alike") => alike(full, empty),
        Some("mixed") => mixed(full),
        Some("bytes") => bytes(full, empty),
        other => panic!("no case {other:?}"),
    }
}

/// One reading, or any number of writings, and clocks.
fn alike(full: Fd, empty: Fd) {
    poll("reading", &[reading(full)]);
    poll("writing", &[writing(full)]);
    poll("writing what is open for reading", &[writing(empty)]);
    poll("a file and an hour", &[reading(full), clock(3_600_000_000_000)]);
    poll("an hour and a file", &[clock(3_600_000_000_000), writing(full)]);
    poll(
        "an hour between two",
        &[writing(full), clock(3_600_000_000_000), writing(full)],
    );
    many("300 writings", &[writing(full); 300]);
    poll("a directory", &[reading(FIRST)]);
    poll("a file and a directory", &[reading(full), writing(FIRST)]);
    poll("a file and what is closed", &[reading(full), reading(99)]);
    unlink(FIRST, "full").unwrap();
    poll("a file without a name", &[reading(full)]);
}

/// Several readings, or reading and writing in one call: all of it is ready.
fn mixed(full: Fd) {
    poll("the same thrice", &[reading(full), reading(full), reading(full)]);
    many("300 readings", &[reading(full); 300]);
    poll("reading and writing", &[reading(full), writing(full)]);
    poll("a file and standard output", &[reading(full), writing(1)]);
    poll("a time that has come", &[reading(full), clock(0), writing(full)]);
    let both: Vec<_> = (0..300)
        .map(|index| {
            if index % 2 == 0 {
                reading(full)
            } else {
                writing(full)
            }
        })
        .collect();
    many("300 of both", &both);
}

fn many(what: &str, subscriptions: &[SubscriptionU]) {
    let events = wait(subscriptions).unwrap();
    let in_order = events
        .iter()
        .zip(0..)
        .all(|(event, index)| event.userdata == index);
    println!("{what}: {} events, in order: {in_order}", events.len());
}

/// How many bytes are told: what is left to read, and that there is room.
fn bytes(full: Fd, empty: Fd) {
    let tell = |what: &str, fd| {
        for event in wait(&[reading(fd), writing(fd)]).unwrap() {
            let hangup = event.fd_readwrite.flags != 0;
            println!("{what}: bytes {}, hangup: {hangup}", event.fd_readwrite.nbytes);
        }
    };
    tell("at the beginning", full);
    seek(full, 7).unwrap();
    tell("at 7 of 10", full);
    seek(full, 10).unwrap();
    tell("at the end", full);
    seek(full, 20).unwrap();
    tell("behind the end", full);
    tell("empty", empty);
}

fn poll(what: &str, subscriptions: &[SubscriptionU]) {
    match wait(subscriptions) {
        Err(failure) => println!("{what}: {failure}"),
        Ok(events) => {
            let told: Vec<String> = events
                .iter()
                .map(|event| format!("{} {}", event.userdata, event.error.name()))
                .collect();
            println!("{what}: {}", told.join(", "));
        }
    }
}

fn wait(subscriptions: &[SubscriptionU]) -> Answer<Vec<Event>> {
    let subscriptions: Vec<Subscription> = (0..)
        .zip(subscriptions)
        .map(|(userdata, u)| Subscription { userdata, u: *u })
        .collect();
    let mut events = Vec::<Event>::with_capacity(subscriptions.len());
    // SAFETY: there is room for as many events as there are subscriptions, and the call writes as many as it says.
    unsafe {
        let count = wasip1::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len())?;
        events.set_len(count);
    }
    Ok(events)
}

fn reading(file_descriptor: Fd) -> SubscriptionU {
    SubscriptionU {
        tag: wasip1::EVENTTYPE_FD_READ.raw(),
        u: SubscriptionUU {
            fd_read: SubscriptionFdReadwrite { file_descriptor },
        },
    }
}

fn writing(file_descriptor: Fd) -> SubscriptionU {
    SubscriptionU {
        tag: wasip1::EVENTTYPE_FD_WRITE.raw(),
        u: SubscriptionUU {
            fd_write: SubscriptionFdReadwrite { file_descriptor },
        },
    }
}

fn clock(timeout: u64) -> SubscriptionU {
    let clock = SubscriptionClock {
        id: wasip1::CLOCKID_MONOTONIC,
        timeout,
        precision: 0,
        flags: 0,
    };
    SubscriptionU {
        tag: wasip1::EVENTTYPE_CLOCK.raw(),
        u: SubscriptionUU { clock },
    }
}
