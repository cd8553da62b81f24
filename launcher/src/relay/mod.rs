//! The relay of a run: the host's end of a guest's network, as a process of its own in the jail.
//!
//! What it does is in the crate `relay`. Here is the way there: ports of the host's are bound with this process's
//! rights, the relay inherits them with one end of the guest's wire, and QEMU the other end. The process is this
//! program once more, whoever that is: see [`serve_if_asked`].
//!
//! - `serve`: what the process does.
//! - `words`: what it is told, which both sides read.

mod serve;
mod words;

use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::network::{Host, Protocol};
use boot_protocol::run_spec::Network;
use boot_protocol::shown::piece;
use relay::Published;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{Error, StartError};
use crate::host::program;
use crate::host::units::MIB;
use crate::jail::{self, Calls, Child, Confinement, Jail, Limits, Network as Allowed, Program};
use crate::spec::deadline::Deadline;
use crate::spec::network::Reach;

pub use serve::serve_if_asked;
use words::Words;

/// TCP connections at once.
const CONNECTIONS: usize = 2048;

/// Each of a connection's two buffers, in bytes.
const BUFFER: usize = 64 << 10;

/// Whom datagrams are exchanged with at once, each by a socket of its own.
const FLOWS: usize = 512;

/// Descriptors for all else: the wire, ports, and what the resolver has open for a moment.
const DESCRIPTORS: usize = 256;

/// The network device's address on its link: each machine has a wire of its own. QEMU's own choice for its first.
pub(crate) const GUEST_LINK: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// For so long the relay may go on when the machine has ended: as long as it takes itself, and a moment.
const FAREWELL: Duration = Duration::from_secs(11);

/// The program that this library starts for the relay if nobody has named one.
const PROGRAM: &str = "hermit-wasm";

/// What the C library's resolver reads, where it is there.
const RESOLVER: [&str; 5] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
];

/// The port at which names are asked for.
const DNS: u16 = 53;

/// A running relay. Dropping it kills it, as its child is then dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    /// QEMU's end of the wire, until QEMU has it.
    wire: Option<UnixStream>,
    /// What it has to say.
    words: PipeReader,
    /// It has ended as it should: the wire was closed.
    over: bool,
}

/// Listens at the ports that are published, and starts a relay.
///
/// # Errors
/// A port cannot be listened at, or the process cannot be started.
pub(crate) fn start(reach: &Reach, named: Option<&Path>, level: Jail) -> Result<Relay, Error> {
    let cannot = StartError::file;
    let network = &reach.network;
    let mut published = Vec::new();
    for (index, publish) in reach.published.iter().enumerate() {
        let port = Published::bind(publish).map_err(|error| StartError::Network(error.to_string()))?;
        let host = port
            .host()
            .map_err(cannot("ask at which port this host listens"))?;
        // Nobody else says which port it is, or that it is opened at all.
        let log = if publish.host.port() == 0 || index >= reach.said {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(
            log,
            "this host listens on {host} for the guest's {} port {}",
            publish.protocol.name(),
            publish.guest
        );
        published.push((port, publish));
    }
    let program = match named {
        Some(program) => program.to_path_buf(),
        None => find()?,
    };
    let (ours, wire) = UnixStream::pair().map_err(cannot("make the guest's wire"))?;
    let (words, errors) = jail::pipe().map_err(cannot("make a pipe"))?;
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(cannot("open /dev/null"))?;
    let told = Words {
        wire: ours.as_raw_fd(),
        confined: level != Jail::Off,
        inherit: network.inherit,
        look_up: network.look_up,
        grants: network.grants.clone(),
        published: published
            .iter()
            .map(|(port, publish)| (port.as_fd().as_raw_fd(), publish.guest, publish.protocol))
            .collect(),
    };
    let told = input(&told.text()).map_err(cannot("make a file in memory for the network's relay"))?;
    let mut descriptors = vec![ours.as_fd()];
    descriptors.extend(published.iter().map(|(port, _)| port.as_fd()));
    let command = Program {
        path: &program,
        name: Some(words::NAME.as_ref()),
        arguments: &[],
        streams: [told.as_fd(), null.as_fd(), errors.as_fd()],
        descriptors: &descriptors,
        asks: None,
    };
    let (child, layers) =
        jail::start(&command, &confinement(network, level)).map_err(|source| StartError::Spawn {
            name: "the relay of the guest's network",
            path: program.clone(),
            source,
        })?;
    log::info!("the jail of the network's relay: {layers}");
    Ok(Relay {
        child,
        wire: Some(wire),
        words,
        over: false,
    })
}

/// A file in memory to be read from its beginning, and never written to again.
fn input(text: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("hermit-wasm-relay", flags)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, all)?;
    Ok(file)
}

/// The program, where nobody has named it.
fn find() -> Result<PathBuf, StartError> {
    program::search_path(Path::new(PROGRAM)).ok_or_else(|| {
        StartError::Network(format!(
            "the network's relay is a process of its own, for which '{PROGRAM}' is not in PATH; name a program that calls \
             relay::serve_if_asked by Run::relay"
        ))
    })
}

/// What the relay needs of this host.
fn confinement(network: &Network, level: Jail) -> Confinement {
    let is_name = |host: &Host| matches!(host, Host::Name(_));
    let has_names = network.look_up || network.grants.iter().any(|grant| is_name(&grant.target));
    let tcp = network
        .grants
        .iter()
        .filter(|grant| grant.protocol == Protocol::Tcp);
    let ports = tcp.map(|grant| grant.target_port).chain(has_names.then_some(DNS));
    let bytes = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let confinement = Confinement::new(level)
        .calls(Calls::Relay)
        .alone()
        .network(match network.inherit {
            true => Allowed::All,
            false => Allowed::Ports(ports.collect()),
        })
        .limits(Limits {
            files: Some(bytes(CONNECTIONS + FLOWS + DESCRIPTORS)),
            file_size: Some(0),
            locked: Some(0),
            // All buffers in use, what is noted of each connection, the wire, and the resolver's threads.
            data: Some(bytes(CONNECTIONS * (2 * BUFFER + 4096)) + 64 * MIB),
            stack: Some(2 * MIB),
            processes: Some(32),
            ..Limits::default()
        });
    let files = RESOLVER.iter().map(Path::new);
    files
        .filter(|file| has_names && file.exists())
        .fold(confinement, Confinement::read)
}

impl Relay {
    /// QEMU's end of the wire, for QEMU to inherit; `None` once QEMU has it.
    pub(crate) fn wire(&self) -> Option<BorrowedFd<'_>> {
        self.wire.as_ref().map(|wire| wire.as_fd())
    }

    /// QEMU has its end: were it open here too, the relay would not see QEMU's end.
    pub(crate) fn handed_over(&mut self) {
        self.wire = None;
    }

    /// Becomes readable when the process ends; `None`: that was seen.
    pub(crate) fn end(&self) -> Option<BorrowedFd<'_>> {
        (!self.over).then(|| self.child.end())
    }

    /// Why it has ended, unless it goes on or has ended with the machine.
    pub(crate) fn failure(&mut self) -> io::Result<Option<String>> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        self.over = true;
        if status.success() {
            return Ok(None);
        }
        let mut words = vec![0; 4096];
        let length = self.words.read(&mut words).unwrap_or_default();
        let words = String::from_utf8_lossy(words.get(..length).unwrap_or_default()).into_owned();
        Ok(Some(match words.lines().next() {
            Some(line) => piece(line),
            None => status.to_string(),
        }))
    }

    /// The machine has ended: waits until what the guest has sent has arrived, but not for ever.
    pub(crate) fn finish(mut self, deadline: &Deadline) {
        self.handed_over();
        let until = Instant::now().checked_add(FAREWELL);
        let ended = deadline.wait(Some((self.child.end(), PollFlags::IN)), until);
        match (ended, self.failure()) {
            (Ok(true), Ok(None)) => {}
            (Ok(true), Ok(Some(reason))) => log::warn!("what the guest sent last may be lost: {reason}"),
            _ => log::warn!("what the guest sent last may be lost: its receivers did not take it in time"),
        }
    }
}
