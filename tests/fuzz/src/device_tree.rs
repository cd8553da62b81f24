//! The loader's memory map and device tree: nothing of ours is given away, nothing is given twice, and the kernel's
//! reader finds what was written. Whatever bytes pass for a device tree or for ACPI's tables, reading them does no
//! harm, and what is extracted of one that the kernel's reader understands, it understands too.

use arbitrary::{Arbitrary, Unstructured};
use firmware_tables::acpi;
use firmware_tables::fdt::{self, Blob, Node, Tree};
use hermit_loader_core::{
    placement::{Layout, MAX_KERNEL_RANGES},
    ranges::{LARGE_PAGE, Memory, PAGE, Span},
};

/// What the hypervisor may say.
#[derive(Arbitrary, Debug)]
struct Machine {
    loader: (u32, u16),
    file: (u32, u16),
    module: (u32, u16),
    command_line: (u32, u16),
    image_size: u32,
    fixed: Option<u32>,
    reach: u64,
    rsdp: Option<u64>,
    arguments: Option<String>,
    ram: Vec<(u64, u64)>,
}

fn span((start, len): (u32, u16)) -> Span {
    let start = u64::from(start) & 0x0fff_ffff;
    Span::from_len(start, u64::from(len) << 4).unwrap_or_default()
}

/// Runs the loader's decisions on a machine made of `data`, and its readers on `data` itself.
pub fn run(data: &[u8]) {
    read(data);
    let _ = acpi::power_off(0, |span| {
        data.get(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
    });
    let Ok(machine) = Machine::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut ram = Memory::new();
    for (start, len) in &machine.ram {
        // Mostly within what the other parts are in.
        let (start, len) = if start % 4 == 0 {
            (*start, *len)
        } else {
            (start & 0x0fff_ffff, len & 0x0fff_ffff)
        };
        if let Some(span) = Span::from_len(start, len) {
            ram.insert(span);
        }
    }
    check(&ram);
    let layout = Layout {
        ram,
        reach: machine.reach,
        loader: span(machine.loader),
        file: span(machine.file),
        module: span(machine.module),
        command_line: span(machine.command_line),
    };
    let size = u64::from(machine.image_size & 0x00ff_ffff) + 1;
    for in_place in [false, true] {
        place(&layout, size, machine.fixed.map(u64::from), in_place);
    }
    tree(&machine, &layout);
}

/// Walks a tree made of any bytes, and takes out of it what there is.
fn read(data: &[u8]) {
    let Some(tree) = Blob::new(data) else { return };
    assert!(tree.reservations().count() <= data.len() / 16);
    let Some(root) = tree.root() else { return };
    walk(root, 8);
    let mut buffer = vec![0; fdt::extract_bound(&tree, 1)];
    let reserved = Span::from_len(4096, 4096).unwrap_or_default();
    let extracted = fdt::extract(
        &mut buffer,
        &tree,
        &[reserved],
        fdt::BootModule::Hidden,
        |models| models.lists("a"),
    );
    if let Some(new) = extracted.and_then(|len| Blob::new(&buffer[..len])) {
        assert_eq!(new.reservations().next(), Some(reserved));
        let new_root = new.root().expect("an extracted tree has a root");
        // A name that lay outside of the tree may lie in what was added.
        assert!(new_root.properties().count() >= root.properties().count());
        let count = |root: Node<'_>| root.children().filter(|node| node.is("chosen")).count();
        assert!(count(new_root) >= count(root));
    }
}

fn walk(node: Node<'_>, depth: usize) {
    for property in node.properties() {
        let _ = (property.number(), property.text(), property.ranges().count());
    }
    if depth > 0 {
        node.children().for_each(|child| walk(child, depth - 1));
    }
}

/// Disjoint, in order, not adjacent.
fn check(memory: &Memory) {
    for pair in memory.spans().windows(2) {
        assert!(pair[0].end < pair[1].start, "{memory:?}");
    }
    assert!(memory.spans().iter().all(|span| !span.is_empty()));
}

fn place(layout: &Layout, size: u64, fixed: Option<u64>, in_place: bool) {
    let Some(image) = layout.place_image(size, fixed, in_place) else {
        return;
    };
    assert_eq!(image.len(), size);
    assert!(layout.ram.contains(image) && image.end <= layout.reach.max(image.start));
    assert!(fixed.is_none_or(|start| image.start == start));
    assert!(fixed.is_some() || image.start.is_multiple_of(LARGE_PAGE));
    for taken in [layout.loader, layout.module, layout.command_line] {
        assert!(!image.overlaps(taken) || taken.is_empty(), "{image:?} {layout:?}");
    }
    assert!(!image.overlaps(layout.file) || image.start == layout.file.start || layout.file.is_empty());
    let Some(tables) = layout.place_tables(image, 3 * PAGE + 1) else {
        return;
    };
    assert!(tables.start.is_multiple_of(PAGE) && tables.len() == 4 * PAGE && layout.ram.contains(tables));
    assert!(!tables.overlaps(image));
    let memory = layout.kernel_memory(image, tables);
    check(&memory);
    assert!(memory.spans().len() <= MAX_KERNEL_RANGES);
    for span in memory.spans() {
        assert!(
            layout.ram.contains(*span) && span.start.is_multiple_of(PAGE) && span.end.is_multiple_of(PAGE)
        );
        assert!(!span.overlaps(image) && !span.overlaps(tables));
        assert!(!span.overlaps(layout.module) || layout.module.is_empty());
    }
}

/// A buffer aligned as the format wants it.
#[repr(align(8))]
struct Aligned([u8; 1 << 14]);

fn tree(machine: &Machine, layout: &Layout) {
    let arguments = machine
        .arguments
        .as_deref()
        .filter(|text| !text.contains('\0') && text.len() < 4096);
    let memory: Vec<_> = layout
        .ram
        .spans()
        .iter()
        .copied()
        .take(MAX_KERNEL_RANGES)
        .collect();
    let tree = Tree {
        compatible: "fuzz",
        boot_arguments: arguments,
        boot_module: (!layout.module.is_empty()).then_some(layout.module),
        memory: &memory,
        rsdp: machine.rsdp,
    };
    let mut buffer = Aligned([0; 1 << 14]);
    let bound = fdt::size_bound(memory.len(), arguments.map_or(0, str::len));
    let len = fdt::write(&mut buffer.0[..bound], &tree).expect("the bound suffices");
    for short in [0, len / 2, len - 1] {
        assert_eq!(fdt::write(&mut Aligned([0; 1 << 14]).0[..short], &tree), None);
    }
    let read = ::fdt::Fdt::new(&buffer.0[..len]).expect("the kernel's reader takes it");
    let chosen = read.chosen();
    assert_eq!(chosen.bootargs(), arguments);
    let cells = |name| {
        let property = read.find_node("/chosen")?.property(name)?;
        property.value.try_into().ok().map(u64::from_be_bytes)
    };
    let module = cells("linux,initrd-start").zip(cells("linux,initrd-end"));
    assert_eq!(module, tree.boot_module.map(|span| (span.start, span.end)));
    let nodes = read.all_nodes().filter(|node| node.name.starts_with("memory@"));
    let found: Vec<_> = nodes
        .map(|node| {
            let region = node
                .reg()
                .and_then(|mut regions| regions.next())
                .expect("it has a range");
            (
                region.starting_address as u64,
                region.size.map(|size| size as u64),
            )
        })
        .collect();
    let expected: Vec<_> = memory.iter().map(|span| (span.start, Some(span.len()))).collect();
    assert_eq!(found, expected);
}
