//! Options of `-S` that are about the network, as wasmtime calls them; and the addresses of listeners.
//!
//! Layer: text.

use alloc::borrow::ToOwned as _;
use alloc::format;
use core::net::SocketAddr;

use super::grant::GrantError;

/// An option of `-S`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasiOption {
    /// `inherit-network`: the guest may connect to what was not granted.
    Inherit(bool),
    /// `allow-ip-name-lookup`: it may look up any name.
    LookUp(bool),
    /// `tcplisten=ADDR:PORT`: it has a listener when it starts.
    Listen(SocketAddr),
}

impl WasiOption {
    /// What is said of each in a list of what there is.
    pub const NAMES: &str = "inherit-network, allow-ip-name-lookup and tcplisten=ADDR:PORT";

    /// Reads one, which commas divide from others; `None`: it is not about the network.
    #[inline(never)]
    pub fn parse(option: &str) -> Option<Result<Self, GrantError>> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let is_on = match value {
            None | Some("y" | "yes" | "true") => Ok(true),
            Some("n" | "no" | "false") => Ok(false),
            Some(other) => Err(GrantError::new(format!(
                "{name}: cannot use '{}'; expected y or n",
                other.escape_debug()
            ))),
        };
        match name {
            "inherit-network" => Some(is_on.map(Self::Inherit)),
            "allow-ip-name-lookup" => Some(is_on.map(Self::LookUp)),
            "tcplisten" => Some(listener(value.unwrap_or_default()).map(Self::Listen)),
            _ => None,
        }
    }
}

/// Reads `ADDR:PORT`, at which a listener listens.
///
/// # Errors
/// It is none, or leaves it to the system which port that is: then nobody knows it.
#[inline(never)]
pub fn listener(text: &str) -> Result<SocketAddr, GrantError> {
    let shown = text.escape_debug();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    match address.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(GrantError::new(format!(
            "'{shown}': the guest's listener needs a port of its own; name one from 1 to 65535"
        ))),
        Ok(SocketAddr::V6(address)) if address.scope_id() != 0 => Err(GrantError::new(format!(
            "'{shown}': an address with a scope is of one link; name one without"
        ))),
        Ok(address) => Ok(address),
        Err(_) => Err(GrantError::new(format!(
            "'{shown}' is no address to listen at; write ADDR:PORT, such as 127.0.0.1:8080 or [::1]:8080"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn options_are_wasmtimes() {
        for (text, option) in [
            ("inherit-network", WasiOption::Inherit(true)),
            ("inherit-network=n", WasiOption::Inherit(false)),
            ("allow-ip-name-lookup=yes", WasiOption::LookUp(true)),
            (
                "tcplisten=[::1]:80",
                WasiOption::Listen("[::1]:80".parse().unwrap()),
            ),
        ] {
            assert_eq!(WasiOption::parse(text), Some(Ok(option)), "{text}");
        }
        for text in ["inherit-env", "", "tcp", "inherit-networks"] {
            assert_eq!(WasiOption::parse(text), None, "{text}");
        }
        for text in [
            "inherit-network=1",
            "allow-ip-name-lookup=",
            "tcplisten",
            "tcplisten=80",
        ] {
            assert!(WasiOption::parse(text).unwrap().is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_has_an_address_and_a_port() {
        for (text, shown) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::]:1", "[::]:1"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(listener(text).unwrap().to_string(), shown);
        }
        for (text, reason) in [
            ("", "ADDR:PORT"),
            ("8080", "ADDR:PORT"),
            (":8080", "ADDR:PORT"),
            ("::1:80", "ADDR:PORT"),
            ("example.com:80", "ADDR:PORT"),
            ("localhost:", "ADDR:PORT"),
            ("127.0.0.1:65536", "ADDR:PORT"),
            ("127.0.0.1:0", "a port of its own"),
            ("[fe80::1%3]:80", "with a scope"),
        ] {
            let error = listener(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
