//! Reads the device tree that firmware or hypervisor hand over: a walk over all properties, in their order.
//!
//! Whatever the bytes, nothing here panics; a damaged tree ends where the damage begins. The crates that read device
//! trees index by the tree's own numbers, and none says where in the blob a property lies, which is needed to change
//! one.

use super::{BEGIN_NODE, END, END_NODE, HEADER, MAGIC, NOP, PROPERTY};
use crate::ranges::Span;

/// Deepest node that is looked into.
const MAX_DEPTH: usize = 8;

/// A device tree in memory.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    bytes: &'a [u8],
    structure: usize,
    strings: usize,
    reservations: usize,
}

/// A property, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    /// Names of the nodes it lies in, without the root's, with the unit addresses.
    path: [&'a [u8]; MAX_DEPTH],
    depth: usize,
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Where in the blob the value begins.
    pub at: usize,
}

impl<'a> Property<'a> {
    /// Names of the nodes it lies in, without the root's.
    pub fn path(&self) -> &[&'a [u8]] {
        self.path.get(..self.depth).unwrap_or(&[])
    }

    /// Whether it lies in the node of that name directly below the root; a unit address counts only if asked for.
    pub fn is_in(&self, node: &str) -> bool {
        matches!(self.path(), [name] if *name == node.as_bytes() || base(name) == node.as_bytes())
    }

    /// The value as a number of one cell or two.
    pub fn number(&self) -> Option<u64> {
        match *self.value {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    /// Whether the value is a list of strings with this one among them.
    pub fn lists(&self, text: &str) -> bool {
        self.value
            .split(|&byte| byte == 0)
            .any(|entry| entry == text.as_bytes())
    }

    /// The value as ranges of a `reg` property with two cells for addresses and sizes each.
    pub fn ranges(&self) -> impl Iterator<Item = Span> + use<'a> {
        self.value.as_chunks::<16>().0.iter().filter_map(|entry| {
            let (start, len) = entry.split_at(8);
            let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
            Span::from_len(number(start)?, number(len)?)
        })
    }
}

/// A node's name without its unit address.
fn base(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == b'@').next().unwrap_or(name)
}

impl<'a> Blob<'a> {
    /// How many bytes must be read to know a tree's size.
    pub const HEADER: usize = HEADER;

    /// The size of the tree whose header this is; [`None`] if it is none.
    pub fn size(header: &[u8]) -> Option<usize> {
        if number(header, 0)? != MAGIC {
            return None;
        }
        usize::try_from(number(header, 4)?)
            .ok()
            .filter(|&size| size >= HEADER)
    }

    /// The tree in `bytes`; [`None`] if it is none or not all of it is there.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::size(bytes)?)?;
        let offset = |at| {
            usize::try_from(number(bytes, at)?)
                .ok()
                .filter(|&at| at <= bytes.len())
        };
        Some(Self {
            bytes,
            structure: offset(8)?,
            strings: offset(12)?,
            reservations: offset(16)?,
        })
    }

    /// The ranges of the memory reservation block.
    pub fn reservations(&self) -> impl Iterator<Item = Span> + use<'a> {
        let entries = self.bytes.get(self.reservations..).unwrap_or(&[]);
        entries
            .as_chunks::<16>()
            .0
            .iter()
            .map(|entry| {
                let (start, len) = entry.split_at(8);
                let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
                (number(start), number(len))
            })
            .take_while(|entry| *entry != (0, 0))
            .filter_map(|(start, len)| Span::from_len(start, len))
    }

    /// All properties, each node's before those of the nodes in it.
    pub fn properties(&self) -> Properties<'a> {
        Properties {
            blob: *self,
            at: self.structure,
            path: [&[]; MAX_DEPTH],
            depth: None,
        }
    }

    fn string(&self, at: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(at..)?;
        rest.get(..rest.iter().position(|&byte| byte == 0)?)
    }
}

/// See [`Blob::properties`].
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    blob: Blob<'a>,
    at: usize,
    path: [&'a [u8]; MAX_DEPTH],
    /// How many nodes it is in, without the root; [`None`] before the root.
    depth: Option<usize>,
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        loop {
            let token = number(self.blob.bytes, self.at)?;
            self.at += 4;
            match token {
                NOP => {}
                BEGIN_NODE => {
                    let name = self.blob.string(self.at)?;
                    self.at = (self.at + name.len() + 1).next_multiple_of(4);
                    let depth = self.depth.map_or(0, |depth| depth + 1);
                    if let Some(index) = depth.checked_sub(1) {
                        *self.path.get_mut(index)? = name;
                    }
                    self.depth = Some(depth);
                }
                // The root's end is the end.
                END_NODE => self.depth = Some(self.depth?.checked_sub(1)?),
                PROPERTY => {
                    let len = usize::try_from(number(self.blob.bytes, self.at)?).ok()?;
                    let name = usize::try_from(number(self.blob.bytes, self.at + 4)?).ok()?;
                    let at = self.at + 8;
                    let value = self.blob.bytes.get(at..at.checked_add(len)?)?;
                    self.at = (at + len).next_multiple_of(4);
                    return Some(Property {
                        path: self.path,
                        depth: self.depth?,
                        name: self.blob.string(self.blob.strings.checked_add(name)?)?,
                        value,
                        at,
                    });
                }
                END => return None,
                _ => return None,
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdt::{Tree, size_bound, write};

    fn blob() -> Vec<u8> {
        let tree = Tree {
            compatible: "linux,dummy-virt",
            boot_arguments: Some("-- a"),
            boot_module: Span::new(0x4800_0000, 0x4800_1001),
            memory: &[
                Span {
                    start: 0x4000_0000,
                    end: 0x5000_0000,
                },
                Span {
                    start: 1 << 32,
                    end: 5 << 30,
                },
            ],
            rsdp: None,
        };
        let mut buffer = vec![0; size_bound(2, 4)];
        let len = write(&mut buffer, &tree).unwrap();
        buffer.truncate(len);
        buffer
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = blob();
        assert_eq!(Blob::size(&bytes), Some(bytes.len()));
        let blob = Blob::new(&bytes).unwrap();
        let find = |node: &str, name: &str| {
            blob.properties()
                .find(|property| property.is_in(node) && property.name == name.as_bytes())
                .unwrap()
        };
        assert_eq!(find("chosen", "bootargs").value, b"-- a\0");
        assert_eq!(find("chosen", "linux,initrd-start").number(), Some(0x4800_0000));
        let end = find("chosen", "linux,initrd-end");
        assert_eq!(end.number(), Some(0x4800_1001));
        assert_eq!(&bytes[end.at..end.at + 8], 0x4800_1001_u64.to_be_bytes());
        let memory: Vec<Span> = blob
            .properties()
            .filter(|property| property.is_in("memory") && property.name == b"reg")
            .flat_map(|property| property.ranges())
            .collect();
        assert_eq!(
            memory,
            [
                Span::new(0x4000_0000, 0x5000_0000).unwrap(),
                Span::new(1 << 32, 5 << 30).unwrap()
            ]
        );
        let root = blob
            .properties()
            .find(|property| property.path().is_empty() && property.name == b"compatible");
        assert!(root.unwrap().lists("linux,dummy-virt"));
        assert!(!root.unwrap().lists("linux"));
        assert_eq!(blob.reservations().count(), 0);
    }

    #[test]
    fn numbers_have_one_cell_or_two() {
        let property = |value| Property {
            path: [&[]; MAX_DEPTH],
            depth: 0,
            name: b"x",
            value,
            at: 0,
        };
        assert_eq!(property(&[0x88, 0, 0, 1]).number(), Some(0x8800_0001));
        assert_eq!(property(&[0, 0, 0, 1, 0, 0, 0, 2]).number(), Some(0x1_0000_0002));
        assert_eq!(property(&[]).number(), None);
        assert_eq!(property(&[0; 12]).number(), None);
    }

    #[test]
    fn damaged_trees_end_early_and_do_no_harm() {
        let good = blob();
        let total = Blob::new(&good).unwrap().properties().count();
        let mut shorter = 0;
        for at in 0..good.len() {
            assert!(Blob::new(&good[..at]).is_none(), "not all of it is there: {at}");
            for value in [0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Some(blob) = Blob::new(&bad) {
                    let count = blob
                        .properties()
                        .map(|property| property.path().len())
                        .fold(0_usize, |count, _| count + 1);
                    shorter += usize::from(count < total);
                    let _ = blob.reservations().count();
                }
            }
        }
        assert!(shorter > 100, "damage is noticed");
    }
}
