//! The checks, grouped into jobs: `cargo xtask ci JOB` runs one, as the programs in `ci/` do; `cargo xtask test` runs
//! them all, by these programs, and ends with a summary.

pub(crate) mod harness;
mod report;
mod steps;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::arch::Arch;
use crate::toolchain::root;
use crate::{bench, nested};
use harness::Counts;
use report::Report;

/// One step: its name, what it shows, and how it is run.
struct Step {
    name: &'static str,
    what: &'static str,
    /// The architectures are those of the machines to start, if it starts some.
    run: fn(&[Arch]) -> Result<Counts>,
}

/// A group of steps, for which there is a program in `ci/`.
struct Job {
    name: &'static str,
    steps: &'static [Step],
}

impl Step {
    const fn new(name: &'static str, what: &'static str, run: fn(&[Arch]) -> Result<Counts>) -> Self {
        Self { name, what, run }
    }
}

/// The longest first: two are under way at a time. But `host` beside `vm`, which builds the images that `native` would
/// wait for; and what clippy looks at in `lint` is built by the others before.
const JOBS: &[Job] = &[
    Job {
        name: "vm",
        steps: &[
            Step::new(
                "image",
                "kernel, application, loader and image build",
                steps::image,
            ),
            Step::new(
                "tail-calls",
                "the interpreter's handlers jump to each other: no frame, no return",
                steps::tail_calls,
            ),
            Step::new(
                "boot",
                "every guest runs in a virtual machine as it should",
                steps::boot,
            ),
            Step::new(
                "deterministic",
                "a deterministic run is the same on every architecture, twice on one",
                steps::deterministic,
            ),
            Step::new(
                "conformance",
                "the published conformance suite passes in the virtual machine (on the host it is part of unit)",
                steps::conformance,
            ),
            Step::new(
                "share",
                "directories of the host, shared by virtiofsd: the tutorial, faults, what is large or many",
                steps::share,
            ),
            Step::new(
                "network",
                "servers in a virtual machine, and their clients on the host",
                steps::network,
            ),
            Step::new(
                "containers",
                "guests are containers of podman, with and without root, and of containerd (ci/containers: all of them)",
                steps::containers,
            ),
            Step::new(
                "owned",
                "a hostile kernel in the machine changes nothing on the host but what the flags allow",
                steps::owned,
            ),
        ],
    },
    Job {
        name: "host",
        steps: &[
            Step::new(
                "memcheck",
                "unit tests without a wrong access to memory, as far as AddressSanitizer sees",
                steps::memcheck,
            ),
            Step::new(
                "miri",
                "unit tests without undefined behaviour, as far as Miri can run them in time",
                steps::miri,
            ),
            Step::new("loader", "host tests of the loader", steps::loader),
            Step::new(
                "compiler",
                "the compiler of native code: every level, equal code for equal modules, errors with their places",
                steps::compiler,
            ),
            Step::new(
                "unit",
                "unit, integration and documentation tests on the host",
                steps::unit,
            ),
        ],
    },
    Job {
        name: "native",
        steps: &[
            Step::new(
                "boot-native",
                "every guest runs as it should as native code too",
                steps::boot_native,
            ),
            Step::new(
                "deterministic-native",
                "the same of native code",
                steps::deterministic_native,
            ),
            Step::new(
                "replay",
                "a recorded run replays on both engines, with its files gone and after a kill",
                steps::replay,
            ),
            Step::new(
                "conformance-native",
                "the published conformance suite passes as native code too",
                steps::conformance_native,
            ),
            Step::new(
                "share-native",
                "directories of the host, for native code",
                steps::share_native,
            ),
            Step::new(
                "calls",
                "the kernel's calls for memory, code and faults keep what they promise",
                steps::calls,
            ),
        ],
    },
    Job {
        name: "engines",
        steps: &[
            Step::new(
                "differential",
                "random WASI calls answer as on wasmtime and on wasmi_wasi",
                steps::differential,
            ),
            Step::new(
                "spec",
                "the specification's test suite passes in the virtual machine, on both engines",
                steps::spec,
            ),
            Step::new(
                "smith",
                "random modules compute on both engines in the virtual machine what they do on wasmtime here",
                steps::smith,
            ),
            Step::new(
                "native-host",
                "the native engine, compiled for this host: ends, traps, backtraces, refusals, proposals, options",
                steps::native_host,
            ),
        ],
    },
    Job {
        name: "lint",
        steps: &[
            Step::new("fmt", "every Rust file is formatted", steps::fmt),
            Step::new(
                "scripts",
                "shellcheck has nothing to say about a script",
                steps::scripts,
            ),
            Step::new(
                "clippy",
                "no lint fires, in all workspaces, on the host",
                steps::clippy,
            ),
            Step::new(
                "clippy-vm",
                "no lint fires in what is in the virtual machine, for its targets",
                steps::clippy_vm,
            ),
            Step::new(
                "doc",
                "rustdoc has nothing to say about the documentation in the sources",
                steps::doc,
            ),
        ],
    },
    Job {
        name: "supply-chain",
        steps: &[
            Step::new(
                "deny",
                "licences, bans and sources of all dependencies",
                steps::deny,
            ),
            Step::new(
                "advisories",
                "no dependency has an advisory that ci/advisories lists",
                steps::advisories,
            ),
            Step::new(
                "sbom",
                "what images and programs are made of can be listed, and agrees with the lock files",
                steps::sbom,
            ),
            Step::new(
                "reproduce",
                "the interpreter's image of this host's architecture, built again elsewhere, is the same (ci/reproduce: all)",
                steps::reproduce,
            ),
        ],
    },
    Job {
        name: "fuzz",
        steps: &[Step::new(
            "fuzz",
            "what must hold for any input holds for many: seeds, and a few runs of each fuzz target",
            steps::fuzz,
        )],
    },
    Job {
        name: "nested",
        steps: &[Step::new(
            "nested",
            "uhyve, and QEMU with KVM, run the image; where KVM does not work, inside of an emulated Linux",
            |_| nested::run(&[]),
        )],
    },
    Job {
        name: "bench-guard",
        steps: &[Step::new(
            "bench-guard",
            "no exact figure on record is worse by more than 3 %: instructions, device accesses, sizes, memory",
            |_| bench::guard::check(),
        )],
    },
    Job {
        name: "jail",
        steps: &[Step::new(
            "jail",
            "a machine that is taken over reaches nothing: as root, as a user, where namespaces are forbidden",
            steps::jail,
        )],
    },
];

/// Jobs that are not run with all the others, because they take long.
const APART: &[Job] = &[
    Job {
        name: "network",
        steps: &[
            Step::new(
                "network-plain",
                "the same servers where QEMU was started by hand, with its own network and on a tap",
                steps::network_plain,
            ),
            Step::new(
                "network-native",
                "the same servers as native code",
                steps::network_native,
            ),
            Step::new(
                "network-volume",
                "256 MiB each way, by digest: through the stack on a wire that loses frames, and through the relay",
                steps::network_volume,
            ),
        ],
    },
    Job {
        name: "containers",
        steps: &[Step::new(
            "containers-all",
            "every guest as a container of every engine, also as Kubernetes has it; all that engines do with containers",
            steps::containers_all,
        )],
    },
    Job {
        name: "swarm",
        steps: &[Step::new(
            "swarm",
            "two Docker engines as nodes of a Swarm: tasks on both, one is lost, all run on the other",
            steps::swarm,
        )],
    },
];

/// All jobs.
fn jobs() -> impl Iterator<Item = &'static Job> {
    JOBS.iter().chain(APART)
}

/// Prints the jobs' and the steps' names.
pub(crate) fn list() {
    for job in jobs() {
        println!("{}:", job.name);
        for step in job.steps {
            println!("    {:18} {}", step.name, step.what);
        }
    }
}

/// Runs one job's steps on machines of `arches`.
pub(crate) fn job(name: &str, arches: &[Arch]) -> Result<()> {
    let job = jobs()
        .find(|job| job.name == name)
        .with_context(|| format!("there is no job {name}: `scripts/test --list` names them"))?;
    finish(run_steps(job.steps.iter(), arches))
}

/// Runs the jobs and steps of these names in this process, one after the other; or all jobs.
pub(crate) fn test(only: &[String], arches: &[Arch]) -> Result<()> {
    if only.is_empty() {
        return finish(run_jobs()?);
    }
    let known = |name: &String| {
        jobs().any(|job| job.name == name.as_str() || job.steps.iter().any(|step| step.name == name.as_str()))
    };
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        bail!("there is no job or step {unknown}: `scripts/test --list` names them");
    }
    let named = |name: &str| only.iter().any(|other| other == name);
    let steps = jobs().flat_map(|job| {
        job.steps
            .iter()
            .filter(move |step| named(job.name) || named(step.name))
    });
    finish(run_steps(steps, arches))
}

/// Runs the step `nested` alone, or the checks with one of the words `only` in their names.
pub(crate) fn report_nested(only: &[String]) -> Result<()> {
    let mut report = Report::default();
    report.add("nested", nested::run(only)?, 0);
    finish(report)
}

/// Hands the report to the process that wants to add it to others, or prints it; fails if anything failed.
fn finish(report: Report) -> Result<()> {
    let failed = report.total().failed;
    if !report.hand_over()? {
        report.print();
    }
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn run_steps<'a>(steps: impl Iterator<Item = &'a Step>, arches: &[Arch]) -> Report {
    let mut report = Report::default();
    for step in steps {
        println!("\n{MARK}{}: {}", step.name, step.what);
        let start = Instant::now();
        let counts = (step.run)(arches).unwrap_or_else(|error| {
            println!("{}: {error:#}", step.name);
            Counts::FAILED
        });
        report.add(step.name, counts, start.elapsed().as_secs());
    }
    report
}

/// What the line before a step's output begins with.
const MARK: &str = "=== ";

/// Runs all jobs, two at a time: each spends a good part of its time on what keeps one processor busy, such as linking,
/// or a virtual machine.
fn run_jobs() -> Result<Report> {
    let waiting = Mutex::new(JOBS.iter());
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    // Not in the condition of a `while let`, which would hold the lock.
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.next());
                    let Some(job) = next else { return };
                    let report = run_job(job).unwrap_or_else(|error| {
                        println!("ci/{}: {error:#}", job.name);
                        let mut report = Report::default();
                        report.add(job.name, Counts::FAILED, 0);
                        report
                    });
                    if let Ok(mut reports) = reports.lock() {
                        reports.push((job.name, report));
                    }
                }
            });
        }
    });
    let mut done = reports.into_inner().ok().context("a job's thread panicked")?;
    let mut all = Report::default();
    for job in JOBS {
        let index = done
            .iter()
            .position(|(name, _)| *name == job.name)
            .with_context(|| format!("the job {} has not been run", job.name))?;
        all.append(done.swap_remove(index).1);
    }
    Ok(all)
}

/// Runs a job's program; prints what it said step by step, so that two jobs' lines do not mix.
fn run_job(job: &Job) -> Result<Report> {
    let directory = root().join("target/ci");
    std::fs::create_dir_all(&directory).context("cannot make target/ci")?;
    let handed = directory.join(job.name);
    if handed.exists() {
        std::fs::remove_file(&handed)?;
    }
    let (output, input) = std::io::pipe()?;
    let mut command = Command::new(root().join("ci").join(job.name));
    command
        .env(report::VARIABLE, &handed)
        .stdin(std::process::Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input);
    let mut child = command.spawn().context("cannot start it")?;
    // It holds the pipe's other end too.
    drop(command);
    let mut block = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        if line.starts_with(MARK.as_bytes()) {
            print_block(&mut block)?;
        }
        block.extend(line);
        block.push(b'\n');
    }
    print_block(&mut block)?;
    let status = child.wait()?;
    let report = Report::read(&handed).with_context(|| format!("it ended without a report ({status})"))?;
    if !status.success() && report.total().failed == 0 {
        bail!("it ended with {status}, though no step failed");
    }
    let missing = job.steps.iter().find(|step| !report.has(step.name));
    if let Some(step) = missing {
        bail!("it has not run the step {}", step.name);
    }
    Ok(report)
}

/// Prints what one step said.
fn print_block(block: &mut Vec<u8>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(block)?;
    stdout.flush()?;
    block.clear();
    Ok(())
}
