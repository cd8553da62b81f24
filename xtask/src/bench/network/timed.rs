//! How fast servers are, and what they cost while they have nothing to do: by the clock.
//!
//! All machines run at the same time, and each gets its share of work in each round, so that what else this host does
//! hits all of them: the ratio between two of them in the same round is what counts.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use test_qemu::{Arch, Engine};

use super::client::{Client, Way};
use super::server::{Clock, Host, Parts, Server, Wire};
use super::spread::Spread;
use crate::bench::table;

const ROUNDS: usize = 9;

/// What is done in a round.
const REQUESTS: u32 = 300;
const CONNECTIONS: u32 = 50;
/// MiB each way; a million of bytes is what speed is told in.
const TRANSFER: u32 = 8;

/// For so long all machines have nothing to do.
const IDLE: Duration = Duration::from_secs(30);

/// A machine, and what was measured of it.
struct Measured {
    name: String,
    server: Server,
    /// Of each kind of [`RATES`], how often in a second, by round.
    rates: [Vec<f64>; RATES.len()],
    /// How long each request took, in microseconds.
    latencies: Vec<f64>,
    idle: Duration,
}

const RATES: [&str; 4] = [
    "requests per second, one connection",
    "connections per second, one request each",
    "MB/s received",
    "MB/s sent",
];

impl Measured {
    fn new(name: String, server: Server) -> Self {
        Self {
            name,
            server,
            rates: Default::default(),
            latencies: Vec::new(),
            idle: Duration::ZERO,
        }
    }

    /// Does a round's work.
    fn work(&mut self) -> Result<()> {
        let port = self.server.port;
        let mut client = Client::connect(port)?;
        let begin = Instant::now();
        for _ in 0..REQUESTS {
            let begin = Instant::now();
            client.request()?;
            self.latencies.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        let requests = f64::from(REQUESTS) / begin.elapsed().as_secs_f64();
        let megabytes = f64::from(TRANSFER << 20) / 1e6;
        let mut speed = |way| -> Result<f64> {
            let begin = Instant::now();
            client.transfer(way, TRANSFER << 20)?;
            Ok(megabytes / begin.elapsed().as_secs_f64())
        };
        let (received, sent) = (speed(Way::In)?, speed(Way::Out)?);
        // The next one waits until the server has seen the end of this one.
        drop(client);
        let begin = Instant::now();
        for _ in 0..CONNECTIONS {
            Client::connect(port)?.request()?;
        }
        let connections = f64::from(CONNECTIONS) / begin.elapsed().as_secs_f64();
        for (all, rate) in self.rates.iter_mut().zip([requests, connections, received, sent]) {
            all.push(rate);
        }
        Ok(())
    }
}

/// Measures and prints the tables.
pub(super) fn run_all(parts: &Parts) -> Result<()> {
    let ours = Host::Ours(Arch::X86_64, Engine::Interp);
    let mut all = Vec::new();
    for wire in Wire::ALL {
        for host in [Host::Linux, ours] {
            if host == Host::Linux && parts.linux.is_none() {
                continue;
            }
            let name = format!("{}, {}", host.name(), wire.name());
            let server = Server::start(parts, host, wire, Clock::Wall).with_context(|| name.clone())?;
            all.push(Measured::new(name, server));
        }
    }
    all.push(Measured::new(
        "`hermit-wasm run`".to_owned(),
        Server::launched(parts)?,
    ));

    // What has run once is translated.
    for machine in &mut all {
        machine.work().with_context(|| machine.name.clone())?;
        machine.rates = Default::default();
        machine.latencies.clear();
    }
    for _ in 0..ROUNDS {
        for machine in &mut all {
            machine.work().with_context(|| machine.name.clone())?;
        }
    }
    // Connections that were closed a moment ago are not idle yet.
    thread::sleep(Duration::from_secs(5));
    let before = all
        .iter()
        .map(|machine| machine.server.ran())
        .collect::<Result<Vec<_>>>()?;
    thread::sleep(IDLE);
    for (machine, before) in all.iter_mut().zip(before) {
        machine.idle = machine.server.ran()?.saturating_sub(before);
    }
    print(&all)?;
    all.into_iter().try_for_each(|machine| machine.server.end())
}

fn print(all: &[Measured]) -> Result<()> {
    println!(
        "A server by the clock, x86_64 under TCG: the middle of {ROUNDS} rounds in turn (least to most); idle in \
         {} s\n",
        IDLE.as_secs()
    );
    let names: Vec<&str> = all.iter().map(|machine| machine.name.as_str()).collect();
    let mut rows = Vec::new();
    for (index, name) in RATES.iter().enumerate() {
        let cells = all
            .iter()
            .map(|machine| Ok(spread(&machine.rates[index])?.show(|rate| format!("{rate:.0}"))));
        rows.push(((*name).to_owned(), cells.collect::<Result<_>>()?));
    }
    for (name, percent) in [
        ("latency of a request, median, µs", 50),
        ("latency of a request, 99 %, µs", 99),
    ] {
        let cells = all
            .iter()
            .map(|machine| format!("{:.0}", quantile(&machine.latencies, percent)));
        rows.push((name.to_owned(), cells.collect()));
    }
    let idle = all.iter().map(|machine| format!("{}", machine.idle.as_millis()));
    rows.push(("idle: the host's CPU time, ms".to_owned(), idle.collect()));
    println!("{}", table(&names, rows));

    let linux = |wire: Wire| {
        let name = format!("{}, {}", Host::Linux.name(), wire.name());
        all.iter().find(|machine| machine.name == name)
    };
    let mut columns = Vec::new();
    for machine in all {
        // The launcher's wire is the relay.
        let wire = if machine.name.ends_with(Wire::Slirp.name()) {
            Wire::Slirp
        } else {
            Wire::Relay
        };
        if let Some(linux) = linux(wire)
            && linux.name != machine.name
        {
            columns.push((machine, linux));
        }
    }
    if columns.is_empty() {
        return Ok(());
    }
    println!("How many times as much as Linux on the same wire, in the same round\n");
    let names: Vec<&str> = columns.iter().map(|(machine, _)| machine.name.as_str()).collect();
    let mut rows = Vec::new();
    for (index, name) in RATES.iter().enumerate() {
        let cells = columns.iter().map(|(machine, linux)| {
            let pairs = machine.rates[index].iter().zip(&linux.rates[index]);
            let ratios: Vec<f64> = pairs.map(|(ours, linux)| ours / linux).collect();
            Ok(spread(&ratios)?.show(|ratio| format!("{ratio:.2}")))
        });
        rows.push(((*name).to_owned(), cells.collect::<Result<_>>()?));
    }
    for (name, percent) in [
        ("latency of a request, median", 50),
        ("latency of a request, 99 %", 99),
    ] {
        let cells = columns.iter().map(|(machine, linux)| {
            format!(
                "{:.2}",
                quantile(&machine.latencies, percent) / quantile(&linux.latencies, percent)
            )
        });
        rows.push((name.to_owned(), cells.collect()));
    }
    println!("{}", table(&names, rows));
    Ok(())
}

fn spread(all: &[f64]) -> Result<Spread<f64>> {
    Spread::of(all.to_vec()).context("nothing was measured")
}

/// What so many of a hundred are not above; 0 of none.
fn quantile(all: &[f64], percent: usize) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let rank = (all.len() * percent).div_ceil(100);
    all.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let all: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert!((quantile(&all, 50) - 100.0).abs() < 1e-9);
        assert!((quantile(&all, 99) - 198.0).abs() < 1e-9);
        assert!((quantile(&[7.0], 99) - 7.0).abs() < 1e-9);
        assert!(quantile(&[], 99).abs() < 1e-9);
    }
}
