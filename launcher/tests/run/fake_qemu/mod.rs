//! The other side: a program that is started as QEMU is, and plays a scenario on the console.
//!
//! A guest that behaves speaks through `boot_protocol`'s client, as the application does. What no such guest would
//! send is written by hand: single questions whose answers are looked at, and everything that breaks a rule.

mod failures;
mod guests;
mod hostile;
mod kvm;
mod line;
mod network;
mod prisoner;
mod questions;
mod share;
mod shared_buffer;
mod vhost_user;

use std::env;
use std::fs;
use std::io::Write as _;
use std::process::exit;
use std::thread;
use std::time::Duration;

use boot_protocol::console::client::{Client, Line, SharedMemory};
use boot_protocol::console::{Cause, Ending};

pub(crate) use shared_buffer::BUFFER;

/// The variable that names the scenario; without it the program is the test. What a scenario wants to know follows
/// behind a colon.
pub(crate) const SCENARIO: &str = "HERMIT_WASM_FAKE_QEMU";

/// The argument before a scenario, for those who start the program themselves.
pub(crate) const PLAY: &str = "--play";

/// The variable that names a file to which each start, and each stop of note, is appended as a line.
pub(crate) const JOURNAL: &str = "HERMIT_WASM_FAKE_JOURNAL";

/// QEMU's exit status when the application exited with 0, through isa-debug-exit.
const DEBUG_EXIT_SUCCESS: i32 = 3;

/// A scenario: its name, and what is done until the end.
type Scenario = (&'static str, fn() -> !);

/// All of them, by subject.
const SUBJECTS: [&[Scenario]; 9] = [
    guests::SCENARIOS,
    questions::SCENARIOS,
    shared_buffer::SCENARIOS,
    failures::SCENARIOS,
    hostile::SCENARIOS,
    kvm::SCENARIOS,
    prisoner::SCENARIOS,
    share::SCENARIOS,
    network::SCENARIOS,
];

/// Plays one.
pub(crate) fn play(scenario: &str) -> ! {
    note(&format!(
        "start {} {}",
        std::process::id(),
        env::args().skip(1).collect::<Vec<_>>().join(" ")
    ));
    let name = scenario.split(':').next().unwrap_or_default();
    let found = SUBJECTS
        .iter()
        .copied()
        .flatten()
        .find(|(known, _)| *known == name);
    let (_, play) = found.unwrap_or_else(|| panic!("no scenario is called '{name}'"));
    play()
}

/// The scenario that the environment names, or in a jail, which has none, the file beside the program.
pub(crate) fn scenario() -> Option<String> {
    let named = env::var(SCENARIO).ok();
    named.or_else(|| fs::read_to_string(format!("{}{BESIDE}", env::args().next()?)).ok())
}

/// What the name of a file with a scenario has more than that of the program.
pub(crate) const BESIDE: &str = ".play";

/// What stands behind the scenario's name.
fn argument() -> String {
    let scenario = scenario().expect("the test names the scenario");
    let (_, argument) = scenario.split_once(':').expect("the scenario has an argument");
    argument.to_string()
}

/// The value that follows a flag of QEMU's command line.
fn value(flag: &str) -> Option<String> {
    env::args().skip_while(|word| word != flag).nth(1)
}

fn note(line: &str) {
    if let Ok(path) = env::var(JOURNAL) {
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        // In one write: several may write at the same time.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

fn sleep_forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}

/// EXIT of a guest, and QEMU's end.
fn leave<L: Line, M: SharedMemory>(client: Client<L, M>, code: u8) -> ! {
    leave_by(client, Ending::new(Cause::Guest, code))
}

/// EXIT, and QEMU's end.
fn leave_by<L: Line, M: SharedMemory>(mut client: Client<L, M>, ending: Ending) -> ! {
    client.exit(ending);
    end(ending.code)
}

/// QEMU's end through isa-debug-exit.
fn end(code: u8) -> ! {
    exit(if code == 0 { DEBUG_EXIT_SUCCESS } else { 1 });
}
