//! Machines that an attacker owns: `tests/hostile` boots in the place of kernel and application, in the very launcher
//! that is tested, and nothing that it does is seen on the host but what the flags allow.
//!
//! Environment: `LAUNCHER`, `IMAGES`, `HOSTILE` and `VIRTIOFSD` of `environment.rs`. The launcher's image is replaced
//! in a copy of its program: the hostile one is shorter. x86_64 only, under translation.
//!
//! - [`attacks`]: what is tried, and how it must end.
//! - [`run`]: a run that is watched from outside: its memory, its output, its end.
//! - [`directory`]: what may be found in a shared directory afterwards.
//! - [`network`]: frames that are sent by the relay, and what this host hears of them.

mod attacks;
mod directory;
mod network;
mod run;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::{environment, virtiofsd};

use attacks::{ATTACKS, Attack};

fn main() -> ExitCode {
    if let Some(code) = network::play() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // A machine that is alone has all of QEMU's code in its account.
    arguments.test_threads.get_or_insert(1);
    let launcher = match launcher() {
        Ok(launcher) => launcher,
        Err(error) => {
            eprintln!("error: the hostile machines cannot be started: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let reason = virtiofsd::missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP what hostile machines do to shared directories: {reason}");
    }
    let trials = ATTACKS.iter().map(|attack| {
        let launcher = launcher.clone();
        let run = move || run(&launcher, attack).map_err(|error| Failed::from(format!("{error:#}")));
        let skipped = attack.shares && reason.is_some();
        Trial::test(format!("owned/{}", attack.title()), run).with_ignored_flag(skipped)
    });
    let way = network::way();
    if let Err(reason) = &way {
        eprintln!("SKIP what a hostile machine sends: no host can be made of a network namespace: {reason}");
    }
    let impossible = way.is_err();
    let run = {
        let launcher = launcher.clone();
        move || {
            let sent = network::on_a_host_of_its_own(way.unwrap_or_default(), &launcher);
            sent.map_err(|error| Failed::from(format!("{error:#}")))
        }
    };
    let frames = Trial::test("owned/network-frames", run).with_ignored_flag(impossible);
    libtest_mimic::run(&arguments, trials.chain([frames]).collect()).exit_code()
}

/// A copy of the launcher that boots the hostile image where it would boot its own.
fn launcher() -> Result<PathBuf> {
    let original = environment::needed(environment::LAUNCHER)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut program = read(&original)?;
    let image = read(&environment::needed(environment::IMAGES)?.join("x86_64/hermit-wasm.img"))?;
    let mut hostile = read(&environment::needed(environment::HOSTILE)?)?;
    ensure!(
        hostile.len() <= image.len(),
        "the hostile image is larger than the real one"
    );
    // What follows the segments of an ELF file means nothing.
    hostile.resize(image.len(), 0);
    let start = image.get(..64).context("the image is empty")?;
    let places = program
        .windows(start.len())
        .enumerate()
        .filter(|(_, part)| *part == start);
    let places: Vec<usize> = places
        .map(|(place, _)| place)
        .filter(|place| program.get(*place..).is_some_and(|rest| rest.starts_with(&image)))
        .collect();
    let [place] = places.as_slice() else {
        anyhow::bail!(
            "{} was not built with the image of {}",
            original.display(),
            environment::IMAGES
        );
    };
    program
        .get_mut(*place..*place + hostile.len())
        .context("the image's place is outside of the program")?
        .copy_from_slice(&hostile);
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("owned-launcher");
    fs::write(&copy, program)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

/// Runs one attack and looks at all that can be seen of it.
fn run(launcher: &Path, attack: &Attack) -> Result<()> {
    let scratch = directory::Scratch::new(&attack.title())?;
    let module = scratch.write("module.wasm", &attack.module())?;
    let mut arguments = attack.arguments();
    if attack.shares {
        arguments.extend(["--dir".into(), format!("{}::/", scratch.shared().display())]);
    }
    let ended = run::watch(launcher, &arguments, &module, attack.reads_output)?;
    println!("{}: {}", attack.title(), ended.summary());
    let told = format!("\n{}\n{}", ended.stdout_start(), ended.stderr());
    ensure!(
        attack.ends.contains(&ended.code),
        "it ended with {:?}, not with one of {:?}{told}",
        ended.code,
        attack.ends
    );
    for part in attack.says {
        ensure!(told.contains(part), "nothing says '{part}'{told}");
    }
    ended.nothing_raw()?;
    ended.within_memory(attack.memory, attack.shares)?;
    scratch.nothing_but_the_flags(&ended)
}
