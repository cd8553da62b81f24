//! Runs with a network.

use std::path::PathBuf;

use boot_protocol::network::Publish;
use boot_protocol::run_spec::Network;

use crate::Run;

impl Run {
    /// Gives the guest a network: what it may connect to, and where it may listen. Default: none, and no network device.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.spec.network = Some(network);
        self
    }

    /// Has this host listen for one of the guest's ports, which the [network](Self::network) must have too.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.published.push(publish);
        self
    }

    /// Names the program that becomes the host's end of the guest's network, which is a process of its own: one that
    /// calls [`relay::serve_if_asked`](crate::relay::serve_if_asked), as this program may. Default: `hermit-wasm` in
    /// PATH.
    #[must_use]
    pub fn relay(mut self, program: impl Into<PathBuf>) -> Self {
        self.relay = Some(program.into());
        self
    }
}
