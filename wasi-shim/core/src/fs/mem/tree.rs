//! Names of the RAM file system coming and going: nodes added, linked, renamed, and let go.
//!
//! Layer: file systems. Everything that can fail comes before the first change, so a call happens or leaves no
//! trace.

use super::{Content, Inode, MemFs, ROOT, Slot, dir, position};
use crate::{
    Errno,
    fs::{Node, Now},
    types::Filetype,
};

impl MemFs {
    /// Makes a node with a name in `dir`; its position.
    pub(super) fn add(
        &mut self,
        dir: Node,
        name: &[u8],
        content: Content,
        now: Now<'_>,
    ) -> Result<usize, Errno> {
        let dir = position(dir.0);
        self.check_new_name(dir, name)?;
        let name = dir::copy(name)?;
        if self.free.is_none() {
            self.slots.try_reserve(1).map_err(|_| Errno::NOSPC)?;
        }
        self.dir_mut(dir)?.reserve()?;
        self.entries.charge(1)?;

        let time = now();
        let is_dir = matches!(content, Content::Directory { .. });
        let inode = Inode {
            ino: self.next_ino,
            nlink: if is_dir { 2 } else { 1 },
            opens: 0,
            atim: time,
            mtim: time,
            ctim: time,
            content,
        };
        self.next_ino = self.next_ino.saturating_add(1);
        let at = self.place(inode);
        self.dir_mut(dir)?.insert(name, at);
        let parent = self.get_mut(dir)?;
        parent.nlink = parent.nlink.saturating_add(u64::from(is_dir));
        parent.mtim = time;
        parent.ctim = time;
        Ok(at)
    }

    /// Puts a node into a free slot, or a new one that was reserved.
    fn place(&mut self, inode: Inode) -> usize {
        if let Some(at) = self.free
            && let Some(slot) = self.slots.get_mut(at)
            && let Slot::Free { next } = *slot
        {
            self.free = next;
            *slot = Slot::Used(inode);
            return at;
        }
        self.slots.push(Slot::Used(inode));
        self.slots.len().saturating_sub(1)
    }

    /// Gives a node another name.
    pub(super) fn add_name(&mut self, at: usize, dir: usize, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.check_new_name(dir, name)?;
        let inode = self.get(at)?;
        if inode.filetype() == Filetype::Directory {
            return Err(Errno::PERM);
        }
        let nlink = inode.nlink.checked_add(1).ok_or(Errno::MLINK)?;
        let name = dir::copy(name)?;
        self.dir_mut(dir)?.reserve()?;
        self.entries.charge(1)?;
        self.dir_mut(dir)?.insert(name, at);
        let time = now();
        let inode = self.get_mut(at)?;
        inode.nlink = nlink;
        inode.ctim = time;
        self.touch(dir, &mut || time)
    }

    /// Fails unless `name` can be added to `dir`.
    pub(super) fn check_new_name(&self, dir: usize, name: &[u8]) -> Result<(), Errno> {
        if self.dir(dir)?.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        if self.get(dir)?.nlink == 0 {
            return Err(Errno::NOENT);
        }
        Ok(())
    }

    /// Records that the entries of `dir` have changed.
    pub(super) fn touch(&mut self, dir: usize, now: Now<'_>) -> Result<(), Errno> {
        let inode = self.get_mut(dir)?;
        inode.mtim = now();
        inode.ctim = inode.mtim;
        Ok(())
    }

    /// What is no directory has lost a name.
    pub(super) fn lose_name(&mut self, at: usize, now: Now<'_>) -> Result<(), Errno> {
        let inode = self.get_mut(at)?;
        inode.nlink = inode.nlink.saturating_sub(1);
        inode.ctim = now();
        if inode.nlink > 0 {
            // The last name's share goes with the node.
            self.entries.refund(1);
        }
        self.drop_unused(at);
        Ok(())
    }

    /// An empty directory in `parent` has lost its name.
    pub(super) fn lose_dir(&mut self, at: usize, parent: usize) -> Result<(), Errno> {
        self.get_mut(at)?.nlink = 0;
        let parent = self.get_mut(parent)?;
        parent.nlink = parent.nlink.saturating_sub(1);
        self.drop_unused(at);
        Ok(())
    }

    pub(super) fn rename_entry(
        &mut self,
        from: usize,
        from_name: &[u8],
        to: usize,
        to_name: &[u8],
        now: Now<'_>,
    ) -> Result<(), Errno> {
        if self.get(to)?.nlink == 0 {
            return Err(Errno::NOENT);
        }
        let moved = self.dir(from)?.get(from_name).ok_or(Errno::NOENT)?;
        let is_dir = self.get(moved)?.filetype() == Filetype::Directory;
        if is_dir && self.is_within(to, moved)? {
            return Err(Errno::INVAL);
        }
        let replaced = self.dir(to)?.get(to_name);
        if replaced == Some(moved) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            // An ancestor of what moves, or any other directory with entries.
            match (is_dir, &self.get(replaced)?.content) {
                (_, Content::Directory { dir, .. })
                    if !dir.is_empty() && self.is_within(from, replaced)? =>
                {
                    return Err(Errno::NOTEMPTY);
                }
                (false, Content::Directory { .. }) => return Err(Errno::ISDIR),
                (true, Content::Directory { dir, .. }) if !dir.is_empty() => return Err(Errno::NOTEMPTY),
                (true, Content::File(_) | Content::Link(_)) => return Err(Errno::NOTDIR),
                (true, Content::Directory { .. }) | (false, _) => {}
            }
        } else {
            self.dir_mut(to)?.reserve()?;
        }
        let name = dir::copy(to_name)?;

        let time = now();
        let now: Now<'_> = &mut || time;
        self.dir_mut(from)?.remove(from_name);
        if let Some(replaced) = replaced {
            self.dir_mut(to)?.replace(to_name, moved);
            if is_dir {
                self.lose_dir(replaced, to)?;
            } else {
                self.lose_name(replaced, now)?;
            }
        } else {
            self.dir_mut(to)?.insert(name, moved);
        }
        let inode = self.get_mut(moved)?;
        inode.ctim = time;
        if let Content::Directory { parent, .. } = &mut inode.content {
            *parent = to;
            let from = self.get_mut(from)?;
            from.nlink = from.nlink.saturating_sub(1);
            let to = self.get_mut(to)?;
            to.nlink = to.nlink.saturating_add(1);
        }
        self.touch(from, now)?;
        self.touch(to, now)
    }

    /// Whether the directory `at`, which has not been removed, is `ancestor` or lies beneath it.
    fn is_within(&self, mut at: usize, ancestor: usize) -> Result<bool, Errno> {
        loop {
            if at == ancestor {
                return Ok(true);
            }
            if at == ROOT {
                return Ok(false);
            }
            let Content::Directory { parent, .. } = &self.get(at)?.content else {
                return Err(Errno::NOTDIR);
            };
            at = *parent;
        }
    }
}
