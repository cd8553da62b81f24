//! The guest's network: what is granted, what is published, and the addresses inside.
//!
//! Layer: shared vocabulary. The launcher's relay and the application both read it here. What a run is given of it:
//! [`Network`](crate::run_spec::Network).

mod grant;
pub mod inside;
mod options;
mod publish;
mod special;

pub use grant::{Grant, GrantError, Host, Protocol};
pub use options::{WasiOption, listener};
pub use publish::{Publish, exposed};
pub use special::{embedded, is_special};
