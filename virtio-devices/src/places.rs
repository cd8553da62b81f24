//! Where a machine says that devices may be: on the kernel command line, or in its device tree.
//!
//! Interrupts are numbered as their controller counts: the GIC's with 32 in front of the shared ones.

use firmware_tables::Span;
use firmware_tables::fdt::{Blob, Node};

use crate::mmio;
use crate::pci::Address;

/// Where memory-mapped registers of a device may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Their physical address.
    pub address: u64,
    /// The number of its interrupt.
    pub interrupt: u32,
}

/// What a word of the kernel command line says, in Linux's syntax: `virtio_mmio.device=512@0xfeb00e00:12`.
pub fn from_word(word: &str) -> Option<Place> {
    let (size, place) = word.strip_prefix("virtio_mmio.device=")?.split_once('@')?;
    let size: usize = match size.strip_suffix(['k', 'K']) {
        Some(kibibytes) => kibibytes.parse::<usize>().ok()?.checked_mul(1024)?,
        None => size.parse().ok()?,
    };
    let mut parts = place.split(':');
    let address = u64::from_str_radix(parts.next()?.strip_prefix("0x")?, 16).ok()?;
    let interrupt = parts.next()?.parse().ok()?;
    (size >= mmio::SIZE).then_some(Place { address, interrupt })
}

/// The places in a device tree: directly below the root, in its `soc`, or in `transports`, where our loader moves them.
pub fn in_tree(tree: Blob<'_>) -> impl Iterator<Item = Place> + use<'_> {
    let buses = ["soc", "transports"]
        .into_iter()
        .filter_map(move |name| tree.child(name));
    let nodes = tree
        .root()
        .into_iter()
        .chain(buses)
        .flat_map(|node| node.children());
    nodes
        .filter(|node| node.is_compatible("virtio,mmio"))
        .filter_map(|node| {
            let interrupt = interrupt_of(node.property("interrupts")?.value)?;
            let address = node.registers()?.start;
            Some(Place { address, interrupt })
        })
}

/// A bridge from the processor to PCI, with memory-mapped configuration space.
#[derive(Clone, Copy, Debug)]
pub struct Bridge<'t> {
    /// Where the configuration space is, 1 MiB a bus.
    pub config: Span,
    /// Addresses below 4 GiB that functions may have.
    pub window: Span,
    interrupts: Interrupts<'t>,
}

/// Which interrupt a function's pin raises.
#[derive(Clone, Copy, Debug)]
enum Interrupts<'t> {
    /// What the tree says: a map and its mask, and the cells of an entry that belong to the controller.
    Map {
        map: &'t [u8],
        mask: [u32; 4],
        controller_cells: (usize, usize),
    },
    /// Four from this one on, in turn: device 0's pin A the first, its pin B and device 1's pin A the next.
    InTurn(u32),
}

impl<'t> Bridge<'t> {
    /// The first one of a device tree.
    pub fn in_tree(tree: Blob<'t>) -> Option<Self> {
        let node = tree.compatible("pci-host-ecam-generic")?;
        let controller = ["arm,gic-v3", "sifive,plic-1.0.0", "riscv,plic0"]
            .into_iter()
            .find_map(|name| tree.compatible(name))?;
        let count = |name| cell(&controller, name).unwrap_or(0);
        Some(Self {
            config: node.registers()?,
            window: window(&node)?,
            interrupts: Interrupts::Map {
                map: node.property("interrupt-map")?.value,
                mask: cells(node.property("interrupt-map-mask")?.value)?,
                controller_cells: (count("#address-cells"), count("#interrupt-cells")),
            },
        })
    }

    /// That of QEMU's `virt` of riscv64, by a device tree that names the machine and no longer its bridge: our loader
    /// hands on what every run needs.
    pub fn of_riscv64_virt(tree: Blob<'_>) -> Option<Self> {
        tree.root()?.is_compatible("riscv-virtio").then_some(Self {
            config: Span {
                start: 0x3000_0000,
                end: 0x4000_0000,
            },
            window: Span {
                start: 0x4000_0000,
                end: 0x8000_0000,
            },
            interrupts: Interrupts::InTurn(32),
        })
    }

    /// The number of the interrupt that a function on the first bus raises by a pin, counted from 1.
    pub fn interrupt(&self, at: Address, pin: u8) -> Option<u32> {
        if at.bus != 0 {
            return None;
        }
        let (map, mask, (address, interrupt)) = match self.interrupts {
            Interrupts::Map {
                map,
                mask,
                controller_cells,
            } => (map, mask, controller_cells),
            Interrupts::InTurn(first) => {
                let pin = u32::from(pin).checked_sub(1).filter(|pin| *pin < 4)?;
                return Some(first + (pin + u32::from(at.device)) % 4);
            }
        };
        let high = u32::from(at.device) << 11 | u32::from(at.function) << 8;
        let wanted = [high & mask[0], 0, 0, u32::from(pin) & mask[3]];
        // The function's address and pin, the controller's phandle and address, and its number of the interrupt.
        let begin = (4 + 1 + address).checked_mul(4)?;
        let len = begin.checked_add(interrupt.checked_mul(4)?)?;
        map.chunks_exact(len).find_map(|entry| {
            let [high, _, _, pin] = cells(entry.get(..16)?)?;
            let found = [high & mask[0], 0, 0, pin & mask[3]] == wanted;
            let specifier = entry.get(begin..)?;
            found.then(|| interrupt_of(specifier)).flatten()
        })
    }
}

/// Memory below 4 GiB that has the same address on both sides.
fn window(node: &Node<'_>) -> Option<Span> {
    node.property("ranges")?
        .value
        .as_chunks::<28>()
        .0
        .iter()
        .find_map(|entry| {
            let [kind, child_high, child, parent_high, parent, high, len] = cells::<7>(entry)?;
            // Kind 2: memory with 32 bits of address.
            let fits = kind >> 24 & 3 == 2 && child_high == parent_high && child == parent;
            let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
            let span = Span::from_len(join(parent_high, parent), join(high, len))?;
            (fits && span.end <= 1 << 32).then_some(span)
        })
}

/// A property of one cell.
fn cell(node: &Node<'_>, name: &str) -> Option<usize> {
    let [value] = cells(node.property(name)?.value)?;
    usize::try_from(value).ok().filter(|value| *value <= 8)
}

/// So many cells and no more.
fn cells<const N: usize>(value: &[u8]) -> Option<[u32; N]> {
    let (cells, rest) = value.as_chunks::<4>();
    let cells: &[[u8; 4]; N] = cells.try_into().ok().filter(|_| rest.is_empty())?;
    Some(cells.map(u32::from_be_bytes))
}

/// The number in a controller's specifier: a PLIC's is the number, a GIC's a type, a number and flags.
fn interrupt_of(specifier: &[u8]) -> Option<u32> {
    match specifier.len() {
        4 => cells(specifier).map(|[number]: [u32; 1]| number),
        12 => {
            let [kind, number, _] = cells(specifier)?;
            // Type 0: shared.
            (kind == 0).then(|| number.checked_add(32)).flatten()
        }
        _ => None,
    }
}
