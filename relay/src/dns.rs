//! The resolver that a guest asks in the way of every network: by DNS, at [`inside::DNS`].
//!
//! It knows the granted names. Other names are asked of the host's resolver, if that was granted too; a guest's
//! question is never passed on, nor is an answer. Format: RFC 1035.

use std::net::{IpAddr, SocketAddr};

use boot_protocol::network::inside;

use crate::outside::{Outside, Token};
use crate::packet::{self, Datagram, Ends};
use crate::resolve::Found;

/// Questions that wait for the host's resolver.
const WAITING: usize = 64;
/// For how many seconds an answer counts.
const LIFE: u32 = 30;
const PORT: u16 = 53;

const REFUSED: u8 = 5;
const SERVER_FAILED: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    id: [u8; 2],
    name: String,
    ipv6: bool,
    /// As it was asked.
    bytes: Vec<u8>,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(crate) struct Dns {
    waiting: Vec<(u16, Option<(Ends, Question)>)>,
}

/// Whether a datagram is for the resolver.
pub(crate) fn is_for(to: SocketAddr) -> bool {
    let address = to.ip();
    to.port() == PORT && (address == IpAddr::V4(inside::DNS) || address == IpAddr::V6(inside::DNS_V6))
}

impl Dns {
    /// A question of the guest's.
    pub(crate) fn receive(&mut self, out: &mut Outside, datagram: &Datagram<'_>) {
        let ends = datagram.ends;
        let question = match read(datagram.data) {
            Ok(question) => question,
            Err(None) => return,
            Err(Some(question)) => return reply(out, ends, &question, NOT_IMPLEMENTED, &[]),
        };
        let known = out.policy.addresses(&question.name);
        if let Some((v4, v6)) = known {
            return reply(out, ends, &question, 0, &[v4.into(), v6.into()]);
        }
        if !out.policy.looks_up() {
            return reply(out, ends, &question, REFUSED, &[]);
        }
        let free = self.waiting.iter().position(|(_, place)| place.is_none());
        let index = match free {
            Some(index) => index,
            None if self.waiting.len() < WAITING => {
                self.waiting.push((0, None));
                self.waiting.len() - 1
            }
            // It asks again.
            None => return,
        };
        if let Some(place) = self.waiting.get_mut(index) {
            place.0 = place.0.wrapping_add(1);
            if out.ask(Token::Dns(index, place.0), &question.name) {
                place.1 = Some((ends, question));
            }
        }
    }

    /// A name's addresses were found.
    pub(crate) fn resolved(&mut self, out: &mut Outside, at: (usize, u16), found: &Found) {
        let Found {
            name,
            addresses,
            failed,
            ..
        } = found;
        let is_its = |place: &(u16, Option<(Ends, Question)>)| {
            place.0 == at.1
                && place
                    .1
                    .as_ref()
                    .is_some_and(|(_, question)| question.name == *name)
        };
        let place = self.waiting.get_mut(at.0).filter(|place| is_its(place));
        if let Some((ends, question)) = place.and_then(|place| place.1.take()) {
            let code = match (failed, addresses.is_empty()) {
                (true, _) => SERVER_FAILED,
                (false, true) => NO_SUCH_NAME,
                (false, false) => 0,
            };
            reply(out, ends, &question, code, addresses);
        }
    }
}

/// Reads a question. What is none has no answer; one of another kind is answered that it is.
fn read(message: &[u8]) -> Result<Question, Option<Question>> {
    let (header, mut rest) = message.split_first_chunk::<12>().ok_or(None)?;
    let [id_high, id_low, flags, _, 0, 1, ..] = *header else {
        return Err(None);
    };
    // An answer.
    if flags & 0x80 != 0 {
        return Err(None);
    }
    let (mut name, body) = (String::new(), rest);
    loop {
        let (length, tail) = rest.split_first().ok_or(None)?;
        if *length == 0 {
            rest = tail;
            break;
        }
        // No pointers: there is nothing before to point to.
        let (label, tail) = tail
            .split_at_checked((*length).into())
            .filter(|_| *length < 64)
            .ok_or(None)?;
        let is_ordinary = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        if !label.iter().all(is_ordinary) || name.len() > 253 {
            return Err(None);
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        rest = tail;
    }
    let (kind, tail) = rest.split_first_chunk::<4>().ok_or(None)?;
    let bytes = body.get(..body.len() - tail.len()).unwrap_or_default();
    let question = |ipv6| Question {
        id: [id_high, id_low],
        name,
        ipv6,
        bytes: bytes.to_vec(),
    };
    match kind {
        // A and AAAA of a standard query.
        [0, 1, 0, 1] if flags & 0x78 == 0 => Ok(question(false)),
        [0, 28, 0, 1] if flags & 0x78 == 0 => Ok(question(true)),
        _ => Err(Some(question(false))),
    }
}

fn reply(out: &mut Outside, ends: Ends, question: &Question, code: u8, addresses: &[IpAddr]) {
    let mut answers = Vec::new();
    let mut count = 0u8;
    for address in addresses
        .iter()
        .filter(|address| address.is_ipv6() == question.ipv6)
    {
        // The name is the question's; its kind is too.
        answers.extend_from_slice(&[0xc0, 12, 0, if question.ipv6 { 28 } else { 1 }, 0, 1]);
        answers.extend_from_slice(&LIFE.to_be_bytes());
        match address {
            IpAddr::V4(address) => {
                answers.extend_from_slice(&[0, 4]);
                answers.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                answers.extend_from_slice(&[0, 16]);
                answers.extend_from_slice(&address.octets());
            }
        }
        count = count.saturating_add(1);
    }
    let [high, low] = question.id;
    // An answer, to who wants recursion and gets it.
    let header = [high, low, 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    let message = [&header[..], &question.bytes, &answers].concat();
    let guest = out.guest;
    out.wire
        .send(|bytes| packet::datagram(bytes, guest, ends.reversed(), &message));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &[u8], kind: [u8; 4]) -> Vec<u8> {
        [&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &kind].concat()
    }

    #[test]
    fn questions_are_read_and_nothing_else_is() {
        let name = b"\x05Redis\x07example\0";
        let read_name = |bytes: &[u8]| read(bytes).map(|question| (question.name, question.ipv6));
        let right = message(name, [0, 1, 0, 1]);
        assert_eq!(read_name(&right), Ok(("redis.example".to_string(), false)));
        assert_eq!(
            read_name(&message(name, [0, 28, 0, 1])),
            Ok(("redis.example".to_string(), true))
        );
        assert!(matches!(read(&message(name, [0, 16, 0, 1])), Err(Some(_))));
        for length in 0..right.len() {
            assert_eq!(read(&right[..length]), Err(None), "{length}");
        }
        for wrong in [&b"\xc0\x0c"[..], b"\x40", b"\x02a\x00\0", b"\x02a.\0", b"\x02a"] {
            assert_eq!(read(&message(wrong, [0, 1, 0, 1])), Err(None), "{wrong:?}");
        }
        let mut answer = right.clone();
        answer[2] |= 0x80;
        assert_eq!(read(&answer), Err(None));
    }
}
