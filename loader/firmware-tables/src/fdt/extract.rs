//! Makes a small device tree of the hypervisor's: the nodes that somebody will read, as they are, and few others.
//!
//! QEMU's tree for `virt` has some sixty nodes. The kernel looks from the root on for each thing that it wants to know,
//! and compares the names of all that it meets, which came to a third of all instructions of booting on Arm.

use super::{
    BEGIN_NODE, Blob, END, END_NODE, HEADER, LAST_COMPATIBLE_VERSION, MAGIC, Node, PROPERTY, Property,
    VERSION,
};
use crate::Span;

/// Where transports of virtio go, of which there may be many that are empty: below a node of their own, the last one.
/// So whoever looks at the root's children does not meet them.
const TRANSPORT: &str = "virtio,mmio";
const TRANSPORTS: &[u8] = b"transports\0\0";

/// What a node of transports needs, by which it is a bus at whose addresses nothing changes.
/// And where `/chosen` has the boot module.
const NAMES: &[u8] = b"#address-cells\0#size-cells\0ranges\0linux,initrd-start\0linux,initrd-end\0";
const ADDRESS_CELLS: usize = 0;
const SIZE_CELLS: usize = 15;
const RANGES: usize = 27;
const MODULE_START: usize = 34;
const MODULE_END: usize = 53;

/// A bus whose devices are at the addresses that they say.
const BUS: &str = "simple-bus";
/// Deepest bus that is looked into.
const MAX_DEPTH: usize = 4;

/// What the new tree says of the boot module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootModule {
    /// What the hypervisor's says.
    Theirs,
    /// That the hypervisor's, if it has one, is empty.
    Hidden,
    /// That it lies here. The hypervisor has none.
    At(Span),
}

/// A buffer size that suffices to extract from a tree, with that many reserved ranges.
pub fn extract_bound(tree: &Blob<'_>, reserved: usize) -> usize {
    // What is added to a tree's own parts is a node of 80 bytes and a module's place of 40, and their ends are aligned.
    (HEADER + 16 * (reserved + 1) + 168 + NAMES.len())
        .saturating_add(tree.structure_len())
        .saturating_add(tree.strings().len())
}

/// Writes to `buffer`, which must be aligned to 8 bytes, of `tree`: the root's properties, `/chosen`, `/cpus`,
/// `/memory`, and each device of whose `compatible` `wanted` says so, below `/` or below the buses that it is on. `reserved`
/// is what it says is reserved. Returns its length; [`None`] if the buffer is too small or the tree is damaged, or has
/// no `/chosen` for a module that is elsewhere.
pub fn extract(
    buffer: &mut [u8],
    tree: &Blob<'_>,
    reserved: &[Span],
    module: BootModule,
    wanted: impl Fn(&Property<'_>) -> bool,
) -> Option<usize> {
    let mut writer = Writer {
        buffer,
        at: HEADER,
        tree,
    };
    for span in reserved {
        writer.put(&span.start.to_be_bytes())?;
        writer.put(&span.len().to_be_bytes())?;
    }
    writer.put(&[0; 16])?;
    let structure = writer.at;

    let root = tree.root()?;
    writer.open(&root)?;
    let mut told = !matches!(module, BootModule::At(_));
    let parts = root
        .children()
        .filter(|node| ["chosen", "cpus", "memory"].iter().any(|name| node.is(name)));
    for node in parts {
        let from = node.place()?.0;
        let at = writer.at;
        match module {
            BootModule::At(span) if node.is("chosen") => {
                writer.copy_with_module(&node, span)?;
                told = true;
            }
            _ => writer.copy(&node)?,
        }
        if module == BootModule::Hidden && node.is("chosen") {
            writer.hide_module(&node, from, at)?;
        }
    }
    if !told {
        return None;
    }
    writer.devices(&root, &wanted, MAX_DEPTH)?;
    writer.transports(&root)?;
    writer.number(END_NODE)?;
    writer.number(END)?;

    let strings = writer.at;
    writer.put(tree.strings())?;
    writer.put(NAMES)?;
    let total = writer.at;
    let fields = [
        MAGIC,
        u32::try_from(total).ok()?,
        u32::try_from(structure).ok()?,
        u32::try_from(strings).ok()?,
        u32::try_from(HEADER).ok()?,
        VERSION,
        LAST_COMPATIBLE_VERSION,
        0,
        u32::try_from(total - strings).ok()?,
        u32::try_from(strings - structure).ok()?,
    ];
    writer.at = 0;
    for field in fields {
        writer.number(field)?;
    }
    Some(total)
}

struct Writer<'a, 'b> {
    buffer: &'a mut [u8],
    at: usize,
    tree: &'a Blob<'b>,
}

impl Writer<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buffer.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn number(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_be_bytes())
    }

    /// Copies a node's beginning and its properties; the caller sees to its end.
    fn open(&mut self, node: &Node<'_>) -> Option<()> {
        let (from, to) = node.head()?;
        self.put(self.tree.part(from, to)?)
    }

    /// Copies a node with all within.
    fn copy(&mut self, node: &Node<'_>) -> Option<()> {
        let (from, to) = node.place()?;
        self.put(self.tree.part(from, to)?)
    }

    /// Copies `chosen`, and says in it where the boot module lies.
    fn copy_with_module(&mut self, chosen: &Node<'_>, module: Span) -> Option<()> {
        self.open(chosen)?;
        for (name, value) in [(MODULE_START, module.start), (MODULE_END, module.end)] {
            for field in [PROPERTY, 8, self.name(name)?] {
                self.number(field)?;
            }
            self.put(&value.to_be_bytes())?;
        }
        let (rest, end) = (chosen.head()?.1, chosen.place()?.1);
        self.put(self.tree.part(rest, end)?)
    }

    /// Where a name of ours lies among the strings.
    fn name(&self, offset: usize) -> Option<u32> {
        let theirs = u32::try_from(self.tree.strings().len()).ok()?;
        theirs.checked_add(u32::try_from(offset).ok()?)
    }

    /// Has the `chosen` that was copied from `from` to `at` say that the boot module ends where it begins.
    fn hide_module(&mut self, chosen: &Node<'_>, from: usize, at: usize) -> Option<()> {
        let start = chosen.property("linux,initrd-start");
        let end = chosen.property("linux,initrd-end");
        let (Some(start), Some(end)) = (start, end) else {
            return Some(());
        };
        let place = at + (end.at - from);
        let target = self.buffer.get_mut(place..place + end.value.len())?;
        if target.len() != start.value.len() {
            return None;
        }
        target.copy_from_slice(start.value);
        Some(())
    }

    /// Copies the devices within a node that are wanted, and the buses that they are on.
    fn devices(
        &mut self,
        parent: &Node<'_>,
        wanted: &impl Fn(&Property<'_>) -> bool,
        depth: usize,
    ) -> Option<()> {
        for node in parent.children() {
            let Some(models) = node.property("compatible") else {
                continue;
            };
            if wanted(&models) {
                self.copy(&node)?;
            } else if depth > 0 && models.lists(BUS) {
                self.open(&node)?;
                self.devices(&node, wanted, depth - 1)?;
                self.number(END_NODE)?;
            }
        }
        Some(())
    }

    /// Copies the transports of virtio, the root's own ones and those on its buses, into a node of their own.
    fn transports(&mut self, root: &Node<'_>) -> Option<()> {
        self.number(BEGIN_NODE)?;
        self.put(TRANSPORTS)?;
        for cells in [ADDRESS_CELLS, SIZE_CELLS] {
            for field in [PROPERTY, 4, self.name(cells)?, 2] {
                self.number(field)?;
            }
        }
        for field in [PROPERTY, 0, self.name(RANGES)?] {
            self.number(field)?;
        }
        self.transports_of(root, MAX_DEPTH)?;
        self.number(END_NODE)
    }

    fn transports_of(&mut self, parent: &Node<'_>, depth: usize) -> Option<()> {
        for node in parent.children() {
            let Some(compatible) = node.property("compatible") else {
                continue;
            };
            if compatible.lists(TRANSPORT) {
                self.copy(&node)?;
            } else if depth > 0 && compatible.lists(BUS) {
                self.transports_of(&node, depth - 1)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(number: usize) -> u32 {
        u32::try_from(number).unwrap()
    }

    /// A tree in QEMU's manner, written token by token.
    struct Source {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Source {
        fn new() -> Self {
            Self {
                structure: Vec::new(),
                strings: Vec::new(),
            }
        }

        fn padded(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn begin(mut self, name: &str) -> Self {
            self.padded(&BEGIN_NODE.to_be_bytes());
            self.padded(format!("{name}\0").as_bytes());
            self
        }

        fn property(mut self, name: &str, value: &[u8]) -> Self {
            for field in [PROPERTY, cell(value.len()), cell(self.strings.len())] {
                self.padded(&field.to_be_bytes());
            }
            self.strings.extend(format!("{name}\0").bytes());
            self.padded(value);
            self
        }

        fn end(mut self) -> Self {
            self.padded(&END_NODE.to_be_bytes());
            self
        }

        /// A device with registers.
        fn device(self, name: &str, model: &str, registers: u64) -> Self {
            let reg = [registers.to_be_bytes(), 0x1000_u64.to_be_bytes()].concat();
            self.begin(&format!("{name}@{registers:x}"))
                .property("reg", &reg)
                .property("compatible", format!("{model}\0").as_bytes())
                .end()
        }

        fn cells(self) -> Self {
            self.property("#address-cells", &[0, 0, 0, 2])
                .property("#size-cells", &[0, 0, 0, 2])
        }

        fn finish(mut self) -> Vec<u8> {
            self.padded(&END.to_be_bytes());
            let strings = HEADER + 16 + self.structure.len();
            let total = strings + self.strings.len();
            let fields = [
                MAGIC,
                cell(total),
                cell(HEADER + 16),
                cell(strings),
                cell(HEADER),
                VERSION,
                LAST_COMPATIBLE_VERSION,
                0,
                cell(self.strings.len()),
                cell(self.structure.len()),
            ];
            let header = fields.iter().flat_map(|field| field.to_be_bytes());
            let mut blob: Vec<u8> = header.chain([0; 16]).collect();
            blob.extend(self.structure);
            blob.extend(self.strings);
            blob
        }
    }

    fn source() -> Vec<u8> {
        Source::new()
            .begin("")
            .cells()
            .property("compatible", b"linux,dummy-virt\0")
            .device("psci", "arm,psci-1.0", 1)
            .begin("memory@40000000")
            .property("device_type", b"memory\0")
            .end()
            .device("virtio_mmio", "virtio,mmio", 0xa00_0000)
            .begin("soc")
            .cells()
            .property("compatible", b"simple-bus\0")
            .device("serial", "ns16550a", 0x1000_0000)
            .device("flash", "cfi-flash", 0x2000_0000)
            .device("virtio_mmio", "virtio,mmio", 0x1000_1000)
            .end()
            .begin("chosen")
            .property("bootargs", b"-- a\0")
            .property("linux,initrd-start", &0x4800_0000_u32.to_be_bytes())
            .property("linux,initrd-end", &0x4800_1001_u32.to_be_bytes())
            .end()
            .device("pl011", "arm,pl011", 0x900_0000)
            .end()
            .finish()
    }

    fn wanted(models: &Property<'_>) -> bool {
        models.lists("ns16550a") || models.lists("arm,pl011")
    }

    fn extracted(source: &[u8], module: BootModule) -> Vec<u8> {
        let blob = Blob::new(source).unwrap();
        let reserved = [Span::new(0x4800_0000, 0x4800_1001).unwrap()];
        let mut buffer = vec![0xaa; extract_bound(&blob, 1)];
        let len = extract(&mut buffer, &blob, &reserved, module, wanted).unwrap();
        assert_eq!(
            extract(&mut buffer[..len - 1], &blob, &reserved, module, wanted),
            None
        );
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn the_kernel_finds_what_it_wants() {
        let bytes = extracted(&source(), BootModule::Theirs);
        let tree = ::fdt::Fdt::new(&bytes).unwrap();
        let names: Vec<&str> = tree.all_nodes().map(|node| node.name).collect();
        assert_eq!(
            names,
            [
                "/",
                "memory@40000000",
                "chosen",
                "soc",
                "serial@10000000",
                "pl011@9000000",
                "transports",
                "virtio_mmio@a000000",
                "virtio_mmio@10001000",
            ]
        );
        assert_eq!(tree.root().compatible().first(), "linux,dummy-virt");
        assert_eq!(tree.chosen().bootargs(), Some("-- a"));
        let transport = tree
            .find_node("/transports/virtio_mmio@10001000")
            .unwrap()
            .reg()
            .unwrap()
            .next()
            .unwrap();
        assert_eq!(transport.starting_address.addr(), 0x1000_1000);
        assert_eq!(transport.size, Some(0x1000));
        let transports = tree.find_node("/transports").unwrap();
        assert_eq!(transports.property("#address-cells").unwrap().as_usize(), Some(2));
        assert_eq!(transports.property("#size-cells").unwrap().as_usize(), Some(2));
        assert!(transports.property("ranges").is_some());
        let reserved = tree.memory_reservations().next().unwrap();
        assert_eq!(
            (reserved.address().addr(), reserved.size()),
            (0x4800_0000, 0x1001)
        );
        assert_eq!(tree.memory_reservations().count(), 1);
        assert_eq!(tree.total_size(), bytes.len());
    }

    #[test]
    fn a_hidden_module_is_empty() {
        for (hide, end) in [
            (BootModule::Theirs, 0x4800_1001),
            (BootModule::Hidden, 0x4800_0000),
        ] {
            let bytes = extracted(&source(), hide);
            let chosen = Blob::new(&bytes).unwrap().child("chosen").unwrap();
            let number = |name| chosen.property(name).unwrap().number();
            assert_eq!(number("linux,initrd-start"), Some(0x4800_0000));
            assert_eq!(number("linux,initrd-end"), Some(end));
        }
    }

    #[test]
    fn a_module_of_the_loader_s_is_named_in_chosen() {
        let chosen = |begun: Source| begun.begin("chosen").property("bootargs", b"-- a\0");
        let module = Span::new(0x4020_0000, 0x1_0000_0001).unwrap();
        for inner in [false, true] {
            let mut tree = chosen(Source::new().begin("").cells());
            if inner {
                tree = tree.device("stdout", "x", 1);
            }
            let bytes = extracted(&tree.end().end().finish(), BootModule::At(module));
            let chosen = Blob::new(&bytes).unwrap().child("chosen").unwrap();
            let number = |name| chosen.property(name).unwrap().number();
            assert_eq!(number("linux,initrd-start"), Some(module.start));
            assert_eq!(number("linux,initrd-end"), Some(module.end));
            let tree = ::fdt::Fdt::new(&bytes).unwrap();
            assert_eq!(tree.chosen().bootargs(), Some("-- a"));
            assert_eq!(tree.find_node("/chosen/stdout@1").is_some(), inner);
        }
        let without = Source::new().begin("").cells().end().finish();
        let mut buffer = [0; 1024];
        let blob = Blob::new(&without).unwrap();
        assert_eq!(
            extract(&mut buffer, &blob, &[], BootModule::At(module), wanted),
            None
        );
    }

    #[test]
    fn damage_does_no_harm() {
        let elsewhere = BootModule::At(Span::new(1, 2).unwrap());
        let good = source();
        let mut buffer = vec![0; extract_bound(&Blob::new(&good).unwrap(), 0)];
        for at in 0..good.len() {
            for value in [0, 1, 2, 3, 9, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Some(blob) = Blob::new(&bad) {
                    let _ = extract(&mut buffer, &blob, &[], BootModule::Hidden, wanted);
                    let _ = extract(&mut buffer, &blob, &[], elsewhere, wanted);
                }
            }
        }
    }
}
