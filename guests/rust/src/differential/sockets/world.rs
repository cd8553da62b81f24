//! What a sequence of calls works on: connections, and what their other ends have done.

use wasip1::wasi_snapshot_preview1 as raw;

use crate::area::Area;
use crate::control::{Control, LISTENER};
use crate::random::Random;

/// A descriptor with a name that does not depend on its number.
#[derive(Clone)]
pub struct Named {
    pub number: i32,
    pub label: String,
}

/// A connection that the guest has accepted.
pub struct Connection {
    pub number: i32,
    /// The client's number for it.
    pub client: u64,
    /// Bytes that the guest has sent.
    pub sent: u64,
    /// Whether the guest's calls wait.
    pub waits: bool,
    /// Whether the client sends no more.
    pub ended: bool,
    /// Whether the client has closed it.
    pub closed: bool,
    /// Whether the guest has sent something since.
    pub answered: bool,
}

/// The world of one sequence.
pub struct World<'a> {
    pub area: Area,
    pub random: Random,
    pub control: &'a mut Control,
    pub connections: Vec<Connection>,
    /// Those that the client has made and the guest not accepted.
    pub waiting: Vec<u64>,
    /// Those of them that were ended, closed.
    pub made: u64,
}

/// How many connections there are at most.
const MOST: usize = 4;

impl<'a> World<'a> {
    pub fn begin(control: &'a mut Control, seed: u64, sequence: u64) -> Self {
        Self {
            area: Area::new(),
            random: Random::new(seed, sequence),
            control,
            connections: Vec::new(),
            waiting: Vec::new(),
            made: 0,
        }
    }

    /// Does something, at this end or the other.
    pub fn any_call(&mut self) -> Result<String, String> {
        let few = self.connections.len() + self.waiting.len() < MOST;
        match self.random.below(100) {
            0..=9 if few => self.connect(),
            0..=24 => self.client(),
            25..=34 => Ok(self.accept()),
            35..=54 => Ok(self.receive()),
            55..=66 => self.send(),
            67..=70 => Ok(self.shutdown()),
            71..=84 => Ok(self.poll()),
            85..=96 => Ok(self.attributes()),
            97 => Ok(self.renumber()),
            _ => Ok(self.close()),
        }
    }

    /// Ends all that is open.
    pub fn end(mut self) -> Result<(), String> {
        for connection in std::mem::take(&mut self.connections) {
            // SAFETY: no pointer is passed.
            unsafe { raw::fd_close(connection.number) };
        }
        for client in 0..self.made {
            self.control.ask(&format!("close {client}"))?;
        }
        // What nobody has accepted must not come to the next sequence.
        while let Ok(fd) = {
            // SAFETY: no pointer is passed.
            unsafe { wasip1::sock_accept(LISTENER, 0) }
        } {
            // SAFETY: as above.
            unsafe { raw::fd_close(fd as i32) };
        }
        Ok(())
    }

    /// The other end makes a connection.
    fn connect(&mut self) -> Result<String, String> {
        let client = self.made;
        self.made += 1;
        self.waiting.push(client);
        self.tell(&format!("connect {client}"))
    }

    /// The other end of a connection does something.
    fn client(&mut self) -> Result<String, String> {
        let Some(index) = self.some() else {
            return self.connect();
        };
        let count = self.random.pick(&[1, 2, 7, 100, 3000]);
        let read = self.random.percent(25);
        let choice = self.random.below(20);
        let connection = &mut self.connections[index];
        let client = connection.client;
        if connection.closed {
            return Ok(line("client", "nothing", 0, ""));
        }
        if read {
            let sent = connection.sent;
            return self.tell(&format!("read {client} {sent}"));
        }
        match choice {
            0..=13 if !connection.ended => self.tell(&format!("send {client} {count}")),
            0..=16 => {
                connection.ended = true;
                self.tell(&format!("end {client}"))
            }
            17..=18 => {
                (connection.ended, connection.closed) = (true, true);
                self.tell(&format!("close {client}"))
            }
            _ => {
                (connection.ended, connection.closed) = (true, true);
                self.tell(&format!("reset {client}"))
            }
        }
    }

    /// Tells the client something; the line about it.
    pub fn tell(&mut self, request: &str) -> Result<String, String> {
        let answer = self.control.ask(request)?;
        let answer = answer.replace(' ', "/");
        Ok(line("client", request, 0, &format!("answer={answer}")))
    }

    /// A connection, if there is one.
    pub fn some(&mut self) -> Option<usize> {
        let count = self.connections.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    /// A descriptor for calls that do not wait: mostly a connection.
    pub fn any_fd(&mut self) -> Named {
        match (self.random.below(12), self.some()) {
            (0, _) | (_, None) => Named {
                number: LISTENER as i32,
                label: "listener".into(),
            },
            (1, _) => Named {
                number: 9_999,
                label: "none".into(),
            },
            (_, Some(index)) => self.named(index),
        }
    }

    pub fn named(&self, index: usize) -> Named {
        let connection = &self.connections[index];
        Named {
            number: connection.number,
            label: format!("c{}", connection.client),
        }
    }
}

/// A line of the log.
pub fn line(call: &str, arguments: &str, errno: i32, results: &str) -> String {
    let space = if errno != 0 || results.is_empty() { "" } else { " " };
    let results = if errno == 0 { results } else { "" };
    format!(
        "{call}({arguments}) = {}{space}{results}",
        guests::errno_name(errno)
    )
}
