//! Writes the flattened device tree that tells the kernel about memory, command line and boot module.
//!
//! The kernel reads it with crate `fdt` 0.1.5, for as long as it runs; of each memory node it takes the first range
//! only, so there is one node for each range.

use super::{BEGIN_NODE, END, END_NODE, HEADER, LAST_COMPATIBLE_VERSION, MAGIC, PROPERTY, VERSION};
use crate::Span;

/// What the tree says.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// How the machine was booted: `compatible` of the root.
    pub compatible: &'a str,
    /// The command line, if there is one.
    pub boot_arguments: Option<&'a str>,
    /// Where the boot module lies, if there is one.
    pub boot_module: Option<Span>,
    /// Memory that the kernel may use.
    pub memory: &'a [Span],
    /// ACPI's root pointer, if the hypervisor named it.
    pub rsdp: Option<u64>,
}

/// The reservation block: only its terminator.
const RESERVATIONS: usize = 16;

/// Names of all properties, each at the offset that [`name`] finds.
const STRINGS: &[u8] =
    b"#address-cells\0#size-cells\0compatible\0bootargs\0linux,initrd-start\0linux,initrd-end\0\
    device_type\0reg\0";
const ADDRESS_CELLS: u32 = name(b"#address-cells\0");
const SIZE_CELLS: u32 = name(b"#size-cells\0");
const COMPATIBLE: u32 = name(b"compatible\0");
const BOOTARGS: u32 = name(b"bootargs\0");
const INITRD_START: u32 = name(b"linux,initrd-start\0");
const INITRD_END: u32 = name(b"linux,initrd-end\0");
const DEVICE_TYPE: u32 = name(b"device_type\0");
const REG: u32 = name(b"reg\0");

/// Where a property's name is in [`STRINGS`]. Evaluated by the compiler.
const fn name(wanted: &[u8]) -> u32 {
    let mut at = 0;
    loop {
        let mut len = 0;
        while len < wanted.len() && STRINGS[at as usize + len] == wanted[len] {
            len += 1;
        }
        if len == wanted.len() {
            return at;
        }
        at += 1;
    }
}

/// Writes `tree` to `buffer`, which must be aligned to 8 bytes, and returns its length.
///
/// [`None`] if the buffer is too small; [`size_bound`] says how large it must be.
pub fn write(buffer: &mut [u8], tree: &Tree<'_>) -> Option<usize> {
    let mut writer = Writer { buffer, at: 0 };
    writer.put(&[0; HEADER + RESERVATIONS])?;
    write_structure(&mut writer, tree)?;
    let strings = writer.at;
    writer.put(STRINGS)?;
    let total = writer.at;

    let structure = HEADER + RESERVATIONS;
    let fields = [
        MAGIC,
        u32::try_from(total).ok()?,
        u32::try_from(structure).ok()?,
        u32::try_from(strings).ok()?,
        u32::try_from(HEADER).ok()?,
        VERSION,
        LAST_COMPATIBLE_VERSION,
        0,
        u32::try_from(STRINGS.len()).ok()?,
        u32::try_from(strings - structure).ok()?,
    ];
    writer.at = 0;
    for field in fields {
        writer.number(field)?;
    }
    Some(total)
}

/// A buffer size that suffices for a tree with that many memory ranges and bytes of command line.
pub const fn size_bound(memory_ranges: usize, boot_arguments: usize) -> usize {
    // A memory node takes 88 bytes at most, all else, with the strings, less than 512.
    512 + 96 * memory_ranges + boot_arguments
}

fn write_structure(writer: &mut Writer<'_>, tree: &Tree<'_>) -> Option<()> {
    writer.begin("", None)?;
    writer.property(ADDRESS_CELLS, &2_u32.to_be_bytes())?;
    writer.property(SIZE_CELLS, &2_u32.to_be_bytes())?;
    writer.string(COMPATIBLE, tree.compatible)?;

    writer.begin("chosen", None)?;
    if let Some(arguments) = tree.boot_arguments {
        writer.string(BOOTARGS, arguments)?;
    }
    if let Some(module) = tree.boot_module {
        writer.property(INITRD_START, &module.start.to_be_bytes())?;
        writer.property(INITRD_END, &module.end.to_be_bytes())?;
    }
    writer.number(END_NODE)?;

    for &span in tree.memory {
        writer.begin("memory", Some(span.start))?;
        writer.string(DEVICE_TYPE, "memory")?;
        writer.range(span.start, span.len())?;
        writer.number(END_NODE)?;
    }
    if let Some(rsdp) = tree.rsdp {
        writer.begin("hermit,rsdp", Some(rsdp))?;
        writer.range(rsdp, 1)?;
        writer.number(END_NODE)?;
    }
    writer.number(END_NODE)?;
    writer.number(END)
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buffer.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn number(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_be_bytes())
    }

    /// Zeros up to the next multiple of four.
    fn pad(&mut self) -> Option<()> {
        let padding = self.at.next_multiple_of(4) - self.at;
        self.put([0; 3].get(..padding)?)
    }

    /// Opens a node; with an address, its name is `name@address`.
    fn begin(&mut self, name: &str, address: Option<u64>) -> Option<()> {
        self.number(BEGIN_NODE)?;
        self.put(name.as_bytes())?;
        if let Some(address) = address {
            self.put(b"@")?;
            let digits = (u64::BITS - address.leading_zeros()).div_ceil(4).max(1);
            for digit in (0..digits).rev() {
                let value = u32::try_from((address >> (4 * digit)) & 0xf).ok()?;
                self.put(&[u8::try_from(char::from_digit(value, 16)?).ok()?])?;
            }
        }
        self.put(&[0])?;
        self.pad()
    }

    fn property(&mut self, name: u32, value: &[u8]) -> Option<()> {
        self.start_property(name, value.len())?;
        self.put(value)?;
        self.pad()
    }

    /// A property whose value is a string, with its terminator.
    fn string(&mut self, name: u32, value: &str) -> Option<()> {
        self.start_property(name, value.len().checked_add(1)?)?;
        self.put(value.as_bytes())?;
        self.put(&[0])?;
        self.pad()
    }

    /// A `reg` property of one range.
    fn range(&mut self, start: u64, len: u64) -> Option<()> {
        self.start_property(REG, 16)?;
        self.put(&start.to_be_bytes())?;
        self.put(&len.to_be_bytes())
    }

    fn start_property(&mut self, name: u32, len: usize) -> Option<()> {
        self.number(PROPERTY)?;
        self.number(u32::try_from(len).ok()?)?;
        self.number(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: Tree<'_> = Tree {
        compatible: "hermit,pvh",
        boot_arguments: Some("-freq 3000 -- --argv0 'a b' x"),
        boot_module: Some(Span {
            start: 0x3fd_8001,
            end: 0x3fd_89b4,
        }),
        memory: &[
            Span {
                start: 0x40_0000,
                end: 0x3fd_8000,
            },
            Span {
                start: 1 << 32,
                end: 6 << 30,
            },
        ],
        rsdp: Some(0xf_5a10),
    };

    fn build(tree: &Tree<'_>) -> Vec<u8> {
        let arguments = tree.boot_arguments.map_or(0, str::len);
        let mut buffer = vec![0xaa; size_bound(tree.memory.len(), arguments)];
        let len = write(&mut buffer, tree).unwrap();
        buffer.truncate(len);
        buffer
    }

    /// As the kernel's `detect_from_fdt` does.
    fn memory_of(fdt: &fdt::Fdt<'_>) -> Vec<(usize, Option<usize>)> {
        fdt.find_all_nodes("/memory")
            .map(|node| node.reg().unwrap().next().unwrap())
            .map(|region| (region.starting_address.addr(), region.size))
            .collect()
    }

    #[test]
    fn the_kernel_reads_what_was_written() {
        let bytes = build(&TREE);
        let fdt = fdt::Fdt::new(&bytes).unwrap();
        assert_eq!(fdt.total_size(), bytes.len());
        assert_eq!(fdt.root().compatible().first(), "hermit,pvh");
        assert_eq!(fdt.chosen().bootargs(), TREE.boot_arguments);
        assert_eq!(
            memory_of(&fdt),
            [
                (0x40_0000, Some(0x3fd_8000 - 0x40_0000)),
                (1 << 32, Some(2 << 30))
            ]
        );
        let chosen = fdt.find_node("/chosen").unwrap();
        let cell = |name| chosen.property(name).unwrap().value.to_vec();
        assert_eq!(cell("linux,initrd-start"), 0x3fd_8001_u64.to_be_bytes());
        assert_eq!(cell("linux,initrd-end"), 0x3fd_89b4_u64.to_be_bytes());
        let rsdp = fdt.find_node("/hermit,rsdp").unwrap();
        assert_eq!(rsdp.name, "hermit,rsdp@f5a10");
        assert_eq!(
            rsdp.reg().unwrap().next().unwrap().starting_address.addr(),
            0xf_5a10
        );
        assert_eq!(fdt.memory_reservations().count(), 0);
    }

    #[test]
    fn what_is_absent_leaves_no_trace() {
        let tree = Tree {
            boot_arguments: None,
            boot_module: None,
            memory: &[],
            rsdp: None,
            ..TREE
        };
        let bytes = build(&tree);
        let fdt = fdt::Fdt::new(&bytes).unwrap();
        assert_eq!(fdt.chosen().bootargs(), None);
        assert!(
            fdt.find_node("/chosen")
                .unwrap()
                .property("linux,initrd-start")
                .is_none()
        );
        assert_eq!(memory_of(&fdt), []);
        assert!(fdt.find_node("/hermit,rsdp").is_none());
    }

    #[test]
    fn every_length_of_command_line_is_aligned_and_within_the_bound() {
        for len in 0..300 {
            let arguments = "ä".repeat(len);
            let spans = [Span {
                start: u64::MAX - 4096,
                end: u64::MAX,
            }; 8];
            let tree = Tree {
                boot_arguments: Some(&arguments),
                memory: &spans,
                ..TREE
            };
            let bytes = build(&tree);
            let fdt = fdt::Fdt::new(&bytes).unwrap();
            assert_eq!(fdt.chosen().bootargs(), Some(arguments.as_str()));
            assert_eq!(memory_of(&fdt).len(), 8);
        }
    }

    #[test]
    fn a_buffer_one_byte_short_is_refused() {
        let mut bytes = build(&TREE);
        let len = bytes.len();
        assert_eq!(write(&mut bytes[..len - 1], &TREE), None);
        assert_eq!(write(&mut bytes, &TREE), Some(len));
        assert_eq!(write(&mut [], &TREE), None);
    }
}
