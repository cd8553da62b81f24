//! Guests as containers: of podman, with root's rights and without; of containerd, by `ctr` and by the interface that
//! Kubernetes speaks; of Docker's Swarm. The runtime is `hermit-wasm`, called as `hermit-oci`; the engines are this
//! machine's, with directories and settings of the tests' own.
//!
//! Layer: host tests, above the launcher. The test programs are in `tests/`; what the rows of `guests/tests/*.toml` need
//! is [`rows`].

pub mod archive;
pub mod engine;
pub mod host;
pub mod rows;
pub mod settings;
pub mod world;

pub use engine::{Container, Engine, Kind};
