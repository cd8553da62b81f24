//! What the interpreter costs: instructions for 1,000 units of wasmi's fuel, in virtual machines and on the host.
//!
//! Fuel is wasmi's own measure of work; a unit is about an instruction of WebAssembly. The module is the same
//! everywhere and calls nothing of WASI. Each figure is a difference of two runs, so that start-up and loading cancel.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use test_qemu::Engine;

use super::counter::{Counter, Program, machines};
use super::{Counted, Figure, calls, grouped, has_valgrind, module, work};
use crate::differential;

/// Rounds of the two runs.
const FEW: u32 = 2_000;
const MANY: u32 = 22_000;

/// Does so many rounds of what programs do: arithmetic, memory, branches, calls direct and indirect, floating point.
fn text(rounds: u32) -> String {
    format!(
        r#"(module
    (memory (export "memory") 1)
    (type $step (func (param i64) (result i64)))
    (table 2 funcref)
    (elem (i32.const 0) $scramble $rotate)
    (global $state (mut i64) (i64.const 88172645463325252))
    (func $scramble (type $step)
        (i64.xor (local.get 0) (i64.shl (local.get 0) (i64.const 13))))
    (func $rotate (type $step)
        (i64.rotl (i64.mul (local.get 0) (i64.const 6364136223846793005)) (i64.const 17)))
    (func $fill (param $byte i32) (local $at i32)
        (loop $next
            (i32.store8 (local.get $at) (i32.add (i32.load8_u offset=1 (local.get $at)) (local.get $byte)))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 32)))))
    (func (export "_start") (local $n i32) (local $x f64)
        (local.set $n (i32.const {rounds}))
        (loop $again
            (global.set $state
                (call_indirect (type $step) (call $scramble (global.get $state))
                    (i32.and (local.get $n) (i32.const 1))))
            (call $fill (i32.wrap_i64 (global.get $state)))
            (local.set $x
                (f64.add (f64.mul (local.get $x) (f64.const 0.5)) (f64.convert_i32_s (local.get $n))))
            (if (f64.gt (local.get $x) (f64.const 1e6))
                (then (local.set $x (f64.sqrt (local.get $x))))
                (else (i64.store offset=64 (i32.const 0) (i64.reinterpret_f64 (local.get $x)))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
    )
}

/// The two runs' modules, and the fuel by which they differ.
struct Runs {
    few: PathBuf,
    many: PathBuf,
    fuel: u64,
}

impl Runs {
    fn new(host: &Path) -> Result<Self> {
        let few = module(&work()?, "fuel-few", &text(FEW))?;
        let many = module(&work()?, "fuel-many", &text(MANY))?;
        let fuel = more(calls::fuel(host, &few)?, calls::fuel(host, &many)?)?;
        ensure!(
            fuel > u64::from(MANY - FEW) * 100,
            "hardly any fuel is used: {fuel}"
        );
        Ok(Self { few, many, fuel })
    }

    /// Instructions for 1,000 units.
    fn cost(&self, count: impl Fn(&Path) -> Result<u64>) -> Result<u64> {
        Ok(more(count(&self.few)?, count(&self.many)?)? * 1000 / self.fuel)
    }
}

/// By how much the longer run's figure is larger.
fn more(few: u64, many: u64) -> Result<u64> {
    many.checked_sub(few)
        .with_context(|| format!("more rounds cost less: {few}, then {many}"))
}

/// The figures of the machines. Exact, for a version of QEMU.
pub(super) fn in_machines(counter: &Counter) -> Result<Vec<Counted>> {
    let runs = Runs::new(&differential::build()?.join("wasi-host"))?;
    machines()
        .map(|machine| {
            let engine = Engine::Interp;
            let cost = runs.cost(|module| counter.instructions(machine, engine, Program::new(module)))?;
            let name = format!("{}: instructions for 1,000 units of fuel", machine.arch.name());
            Ok(Counted::new(machine.arch, engine, name, cost))
        })
        .collect()
}

/// The figure of the host, by valgrind.
pub(super) fn on_host() -> Result<Vec<Figure>> {
    let host = differential::build()?.join("wasi-host");
    let cost = Runs::new(&host)?.cost(|module| calls::instructions(&host, module))?;
    Ok(vec![("instructions for 1,000 units of fuel".to_owned(), cost)])
}

/// Measures and prints the table.
pub(super) fn run_all() -> Result<()> {
    println!("What the interpreter costs");
    let in_machines = in_machines(&Counter::new()?)?;
    let mut figures: Vec<Figure> = in_machines.into_iter().map(Counted::figure).collect();
    if has_valgrind() {
        figures.extend(
            on_host()?
                .into_iter()
                .map(|(name, cost)| (format!("host: {name}"), cost)),
        );
    }
    for (name, cost) in figures {
        println!("  {name:52} {:>9}", grouped(cost));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_well_formed() {
        wat::parse_str(text(FEW)).unwrap();
    }
}
