//! A turn of the loop comes to its end, whatever the machine or its hypervisor does.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;

use super::*;
use crate::vmm::capabilities::Accelerator;

/// A file of so many short lines, at its start.
fn lines(count: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&b"x\n".repeat(count)).unwrap();
    file.rewind().unwrap();
    file
}

fn null() -> OwnedFd {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
        .into()
}

#[test]
fn a_hypervisor_that_never_stops_talking_does_not_keep_the_launcher() {
    let words = lines(4 * 1024 * 1024);
    let mut heard = words.try_clone().unwrap();
    let (end, _process) = io::pipe().unwrap();
    let (console_out, _machine) = io::pipe().unwrap();
    let process = Process::played(end.into(), console_out.into(), null(), words.into()).unwrap();
    let mut machine = Machine::of("QEMU", Accelerator::Tcg, process);
    let interrupt = Interrupt::new().unwrap();
    interrupt.stop();
    let now = Instant::now();
    let config = SessionConfig {
        deadline: None,
        boot_deadline: now + Duration::from_secs(1000),
        only_boot: false,
        show_text: false,
        show_hypervisor: false,
        recording: None,
        diagnostics: Diagnostics::Keep,
    };
    let streams = Streams {
        stdin: null(),
        stdout: null(),
        stderr: null(),
    };
    let report = run(&mut machine, &[interrupt], &config, streams);
    assert!(
        matches!(report.reason, ExitReason::Stopped(_)),
        "{:?}",
        report.reason
    );
    let heard = usize::try_from(heard.stream_position().unwrap()).unwrap();
    assert!((1..=MOST_WORDS).contains(&heard), "{heard} bytes in one turn");
}
