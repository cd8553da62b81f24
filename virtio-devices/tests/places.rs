//! Where machines say that devices are.

use firmware_tables::fdt::Blob;
use virtio_devices::pci::Address;
use virtio_devices::places::{Bridge, Place, from_word, in_tree};

#[test]
fn words_of_the_command_line() {
    let place = |address, interrupt| Some(Place { address, interrupt });
    assert_eq!(
        from_word("virtio_mmio.device=512@0xfeb00e00:12"),
        place(0xfeb0_0e00, 12)
    );
    assert_eq!(
        from_word("virtio_mmio.device=4K@0xd0000000:5:0"),
        place(0xd000_0000, 5)
    );
    for word in [
        "",
        "virtio_mmio.device=",
        "virtio_mmio.device=512@0xfeb00e00",
        "virtio_mmio.device=512@feb00e00:5",
        "virtio_mmio.device=256@0xfeb00e00:5",
        "virtio_mmio.device=512@0x10000000000000000:5",
        "virtio_mmio.device=512@0xfeb00e00:4294967296",
        "virtio_mmio.device=99999999999999999K@0xfeb00e00:5",
        "mmio=512@0xfeb00e00:5",
    ] {
        assert_eq!(from_word(word), None, "{word}");
    }
}

/// Makes a device tree.
#[derive(Default)]
struct Maker {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Maker {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn text(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    /// A node and what is in it.
    fn node(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.word(1);
        self.text(format!("{name}\0").as_bytes());
        content(self);
        self.word(2);
    }

    fn property(&mut self, name: &str, value: &[u8]) {
        self.word(3);
        self.word(u32::try_from(value.len()).unwrap());
        self.word(u32::try_from(self.strings.len()).unwrap());
        self.text(value);
        self.strings.extend(format!("{name}\0").as_bytes());
    }

    fn cells(&mut self, name: &str, value: &[u32]) {
        let bytes: Vec<u8> = value.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        self.property(name, &bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        self.word(9);
        let structure = 40 + 16;
        let strings = structure + self.structure.len();
        let end = strings + self.strings.len();
        let header = [
            0xd00d_feed,
            end,
            structure,
            strings,
            40,
            17,
            16,
            0,
            self.strings.len(),
            self.structure.len(),
        ];
        let mut blob: Vec<u8> = header
            .iter()
            .flat_map(|&word| u32::try_from(word).unwrap().to_be_bytes())
            .collect();
        blob.extend([0; 16]);
        blob.extend(&self.structure);
        blob.extend(&self.strings);
        blob
    }
}

/// A tree with a place and a bridge to PCI, as QEMU's machines have them: `map` is the interrupts' map, `specifier` the
/// place's interrupt, and the controller's cells are those of addresses and interrupts.
fn tree(controller: (&str, u32, u32), specifier: &[u32], map: &[u32]) -> Vec<u8> {
    let mut maker = Maker::default();
    maker.node("", |root| {
        root.node("controller", |node| {
            let (name, address, interrupt) = controller;
            node.property("compatible", format!("{name}\0").as_bytes());
            node.cells("#address-cells", &[address]);
            node.cells("#interrupt-cells", &[interrupt]);
        });
        root.node("soc", |soc| {
            soc.node("virtio_mmio@10001000", |node| {
                node.property("compatible", b"virtio,mmio\0");
                node.cells("reg", &[0, 0x1000_1000, 0, 0x1000]);
                node.cells("interrupts", specifier);
            });
            soc.node("pci@30000000", |node| {
                node.property("compatible", b"pci-host-ecam-generic\0");
                node.cells("reg", &[0, 0x3000_0000, 0, 0x1000_0000]);
                node.cells(
                    "ranges",
                    &[
                        0x0100_0000,
                        0,
                        0,
                        0,
                        0x0300_0000,
                        0,
                        0x1_0000, // ports
                        0x0200_0000,
                        0,
                        0x4000_0000,
                        0,
                        0x4000_0000,
                        0,
                        0x4000_0000, // 32 bits
                        0x0300_0000,
                        4,
                        0,
                        4,
                        0,
                        4,
                        0, // 64 bits
                    ],
                );
                node.cells("interrupt-map-mask", &[0x1800, 0, 0, 7]);
                node.cells("interrupt-map", map);
            });
        });
    });
    maker.finish()
}

fn at(device: u8) -> Address {
    Address {
        bus: 0,
        device,
        function: 0,
    }
}

#[test]
fn trees_of_riscv64() {
    let map = [
        [0x0000, 0, 0, 1, 9, 0x20],
        [0x0000, 0, 0, 2, 9, 0x21],
        [0x0800, 0, 0, 1, 9, 0x21],
        [0x0800, 0, 0, 2, 9, 0x22],
    ];
    let bytes = tree(("sifive,plic-1.0.0", 0, 1), &[1], map.as_flattened());
    let tree = Blob::new(&bytes).unwrap();
    let place = Place {
        address: 0x1000_1000,
        interrupt: 1,
    };
    assert_eq!(in_tree(tree).collect::<Vec<_>>(), [place]);
    let bridge = Bridge::in_tree(tree).unwrap();
    assert_eq!(
        (bridge.config.start, bridge.config.len()),
        (0x3000_0000, 0x1000_0000)
    );
    assert_eq!(
        (bridge.window.start, bridge.window.end),
        (0x4000_0000, 0x8000_0000)
    );
    assert_eq!(bridge.interrupt(at(0), 1), Some(0x20));
    assert_eq!(bridge.interrupt(at(1), 2), Some(0x22));
    // Devices are counted by fours.
    assert_eq!(bridge.interrupt(at(5), 1), Some(0x21));
    assert_eq!(bridge.interrupt(at(2), 1), None);
    assert_eq!(bridge.interrupt(at(0), 0), None);
    assert_eq!(bridge.interrupt(Address { bus: 1, ..at(0) }, 1), None);
}

/// A machine whose tree names it says the same with its bridge and without.
#[test]
fn the_bridge_of_a_machine_that_is_known() {
    let mut maker = Maker::default();
    maker.node("", |root| root.property("compatible", b"riscv-virtio\0"));
    let bytes = maker.finish();
    let tree = Blob::new(&bytes).unwrap();
    assert!(Bridge::in_tree(tree).is_none());
    let bridge = Bridge::of_riscv64_virt(tree).unwrap();
    assert_eq!(
        (bridge.config.start, bridge.config.end),
        (0x3000_0000, 0x4000_0000)
    );
    assert_eq!(
        (bridge.window.start, bridge.window.end),
        (0x4000_0000, 0x8000_0000)
    );
    let by_pins = |device| [1, 2, 3, 4].map(|pin| bridge.interrupt(at(device), pin));
    assert_eq!(by_pins(0), [32, 33, 34, 35].map(Some));
    assert_eq!(by_pins(3), [35, 32, 33, 34].map(Some));
    assert_eq!(by_pins(5), by_pins(1));
    for pin in [0, 5, 255] {
        assert_eq!(bridge.interrupt(at(0), pin), None);
    }
    assert_eq!(bridge.interrupt(Address { bus: 1, ..at(0) }, 1), None);

    let mut maker = Maker::default();
    maker.node("", |root| root.property("compatible", b"another\0"));
    let bytes = maker.finish();
    assert!(Bridge::of_riscv64_virt(Blob::new(&bytes).unwrap()).is_none());
}

#[test]
fn places_are_found_on_each_bus() {
    let mut maker = Maker::default();
    maker.node("", |root| {
        let place = |on: &mut Maker, number: u32| {
            on.node("virtio_mmio", |node| {
                node.property("compatible", b"other\0virtio,mmio\0");
                node.cells("reg", &[0, 0x1000 * number, 0, 0x1000]);
                node.cells("interrupts", &[number]);
            });
        };
        place(root, 1);
        root.node("soc", |soc| place(soc, 2));
        root.node("cpus", |cpus| place(cpus, 3));
        root.node("transports", |transports| place(transports, 4));
    });
    let bytes = maker.finish();
    let found = in_tree(Blob::new(&bytes).unwrap());
    let numbers: Vec<_> = found.map(|place| place.interrupt).collect();
    assert_eq!(numbers, [1, 2, 4]);
}

#[test]
fn trees_of_aarch64() {
    let map = [
        [0x0000, 0, 0, 1, 9, 0, 0, 0, 3, 4],
        [0x0800, 0, 0, 1, 9, 0, 0, 0, 4, 4],
        [0x1000, 0, 0, 1, 9, 0, 0, 1, 5, 4],
    ];
    let bytes = tree(("arm,gic-v3", 2, 3), &[0, 16, 1], map.as_flattened());
    let tree = Blob::new(&bytes).unwrap();
    assert_eq!(in_tree(tree).next().map(|place| place.interrupt), Some(48));
    let bridge = Bridge::in_tree(tree).unwrap();
    assert_eq!(bridge.interrupt(at(1), 1), Some(36));
    // One that is no shared interrupt.
    assert_eq!(bridge.interrupt(at(2), 1), None);
}

#[test]
fn no_tree_panics() {
    let bytes = tree(("arm,gic-v3", 2, 3), &[0, 16, 1], &[0; 10]);
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            look(&damaged);
        }
        look(&bytes[..at]);
    }
}

/// Looks for all that a tree may say.
fn look(bytes: &[u8]) {
    if let Some(tree) = Blob::new(bytes) {
        in_tree(tree).take(100).for_each(drop);
        if let Some(bridge) = Bridge::in_tree(tree) {
            bridge.interrupt(at(31), 4);
        }
    }
}
