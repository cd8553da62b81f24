//! Boots a Hermit application: finds it, loads it, describes the machine to its kernel and jumps.
//!
//! Everything that decides is pure and runs under `cargo test` on the host: hermit-loader-core, and here the
//! hypervisor's tables and the page tables. What touches the machine is in `memory` and in the modules of [`arch`]
//! that exist only on bare metal. The boot path is described in `docs/boot.md`.

#![cfg_attr(not(test), no_std)]

pub mod arch;
#[cfg(target_os = "none")]
pub mod boot;
pub mod device_tree;
pub mod failure;
pub mod firmware;
#[cfg(target_os = "none")]
pub mod memory;
pub mod paging;
#[cfg(target_os = "none")]
pub mod symbols;
