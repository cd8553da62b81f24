//! What one WASI call costs in a virtual machine, on each engine: the modules of [`super::calls`], as differences
//! of the same kind.

use anyhow::{Context as _, Result};
use test_qemu::Engine;

use super::calls::{self, CASES};
use super::counter::{Counter, Machine, Program, machines};
use super::{Counted, grouped, table};

/// The figures of one machine, exact for a version of QEMU. The other architectures' are printed only.
pub(super) fn figures(counter: &Counter) -> Result<Vec<Counted>> {
    let machine = machines().next().context("no machine")?;
    let mut figures = Vec::new();
    for engine in Engine::ALL {
        for (name, cost) in measure(counter, machine, engine)? {
            let name = format!("{}: {name}", machine.arch.name());
            figures.push(Counted::new(machine.arch, engine, name, cost));
        }
    }
    Ok(figures)
}

/// Instructions of each call.
fn measure(counter: &Counter, machine: Machine, engine: Engine) -> Result<Vec<(&'static str, u64)>> {
    let costs = calls::costs(|module| {
        let program = Program {
            flags: &["--tmpfs", "/"],
            ..Program::new(module)
        };
        counter.instructions(machine, engine, program)
    })?;
    Ok(CASES.iter().map(|case| case.name).zip(costs).collect())
}

/// Prints the table.
pub(super) fn run_all() -> Result<()> {
    let counter = Counter::new()?;
    let mut columns = Vec::new();
    let mut all = Vec::new();
    for machine in machines() {
        for engine in Engine::ALL {
            columns.push(format!("{}, {}", machine.arch.name(), engine.name()));
            all.push(measure(&counter, machine, engine)?);
        }
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let rows = CASES.iter().enumerate().map(|(index, case)| {
        let cells = all.iter().map(|costs| grouped(costs[index].1));
        (case.name.to_owned(), cells.collect())
    });
    println!("\nWhat a call costs in a virtual machine: instructions, files in memory\n");
    println!("{}", table(&columns, rows));
    Ok(())
}
