//! Connections of the guest's and to it: what each side hears is what the other did.

mod guest;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;

use guest::{Guest, broken, join, noise, server};
use net_stack::Error;

#[test]
fn a_granted_name_is_reached_and_an_ending_side_gets_its_answer() {
    let (listener, grant) = server("echo");
    let host = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        // Ends only if the guest's end of data arrives, while the guest still waits for the answer.
        client.read_to_end(&mut question).unwrap();
        client.write_all(&question).unwrap();
    });
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    guest.send(stream, b"question").unwrap();
    guest.end(stream);
    assert_eq!(guest.receive_all(stream).unwrap(), b"question");
    join(&mut guest, host);
    guest.switch_off();
}

#[test]
fn the_host_may_end_first() {
    let (listener, grant) = server("a");
    let host = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"greeting").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        rest
    });
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    assert_eq!(guest.receive_all(stream).unwrap(), b"greeting");
    guest.send(stream, b"afterwards").unwrap();
    guest.end(stream);
    guest.run_for(20);
    assert_eq!(join(&mut guest, host), b"afterwards");
}

#[test]
fn ipv6_of_the_guest_is_the_same_connection() {
    let (listener, grant) = server("a");
    let host = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        client.write_all(&all).unwrap();
    });
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("[fd00:a:0:2::1:64]:80").unwrap();
    let data = noise(300_000);
    guest.send(stream, &data).unwrap();
    guest.end(stream);
    assert!(guest.receive_all(stream).unwrap() == data);
    join(&mut guest, host);
}

#[test]
fn refused_is_refused_and_what_is_not_granted_is_neither() {
    let (listener, grant) = server("gone");
    drop(listener);
    let mut guest = Guest::new(&[&grant]);
    assert_eq!(guest.connect("10.0.2.100:80"), Err(Error::ConnectionRefused));
    assert_eq!(
        guest.connect("[fd00:a:0:2::1:64]:80"),
        Err(Error::ConnectionRefused)
    );
    for other in [
        "10.0.2.100:81",
        "10.0.2.101:80",
        "10.0.2.2:80",
        "192.0.2.1:80",
        "198.18.0.0:1",
    ] {
        assert_eq!(guest.connect(other), Err(Error::Prohibited), "{other}");
    }
    for other in ["[fd00:a:0:2::2]:80", "[2001:db8::1]:80"] {
        assert_eq!(guest.connect(other), Err(Error::Prohibited), "{other}");
    }
}

#[test]
fn a_name_that_means_the_host_itself_or_nobody_leads_nowhere() {
    let planted = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = planted.local_addr().unwrap().port();
    let grants = [
        format!("rebound:{port}"),
        "nobody:80".to_string(),
        "metadata:80".to_string(),
    ];
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    let mut guest = Guest::with(&grants, Vec::new(), |setup| {
        setup.resolve = Arc::new(|name| {
            Ok(match name {
                "rebound" => vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
                "metadata" => vec![IpAddr::from([169, 254, 169, 254])],
                _ => Vec::new(),
            })
        });
    });
    assert_eq!(
        guest.connect(&format!("10.0.2.100:{port}")),
        Err(Error::Prohibited)
    );
    assert_eq!(guest.connect("10.0.2.101:80"), Err(Error::HostUnreachable));
    assert_eq!(guest.connect("10.0.2.102:80"), Err(Error::Prohibited));
    planted.set_nonblocking(true).unwrap();
    assert!(planted.accept().is_err());
}

#[test]
fn a_slow_resolver_holds_nothing_up() {
    let (listener, grant) = server("quick");
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let mut guest = Guest::with(&["slow:80", &grant], Vec::new(), |setup| {
        setup.resolve = Arc::new(move |_| {
            let _ = wait.lock().unwrap().recv();
            Ok(Vec::new())
        });
    });
    let slow = guest
        .stack
        .connect("10.0.2.100:80".parse().unwrap(), None)
        .unwrap();
    let quick = guest.connect("10.0.2.101:80").unwrap();
    let _ = listener.accept().unwrap();
    assert_eq!(guest.stack.connected(slow), Err(Error::InProgress));
    release.send(()).unwrap();
    let ended = guest.until(|stack| {
        stack
            .connected(slow)
            .err()
            .filter(|error| *error != Error::InProgress)
    });
    assert_eq!(ended, Error::HostUnreachable);
    let _ = guest.stack.close_stream(quick);
}

#[test]
fn what_a_guest_sent_right_before_its_end_arrives() {
    let (listener, grant) = server("a");
    let (begin, wait) = std::sync::mpsc::channel::<()>();
    let host = thread::spawn(move || {
        let (mut whole, _) = listener.accept().unwrap();
        let (mut cut, _) = listener.accept().unwrap();
        wait.recv().unwrap();
        let mut all = Vec::new();
        whole.read_to_end(&mut all).unwrap();
        (all, cut.read_to_end(&mut Vec::new()))
    });
    let mut guest = Guest::new(&[&grant]);
    let whole = guest.connect("10.0.2.100:80").unwrap();
    guest.connect("10.0.2.100:80").unwrap();
    // As much as goes: the host's socket is full then, and so are the buffers of the relay and of the guest.
    let data = noise(16 << 20);
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 20 {
        guest.run_for(10);
        quiet += 1;
        while let Ok(length) = guest.stack.send(whole, &data[sent..]) {
            sent += length;
            quiet = 0;
        }
    }
    assert!(sent < data.len());
    // The guest's own buffer is the guest's to drain; it does once the host reads, and is switched off right after.
    guest.stack.close_all();
    begin.send(()).unwrap();
    guest.until(|stack| stack.is_drained().then_some(()));
    guest.switch_off();
    let (all, cut) = host.join().unwrap();
    assert!(all == data[..sent], "{} of {sent}", all.len());
    assert!(cut.unwrap_or(0) == 0);
}

#[test]
fn a_guest_that_vanishes_is_no_end_of_data() {
    let (listener, grant) = server("a");
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    let (mut host, _) = listener.accept().unwrap();
    guest.send(stream, b"half of").unwrap();
    let mut start = [0; 7];
    host.set_nonblocking(true).unwrap();
    guest.until(|_| host.peek(&mut start).ok().filter(|length| *length == 7));
    host.set_nonblocking(false).unwrap();
    host.read_exact(&mut start).unwrap();
    guest.switch_off();
    let error = host.read(&mut [0]).expect_err("a reset is no end of data");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn resets_pass_both_ways() {
    let (listener, grant) = server("a");
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    let (host, _) = listener.accept().unwrap();
    rustix::net::sockopt::set_socket_linger(&host, Some(std::time::Duration::ZERO)).unwrap();
    drop(host);
    assert_eq!(guest.receive(stream), Err(Error::ConnectionReset));

    let stream = guest.connect("10.0.2.100:80").unwrap();
    let (mut host, _) = listener.accept().unwrap();
    guest.stack.reset_stream(stream).unwrap();
    assert_eq!(broken(&mut guest, &mut host), ErrorKind::ConnectionReset);
}

#[test]
fn a_side_that_does_not_read_is_felt_by_the_other() {
    let (listener, grant) = server("a");
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    let (mut host, _) = listener.accept().unwrap();
    host.set_nonblocking(true).unwrap();
    // From the guest: until nothing moves for a while. All that is between are the buffers of three kernels' sockets.
    let (data, mut sent) = (noise(65536), 0);
    for _ in 0..200 {
        guest.run_for(1);
        while let Ok(length) = guest.stack.send(stream, &data) {
            sent += length;
        }
    }
    assert!(sent < 16 << 20, "{sent}");
    let mut received = 0;
    let mut buffer = vec![0; 65536];
    while received < sent {
        guest.run_for(0);
        if let Ok(length) = host.read(&mut buffer) {
            received += length;
        }
    }
    // To the guest.
    let mut written = 0;
    for _ in 0..200 {
        guest.run_for(1);
        while let Ok(length) = host.write(&data) {
            written += length;
        }
    }
    assert!(written < 16 << 20, "{written}");
    let mut received = 0;
    guest.until(|stack| {
        while let Ok(length) = stack.receive(stream, &mut buffer) {
            received += length;
        }
        (received == written).then_some(())
    });
}
