//! The device tree that the loader, or uhyve, has handed over: what it says of this machine and this boot.
//!
//! Layer: bottom. Spec: Devicetree Specification 0.4; `/chosen` as Linux has it: `bootargs`, `linux,initrd-start` and
//! `-end`, `rng-seed`. The loaders' own: `compatible` of the root begins with `hermit,`; `/hermit,rsdp`.

use core::ptr;

use firmware_tables::Span;
use firmware_tables::fdt::{Blob, Node};
use kernel_app::command_line::{CommandLine, Unbalanced};

#[cfg(target_arch = "x86_64")]
use super::devices::in_one_piece;
use super::syscalls::sys_device_tree;

/// The tree, if there is one.
pub(super) fn tree() -> Option<Blob<'static>> {
    // SAFETY: takes no pointers.
    let address: *const u8 = ptr::with_exposed_provenance(unsafe { sys_device_tree() });
    let bytes = |len| {
        // SAFETY: what the kernel has been handed is a device tree, which it reads itself: it is mapped and is not
        // written to. First its header, then as much as that says, which the kernel has believed too.
        unsafe { core::slice::from_raw_parts(address, len) }
    };
    if address.is_null() {
        return None;
    }
    Blob::new(bytes(Blob::size(bytes(Blob::HEADER))?))
}

/// What was chosen for this boot.
pub(super) fn chosen() -> Option<Node<'static>> {
    tree()?.child("chosen")
}

/// Whether uhyve has made the tree.
pub(super) fn is_uhyves() -> bool {
    root_is_compatible("hermit,uhyve")
}

fn root_is_compatible(with: &str) -> bool {
    tree()
        .and_then(|tree| tree.root())
        .is_some_and(|root| root.is_compatible(with))
}

/// The kernel command line.
pub(super) fn arguments() -> &'static str {
    let arguments = chosen().and_then(|chosen| chosen.property("bootargs")?.text());
    // The loader has seen to it that it is text.
    let line = arguments.and_then(|bytes| str::from_utf8(bytes).ok());
    line.unwrap_or_default()
}

/// The application's words on the kernel command line.
pub(super) fn command_line() -> Result<CommandLine, Unbalanced> {
    CommandLine::split(arguments(), root_is_compatible("hermit,multiboot"))
}

/// The boot module: the range that is called initrd.
pub(super) fn boot_module() -> Option<&'static [u8]> {
    let chosen = chosen()?;
    let number = |name| chosen.property(name)?.number();
    let span = Span::new(number("linux,initrd-start")?, number("linux,initrd-end")?)?;
    if span.is_empty() {
        return None;
    }
    // SAFETY: the loader names memory that it has mapped to its own address, and takes it out of what it gives to the
    // kernel; nothing writes to it.
    Some(unsafe { bytes(span) })
}

/// A range of physical memory that holds a table of the firmware, if it is mapped to its own address.
#[cfg(target_arch = "x86_64")]
pub(super) fn firmware_table(span: Span) -> Option<&'static [u8]> {
    let start = ptr::with_exposed_provenance(usize::try_from(span.start).ok()?);
    let physical = in_one_piece(start, usize::try_from(span.len()).ok()?)?;
    if physical != span.start || span.is_empty() {
        return None;
    }
    // SAFETY: it is mapped to its own address, as the kernel says, and it is the firmware's, so nobody writes to it.
    Some(unsafe { bytes(span) })
}

/// # Safety
/// The range is mapped to its own address and is not empty. Nobody writes to it.
unsafe fn bytes(span: Span) -> &'static [u8] {
    // Addresses have 64 bits here.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "usize has 64 bits on every target"
    )]
    let (start, len) = (span.start as usize, span.len() as usize);
    // SAFETY: as the caller promises.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(start), len) }
}
