//! What a descriptor names, and what can be done with it.
//!
//! Layer: core. The one place that knows what a kind of descriptor can do: the interfaces ask here, so a new kind
//! is a variant and an arm in each of these functions. Numbers, flags and rights are an interface's own.

use alloc::boxed::Box;

use crate::{
    Errno,
    fs::{Access, Handle, Node},
    mounts::MountId,
    socket::{Kind, Socket},
    system::{Source, Stream},
    types::{Filesize, Filetype},
};

/// What a guest can have open.
#[derive(Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// Standard input.
    Stdin {
        /// Whether a terminal is behind it.
        terminal: bool,
    },
    /// Standard output or standard error.
    Output {
        /// Which of the two.
        stream: Stream,
        /// Whether a terminal is behind it.
        terminal: bool,
    },
    /// A regular file.
    File(OpenFile),
    /// A directory.
    Directory(OpenDirectory),
    /// A socket.
    Socket(Socket),
}

/// What a read or a write of a descriptor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// For this.
    Source(Source),
    /// It never waits.
    Nothing,
    /// Nothing will ever come.
    Forever,
}

/// An open regular file.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenFile {
    pub(crate) mount: MountId,
    pub(crate) node: Node,
    pub(crate) handle: Handle,
    /// What it was opened for.
    pub access: Access,
    /// Where the next read or write begins.
    pub position: Filesize,
}

/// An open directory.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenDirectory {
    pub(crate) mount: MountId,
    pub(crate) node: Node,
    pub(crate) handle: Handle,
    /// The guest's name for it, if it is a preopen.
    pub preopen: Option<Box<[u8]>>,
}

/// A directory that paths start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    pub(crate) mount: MountId,
    pub(crate) node: Node,
}

/// Behind which standard streams there is a terminal. A guest colours and line-buffers what it writes to one; to
/// anything else it writes plainly and in blocks. By default there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Behind standard input.
    pub stdin: bool,
    /// Behind standard output.
    pub stdout: bool,
    /// Behind standard error.
    pub stderr: bool,
}

/// Standard input, output and error.
pub(crate) fn standard_streams(terminals: Terminals) -> [Descriptor; 3] {
    let output = |stream, terminal| Descriptor::Output { stream, terminal };
    [
        Descriptor::Stdin {
            terminal: terminals.stdin,
        },
        output(Stream::Stdout, terminals.stdout),
        output(Stream::Stderr, terminals.stderr),
    ]
}

impl Descriptor {
    /// The file type that the guest sees. A stream that is no terminal is of unknown type, as in wasmtime.
    pub const fn filetype(&self) -> Filetype {
        match self {
            Self::Stdin { terminal: true } | Self::Output { terminal: true, .. } => Filetype::CharacterDevice,
            Self::Stdin { terminal: false } | Self::Output { terminal: false, .. } => Filetype::Unknown,
            Self::File(_) => Filetype::RegularFile,
            Self::Directory(_) => Filetype::Directory,
            Self::Socket(socket) => match socket.kind() {
                Kind::Stream => Filetype::SocketStream,
                Kind::Datagram => Filetype::SocketDgram,
            },
        }
    }

    /// Fails unless it can be read from.
    ///
    /// # Errors
    /// [`Errno::BADF`]; [`Errno::NOTCONN`] if it is a listener.
    pub const fn check_readable(&self) -> Result<(), Errno> {
        match self {
            Self::Stdin { .. } => Ok(()),
            Self::Socket(socket) => socket.check_transfer(),
            Self::File(file) if file.access.read => Ok(()),
            Self::File(_) | Self::Output { .. } | Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// Fails unless it can be written to.
    ///
    /// # Errors
    /// [`Errno::BADF`]; [`Errno::NOTCONN`] if it is a listener.
    pub const fn check_writable(&self) -> Result<(), Errno> {
        match self {
            Self::Output { .. } => Ok(()),
            Self::Socket(socket) => socket.check_transfer(),
            Self::File(file) if file.access.write => Ok(()),
            Self::File(_) | Self::Stdin { .. } | Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// Fails with INVAL if `len` bytes from where the next read or write begins reach beyond what a file can have. A
    /// stream has no such end.
    ///
    /// # Errors
    /// [`Errno::INVAL`].
    pub fn check_end(&self, len: u32) -> Result<(), Errno> {
        match self {
            Self::File(file) => check_end(file.position, len),
            Self::Stdin { .. } | Self::Output { .. } | Self::Directory(_) | Self::Socket(_) => Ok(()),
        }
    }

    /// The regular file. BADF on a stream and on a directory is wasmtime's choice, where POSIX has several.
    ///
    /// # Errors
    /// [`Errno::BADF`].
    pub const fn file(&self) -> Result<&OpenFile, Errno> {
        match self {
            Self::File(file) => Ok(file),
            Self::Stdin { .. } | Self::Output { .. } | Self::Directory(_) | Self::Socket(_) => {
                Err(Errno::BADF)
            }
        }
    }

    /// The regular file, where one with positions is wanted: a stream has none.
    ///
    /// # Errors
    /// [`Errno::SPIPE`] on a stream, [`Errno::BADF`] on a directory.
    pub const fn seekable(&self) -> Result<&OpenFile, Errno> {
        match self {
            Self::File(file) => Ok(file),
            Self::Stdin { .. } | Self::Output { .. } | Self::Socket(_) => Err(Errno::SPIPE),
            Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// As [`Self::seekable`], to change the position.
    ///
    /// # Errors
    /// As for [`Self::seekable`].
    pub const fn seekable_mut(&mut self) -> Result<&mut OpenFile, Errno> {
        match self {
            Self::File(file) => Ok(file),
            Self::Stdin { .. } | Self::Output { .. } | Self::Socket(_) => Err(Errno::SPIPE),
            Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// The directory.
    ///
    /// # Errors
    /// [`Errno::BADF`] if it is none, which is wasmtime's choice; POSIX says NOTDIR.
    pub const fn directory(&self) -> Result<&OpenDirectory, Errno> {
        match self {
            Self::Directory(directory) => Ok(directory),
            Self::Stdin { .. } | Self::Output { .. } | Self::File(_) | Self::Socket(_) => Err(Errno::BADF),
        }
    }

    /// The guest's name for it, if it is a preopen.
    pub fn preopen(&self) -> Option<&[u8]> {
        self.directory().ok()?.preopen.as_deref()
    }

    /// The socket.
    ///
    /// # Errors
    /// [`Errno::NOTSOCK`].
    pub const fn socket(&self) -> Result<&Socket, Errno> {
        match self {
            Self::Socket(socket) => Ok(socket),
            Self::Stdin { .. } | Self::Output { .. } | Self::File(_) | Self::Directory(_) => {
                Err(Errno::NOTSOCK)
            }
        }
    }

    /// As [`Self::socket`], to do something with it.
    ///
    /// # Errors
    /// [`Errno::NOTSOCK`].
    pub const fn socket_mut(&mut self) -> Result<&mut Socket, Errno> {
        match self {
            Self::Socket(socket) => Ok(socket),
            Self::Stdin { .. } | Self::Output { .. } | Self::File(_) | Self::Directory(_) => {
                Err(Errno::NOTSOCK)
            }
        }
    }

    /// Whether it is a stream: something without a place in a file system.
    pub const fn is_stream(&self) -> bool {
        match self {
            Self::Stdin { .. } | Self::Output { .. } | Self::Socket(_) => true,
            Self::File(_) | Self::Directory(_) => false,
        }
    }

    /// What a read of it waits for.
    ///
    /// # Errors
    /// [`Errno::BADF`] if it goes the other way, or is a directory.
    pub const fn read_source(&self) -> Result<Awaits, Errno> {
        match self {
            Self::Stdin { .. } => Ok(Awaits::Source(Source::Stdin)),
            Self::File(_) => Ok(Awaits::Nothing),
            Self::Socket(socket) => Ok(socket.read_source()),
            Self::Output { .. } | Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// What a write to it waits for.
    ///
    /// # Errors
    /// [`Errno::BADF`] if it goes the other way, or is a directory.
    pub const fn write_source(&self) -> Result<Awaits, Errno> {
        match self {
            Self::Output { .. } | Self::File(_) => Ok(Awaits::Nothing),
            Self::Socket(socket) => Ok(socket.write_source()),
            Self::Stdin { .. } | Self::Directory(_) => Err(Errno::BADF),
        }
    }

    /// The file system and the node; `None` for a stream.
    pub(crate) const fn node(&self) -> Option<(MountId, Node)> {
        match self {
            Self::Stdin { .. } | Self::Output { .. } | Self::Socket(_) => None,
            Self::File(file) => Some((file.mount, file.node)),
            Self::Directory(directory) => Some((directory.mount, directory.node)),
        }
    }

    /// The file system and the handle; `None` for a stream.
    pub(crate) const fn handle(&self) -> Option<(MountId, Handle)> {
        match self {
            Self::Stdin { .. } | Self::Output { .. } | Self::Socket(_) => None,
            Self::File(file) => Some((file.mount, file.handle)),
            Self::Directory(directory) => Some((directory.mount, directory.handle)),
        }
    }
}

impl OpenFile {
    /// Fails unless the file's size can be set to `size`.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if the file is not open for writing, or no file can be so large.
    pub fn check_resizable(&self, size: Filesize) -> Result<(), Errno> {
        if !self.access.write || i64::try_from(size).is_err() {
            return Err(Errno::INVAL);
        }
        Ok(())
    }
}

impl OpenDirectory {
    /// The directory as one that paths start from.
    pub const fn base(&self) -> Base {
        Base {
            mount: self.mount,
            node: self.node,
        }
    }
}

/// Fails with INVAL if `len` bytes at `offset` reach beyond the largest offset that POSIX has, 2^63 - 1. (wasmtime's
/// answer too; FBIG is for a file system that cannot hold so much.) An empty range is valid at any offset.
///
/// # Errors
/// [`Errno::INVAL`].
pub fn check_end(offset: Filesize, len: u32) -> Result<(), Errno> {
    match offset.checked_add(u64::from(len)).map(i64::try_from) {
        _ if len == 0 => Ok(()),
        Some(Ok(_)) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}
