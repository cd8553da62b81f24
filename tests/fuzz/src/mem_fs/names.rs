//! Operations on names: links, renaming, opening, reading a directory.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use wasi_core::{
    Errno,
    fs::{Access, DirEntry, FileSystem as _, Node},
    types::Filetype,
};

use super::{Bench, Listing, Open, model::Kind};

impl Bench {
    pub(super) fn hard_link(&mut self, script: &mut Unstructured<'_>, dir: Open, name: &[u8]) -> Result<()> {
        let open = self.open[usize::from(u8::arbitrary(script)?) % self.open.len()];
        // What has lost its last name gets no other: no call can name it.
        if self.nlink(open.ino) == 0 {
            return Ok(());
        }
        let time = self.time;
        let linked = self
            .fs
            .hard_link(Node(open.handle.0), Node(dir.handle.0), name, &mut || time);
        if linked == Err(Errno::NOSPC) {
            assert_eq!(self.fs.used().entries, self.limits.entries);
            return Ok(());
        }
        let is_dir = self.is_dir(open.ino);
        let expected = self.check_new(dir.ino, name);
        let expected = expected.and(if is_dir { Err(Errno::PERM) } else { Ok(()) });
        assert_eq!(linked, expected);
        if linked.is_ok() {
            let node = self.nodes.get_mut(&open.ino).expect("it is open");
            node.names += 1;
            node.ctim = time;
            self.insert(dir.ino, name, open.ino);
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Open, old: &[u8], to: Open, new: &[u8]) {
        let time = self.time;
        let (base, new_base) = (Node(from.handle.0), Node(to.handle.0));
        let renamed = self.fs.rename(base, old, new_base, new, &mut || time);
        let expected = self.rename_errno(from.ino, old, to.ino, new);
        assert_eq!(renamed, expected.map(|_| ()));
        let Ok((moved, replaced)) = expected else {
            return;
        };
        if replaced == Some(moved) {
            return;
        }
        self.dir_mut(from.ino).remove(old);
        self.touch(from.ino);
        match self.dir_mut(to.ino).get_mut(new) {
            // It keeps its place.
            Some((ino, _)) => *ino = moved,
            None => self.insert(to.ino, new, moved),
        }
        self.touch(to.ino);
        let node = self.nodes.get_mut(&moved).expect("it is there");
        node.ctim = time;
        if matches!(node.kind, Kind::Dir(_)) {
            node.parent = Some(to.ino);
        }
        if let Some(replaced) = replaced {
            self.lose_name(replaced);
        }
    }

    /// Opens what has a name, or closes something.
    pub(super) fn open_or_close(
        &mut self,
        script: &mut Unstructured<'_>,
        dir: Open,
        name: &[u8],
    ) -> Result<()> {
        if u8::arbitrary(script)? % 3 == 0 {
            let found = self.fs.lookup(Node(dir.handle.0), name);
            if let Ok(found) = found
                && found.filetype != Filetype::SymbolicLink
            {
                let (ino, _) = self.dir(dir.ino)[name];
                self.open(
                    found.node,
                    ino,
                    Access {
                        read: true,
                        write: true,
                    },
                );
            }
        } else if self.open.len() > 1 {
            let index = 1 + usize::from(u8::arbitrary(script)?) % (self.open.len() - 1);
            let Open { handle, ino } = self.open.swap_remove(index);
            self.fs.close(handle);
            self.nodes.get_mut(&ino).expect("it was open").opens -= 1;
            self.collect(ino);
        }
        Ok(())
    }

    /// A directory is read a piece at a time, with other operations between the pieces.
    pub(super) fn list(&mut self, script: &mut Unstructured<'_>, dir: Open) -> Result<()> {
        let piece = usize::from(u8::arbitrary(script)?) % 5 + 1;
        let mut listing = match self.listing.take() {
            Some(listing) if self.open.iter().any(|open| open.ino == listing.dir.ino) => listing,
            _ => Listing {
                dir,
                cookie: 0,
                start: self.dir(dir.ino).clone(),
                seen: BTreeMap::new(),
            },
        };
        let Open { handle, ino } = listing.dir;
        let mut entries = Vec::new();
        let mut cookie = listing.cookie;
        let mut sink = |entry: DirEntry<'_>| {
            assert!(entry.next > cookie, "cookies grow");
            cookie = entry.next;
            entries.push((entry.name.to_vec(), entry.ino, entry.filetype));
            entries.len() < piece
        };
        let time = self.time;
        self.fs
            .read_dir(handle, listing.cookie, &mut sink, &mut || time)
            .expect("it is a directory");
        self.accessed(ino);
        listing.cookie = cookie;
        let ended = entries.len() < piece;
        for (name, child, filetype) in entries {
            assert_eq!(self.dir(ino).get(&name).map(|entry| entry.0), Some(child));
            let node = self.fs.lookup(Node(handle.0), &name).expect("it was told");
            assert_eq!(node.filetype, filetype);
            *listing.seen.entry(name).or_default() += 1;
        }
        if !ended {
            self.listing = Some(listing);
            return Ok(());
        }
        for (name, (_, order)) in self.dir(ino) {
            // What was there all the time is told once.
            if listing.start.get(name).is_some_and(|entry| entry.1 == *order) {
                assert_eq!(listing.seen.get(name), Some(&1), "{}", name.escape_ascii());
            }
        }
        Ok(())
    }
}
