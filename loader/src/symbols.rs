//! Where the loader's own parts lie, as the linker script says, and the application inside.
//!
//! Layer: the machine, the same for all architectures.

#![expect(unsafe_code, reason = "linker symbols")]

use core::arch::global_asm;
use core::ptr;

use payload_slot::Slot;

use crate::arch::current::paging::LOW_TABLES;
use crate::boot::Loader;
use crate::paging::{Table, Tables};
use hermit_loader_core::ranges::{PAGE, Span};

#[cfg(embedded_application)]
global_asm!(
    ".section .application, \"a\"",
    concat!(".incbin \"", env!("PRELINKED_APPLICATION"), "\""),
    ".previous",
);
#[cfg(not(embedded_application))]
global_asm!("");

/// Where the payload lies, if one has been put into the file.
#[used]
static PAYLOAD: Slot = Slot::empty(Slot::LOADER);

// Defined by linker.ld; only their addresses mean something. Without a size, for two may be at one address.
unsafe extern "C" {
    static loader_start: [u8; 0];
    static loader_end: [u8; 0];
    static text_start: [u8; 0];
    static text_end: [u8; 0];
    static loader_stack_guard: [u8; 0];
    static kernel_stack_guard: [u8; 0];
    static kernel_stack: [u8; 0];
    static kernel_stack_top: [u8; 0];
    static application_start: [u8; 0];
    static application_end: [u8; 0];
    static mut boot_tables: [Table; LOW_TABLES];
}

/// The address of a linker symbol.
macro_rules! address_of {
    ($symbol:ident) => {
        // A pointer has 64 bits here.
        (&raw const $symbol).expose_provenance() as u64
    };
}

/// The range between two linker symbols.
macro_rules! span_between {
    ($start:ident, $end:ident) => {
        Span {
            start: address_of!($start),
            end: address_of!($end),
        }
    };
}

/// Where the loader's parts lie.
pub fn loader() -> Loader {
    let page = |start| Span {
        start,
        end: start + PAGE,
    };
    Loader {
        whole: span_between!(loader_start, loader_end),
        text: span_between!(text_start, text_end),
        constants: span_between!(loader_start, text_start),
        guards: [
            page(address_of!(loader_stack_guard)),
            page(address_of!(kernel_stack_guard)),
            page(address_of!(kernel_stack_top)),
        ],
        payload: payload(),
        application: cfg!(embedded_application).then(|| span_between!(application_start, application_end)),
    }
}

/// Where the payload lies that has been put into the file. The file says so: whoever uses it checks that it is memory.
fn payload() -> Option<Span> {
    let slot = &raw const PAYLOAD;
    // SAFETY: a static of this type. Packing has changed its bytes, of which all are valid; the compiler does not know.
    let (distance, len) = unsafe { ptr::read_volatile(slot) }.payload()?;
    Span::from_len((slot.expose_provenance() as u64).checked_add(distance)?, len)
}

/// The kernel's first stack.
pub fn stack() -> Span {
    span_between!(kernel_stack, kernel_stack_top)
}

/// The page tables that the kernel's address space begins with.
///
/// # Safety
/// Called once. They are not in use.
pub unsafe fn tables() -> Tables<'static> {
    let tables = &raw mut boot_tables;
    Tables {
        // SAFETY: the caller promises that this is the only reference; nothing else in Rust names the symbol. The
        // tables lie in memory that is mapped, and any bytes are valid tables.
        tables: unsafe { &mut *tables },
        address: address_of!(boot_tables),
    }
}
