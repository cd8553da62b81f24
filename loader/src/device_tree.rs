//! Reads what the hypervisor says in its device tree, as aarch64 and riscv64 are booted.
//!
//! Layer: pure; memory is read through a function. Spec: Linux's boot protocol for those architectures, of which
//! QEMU's `virt` machines are the model: `/memory`, `/reserved-memory`, and in `/chosen` the command line and the
//! boot module. Addresses and sizes are the hypervisor's claims: each is checked.

use crate::failure::Failure;
use crate::firmware::{DeviceTree, Firmware, MAX_COMMAND_LINE};
use firmware_tables::Span;
use firmware_tables::fdt::{Blob, Node, Property};
use hermit_loader_core::ranges::Memory;

/// No tree is larger: QEMU reserves 1 MiB, Linux takes 2.
const MAX_TREE: usize = 2 << 20;

/// Reads the tree at `address`. `read` gives the bytes of a range of physical memory, if there is any. `uart` is the
/// `compatible` of the serial port's model, `max_address` where the memory ends that can be mapped.
pub fn read<'a>(
    address: u64,
    uart: &str,
    max_address: u64,
    read: impl Fn(Span) -> Option<&'a [u8]>,
) -> Result<Firmware, Failure> {
    let (place, blob) = find(address, read).ok_or(Failure::NoDeviceTree)?;
    let root = blob.root().ok_or(Failure::NoDeviceTree)?;
    let mut memory = Memory::new();
    let mut chosen = None;
    let mut reserved = None;
    for node in root.children() {
        if node.is("memory") {
            for span in ranges(&node) {
                memory.insert(
                    Span::new(span.start.min(max_address), span.end.min(max_address)).unwrap_or_default(),
                );
            }
        } else if node.is("chosen") {
            chosen = Some(node);
        } else if node.is("reserved-memory") {
            reserved = Some(node);
        }
    }
    let reserved = reserved
        .into_iter()
        .flat_map(|node| node.children())
        .flat_map(|node| ranges(&node));
    for span in reserved.chain(blob.reservations()) {
        memory.remove(span);
    }
    if memory.spans().is_empty() {
        return Err(Failure::NoMemoryMap);
    }
    let mut ram = memory.clone();
    ram.remove(place);

    let chosen = |name: &str| chosen.and_then(|node| node.property(name));
    let module = match chosen("linux,initrd-start").zip(chosen("linux,initrd-end")) {
        None => None,
        Some((start, end)) => {
            let span = start
                .number()
                .zip(end.number())
                .and_then(|(start, end)| Span::new(start, end));
            Some(
                span.filter(|&span| ram.contains(span))
                    .ok_or(Failure::BadModule)?,
            )
        }
    };

    let command_line = match chosen("bootargs") {
        None => None,
        Some(property) => {
            let len = property.text().ok_or(Failure::BadCommandLine)?.len() as u64;
            if len >= MAX_COMMAND_LINE {
                return Err(Failure::BadCommandLine);
            }
            Some(Span::from_len(within(place, &property)?.start, len).ok_or(Failure::BadCommandLine)?)
        }
    };

    Ok(Firmware {
        ram,
        command_line,
        module,
        rsdp: None,
        serial_port: registers(&blob, uart).map(|span| span.start),
        device_tree: Some(DeviceTree { place, memory }),
    })
}

/// The tree at an address, and where it lies.
pub fn find<'a>(address: u64, read: impl Fn(Span) -> Option<&'a [u8]>) -> Option<(Span, Blob<'a>)> {
    let header = read(Span::from_len(address, Blob::HEADER as u64)?)?;
    let size = Blob::size(header).filter(|&size| size <= MAX_TREE)?;
    let place = Span::from_len(address, size as u64)?;
    Some((place, Blob::new(read(place)?)?))
}

/// The first registers of the first device whose `compatible` has this entry.
pub fn registers(blob: &Blob<'_>, compatible: &str) -> Option<Span> {
    blob.compatible(compatible)?.registers()
}

/// All ranges of a node's `reg`.
fn ranges<'a>(node: &Node<'a>) -> impl Iterator<Item = Span> + use<'a> {
    node.property("reg")
        .into_iter()
        .flat_map(|property| property.ranges())
}

/// Where in memory a property's value lies.
fn within(tree: Span, property: &Property<'_>) -> Result<Span, Failure> {
    Span::from_len(tree.start, property.at as u64)
        .and_then(|before| Span::from_len(before.end, property.value.len() as u64))
        .ok_or(Failure::NoDeviceTree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware_tables::fdt::{Tree, size_bound, write};

    const AT: u64 = 0x4800_0000;
    const RAM: Span = Span {
        start: 0x4000_0000,
        end: 0x5000_0000,
    };

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    fn tree(module: Option<Span>, arguments: Option<&str>, memory: &[Span]) -> Vec<u8> {
        let tree = Tree {
            compatible: "linux,dummy-virt",
            boot_arguments: arguments,
            boot_module: module,
            memory,
            rsdp: Some(0x900_0000),
        };
        let mut bytes = vec![0; size_bound(memory.len(), arguments.map_or(0, str::len))];
        let len = write(&mut bytes, &tree).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn read_at(bytes: &[u8]) -> Result<Firmware, Failure> {
        read(AT, "linux,dummy-virt", 1 << 39, |wanted| {
            let from = usize::try_from(wanted.start.checked_sub(AT)?).ok()?;
            bytes.get(from..from + usize::try_from(wanted.len()).ok()?)
        })
    }

    #[test]
    fn everything() {
        let module = span(0x4400_0001, 0x4400_0100);
        let bytes = tree(Some(module), Some("-- a"), &[RAM]);
        let firmware = read_at(&bytes).unwrap();
        let end = AT + bytes.len() as u64;
        assert_eq!(firmware.ram.spans(), [span(RAM.start, AT), span(end, RAM.end)]);
        assert_eq!(firmware.module, Some(module));
        let line = firmware.command_line.unwrap();
        let from = usize::try_from(line.start - AT).unwrap();
        assert_eq!(&bytes[from..from + 4], b"-- a");
        assert_eq!(line.len(), 4);
        let tree = firmware.device_tree.unwrap();
        assert_eq!(tree.place, span(AT, end));
        assert_eq!(
            tree.memory.spans(),
            [RAM],
            "the kernel is handed a tree of its own"
        );
    }

    #[test]
    fn what_is_absent_is_none() {
        let firmware = read_at(&tree(None, None, &[RAM])).unwrap();
        assert!(firmware.module.is_none() && firmware.command_line.is_none());
        // The root has that model, and no registers.
        assert_eq!(firmware.serial_port, None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read_at(b"no tree").unwrap_err(), Failure::NoDeviceTree);
        assert_eq!(read_at(&tree(None, None, &[])).unwrap_err(), Failure::NoMemoryMap);
        let beyond = span(1 << 39, (1 << 39) + 4096);
        assert_eq!(
            read_at(&tree(None, None, &[beyond])).unwrap_err(),
            Failure::NoMemoryMap
        );
        for module in [span(RAM.end - 1, RAM.end + 1), span(0, 1), span(AT, AT + 1)] {
            assert_eq!(
                read_at(&tree(Some(module), None, &[RAM])).unwrap_err(),
                Failure::BadModule,
                "{module:x?}"
            );
        }
        let long = "x".repeat(usize::try_from(MAX_COMMAND_LINE).unwrap());
        assert_eq!(
            read_at(&tree(None, Some(&long), &[RAM])).unwrap_err(),
            Failure::BadCommandLine
        );
        assert!(read_at(&tree(None, Some(&long[1..]), &[RAM])).is_ok());
    }
}
