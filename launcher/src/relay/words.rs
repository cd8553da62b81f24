//! What the relay is told, on its standard input: on a command line every user of this host could read what is granted.
//! The launcher writes it, one word a line, and the relay reads it: nobody else does.
//!
//! Layer: pure.

use std::fmt::Display;
use std::os::fd::RawFd;
use std::str::FromStr;

use boot_protocol::network::{Grant, Protocol};

/// What it is called, by which a program knows what it is. No argument: a packed program's are its guest's, whoever
/// chooses them.
pub(super) const NAME: &str = "relay-of-a-network";

/// What the relay is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Its end of the guest's wire, a descriptor that it inherits.
    pub(super) wire: RawFd,
    /// Whether it is in a jail.
    pub(super) confined: bool,
    /// Whether all of the host's network is granted, but for special addresses.
    pub(super) inherit: bool,
    /// Whether any name may be looked up.
    pub(super) look_up: bool,
    /// What is granted.
    pub(super) grants: Vec<Grant>,
    /// Published ports: the socket, a descriptor that it inherits, and the guest's port.
    pub(super) published: Vec<(RawFd, u16, Protocol)>,
}

impl Words {
    /// The words.
    pub(super) fn text(&self) -> String {
        let mut words = vec![format!("wire={}", self.wire)];
        for (is_there, word) in [
            (self.confined, "confined"),
            (self.inherit, "inherit"),
            (self.look_up, "look-up"),
        ] {
            words.extend(is_there.then(|| word.to_string()));
        }
        words.extend(self.grants.iter().map(|grant| format!("grant={grant}")));
        for (socket, guest, protocol) in &self.published {
            words.push(format!("published={socket}:{guest}/{}", protocol.name()));
        }
        words.push(String::new());
        words.join("\n")
    }

    /// Reads the words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut this = Self {
            wire: -1,
            ..Self::default()
        };
        for word in text.lines() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("wire", number) => this.wire = value(number)?,
                ("confined", "") => this.confined = true,
                ("inherit", "") => this.inherit = true,
                ("look-up", "") => this.look_up = true,
                ("grant", grant) => this.grants.push(value(grant)?),
                ("published", port) => this.published.push(published(port)?),
                _ => return Err(format!("'{word}' means nothing to it")),
            }
        }
        match this.wire {
            -1 => Err("it is given no wire; only hermit-wasm itself starts it".to_string()),
            _ => Ok(this),
        }
    }
}

/// `SOCKET:PORT/PROTOCOL`.
fn published(text: &str) -> Result<(RawFd, u16, Protocol), String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(socket, rest)| Some((socket, rest.split_once('/')?)));
    let Some((socket, (guest, protocol))) = parts else {
        return Err(format!("'{text}' is no published port"));
    };
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(format!("'{other}' is no protocol")),
    };
    Ok((value(socket)?, value(guest)?, protocol))
}

fn value<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("'{text}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let words = Words {
            wire: 7,
            confined: true,
            inherit: true,
            look_up: true,
            grants: ["redis:6379=127.0.0.1:7000", "[2001:db8::1]:80", "time:123/udp"]
                .map(|text| text.parse().unwrap())
                .into(),
            published: vec![(8, 80, Protocol::Tcp), (9, 53, Protocol::Udp)],
        };
        for words in [
            words,
            Words {
                wire: 3,
                ..Words::default()
            },
        ] {
            assert_eq!(Words::parse(&words.text()), Ok(words));
        }
    }

    #[test]
    fn nothing_else_is() {
        for (words, reason) in [
            (&[][..], "no wire"),
            (&["wire=x"], "'x'"),
            (&["wire=3", "more"], "'more'"),
            (&["wire=3", "grant=redis"], "has no port"),
            (&["wire=3", "published=4:80"], "'4:80'"),
            (&["wire=3", "published=4:80/sctp"], "'sctp'"),
            (&["wire=3", "published=4:99999/tcp"], "'99999'"),
        ] {
            let error = Words::parse(&words.join("\n")).unwrap_err();
            assert!(error.contains(reason), "{words:?}: {error}");
        }
    }
}
