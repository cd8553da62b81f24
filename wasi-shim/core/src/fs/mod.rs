//! File systems: what the calls need of one, and those that this crate has.
//!
//! Layer: seam. A [`FileSystem`] knows nodes and names, never paths: `crate::path` resolves paths, once for all of
//! them, so that no file system can get the sandbox wrong. Slices go in, values come out, failures are [`Errno`].

pub mod fixed;
pub mod fuse;
pub mod mem;
mod read;
pub mod tar;

use core::fmt;

pub use self::read::read_file;
use crate::{
    Errno,
    types::{Filesize, Filetype, Timestamp},
};

/// Something in a file system: a file, a directory, a symbolic link. A number that only its file system
/// understands.
///
/// A node that a call hands out is good until [`FileSystem::begin_call`] is called next; while it is open, until it is
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node(pub u64);

/// An open node; a number that only its file system understands. Every one is closed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u64);

/// What a node is opened for. A directory is opened to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Reading data, or a directory's entries.
    pub read: bool,
    /// Writing data and changing the size.
    pub write: bool,
}

impl Access {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The node.
    pub node: Node,
    /// What it is: a regular file, a directory, a symbolic link, or something else.
    pub filetype: Filetype,
    /// Its attributes, if finding it has told them already; else they are to be asked for.
    pub stat: Option<Stat>,
}

/// Attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Number of the node, the same as long as it exists, and no other node's in this file system.
    pub ino: u64,
    /// What it is.
    pub filetype: Filetype,
    /// How many names it has.
    pub nlink: u64,
    /// Bytes of data; of a symbolic link, those of its target.
    pub size: Filesize,
    /// Last access, in nanoseconds since 1970.
    pub atim: Timestamp,
    /// Last change of the data.
    pub mtim: Timestamp,
    /// Last change of the attributes.
    pub ctim: Timestamp,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Where the next entry is found; see [`FileSystem::read_dir`].
    pub next: u64,
    /// Number of the node.
    pub ino: u64,
    /// What it is.
    pub filetype: Filetype,
    /// The name.
    pub name: &'a [u8],
}

/// The wall clock, in nanoseconds since 1970. Asked only where a time has to be recorded, because asking costs.
pub type Now<'a> = &'a mut dyn FnMut() -> Timestamp;

/// Most bytes in the name of an entry; more are [`Errno::NAMETOOLONG`], which `crate::path` sees to.
pub const NAME_MAX: usize = 255;

/// A file system.
///
/// Names are single components: UTF-8, 1 to [`NAME_MAX`] bytes, no `/`, no zero byte, neither `.` nor `..`. A
/// directory passed to a method is one (the caller has looked), though it may have been removed since: then it is
/// empty, and nothing can be created in it ([`Errno::NOENT`]).
///
/// Errors that any method may have are not listed at each: [`Errno::IO`] and others of a medium, and
/// [`Errno::ROFS`] from all that change something, if the file system cannot be changed. Memory that runs out is
/// [`Errno::NOSPC`], never a panic or an abort.
pub trait FileSystem {
    /// A new call of the guest begins: nodes that were handed out and are not open need not be kept any longer.
    fn begin_call(&mut self) {}

    /// The directory at the top.
    fn root(&mut self) -> Node;

    /// What `name` in the directory `dir` leads to.
    ///
    /// # Errors
    /// [`Errno::NOENT`].
    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno>;

    /// Attributes of a node.
    ///
    /// # Errors
    /// None of its own.
    fn stat(&mut self, node: Node) -> Result<Stat, Errno>;

    /// Copies the target of a symbolic link to `buf`, as far as it fits, and returns its whole length.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if it is no symbolic link.
    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Opens a regular file or a directory. An open node lives on without a name.
    ///
    /// # Errors
    /// None of its own.
    fn open(&mut self, node: Node, access: Access) -> Result<Handle, Errno>;

    /// Hands on what was written and is still held back, before [`Self::close`]: the last chance to say that a
    /// write has failed after all.
    ///
    /// # Errors
    /// None of its own.
    fn flush(&mut self, handle: Handle) -> Result<(), Errno> {
        let _ = handle;
        Ok(())
    }

    /// Closes what [`Self::open`] opened.
    fn close(&mut self, handle: Handle);

    /// Reads from a file at `offset`; fewer bytes than `buf` has only at the end of the file.
    ///
    /// # Errors
    /// None of its own.
    fn read(&mut self, file: Handle, offset: Filesize, buf: &mut [u8], now: Now<'_>) -> Result<usize, Errno>;

    /// Writes to a file at `offset`; what lies between its end and `offset` becomes zeros. Fewer bytes than `buf`
    /// has if there is no room for all; an error only if there is room for none.
    ///
    /// # Errors
    /// [`Errno::NOSPC`]; [`Errno::FBIG`] if `offset` is at or beyond the largest size of a file.
    fn write(&mut self, file: Handle, offset: Filesize, buf: &[u8], now: Now<'_>) -> Result<usize, Errno>;

    /// Writes to a file's end, as [`Self::write`] does; also returns where the file ends then.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn append(&mut self, file: Handle, buf: &[u8], now: Now<'_>) -> Result<(usize, Filesize), Errno>;

    /// Sets the size of a file; new bytes are zeros.
    ///
    /// # Errors
    /// [`Errno::FBIG`] beyond the largest size of a file.
    fn set_size(&mut self, file: Handle, size: Filesize, now: Now<'_>) -> Result<(), Errno>;

    /// Sees to it that writing these bytes will not lack room; the file grows to hold them. `len` is not 0.
    ///
    /// # Errors
    /// [`Errno::NOSPC`], [`Errno::FBIG`]; [`Errno::NOTSUP`] if the file system cannot do this.
    fn allocate(&mut self, file: Handle, offset: Filesize, len: Filesize, now: Now<'_>) -> Result<(), Errno>;

    /// Brings a file's data, and unless `data_only` its attributes, to where they outlive the machine.
    ///
    /// # Errors
    /// None of its own.
    fn sync(&mut self, file: Handle, data_only: bool) -> Result<(), Errno>;

    /// Sets times of a node; `None` leaves one as it is.
    ///
    /// # Errors
    /// None of its own.
    fn set_times(
        &mut self,
        node: Node,
        atim: Option<Timestamp>,
        mtim: Option<Timestamp>,
        now: Now<'_>,
    ) -> Result<(), Errno>;

    /// Hands the entries of an open directory from `cookie` on to `sink`, until it says `false` or there are no
    /// more. Neither `.` nor `..` is among them. Cookie 0 is the beginning, [`DirEntry::next`] what follows an
    /// entry; they stay good while entries come and go: an entry that is there all the time is seen once.
    ///
    /// # Errors
    /// None of its own.
    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        now: Now<'_>,
    ) -> Result<(), Errno>;

    /// Creates an empty regular file.
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::NOENT`], [`Errno::NOSPC`].
    fn create(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<Node, Errno>;

    /// Creates a directory.
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::NOENT`], [`Errno::NOSPC`]; [`Errno::MLINK`] if `dir` can hold no more of them.
    fn create_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno>;

    /// Creates a symbolic link with any bytes as its target.
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::NOENT`], [`Errno::NOSPC`].
    fn create_link(&mut self, dir: Node, name: &[u8], target: &[u8], now: Now<'_>) -> Result<(), Errno>;

    /// Gives a node that is no directory another name.
    ///
    /// # Errors
    /// [`Errno::EXIST`], [`Errno::NOENT`], [`Errno::NOSPC`]; [`Errno::PERM`] if it is a directory;
    /// [`Errno::MLINK`] if it can have no more names.
    fn hard_link(&mut self, node: Node, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno>;

    /// Removes a name of what is no directory.
    ///
    /// # Errors
    /// [`Errno::NOENT`]; [`Errno::ISDIR`] if it is a directory.
    fn unlink(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Errno::NOENT`]; [`Errno::NOTDIR`]; [`Errno::NOTEMPTY`].
    fn remove_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno>;

    /// Renames, replacing what has the new name. Both names may be those of one node: then nothing happens.
    ///
    /// # Errors
    /// [`Errno::NOENT`]; [`Errno::INVAL`] if a directory would become its own descendant; [`Errno::NOTEMPTY`]
    /// if what would be replaced is a directory with entries; [`Errno::ISDIR`] if only what would be replaced
    /// is a directory, [`Errno::NOTDIR`] if only what is renamed is one; [`Errno::NOSPC`]; [`Errno::MLINK`].
    fn rename(
        &mut self,
        from: Node,
        from_name: &[u8],
        to: Node,
        to_name: &[u8],
        now: Now<'_>,
    ) -> Result<(), Errno>;
}

/// Whether a guest may change what is in a preopened directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may look only: what would change something is [`Errno::ROFS`].
    ReadOnly,
    /// It may do everything.
    ReadWrite,
}

impl fmt::Debug for dyn FileSystem + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSystem")
    }
}
