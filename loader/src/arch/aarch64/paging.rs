//! Page tables of aarch64, whose entries are in crate `hermit-page-tables`.

pub use hermit_page_tables::aarch64::Entries;

use crate::paging::{self, low_tables};

/// The kernel's address space.
pub type AddressSpace<'a> = paging::AddressSpace<'a, Entries>;

/// How many tables the loader starts with.
pub const LOW_TABLES: usize = low_tables::<Entries>();
