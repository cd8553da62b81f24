//! An attacker who owns the whole virtual machine: a program in the place of kernel and application that attacks the
//! host.
//!
//! The loader boots it as it boots the real application. The payload's module holds a line `attack=NAME`; each name of
//! [`ATTACKS`] is one function. What an attack got done goes to standard output, one line each, so that the test
//! (`tests/vm/tests/owned.rs`) can tell that it took place. Layer: in the VM, on nothing.
//!
//! - [`memory`]: everything that could make the hypervisor take the host's memory.
//! - [`console`]: everything that can be said on the line to the launcher.
//! - [`directory`]: everything that virtiofsd could be asked for.
//! - [`network`]: every frame that the test has made.
//! - [`virtio`]: the way to both.
//! - [`machine`]: entry, registers, ports and page tables: the only unsafe code.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod directory;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod network;
#[cfg(target_os = "none")]
mod virtio;

/// What can be ordered: its name, and what it does.
#[cfg(target_os = "none")]
type Attack = (&'static str, fn(&machine::Machine));

/// All of them.
#[cfg(target_os = "none")]
static ATTACKS: &[Attack] = &[
    ("memory-fill", memory::fill),
    ("memory-code", memory::code),
    ("memory-translations", memory::translations),
    ("memory-devices", memory::devices),
    ("memory-mappings", memory::mappings),
    ("memory-everything", memory::everything),
    ("console-wrong-frames", console::wrong_frames),
    ("console-noise", console::noise),
    ("console-strange-version", console::strange_version),
    ("console-window-outside", console::window_outside),
    ("console-window-that-wraps", console::window_that_wraps),
    ("console-window-on-devices", console::window_on_devices),
    ("console-window-too-large", console::window_too_large),
    ("console-window-that-moves", console::window_that_moves),
    ("console-span-outside", console::span_outside),
    ("console-span-that-wraps", console::span_that_wraps),
    ("console-span-without-window", console::span_without_window),
    ("console-unread-too-much", console::unread_too_much),
    ("console-recording-unasked", console::recording_unasked),
    ("console-share-of-nothing", console::share_of_nothing),
    ("console-reads-without-end", console::reads_without_end),
    ("console-questions-without-end", console::questions_without_end),
    ("console-exit-twice", console::exit_twice),
    ("console-output-without-end", console::output_without_end),
    ("console-diagnostics", console::diagnostics),
    ("console-text-and-panic", console::text_and_panic),
    ("console-silence", console::silence),
    ("directory-rights", directory::rights),
    ("directory-escape", directory::escape),
    ("directory-nonsense", directory::nonsense),
    ("directory-rings", directory::rings),
    ("directory-crowd", directory::crowd),
    ("network-frames", network::frames),
];

/// The exit code of an attack that has come to its end.
#[cfg(target_os = "none")]
const DONE: u8 = 42;

/// Does what the payload orders, and says that it has come to its end.
#[cfg(target_os = "none")]
fn run(machine: &machine::Machine) {
    let order = machine.order().unwrap_or("none");
    console::hello(2);
    match ATTACKS.iter().find(|(name, _)| *name == order) {
        Some((_, attack)) => {
            attack(machine);
            console::exit(DONE);
        }
        None => {
            console::standard_output("no such attack\n");
            console::exit(1);
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs in a VM: see tests/vm/tests/owned.rs");
    std::process::exit(2);
}
