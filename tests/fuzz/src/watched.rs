//! A file system that the test goes on holding while the guest has it: shared, with a directory of it as its root, and
//! a record of the nodes that were touched.

use std::{
    cell::{RefCell, RefMut},
    collections::BTreeSet,
    rc::Rc,
};

use wasi_core::{
    Errno,
    fs::{Access, DirEntry, FileSystem, Found, Handle, Node, Now, Stat, mem::MemFs},
    types::Filetype,
};

/// One [`MemFs`], of which a guest sees the directory `root` and what is beneath.
#[derive(Clone)]
pub(crate) struct Watched(Rc<RefCell<Inner>>);

struct Inner {
    fs: MemFs,
    root: Node,
    touched: BTreeSet<u64>,
}

impl Watched {
    pub(crate) fn new(fs: MemFs, root: Node) -> Self {
        let touched = BTreeSet::new();
        Self(Rc::new(RefCell::new(Inner { fs, root, touched })))
    }

    /// The whole file system, unwatched.
    pub(crate) fn fs(&self) -> RefMut<'_, MemFs> {
        RefMut::map(self.0.borrow_mut(), |inner| &mut inner.fs)
    }

    /// The inode numbers of what was touched since this was last asked.
    pub(crate) fn touched(&self) -> BTreeSet<u64> {
        core::mem::take(&mut self.0.borrow_mut().touched)
    }

    /// The file system, after noting a node.
    fn touch(&self, node: Node) -> RefMut<'_, MemFs> {
        let mut inner = self.0.borrow_mut();
        let stat = inner
            .fs
            .stat(node)
            .expect("only nodes that are there are passed on");
        inner.touched.insert(stat.ino);
        RefMut::map(inner, |inner| &mut inner.fs)
    }

    /// The same for what is open. A handle of a [`MemFs`] is its node.
    fn touch_open(&self, handle: Handle) -> RefMut<'_, MemFs> {
        self.touch(Node(handle.0))
    }

    fn touch_name(&self, dir: Node, name: &[u8]) -> RefMut<'_, MemFs> {
        assert!(!name.is_empty() && name.len() <= 255 && core::str::from_utf8(name).is_ok());
        assert!(name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0));
        self.touch(dir)
    }
}

impl FileSystem for Watched {
    fn begin_call(&mut self) {
        self.fs().begin_call();
    }
    fn root(&mut self) -> Node {
        self.0.borrow().root
    }
    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        let found = self.touch_name(dir, name).lookup(dir, name)?;
        drop(self.touch(found.node));
        Ok(found)
    }
    fn stat(&mut self, node: Node) -> Result<Stat, Errno> {
        self.touch(node).stat(node)
    }
    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno> {
        self.touch(link).read_link(link, buf)
    }
    fn open(&mut self, node: Node, access: Access) -> Result<Handle, Errno> {
        self.touch(node).open(node, access)
    }
    fn close(&mut self, handle: Handle) {
        self.touch_open(handle).close(handle);
    }
    fn read(&mut self, file: Handle, offset: u64, buf: &mut [u8], now: Now<'_>) -> Result<usize, Errno> {
        self.touch_open(file).read(file, offset, buf, now)
    }
    fn write(&mut self, file: Handle, offset: u64, buf: &[u8], now: Now<'_>) -> Result<usize, Errno> {
        self.touch_open(file).write(file, offset, buf, now)
    }
    fn append(&mut self, file: Handle, buf: &[u8], now: Now<'_>) -> Result<(usize, u64), Errno> {
        self.touch_open(file).append(file, buf, now)
    }
    fn set_size(&mut self, file: Handle, size: u64, now: Now<'_>) -> Result<(), Errno> {
        self.touch_open(file).set_size(file, size, now)
    }
    fn allocate(&mut self, file: Handle, offset: u64, len: u64, now: Now<'_>) -> Result<(), Errno> {
        self.touch_open(file).allocate(file, offset, len, now)
    }
    fn sync(&mut self, file: Handle, data_only: bool) -> Result<(), Errno> {
        self.touch_open(file).sync(file, data_only)
    }
    fn set_times(
        &mut self,
        node: Node,
        atim: Option<u64>,
        mtim: Option<u64>,
        now: Now<'_>,
    ) -> Result<(), Errno> {
        self.touch(node).set_times(node, atim, mtim, now)
    }
    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        now: Now<'_>,
    ) -> Result<(), Errno> {
        self.touch_open(dir).read_dir(dir, cookie, sink, now)
    }
    fn create(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<Node, Errno> {
        self.touch_name(dir, name).create(dir, name, now)
    }
    fn create_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.touch_name(dir, name).create_dir(dir, name, now)
    }
    fn create_link(&mut self, dir: Node, name: &[u8], target: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.touch_name(dir, name).create_link(dir, name, target, now)
    }
    fn hard_link(&mut self, node: Node, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        drop(self.touch(node));
        self.touch_name(dir, name).hard_link(node, dir, name, now)
    }
    fn unlink(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.touch_name(dir, name).unlink(dir, name, now)
    }
    fn remove_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.touch_name(dir, name).remove_dir(dir, name, now)
    }
    fn rename(
        &mut self,
        from: Node,
        from_name: &[u8],
        to: Node,
        to_name: &[u8],
        now: Now<'_>,
    ) -> Result<(), Errno> {
        drop(self.touch_name(from, from_name));
        self.touch_name(to, to_name)
            .rename(from, from_name, to, to_name, now)
    }
}

/// The entries of a directory.
pub(crate) fn entries(fs: &mut MemFs, dir: Node) -> Vec<(Vec<u8>, Node, Filetype)> {
    let handle = fs.open(dir, Access::READ).expect("a directory can be opened");
    let mut names = Vec::new();
    let sink = &mut |entry: DirEntry<'_>| {
        names.push(entry.name.to_vec());
        true
    };
    // A directory's access time is not told by `dump`.
    fs.read_dir(handle, 0, sink, &mut || 0).expect("and read");
    fs.close(handle);
    let find = |name: Vec<u8>| {
        let found = fs.lookup(dir, &name).expect("what was read is there");
        (name, found.node, found.filetype)
    };
    names.into_iter().map(find).collect()
}

/// All that is beneath `dir`, but for the directory `except`: names, attributes, the first bytes of files. Looking is
/// an access, so access times are not in it.
pub(crate) fn dump(fs: &mut MemFs, dir: Node, except: Option<Node>, all: &mut Vec<u8>) {
    for (name, node, filetype) in entries(fs, dir) {
        let stat = fs.stat(node).expect("it is there");
        if Some(node) == except {
            continue;
        }
        all.push(wasi_p1::abi::types::raw_filetype(filetype));
        all.extend(&name);
        all.push(0);
        let Stat {
            ino,
            nlink,
            size,
            mtim,
            ctim,
            ..
        } = stat;
        for number in [ino, nlink, size, mtim, ctim] {
            all.extend(number.to_le_bytes());
        }
        match filetype {
            Filetype::Directory => dump(fs, node, except, all),
            Filetype::SymbolicLink => {
                let mut target = [0; 64];
                let len = fs.read_link(node, &mut target).expect("it is a link").min(64);
                all.extend(&target[..len]);
            }
            _ => {
                let mut data = [0; 64];
                let handle = fs.open(node, Access::READ).expect("a file can be opened");
                let count = fs.read(handle, 0, &mut data, &mut || 0).expect("and read");
                fs.close(handle);
                all.extend(&data[..count]);
            }
        }
        all.push(0xff);
    }
}
