//! The tar reader: any bytes are an archive or an error, and cost memory in proportion to their number; what another
//! program packs is what is found.

use std::{collections::BTreeMap, sync::Arc};

use arbitrary::{Arbitrary, Unstructured};
use wasi_core::{
    fs::{
        Access, DirEntry, FileSystem, Node,
        mem::{Bytes, Limits, MemFs},
        tar,
    },
    types::Filetype,
};

use crate::heap;

/// Bytes of heap that a byte of an archive may cost. A directory costs a few hundred bytes and needs two in a path.
const HEAP_PER_BYTE: usize = 512;

/// The first byte says what the others are: an archive, or what to pack into one.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, script)) => pack(script),
        Some((_, archive)) => load(archive),
        None => {}
    }
}

/// Loads any bytes.
fn load(archive: &[u8]) {
    let bytes = Bytes::Shared(Arc::new(archive.to_vec()));
    let mut fs = MemFs::new(Limits::NONE, 0);
    let (loaded, heap) = heap::most(|| tar::load(&mut fs, &bytes));
    assert!(
        heap <= HEAP_PER_BYTE * archive.len() + 4096,
        "{} bytes took {heap} of heap",
        archive.len()
    );
    if let Err(error) = loaded {
        assert!(error.offset <= archive.len(), "{error}");
        assert!(!error.to_string().is_empty());
    }
    // Whatever was made, before an error too, is a sound tree: it can be read and removed, and then nothing is left.
    let mut seen = BTreeMap::new();
    let root = fs.root();
    read(&mut fs, root, "", &mut seen);
    clear(&mut fs, root);
    assert_eq!(fs.used(), Limits { bytes: 0, entries: 0 });
}

/// What a tree holds, by path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
}

fn entries(fs: &mut MemFs, dir: Node) -> Vec<(Vec<u8>, Node, Filetype)> {
    let handle = fs.open(dir, Access::READ).expect("a directory can be opened");
    let mut names = Vec::new();
    let sink = &mut |entry: DirEntry<'_>| {
        names.push(entry.name.to_vec());
        true
    };
    fs.read_dir(handle, 0, sink, &mut || 0).expect("and read");
    fs.close(handle);
    names
        .into_iter()
        .map(|name| {
            assert!(!name.is_empty() && name.len() <= 255 && !name.contains(&b'/') && !name.contains(&0));
            assert!(name != b"." && name != b".." && core::str::from_utf8(&name).is_ok());
            let found = fs.lookup(dir, &name).expect("what was read is there");
            (name, found.node, found.filetype)
        })
        .collect()
}

/// Puts all that is beneath `dir` into `tree`, with paths that begin with `path`. A stack of its own: trees are as deep
/// as a path is long.
fn read(fs: &mut MemFs, dir: Node, path: &str, tree: &mut BTreeMap<String, Content>) {
    let mut open = vec![(dir, path.to_owned())];
    while let Some((dir, path)) = open.pop() {
        for (name, node, filetype) in entries(fs, dir) {
            // Paths are kept short, or deep trees would take their depth squared.
            let name = String::from_utf8(name).expect("checked above");
            let path = if path.len() > 4096 {
                name
            } else {
                format!("{path}/{name}")
            };
            let stat = fs.stat(node).expect("it is there");
            assert_eq!(stat.filetype, filetype);
            let content = match filetype {
                Filetype::Directory => {
                    open.push((node, path.clone()));
                    Content::Directory
                }
                Filetype::SymbolicLink => {
                    let mut target = vec![0; usize::try_from(stat.size).expect("it fits")];
                    assert_eq!(fs.read_link(node, &mut target), Ok(target.len()));
                    Content::Link(target)
                }
                _ => {
                    // A little more than there is.
                    let mut data = vec![0xee; usize::try_from(stat.size).expect("it fits").min(1 << 16) + 1];
                    let handle = fs.open(node, Access::READ).expect("a file can be opened");
                    let count = fs.read(handle, 0, &mut data, &mut || 0).expect("and read");
                    fs.close(handle);
                    data.truncate(count);
                    Content::File(data)
                }
            };
            tree.insert(path, content);
        }
    }
}

/// Removes all that is beneath `dir`.
fn clear(fs: &mut MemFs, dir: Node) {
    // Each directory before what is in it; so the reverse is an order in which all are empty.
    let mut order = vec![(dir, Vec::new(), dir)];
    let mut at = 0;
    while let Some((_, _, dir)) = order.get(at).cloned() {
        for (name, node, filetype) in entries(fs, dir) {
            if filetype == Filetype::Directory {
                order.push((dir, name, node));
            } else {
                fs.unlink(dir, &name, &mut || 0).expect("it was read");
            }
        }
        at += 1;
    }
    for (parent, name, _) in order.iter().skip(1).rev() {
        fs.remove_dir(*parent, name, &mut || 0).expect("it is empty");
    }
}

/// An entry to pack. Names are few, so that entries meet.
#[derive(Debug)]
struct Entry {
    path: String,
    content: Content,
    hard: Option<String>,
}

impl<'a> Arbitrary<'a> for Entry {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self {
            path: path(u, ".")?,
            content: match u.arbitrary::<u8>()? % 4 {
                0 => Content::Directory,
                // The crate would leave out a `.`.
                1 => Content::Link(path(u, "..")?.into_bytes()),
                _ => {
                    let len = usize::from(u.arbitrary::<u16>()? % 1100);
                    Content::File(vec![u.arbitrary()?; len])
                }
            },
            hard: if u.arbitrary::<u8>()? % 4 == 0 {
                Some(path(u, "b")?)
            } else {
                None
            },
        })
    }
}

fn path(u: &mut Unstructured<'_>, dot: &str) -> arbitrary::Result<String> {
    const LONG: &str =
        "a name that is long enough to need one of the extensions after two or three of its kind, äöü";
    let shape: u8 = u.arbitrary()?;
    let mut names = Vec::new();
    for _ in 0..=shape % 4 {
        let name = match u.arbitrary::<u8>()? % 8 {
            0 => "a",
            1 => "b",
            2 => "c d",
            3 => dot,
            4 => "x.y",
            5 => LONG,
            _ => "d",
        };
        names.push(name);
    }
    Ok(names.join("/"))
}

/// Packs entries with the crate `tar`, and reads them.
fn pack(script: &[u8]) {
    let mut u = Unstructured::new(script);
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut expected: BTreeMap<String, Content> = BTreeMap::new();
    let mut count = 0_u32;
    while !u.is_empty() && count < 64 {
        count += 1;
        let Ok(Entry { path, content, hard }) = u.arbitrary() else {
            break;
        };
        let key = normal(&path);
        // What cannot be unpacked either is not packed: a path through a file, a file in a directory's place, or the
        // reverse; the root as something else than a directory.
        let through_other = ancestors(&key).any(|above| {
            expected
                .get(above)
                .is_some_and(|content| *content != Content::Directory)
        });
        let place = expected.get(&key);
        let is_dir = content == Content::Directory && hard.is_none();
        if through_other
            || (key.is_empty() && !is_dir)
            || place.is_some_and(|there| (*there == Content::Directory) != is_dir)
        {
            continue;
        }
        let mut header = ::tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(u64::from(count));
        if let Some(target) = hard {
            let Some(there) = expected.get(&normal(&target)).cloned() else {
                continue;
            };
            if there == Content::Directory {
                continue;
            }
            header.set_entry_type(::tar::EntryType::Link);
            header.set_size(0);
            builder
                .append_link(&mut header, &path, &target)
                .expect("it can be packed");
            expected.insert(key.clone(), there);
        } else {
            match &content {
                Content::Directory => {
                    header.set_entry_type(::tar::EntryType::Directory);
                    header.set_size(0);
                    builder
                        .append_data(&mut header, &path, &[][..])
                        .expect("it can be packed");
                }
                Content::Link(target) => {
                    header.set_entry_type(::tar::EntryType::Symlink);
                    header.set_size(0);
                    let target = core::str::from_utf8(target).expect("it is text");
                    builder
                        .append_link(&mut header, &path, target)
                        .expect("it can be packed");
                }
                Content::File(data) => {
                    header.set_entry_type(::tar::EntryType::Regular);
                    header.set_size(data.len() as u64);
                    builder
                        .append_data(&mut header, &path, &data[..])
                        .expect("it can be packed");
                }
            }
            expected.insert(key.clone(), content);
        }
        for above in ancestors(&key) {
            expected.insert(above.to_owned(), Content::Directory);
        }
    }
    let archive = builder.into_inner().expect("nothing was written to");
    expected.remove("");
    let bytes = Bytes::Shared(Arc::new(archive));
    let mut fs = MemFs::new(Limits::NONE, 0);
    tar::load(&mut fs, &bytes).expect("the archive is sound");
    let root = fs.root();
    let mut found = BTreeMap::new();
    read(&mut fs, root, "", &mut found);
    assert_eq!(found, expected);
    clear(&mut fs, root);
    assert_eq!(fs.used(), Limits { bytes: 0, entries: 0 });
}

/// A path as the tree has it: `/` before each component.
fn normal(path: &str) -> String {
    let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    names.map(|name| format!("/{name}")).collect()
}

/// The directories above a normal path.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices()
        .filter(|(at, c)| *c == '/' && *at > 0)
        .map(|(at, _)| &path[..at])
}
