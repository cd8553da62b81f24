//! Reads device trees: nodes, their properties and their children, in the tree's order.
//!
//! Whatever the bytes, nothing here panics; a damaged tree ends where the damage begins. The crates that read device
//! trees index by the tree's own numbers, and none says where in the blob a property lies, which is needed to change
//! one. Names are compared where they lie, and only when they are asked for: a hypervisor's tree has hundreds of
//! properties, and booting waits for this.

use super::{BEGIN_NODE, END_NODE, HEADER, MAGIC, NOP, PROPERTY};
use crate::Span;

/// A device tree in memory.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    bytes: &'a [u8],
    structure: usize,
    strings: &'a [u8],
    reservations: usize,
}

/// A node: its name, and where its properties begin.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    blob: Blob<'a>,
    /// Where its first token begins.
    start: usize,
    /// Its name with the unit address; the root's is empty.
    pub name: &'a [u8],
    /// What follows the name.
    content: usize,
}

/// A property, and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    /// From its name on, all names.
    names: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Where in the blob the value begins.
    pub at: usize,
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
        let strings = bytes.get(offset(12)?..)?;
        let length = usize::try_from(number(bytes, 32)?).ok()?.min(strings.len());
        Some(Self {
            bytes,
            structure: offset(8)?,
            strings: strings.get(..length)?,
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

    /// The root; [`None`] if the structure does not begin with a node.
    pub fn root(&self) -> Option<Node<'a>> {
        let mut at = self.structure;
        while number(self.bytes, at)? == NOP {
            at += 4;
        }
        Node::at(*self, at)
    }

    /// The child of the root that has this name; its unit address does not count.
    pub fn child(&self, name: &str) -> Option<Node<'a>> {
        self.root()?.children().find(|node| node.is(name))
    }

    /// The first node, apart from the root, whose `compatible` has this entry.
    pub fn compatible(&self, model: &str) -> Option<Node<'a>> {
        find(self.root()?, MAX_DEPTH, &mut |node| node.is_compatible(model))
    }

    /// All the names of properties, as one string.
    pub(super) fn strings(&self) -> &'a [u8] {
        self.strings
    }

    /// How many bytes the tree has, at most, besides its names.
    pub(super) fn structure_len(&self) -> usize {
        let len = number(self.bytes, 36).and_then(|len| usize::try_from(len).ok());
        len.unwrap_or(usize::MAX).min(self.bytes.len())
    }

    /// A part of the tree.
    pub(super) fn part(&self, from: usize, to: usize) -> Option<&'a [u8]> {
        self.bytes.get(from..to)
    }
}

/// Deepest node that is looked into for a device.
const MAX_DEPTH: usize = 8;

/// The first node below `parent` of which `wanted` is true.
fn find<'a>(parent: Node<'a>, depth: usize, wanted: &mut impl FnMut(&Node<'a>) -> bool) -> Option<Node<'a>> {
    parent.children().find_map(|node| {
        if wanted(&node) {
            return Some(node);
        }
        depth.checked_sub(1).and_then(|depth| find(node, depth, wanted))
    })
}

impl<'a> Node<'a> {
    fn at(blob: Blob<'a>, start: usize) -> Option<Self> {
        if number(blob.bytes, start)? != BEGIN_NODE {
            return None;
        }
        let rest = blob.bytes.get(start + 4..)?;
        let name = rest.get(..rest.iter().position(|&byte| byte == 0)?)?;
        Some(Self {
            blob,
            start,
            name,
            content: (start + 4 + name.len() + 1).next_multiple_of(4),
        })
    }

    /// Whether it has this name; its unit address does not count.
    pub fn is(&self, name: &str) -> bool {
        self.name
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| matches!(rest, [] | [b'@', ..]))
    }

    /// Whether its `compatible` has this entry.
    pub fn is_compatible(&self, model: &str) -> bool {
        self.property("compatible")
            .is_some_and(|property| property.lists(model))
    }

    /// Its properties.
    pub fn properties(&self) -> Properties<'a> {
        Properties {
            blob: self.blob,
            at: self.content,
        }
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<Property<'a>> {
        self.properties().find(|property| property.is(name))
    }

    /// The first range of its `reg`.
    pub fn registers(&self) -> Option<Span> {
        self.property("reg")?.ranges().next()
    }

    /// The nodes directly within.
    pub fn children(&self) -> Children<'a> {
        Children {
            blob: self.blob,
            next: skip_properties(self.blob.bytes, self.content),
        }
    }

    /// Where in the blob it begins, and where its properties end.
    pub(super) fn head(&self) -> Option<(usize, usize)> {
        Some((self.start, skip_properties(self.blob.bytes, self.content)?))
    }

    /// Where in the blob it begins and ends.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        Some((self.start, skip_node(self.blob.bytes, self.content)?))
    }
}

impl<'a> Property<'a> {
    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.names
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The value as a number of one cell or two.
    pub fn number(&self) -> Option<u64> {
        match *self.value {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    /// The value up to its first zero byte; [`None`] without one.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.value.get(..self.value.iter().position(|&byte| byte == 0)?)
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

/// See [`Node::properties`].
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    blob: Blob<'a>,
    at: usize,
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let bytes = self.blob.bytes;
        while number(bytes, self.at)? == NOP {
            self.at += 4;
        }
        if number(bytes, self.at)? != PROPERTY {
            return None;
        }
        let name = usize::try_from(number(bytes, self.at + 8)?).ok()?;
        let at = self.at + 12;
        let next = after_property(bytes, self.at)?;
        let len = usize::try_from(number(bytes, self.at + 4)?).ok()?;
        self.at = next;
        Some(Property {
            names: self.blob.strings.get(name..)?,
            value: bytes.get(at..at + len)?,
            at,
        })
    }
}

/// See [`Node::children`].
#[derive(Clone, Debug)]
pub struct Children<'a> {
    blob: Blob<'a>,
    next: Option<usize>,
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        let mut at = self.next.take()?;
        while number(self.blob.bytes, at)? == NOP {
            at += 4;
        }
        let node = Node::at(self.blob, at)?;
        self.next = skip_node(self.blob.bytes, node.content);
        Some(node)
    }
}

/// Where the tokens go on behind the property at `at`.
fn after_property(bytes: &[u8], at: usize) -> Option<usize> {
    let len = usize::try_from(number(bytes, at + 4)?).ok()?;
    (at + 12)
        .checked_add(len)
        .filter(|&end| end <= bytes.len())
        .map(|end| end.next_multiple_of(4))
}

/// Where the properties end that begin at `at`.
fn skip_properties(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match number(bytes, at)? {
            NOP => at += 4,
            PROPERTY => at = after_property(bytes, at)?,
            _ => return Some(at),
        }
    }
}

/// Where the node ends whose content begins at `at`.
fn skip_node(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match number(bytes, at)? {
            PROPERTY => at = after_property(bytes, at)?,
            NOP => at += 4,
            BEGIN_NODE => {
                depth += 1;
                // The cells of the name; the zero that ends it is in the last one.
                at += 4;
                while bytes.get(at..at + 4)?.iter().all(|&byte| byte != 0) {
                    at += 4;
                }
                at += 4;
            }
            END_NODE => {
                at += 4;
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return Some(at),
                }
            }
            _ => return None,
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
            rsdp: Some(0xf_5a10),
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
        let chosen = blob.child("chosen").unwrap();
        let arguments = chosen.property("bootargs").unwrap();
        assert_eq!(arguments.value, b"-- a\0");
        assert_eq!(arguments.text(), Some(&b"-- a"[..]));
        assert_eq!(
            chosen.property("linux,initrd-start").unwrap().number(),
            Some(0x4800_0000)
        );
        let end = chosen.property("linux,initrd-end").unwrap();
        assert_eq!(end.number(), Some(0x4800_1001));
        assert_eq!(&bytes[end.at..end.at + 8], 0x4800_1001_u64.to_be_bytes());
        assert!(
            chosen.property("linux,initrd").is_none(),
            "half a name is no name"
        );
        let memory: Vec<Span> = blob
            .root()
            .unwrap()
            .children()
            .filter(|node| node.is("memory"))
            .map(|node| node.registers().unwrap())
            .collect();
        assert_eq!(
            memory,
            [
                Span::new(0x4000_0000, 0x5000_0000).unwrap(),
                Span::new(1 << 32, 5 << 30).unwrap()
            ]
        );
        let root = blob.root().unwrap();
        assert!(root.name.is_empty() && root.is_compatible("linux,dummy-virt"));
        assert!(!root.is_compatible("linux"));
        let rsdp = blob.child("hermit,rsdp").unwrap();
        assert_eq!(rsdp.registers().unwrap().start, 0xf_5a10);
        assert!(blob.child("hermit,rsd").is_none() && blob.child("hermit,rsdp@f5a1").is_none());
        assert!(
            blob.compatible("linux,dummy-virt").is_none(),
            "the root is no device"
        );
        assert_eq!(blob.reservations().count(), 0);
    }

    #[test]
    fn numbers_have_one_cell_or_two() {
        let property = |value| Property {
            names: b"x\0",
            value,
            at: 0,
        };
        assert_eq!(property(&[0x88, 0, 0, 1]).number(), Some(0x8800_0001));
        assert_eq!(property(&[0, 0, 0, 1, 0, 0, 0, 2]).number(), Some(0x1_0000_0002));
        assert_eq!(property(&[]).number(), None);
        assert_eq!(property(&[0; 12]).number(), None);
        assert_eq!(property(b"abc").text(), None, "a text has an end");
    }

    /// How many nodes and properties there are.
    fn count(node: Node<'_>, depth: usize) -> usize {
        let within: usize = node
            .children()
            .filter_map(|child| Some(count(child, depth.checked_sub(1)?)))
            .sum();
        1 + node.properties().count() + within
    }

    #[test]
    fn damaged_trees_end_early_and_do_no_harm() {
        let good = blob();
        let total = count(Blob::new(&good).unwrap().root().unwrap(), 8);
        assert_eq!(total, 16);
        let mut shorter = 0;
        for at in 0..good.len() {
            assert!(Blob::new(&good[..at]).is_none(), "not all of it is there: {at}");
            for value in [0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Some(blob) = Blob::new(&bad) {
                    shorter += usize::from(blob.root().map_or(0, |root| count(root, 8)) < total);
                    let _ = blob.reservations().count();
                    let _ = blob.compatible("nothing");
                }
            }
        }
        assert!(shorter > 100, "damage is noticed");
    }
}
