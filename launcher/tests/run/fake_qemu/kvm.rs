//! Machines under KVM: one that works, and two ways in which KVM fails where TCG works.

use std::env;
use std::process::exit;

use boot_protocol::console::client::Output;

use super::guests::guest;
use super::{Scenario, leave, sleep_forever};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("kvm works", || {
        say_and_leave(if kvm() { b"kvm\n" } else { b"tcg\n" })
    }),
    ("kvm stops", || {
        if kvm() {
            eprintln!("KVM internal error. Suberror: 1\nemulation failure\nRAX=0000000000000000");
            sleep_forever();
        }
        say_and_leave(b"tcg\n")
    }),
    ("kvm aborts", || {
        if kvm() {
            eprintln!("qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69");
            exit(134);
        }
        say_and_leave(b"tcg\n")
    }),
];

/// Whether this QEMU was to use it.
fn kvm() -> bool {
    env::args().any(|word| word == "kvm")
}

fn say_and_leave(text: &[u8]) -> ! {
    let mut guest = guest();
    guest.write(Output::Stdout, text);
    leave(guest, 0)
}
