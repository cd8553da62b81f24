//! A relay that has been taken over: this program in its place, which tries what its jail keeps from it, and tells by
//! its last words.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, exit};
use std::sync::LazyLock;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Pid;

/// If this process was started as a relay, is one that tries to get out.
pub(crate) fn play() {
    if std::env::args().next().as_deref() != Some("relay-of-a-network") {
        return;
    }
    let mut words = vec![format!("environment: {}", std::env::vars_os().count())];
    words.extend(ATTEMPTS.iter().map(|(name, attempt)| match attempt() {
        Ok(()) => format!("{name}: done"),
        Err(error) => format!("{name}: {:?}", error.kind()),
    }));
    eprintln!("{}", words.join(", "));
    exit(1);
}

type Attempt = (&'static str, fn() -> io::Result<()>);

/// The first two are what it is there for.
const ATTEMPTS: &[Attempt] = &[
    ("send datagrams", || {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(b"x", "127.0.0.1:9").map(drop)
    }),
    ("connect to what is granted", || granted(TcpStream::connect)),
    ("start a program", || Command::new("/bin/true").status().map(drop)),
    ("listen on TCP", || TcpListener::bind("127.0.0.1:0").map(drop)),
    ("make a Unix socket", || UnixDatagram::unbound().map(drop)),
    ("connect to a Unix socket", || {
        UnixStream::connect("/run/dbus/system_bus_socket").map(drop)
    }),
    ("send packets of any kind", || {
        Ok(rustix::net::socket(
            AddressFamily::INET,
            SocketType::RAW,
            Some(rustix::net::ipproto::ICMP),
        )
        .map(drop)?)
    }),
    ("change routes", || {
        Ok(rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)
    }),
    ("read the users", || fs::read("/etc/passwd").map(drop)),
    ("write a file", || {
        fs::write("/tmp/hermit-wasm-test-must-not-be", "")
    }),
    ("signal another process", || {
        let launcher = rustix::process::getppid().unwrap_or(Pid::INIT);
        Ok(rustix::process::test_kill_process(launcher)?)
    }),
    ("outlive the launcher", || {
        Ok(rustix::process::set_parent_process_death_signal(None)?)
    }),
];

/// Does something with the first target that is granted.
fn granted<T>(act: impl FnOnce(String) -> io::Result<T>) -> io::Result<()> {
    static TOLD: LazyLock<String> = LazyLock::new(|| io::read_to_string(io::stdin()).unwrap_or_default());
    let mut words = TOLD.lines();
    let grant = words.find_map(|word| Some(word.strip_prefix("grant=")?.split_once('=')?.1.to_string()));
    act(grant.ok_or(io::ErrorKind::NotFound)?).map(drop)
}
