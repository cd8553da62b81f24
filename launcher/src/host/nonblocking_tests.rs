//! Tests of streams that others share: whatever they are, a call that would have to wait says so.

use super::*;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::pty::OpenptFlags;

/// Only what hangs comes here.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A stream and its other end.
struct Pair {
    name: &'static str,
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A pseudo terminal: its master and a terminal that passes bytes on as they are.
fn terminal() -> (OwnedFd, OwnedFd) {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut raw = rustix::termios::tcgetattr(&slave).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &raw).unwrap();
    (master, slave)
}

fn fifo() -> (OwnedFd, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Reading and writing: this one does not wait for another.
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    drop(both);
    (reader.into(), writer.into())
}

/// One of each kind that can make a caller wait.
fn pairs() -> Vec<Pair> {
    let (reader, writer) = io::pipe().unwrap();
    let (left, right) = UnixStream::pair().unwrap();
    let (fifo_reader, fifo_writer) = fifo();
    let ((from, to), (to_2, from_2)) = (terminal(), terminal());
    let pair = |name, reader: OwnedFd, writer: OwnedFd| Pair { name, reader, writer };
    vec![
        pair("pipe", reader.into(), writer.into()),
        pair("FIFO", fifo_reader, fifo_writer),
        pair("socket", left.into(), right.into()),
        pair("terminal written to", from, to),
        pair("terminal read from", from_2, to_2),
    ]
}

fn flags(descriptor: &OwnedFd) -> OFlags {
    rustix::fs::fcntl_getfl(descriptor).unwrap()
}

fn wait_for(stream: &NonBlocking, patience: Duration) -> bool {
    let (descriptor, flags) = stream.interest();
    let patience = Timespec::try_from(patience).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(descriptor, flags)];
    poll(&mut fds, Some(&patience)).unwrap() > 0
}

/// Reads, and waits as long as there is nothing.
fn read(stream: &mut NonBlocking, buffer: &mut [u8]) -> usize {
    let start = Instant::now();
    loop {
        match stream.read(buffer) {
            Err(Errno::AGAIN) => assert!(start.elapsed() < WATCHDOG, "nothing comes"),
            result => return result.unwrap(),
        }
        wait_for(stream, WATCHDOG);
    }
}

/// As if `poll` had promised something that another reader or writer has taken since: each call comes back.
#[test]
fn what_would_wait_says_so() {
    for Pair { name, reader, writer } in pairs() {
        let (read_flags, write_flags) = (flags(&reader), flags(&writer));
        let mut reader = NonBlocking::reader(reader);
        let mut writer = NonBlocking::writer(writer);
        let mut buffer = [0; 100];
        assert_eq!(reader.read(&mut buffer), Err(Errno::AGAIN), "{name}");
        // Until nothing more fits in.
        let mut refused = 0;
        for _ in 0..10_000 {
            match writer.write(&[b'x'; PIPE_BUF]) {
                Ok(_) => refused = 0,
                Err(Errno::AGAIN) => refused += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            if refused == 20 {
                break;
            }
            wait_for(&writer, Duration::from_millis(2));
        }
        assert_eq!(refused, 20, "{name}");
        // Those who share it have it as it was.
        assert_eq!(flags(&reader.shared), read_flags, "{name}");
        assert_eq!(flags(&writer.shared), write_flags, "{name}");
        assert!(!read_flags.union(write_flags).contains(OFlags::NONBLOCK));
        // And what was written arrives.
        assert!(read(&mut reader, &mut buffer) > 0, "{name}");
        assert_eq!(buffer[0], b'x', "{name}");
    }
}

#[test]
fn bytes_arrive_in_order_and_end() {
    for Pair { name, reader, writer } in pairs() {
        let mut reader = NonBlocking::reader(reader);
        let thread = thread::spawn(move || {
            let mut writer = NonBlocking::writer(writer);
            let bytes: Vec<u8> = (0..=255).cycle().take(50_000).collect();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                match writer.write(rest.get(..writer.chunk()).unwrap_or(rest)) {
                    Ok(length) => rest = &rest[length..],
                    Err(Errno::AGAIN) => assert!(wait_for(&writer, WATCHDOG)),
                    Err(error) => panic!("{error}"),
                }
            }
            // A terminal's master has no end of file; its last bytes would be lost with it.
            (bytes, name.starts_with("terminal").then_some(writer))
        });
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        while all.len() < 50_000 {
            let length = read(&mut reader, &mut buffer);
            assert!(length > 0, "{name}: it ends after {}", all.len());
            all.extend_from_slice(&buffer[..length]);
        }
        let (bytes, writer) = thread.join().unwrap();
        assert!(all == bytes, "{name}");
        if writer.is_none() {
            assert_eq!(read(&mut reader, &mut buffer), 0, "{name}");
        }
    }
}

/// Of the master of a terminal there is only one, and opening /dev/ptmx would make another terminal.
#[test]
fn a_terminals_master_is_left_to_a_thread() {
    let (master, slave) = terminal();
    let mut reader = NonBlocking::reader(master);
    assert_eq!(reader.read(&mut [0; 10]), Err(Errno::AGAIN));
    assert!(matches!(reader.way, Way::Thread(_)));
    rustix::io::write(&slave, b"hello").unwrap();
    let mut buffer = [0; 10];
    assert_eq!(read(&mut reader, &mut buffer), 5);
    assert_eq!(&buffer[..5], b"hello");
}

#[test]
fn the_other_end_that_has_gone_is_seen() {
    for Pair { name, reader, writer } in pairs()
        .into_iter()
        .filter(|pair| !pair.name.starts_with("terminal"))
    {
        drop(reader);
        let mut writer = NonBlocking::writer(writer);
        assert!(wait_for(&writer, WATCHDOG), "{name}");
        // A process that another test starts just now has the other end too, until it executes its program.
        let mut result = writer.write(b"x");
        while matches!(result, Ok(_) | Err(Errno::AGAIN)) {
            thread::sleep(Duration::from_millis(1));
            assert!(wait_for(&writer, WATCHDOG), "{name}");
            result = writer.write(b"x");
        }
        assert_eq!(result, Err(Errno::PIPE), "{name}");
    }
    for Pair { name, reader, writer } in pairs()
        .into_iter()
        .filter(|pair| !pair.name.starts_with("terminal"))
    {
        drop(writer);
        let mut reader = NonBlocking::reader(reader);
        assert!(wait_for(&reader, WATCHDOG), "{name}");
        assert_eq!(reader.read(&mut [0; 10]), Ok(0), "{name}");
    }
}

/// As where a pipe is another user's, or where /proc is not mounted.
#[test]
fn a_pipe_that_cannot_be_opened_again_does_not_wait_either() {
    for way in [|_: &Arc<OwnedFd>, _| Way::NoWait, Way::thread] {
        let (reader, writer) = io::pipe().unwrap();
        let mut reader = NonBlocking::reader(reader.into());
        let mut writer = NonBlocking::writer(writer.into());
        reader.way = way(&reader.shared, Direction::Read);
        writer.way = way(&writer.shared, Direction::Write);
        let mut buffer = [0; 10];
        assert_eq!(reader.read(&mut buffer), Err(Errno::AGAIN));
        while writer.write(b"hello") == Err(Errno::AGAIN) {
            assert!(wait_for(&writer, WATCHDOG));
        }
        assert_eq!(read(&mut reader, &mut buffer), 5);
        assert_eq!(&buffer[..5], b"hello");
    }
}

#[test]
fn files_and_devices_are_used_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "one ").unwrap();
    let appending = File::options().append(true).open(&path).unwrap();
    let mut writer = NonBlocking::writer(appending.into());
    // The end has moved meanwhile.
    File::options()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"two ")
        .unwrap();
    assert_eq!(writer.write(b"three"), Ok(5));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two three");
    // The position is the one that others have too.
    let file = File::open(&path).unwrap();
    let mut reader = NonBlocking::reader(file.try_clone().unwrap().into());
    assert_eq!(reader.read(&mut [0; 4]), Ok(4));
    assert_eq!(io::read_to_string(file).unwrap(), "two three");

    let null = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap()
            .into()
    };
    assert_eq!(NonBlocking::reader(null()).read(&mut [0; 4]), Ok(0));
    assert_eq!(NonBlocking::writer(null()).write(b"x"), Ok(1));
    let directory = File::open(directory.path()).unwrap();
    assert_eq!(
        NonBlocking::reader(directory.into()).read(&mut [0; 4]),
        Err(Errno::ISDIR)
    );
}
