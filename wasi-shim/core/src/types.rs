//! Scalar types that all interfaces of WASI share.
//!
//! Layer: core. Names are preview1's; that a number stands for a file type is an interface's affair.

/// File size, or an offset in a file, in bytes.
pub type Filesize = u64;
/// Time in nanoseconds.
pub type Timestamp = u64;

/// The type of a file descriptor or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filetype {
    /// Unknown, or different from any of the other types.
    Unknown,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A directory.
    Directory,
    /// A regular file.
    RegularFile,
    /// A datagram socket.
    SocketDgram,
    /// A byte-stream socket.
    SocketStream,
    /// A symbolic link.
    SymbolicLink,
}
