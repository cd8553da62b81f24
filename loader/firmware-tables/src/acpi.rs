//! How ACPI switches a machine off: the register of its tables, and what is written there.
//!
//! Layer: pure; memory is read through a function. Spec: ACPI 6.5, sections 5.2.5 (RSDP), 5.2.7 (RSDT), 5.2.8 (XSDT),
//! 5.2.9 (FADT), 4.8.3.2.1 (PM1 control), 4.8.3.7 (sleep control), 7.4.2 (`\_Sx`), 20.2 (AML).
//!
//! The value of `\_S5` is in a program, the DSDT, which nobody wants to execute for it. Its name is looked for: what
//! follows is a package of constants in each hypervisor's tables (QEMU, cloud-hypervisor).

use crate::Span;
use crate::pc::Write;

/// Longest table that is read.
const MAX_TABLE: u64 = 1 << 20;
/// A table's header.
const HEADER: u64 = 36;
/// FADT flags: hardware-reduced.
const HARDWARE_REDUCED: u32 = 1 << 20;

/// Finds the write that switches the machine off, from the root pointer at `rsdp` on. `read` gives the bytes of a range of physical memory, if there is any.
pub fn power_off<'a>(rsdp: u64, read: impl Fn(Span) -> Option<&'a [u8]>) -> Option<Write> {
    let bytes = |start, len| Span::from_len(start, len).and_then(&read);
    let table = |address: u64, signature: &[u8; 4]| {
        let header = bytes(address, HEADER)?;
        let len = u64::from(u32_at(header, 4)?);
        if !header.starts_with(signature) || !(HEADER..=MAX_TABLE).contains(&len) {
            return None;
        }
        bytes(address, len)
    };

    let root = bytes(rsdp, 20).filter(|root| root.starts_with(b"RSD PTR "))?;
    let long = (*root.get(15)? >= 2)
        .then(|| u64_at(bytes(rsdp, 36)?, 24))
        .flatten()
        .filter(|&address| address != 0);
    let is_fadt = |address: &u64| table(*address, b"FACP").is_some();
    let fadt = match long {
        Some(address) => {
            let entries = table(address, b"XSDT")?.get(36..)?.as_chunks().0;
            entries.iter().copied().map(u64::from_le_bytes).find(is_fadt)?
        }
        None => {
            let entries = table(u32_at(root, 16)?.into(), b"RSDT")?.get(36..)?.as_chunks().0;
            let mut entries = entries.iter().copied().map(u32::from_le_bytes).map(u64::from);
            entries.find(is_fadt)?
        }
    };
    let fadt = table(fadt, b"FACP")?;
    let short = || u32_at(fadt, 40).map(u64::from);
    let dsdt = u64_at(fadt, 140).filter(|&address| address != 0).or_else(short)?;
    let kind = sleep_type(table(dsdt, b"DSDT")?)?;

    if u32_at(fadt, 112)? & HARDWARE_REDUCED != 0 {
        // The register's kind: memory or ports.
        let value = kind << 2 | 1 << 5;
        let address = u64_at(fadt, 248).filter(|&address| address != 0)?;
        return match fadt.get(244)? {
            0 => Some(Write::Memory(address, value)),
            1 => Some(Write::PortByte(u16::try_from(address).ok()?, value)),
            _ => None,
        };
    }
    let port = u16::try_from(u32_at(fadt, 64)?).ok().filter(|&port| port != 0)?;
    Some(Write::PortWord(port, u16::from(kind) << 10 | 1 << 13))
}

/// The first number of the package `\_S5`, of three bits.
fn sleep_type(dsdt: &[u8]) -> Option<u8> {
    const NAME: u8 = 0x08;
    const PACKAGE: u8 = 0x12;
    const BYTE: u8 = 0x0a;
    dsdt.windows(4).enumerate().find_map(|(at, name)| {
        if name != b"_S5_" {
            return None;
        }
        // `Name`, perhaps with the root's backslash.
        let before = dsdt.get(..at)?;
        if !before.ends_with(&[NAME]) && !before.ends_with(&[NAME, b'\\']) {
            return None;
        }
        let (&PACKAGE, rest) = dsdt.get(at + 4..)?.split_first()? else {
            return None;
        };
        // The length, of one byte and as many as its highest bits say; then the number of elements.
        let length = usize::from(rest.first()? >> 6);
        match *rest.get(length + 2..)? {
            [BYTE, value, ..] | [value @ (0 | 1), ..] if value < 8 => Some(value),
            _ => None,
        }
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables at the beginning of memory: RSDP at 0, RSDT or XSDT at 0x100, another table at 0x200, FADT at 0x300, DSDT
    /// at 0x500.
    struct Tables(Vec<u8>);

    impl Tables {
        fn new(long: bool) -> Self {
            let mut tables = Self(vec![0; 0x600]);
            tables.put(0, b"RSD PTR ");
            if long {
                tables.put(15, &[2]);
                tables.put(24, &0x100_u64.to_le_bytes());
                tables.table(0x100, b"XSDT", 36 + 16);
                tables.put(0x124, &0x200_u64.to_le_bytes());
                tables.put(0x12c, &0x300_u64.to_le_bytes());
            } else {
                tables.put(16, &0x100_u32.to_le_bytes());
                tables.table(0x100, b"RSDT", 36 + 8);
                tables.put(0x124, &0x200_u32.to_le_bytes());
                tables.put(0x128, &0x300_u32.to_le_bytes());
            }
            tables.table(0x200, b"APIC", 36);
            tables.table(0x300, b"FACP", 276);
            tables.put(0x328, &0x500_u32.to_le_bytes());
            tables.table(0x500, b"DSDT", 0x100);
            // A use of the name that defines nothing, then QEMU's definition.
            tables.put(0x530, b"\x70_S5_\x60");
            tables.put(0x540, b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00");
            tables
        }

        /// As a machine without the registers of a PC has them.
        fn reduced(mut self, space: u8, address: u64) -> Self {
            self.put(0x300 + 112, &HARDWARE_REDUCED.to_le_bytes());
            self.put(0x300 + 244, &[space]);
            self.put(0x300 + 248, &address.to_le_bytes());
            self.put(0x540, b"\x08\\_S5_\x12\x04\x01\x0a\x05");
            self
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn table(&mut self, at: usize, signature: &[u8], len: u32) {
            self.put(at, signature);
            self.put(at + 4, &len.to_le_bytes());
        }

        fn power_off(&self) -> Option<Write> {
            power_off(0, |span| {
                self.0
                    .get(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
            })
        }
    }

    #[test]
    fn a_pc_has_a_word_for_its_power_management() {
        for long in [false, true] {
            let mut tables = Tables::new(long);
            tables.put(0x300 + 64, &0x604_u32.to_le_bytes());
            assert_eq!(tables.power_off(), Some(Write::PortWord(0x604, 0x2000)));
            tables.put(0x540, b"\x08_S5_\x12\x06\x04\x01\x00\x00\x00");
            assert_eq!(tables.power_off(), Some(Write::PortWord(0x604, 0x2400)));
        }
    }

    #[test]
    fn other_machines_have_a_register_for_sleep() {
        let port = Tables::new(true).reduced(1, 0x600);
        assert_eq!(
            port.power_off(),
            Some(Write::PortByte(0x600, 0x34)),
            "cloud-hypervisor"
        );
        let memory = Tables::new(true).reduced(0, 0xfea0_0200);
        assert_eq!(
            memory.power_off(),
            Some(Write::Memory(0xfea0_0200, 0x34)),
            "microvm"
        );
        let mut far = Tables::new(true).reduced(1, 0x1_0600);
        assert_eq!(far.power_off(), None, "no port");
        far = Tables::new(true).reduced(2, 0x600);
        assert_eq!(far.power_off(), None, "configuration space");
        assert_eq!(Tables::new(true).reduced(1, 0).power_off(), None, "Firecracker");
    }

    #[test]
    fn what_is_missing_ends_the_search() {
        assert_eq!(Tables::new(true).power_off(), None, "no port");
        for (at, bytes) in [
            (0, &b"X"[..]),
            (0x100, b"X"),
            (0x300, b"X"),
            (0x304, b"\x05\0\0\0"),
            (0x504, b"\xff\xff\xff\xff"),
            (0x541, b"X"),
            (0x540, b"\x70"),
            (0x545, b"\x13"),
            (0x548, b"\x0c"),
            (0x548, b"\x0a\x08"),
        ] {
            let mut tables = Tables::new(false);
            tables.put(0x300 + 64, &0x604_u32.to_le_bytes());
            tables.put(at, bytes);
            assert_eq!(tables.power_off(), None, "{at:#x} {bytes:x?}");
        }
    }

    #[test]
    fn whatever_the_bytes_nothing_panics() {
        for long in [false, true] {
            let good = Tables::new(long).reduced(1, 0x600);
            for at in 0..good.0.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut bad = Tables(good.0.clone());
                    bad.0[at] = value;
                    let _ = bad.power_off();
                }
                let _ = Tables(good.0[..at].to_vec()).power_off();
            }
        }
    }
}
