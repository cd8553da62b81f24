//! Build and test steps of hermit-wasm: `cargo xtask --help`.

mod arch;
mod bench;
mod ci;
mod compiler;
mod differential;
mod fuzz;
mod guests;
mod image;
mod inputs;
mod kernel;
mod miri;
mod nested;
mod programs;
mod reproduce;
mod rust_src;
mod sbom;
#[cfg(test)]
mod setup_tests;
mod spec;
mod supply_chain;
mod tail_calls;
mod toolchain;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use test_qemu::Engine;

use crate::arch::Arch;

/// Builds and tests hermit-wasm. The scripts in `scripts/` call this.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Build the Hermit kernel and print the path of the object to link.
    Kernel {
        /// The architecture to build for; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
    },
    /// Build loader, applications and images: OUT/ARCH/hermit-loader, OUT/ARCH/hermit-wasm, OUT/ARCH/hermit-wasm.img
    /// and others.
    Image {
        /// The architecture to build for; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
        /// Where the results go; default: target/images.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Only images with this engine, `interp` or `native`; default: both, without which the launcher takes none.
        #[arg(long)]
        engine: Option<Engine>,
    },
    /// Build the tests' application that makes the kernel's calls, and print the path of its image.
    SystemCalls {
        /// The architecture to build for; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
    },
    /// Build the guest programs into target/guests.
    Guests {
        /// Only this one, in Rust, or a downloaded program: print where it is. Tests do not see it.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Build the program that compiles modules to native code into target/compiler, and print its path.
    Compiler,
    /// Build the launcher with images inside: target/release/hermit-wasm.
    Launcher {
        /// Architectures to build images for first; default: this host's. Others that are up to date go in too.
        #[arg(long, value_parser = arch::parse)]
        arch: Vec<Arch>,
    },
    /// Measure and print tables.
    Bench {
        /// Only this; default: all.
        #[arg(long, value_enum)]
        only: Option<bench::What>,
        /// Servers only in machines of this architecture; default: all.
        #[arg(long, value_parser = arch::parse, requires = "only")]
        arch: Vec<Arch>,
        /// Servers only on this engine, `interp` or `native`; default: both.
        #[arg(long, requires = "only")]
        engine: Option<Engine>,
        /// Instead of tables, write the exact figures into bench/record.toml, for this reason.
        #[arg(long, value_name = "REASON", conflicts_with = "only")]
        record: Option<String>,
    },
    /// Make random WASI calls on our shim, on wasmtime and on wasmi_wasi, and compare the answers.
    Differential(differential::Differential),
    /// Compare programs that nobody here wrote, fetched by pip and npm, with what they do under wasmtime.
    Programs {
        /// Only runs with one of these words in their names.
        only: Vec<String>,
    },
    /// Run the specification's test suite, or random modules, in virtual machines.
    Spec {
        #[command(subcommand)]
        what: spec::What,
        /// What runs the modules: `interp` or `native`; default: both.
        #[arg(long, global = true)]
        engine: Option<Engine>,
        /// The architecture of the machine; default: this host's.
        #[arg(long, global = true, value_parser = arch::parse)]
        arch: Option<Arch>,
    },
    /// Run the checks on real hypervisors: uhyve, and QEMU with KVM; where KVM does not work, in a Linux under QEMU.
    Nested {
        /// Only checks with these words in their names.
        only: Vec<String>,
    },
    /// Fuzz: a short run of every target, or of one target for as long as it is told.
    Fuzz {
        /// The target; default: all of them, shortly.
        target: Option<String>,
        /// Seconds to run the target for; without it, until something is found or it is stopped.
        #[arg(long, requires = "target")]
        seconds: Option<u64>,
    },
    /// Check all lock files against RustSec's whole database, as it is now; needs a network.
    Advisories,
    /// Build the images a second time, in other folders, and compare them byte for byte.
    Reproduce {
        /// The architecture to build for; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
        /// Only images with this engine, `interp` or `native`; default: both.
        #[arg(long)]
        engine: Option<Engine>,
    },
    /// Write what images, launcher and compiler are made of: OUT/ARCH/hermit-wasm.img.cdx.json and others.
    Sbom {
        /// The architecture of the images; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
        /// Where the results go; default: target/sbom.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Run the tests, by the programs in ci/, two at a time; ends with a summary.
    Test {
        /// Only these jobs and steps, one after the other.
        only: Vec<String>,
        /// The architecture of the machines; default: all. Only with names of jobs or steps.
        #[arg(long, value_parser = arch::parse, requires = "only")]
        arch: Option<Arch>,
        /// Name the jobs and steps.
        #[arg(long)]
        list: bool,
    },
    /// Run one job of the tests, as the programs in ci/ do.
    Ci {
        /// The job; `cargo xtask test --list` names them.
        job: String,
        /// The architecture of the machines; default: all.
        #[arg(long, value_parser = arch::parse)]
        arch: Option<Arch>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().step {
        Step::Kernel { arch } => {
            for arch in arches(arch) {
                println!("{}", kernel::build(arch)?.display());
            }
        }
        Step::Image { arch, out, engine } => {
            let out = out.unwrap_or_else(image::default_out);
            for arch in arches(arch) {
                image::build_for(arch, &engines(engine), &out)?;
            }
        }
        Step::SystemCalls { arch } => {
            for arch in arches(arch) {
                println!("{}", image::build_system_calls(arch)?.display());
            }
        }
        Step::Compiler => println!("{}", compiler::build()?.display()),
        Step::Launcher { mut arch } => {
            if arch.is_empty() {
                arch.push(Arch::host());
            }
            image::build_launcher(&arch)?;
        }
        Step::Programs { only } => programs::compare(&only)?,
        Step::Differential(run) => {
            differential::compare(
                &run,
                &differential::Other::Wasmtime(differential::python(differential::Package::Wasmtime)?),
            )?;
            differential::compare(&run, &differential::Other::WasmiWasi)?;
            for machines in differential::machines()? {
                differential::compare(&run, &machines)?;
            }
            differential::compare_sockets(&differential::python(differential::Package::WithSockets)?)?;
        }
        Step::Bench {
            record: None,
            only,
            mut arch,
            engine,
        } => {
            if arch.is_empty() {
                arch = Arch::ALL.to_vec();
            }
            bench::run_all(only, &arch, &engines(engine))?;
        }
        Step::Bench {
            record: Some(reason), ..
        } => bench::guard::record(&reason)?,
        Step::Spec { what, engine, arch } => {
            for engine in engines(engine) {
                spec::run(&what, engine, arch.unwrap_or_else(Arch::host))?;
            }
        }
        Step::Nested { only } => ci::report_nested(&only)?,
        Step::Fuzz { target: None, .. } => {
            for (target, result) in fuzz::short()? {
                result.with_context(|| target)?;
            }
        }
        Step::Fuzz {
            target: Some(target),
            seconds,
        } => fuzz::long(&target, seconds)?,
        Step::Advisories => supply_chain::against_all()?,
        Step::Reproduce { arch, engine } => reproduce::check(&arches(arch), &engines(engine))?,
        Step::Sbom { arch, out } => {
            sbom::write(&arches(arch), &out.unwrap_or_else(sbom::default_out))?;
        }
        Step::Test { list: true, .. } => ci::list(),
        Step::Test { only, arch, .. } => ci::test(&only, &arches(arch))?,
        Step::Ci { job, arch } => ci::job(&job, &arches(arch))?,
        Step::Guests { only: Some(name) } => {
            println!("{}", guests::one(&toolchain::root(), &name)?.display());
        }
        Step::Guests { only: None } => {
            guests::build(&toolchain::root(), &toolchain::root().join("target/guests"))?;
        }
    }
    Ok(())
}

/// The engines meant by an optional `--engine`.
fn engines(engine: Option<Engine>) -> Vec<Engine> {
    engine.map_or_else(|| Engine::ALL.to_vec(), |engine| vec![engine])
}

/// The architectures meant by an optional `--arch`.
fn arches(arch: Option<Arch>) -> Vec<Arch> {
    arch.map_or_else(|| Arch::ALL.to_vec(), |arch| vec![arch])
}
