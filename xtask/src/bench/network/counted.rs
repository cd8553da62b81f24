//! What a server's work costs, in instructions.
//!
//! The count is read while the machine runs. *At rest*: each piece of work begins when neither the machine nor its wire
//! has anything to do, and is over when that is so again; then it does not matter how fast this host is. *In a row*: the
//! next one begins with the answer; whether a frame finds the machine awake is chance, and a wake costs.

use anyhow::{Context as _, Result};

use super::client::{Client, Way};
use super::server::{Clock, Host, Parts, Server, Wire};
use super::spread::Spread;
use crate::bench::{grouped, table};

/// A piece of work.
#[derive(Clone, Copy)]
enum Work {
    /// A request, on a connection that is there.
    Request,
    /// A connection with a request.
    Connection,
    /// So many KiB.
    Kib(Way, u32),
}

/// What is measured.
struct Job {
    name: &'static str,
    work: Work,
    /// How often it is done in a row before the count is read.
    row: u32,
    /// How often the count is read.
    times: usize,
}

/// How often a job is done before it is measured.
const WARM_UP: u32 = 3;

const JOBS: [Job; 6] = [
    Job {
        name: "a request of 100 bytes and its answer of 200, at rest",
        work: Work::Request,
        row: 1,
        times: 41,
    },
    Job {
        name: "in a row",
        work: Work::Request,
        row: 300,
        times: 7,
    },
    Job {
        name: "a connection with one of these, at rest",
        work: Work::Connection,
        row: 1,
        times: 41,
    },
    Job {
        name: "in a row",
        work: Work::Connection,
        row: 100,
        times: 7,
    },
    Job {
        name: "a KiB received",
        work: Work::Kib(Way::In, 4 << 10),
        row: 1,
        times: 7,
    },
    Job {
        name: "a KiB sent",
        work: Work::Kib(Way::Out, 4 << 10),
        row: 1,
        times: 7,
    },
];

impl Job {
    /// By what a count is divided.
    const fn parts(&self) -> u32 {
        match self.work {
            Work::Request | Work::Connection => self.row,
            Work::Kib(_, number) => self.row * number,
        }
    }

    /// Does a row.
    fn run(&self, port: u16, client: &mut Option<Client>) -> Result<()> {
        for _ in 0..self.row {
            match (self.work, client.as_mut()) {
                (Work::Request, Some(client)) => client.request()?,
                (Work::Kib(way, number), Some(client)) => client.transfer(way, number << 10)?,
                _ => Client::connect(port)?.request()?,
            }
        }
        Ok(())
    }

    /// What it costs.
    fn cost(&self, server: &Server) -> Result<Spread<u64>> {
        // Connections are served one after the other: this one would be in the way of those that are work.
        let mut client = match self.work {
            Work::Connection => None,
            Work::Request | Work::Kib(..) => Some(Client::connect(server.port)?),
        };
        // What comes to be once is none of it: tables, buffers, and the clock's frequency when the first timer is set.
        let mut before = 0;
        for _ in 0..WARM_UP {
            self.run(server.port, &mut client)?;
            before = server.at_rest()?;
        }
        let mut costs = Vec::new();
        for _ in 0..self.times {
            self.run(server.port, &mut client)?;
            let after = server.at_rest()?;
            costs.push((after - before) / u64::from(self.parts()));
            before = after;
        }
        Spread::of(costs).context("nothing was measured")
    }
}

/// Measures and prints a table for each wire.
pub(super) fn run_all(parts: &Parts, hosts: &[Host]) -> Result<()> {
    for wire in Wire::ALL {
        println!(
            "What a server costs on the wire {}: guest instructions (QEMU TCG, -icount shift=0), middle (least to most)\n",
            wire.name()
        );
        let mut columns = Vec::new();
        for host in hosts {
            let server =
                Server::start(parts, *host, wire, Clock::Instructions).with_context(|| host.name())?;
            let costs = JOBS.iter().map(|job| job.cost(&server).with_context(|| job.name));
            columns.push((
                host.name(),
                costs.collect::<Result<Vec<_>>>().with_context(|| host.name())?,
            ));
            server.end()?;
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let rows = JOBS.iter().enumerate().map(|(index, job)| {
            let cells = columns.iter().map(|(_, costs)| {
                costs
                    .get(index)
                    .map_or_else(String::new, |cost| cost.show(grouped))
            });
            (job.name.to_owned(), cells.collect())
        });
        println!("{}", table(&names, rows));
    }
    Ok(())
}
