//! Names, asked of the host's resolver by threads of their own: it may take as long as it likes.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

/// How many names are asked for at once.
const THREADS: usize = 4;
/// How many may wait for that.
const WAITING: usize = 256;
/// How many of a name's addresses are tried.
const ADDRESSES: usize = 8;

/// Finds a name's addresses. It may wait. Of a name that does not exist, or has none, there are none, or the error is of
/// kind [`NotFound`](io::ErrorKind::NotFound). Any other error: nobody knows now.
pub type Resolve = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The host's resolver.
#[must_use]
pub fn system() -> Resolve {
    Arc::new(|name| match (name, 0).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
        Err(error) if denies(&error.to_string()) => Err(io::Error::new(io::ErrorKind::NotFound, error)),
        Err(error) => Err(error),
    })
}

/// Whether the resolver's error says that there is no such name, or that it has no address. The standard library keeps
/// nothing of it but `gai_strerror`'s words, of glibc and of musl, which no locale changes as long as nobody calls
/// `setlocale`. Of other words nobody knows what they say: that is no reason to deny a name.
fn denies(error: &str) -> bool {
    const DENIALS: [&str; 5] = [
        "Name or service not known",
        "No address associated with hostname",
        "Address family for hostname not supported",
        "Name does not resolve",
        "Name has no usable address",
    ];
    DENIALS.iter().any(|denial| error.ends_with(denial))
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// For whom. Numbers come again: whoever has this one now may have asked for something else.
    pub(crate) asker: u64,
    /// The name that was asked for.
    pub(crate) name: String,
    /// None: it has none, or nobody knows.
    pub(crate) addresses: Vec<IpAddr>,
    /// Nobody knows.
    pub(crate) failed: bool,
}

/// The threads.
pub(crate) struct Resolver {
    questions: SyncSender<(u64, String)>,
    found: Arc<Mutex<Vec<Found>>>,
    wake: Arc<OwnedFd>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl Resolver {
    /// Starts the threads. They end some time after this value is dropped, when their last question is answered.
    pub(crate) fn new(resolve: &Resolve) -> io::Result<Self> {
        let (questions, receiver) = sync_channel(WAITING);
        let resolver = Self {
            questions,
            found: Arc::default(),
            wake: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
        };
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let (receiver, resolve) = (receiver.clone(), resolve.clone());
            let (found, wake) = (resolver.found.clone(), resolver.wake.clone());
            thread::Builder::new()
                .name("resolver".to_string())
                .spawn(move || answer(&receiver, &resolve, &found, &wake))?;
        }
        Ok(resolver)
    }

    /// Readable when something was found.
    pub(crate) fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Asks. `false`: too many questions wait.
    pub(crate) fn ask(&self, asker: u64, name: &str) -> bool {
        self.questions.try_send((asker, name.to_string())).is_ok()
    }

    /// Takes what was found.
    pub(crate) fn take(&self) -> Vec<Found> {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn answer(
    questions: &Mutex<Receiver<(u64, String)>>,
    resolve: &Resolve,
    found: &Mutex<Vec<Found>>,
    wake: &OwnedFd,
) {
    loop {
        let question = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((asker, name)) = question else { return };
        let (mut addresses, failed) = match resolve(&name) {
            Ok(addresses) => (addresses, false),
            Err(error) => (Vec::new(), error.kind() != io::ErrorKind::NotFound),
        };
        addresses.dedup();
        addresses.truncate(ADDRESSES);
        found.lock().unwrap_or_else(PoisonError::into_inner).push(Found {
            asker,
            name,
            addresses,
            failed,
        });
        let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that says so in words of its own would have every name that does not exist taken for one that nobody
    /// knows.
    #[test]
    fn the_hosts_resolver_denies_what_can_be_no_name_in_known_words() {
        let denied = system()(&"x".repeat(300)).expect_err("no name is so long");
        assert_eq!(denied.kind(), io::ErrorKind::NotFound, "{denied}");
        assert!(denies(
            "failed to lookup address information: Name does not resolve"
        ));
        for unknown in [
            "failed to lookup address information: Temporary failure in name resolution",
            "failed to lookup address information: Try again",
            "failed to lookup address information: Non-recoverable failure in name resolution",
            "Too many open files (os error 24)",
        ] {
            assert!(!denies(unknown), "{unknown}");
        }
    }
}
