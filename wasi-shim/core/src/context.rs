//! What one guest has: its arguments, environment, file systems, and the machine beneath.
//!
//! Layer: core. Built once before the guest starts; the interfaces get it mutably. The operations on it are in `file`,
//! `tree`, `socket` and `poll`.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{fmt, net::SocketAddr};

use crate::{
    Errno,
    descriptor::{Descriptor, OpenDirectory, Terminals, standard_streams},
    deterministic::{Deterministic, VirtualTime},
    fs::{Access, FileSystem, Permission, fixed::Fixed},
    limits::{Left, Limit, Limits},
    mounts::Mounts,
    network::SocketId,
    path::PATH_MAX,
    socket::{Shared, Socket},
    system::System,
};

/// What one guest has, whatever the interface by which it asks.
#[derive(Debug)]
pub struct WasiCtx<S> {
    /// The machine beneath.
    pub system: S,
    pub(crate) mounts: Mounts,
    args: Strings,
    env: Strings,
    descriptors: Vec<Descriptor>,
    max_descriptors: usize,
    pub(crate) left: Left,
    pub(crate) deterministic: Option<Box<Deterministic>>,
    /// The listeners that the guest was given and has not closed.
    pub(crate) listeners: Vec<Shared>,
}

impl<S> WasiCtx<S> {
    /// What the guest has instead of the machine's clocks and entropy, if its run is to be the same each time.
    pub fn deterministic(&mut self) -> Option<&mut Deterministic> {
        self.deterministic.as_deref_mut()
    }

    /// The time of a guest whose run is to be the same each time.
    pub fn virtual_time(&self) -> Option<&VirtualTime> {
        self.deterministic.as_deref().map(|world| &**world.time())
    }

    /// The arguments; the first is the program's name.
    pub const fn args(&self) -> &Strings {
        &self.args
    }

    /// The environment: `NAME=value` each.
    pub const fn env(&self) -> &Strings {
        &self.env
    }

    /// Hands out what the guest begins with: standard input, output, error, the preopens in order, the listeners. For
    /// the interface that gives them to it; nothing is left for a second one.
    pub fn take_descriptors(&mut self) -> Vec<Descriptor> {
        core::mem::take(&mut self.descriptors)
    }

    /// How many descriptors the guest may have open, streams and preopens included.
    pub const fn max_descriptors(&self) -> usize {
        self.max_descriptors
    }

    /// The limit that the guest has wanted to exceed: it is to be ended for that.
    pub const fn exceeded(&self) -> Option<Limit> {
        self.left.exceeded()
    }

    /// Notes that the guest has wanted to exceed a limit, as a recording says.
    pub const fn exceed(&mut self, limit: Limit) {
        self.left.exceed(limit);
    }

    /// How many bytes of output the guest may still write, if they are limited.
    pub const fn output_left(&self) -> Option<u64> {
        self.left.output()
    }

    /// Notes that the guest has wanted one descriptor more than it may have, if it is [limited](Limits).
    pub fn no_descriptor(&mut self) {
        self.left.no_descriptor();
    }

    /// The file system of a preopen, by its number from 0, for tests that look behind the guest's back.
    #[cfg(any(test, feature = "testing"))]
    pub fn file_system(&mut self, index: usize) -> Option<&mut (dyn FileSystem + 'static)> {
        self.mounts.get_nth(index).ok()
    }
}

/// How many descriptors a guest may have open, unless the embedder says otherwise.
const DEFAULT_LIMIT: usize = 65_536;

/// Builds a [`WasiCtx`]. A fresh one has no argument (not even the program's name), no environment variable and no
/// directory: a guest has what it was given and nothing else.
#[derive(Debug)]
pub struct WasiCtxBuilder {
    args: Strings,
    env: Strings,
    terminals: Terminals,
    mounts: Mounts,
    preopens: Vec<Descriptor>,
    listeners: Vec<(SocketId, SocketAddr)>,
    max_descriptors: usize,
    limits: Limits,
    deterministic: Option<Box<Deterministic>>,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self {
            args: Strings::default(),
            env: Strings::default(),
            terminals: Terminals::default(),
            mounts: Mounts::default(),
            preopens: Vec::new(),
            listeners: Vec::new(),
            max_descriptors: DEFAULT_LIMIT,
            limits: Limits::default(),
            deterministic: None,
        }
    }
}

impl WasiCtxBuilder {
    /// No arguments, an empty environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an argument; the first is the program's name.
    ///
    /// # Errors
    /// [`BuildError::Nul`], [`BuildError::TooLarge`].
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        self.args.push(&[arg.as_ref()])?;
        Ok(self)
    }

    /// Appends several arguments.
    ///
    /// # Errors
    /// As [`Self::arg`].
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, BuildError> {
        args.into_iter().try_fold(self, Self::arg)
    }

    /// Appends an environment variable. It does not replace an earlier one of the same name; a libc finds the
    /// first.
    ///
    /// # Errors
    /// [`BuildError::BadName`] if `name` is empty or contains `=`; [`BuildError::Nul`], [`BuildError::TooLarge`].
    pub fn env(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let name = name.as_ref();
        if name.is_empty() || name.contains(&b'=') {
            return Err(BuildError::BadName);
        }
        self.env.push(&[name, b"=", value.as_ref()])?;
        Ok(self)
    }

    /// Says behind which standard streams there is a terminal. Without this, behind none.
    #[must_use]
    pub fn terminals(mut self, terminals: Terminals) -> Self {
        self.terminals = terminals;
        self
    }

    /// Gives the guest a world that is the same on every run. Call it before directories are given.
    #[must_use]
    pub fn deterministic(mut self, world: Deterministic) -> Self {
        self.deterministic = Some(Box::new(world));
        self
    }

    /// Gives the guest a file system: its root directory as `guest_path`. Preopens get the descriptors 3, 4, … in
    /// the order in which they are given (preview1); a libc takes the one whose name is the longest prefix of a path.
    ///
    /// # Errors
    /// [`BuildError::Nul`], [`BuildError::BadPath`]; [`BuildError::FileSystem`] if its root cannot be opened.
    pub fn preopen(
        self,
        fs: impl FileSystem + 'static,
        guest_path: impl AsRef<[u8]>,
        permission: Permission,
    ) -> Result<Self, BuildError> {
        self.preopen_boxed(Box::new(fs), guest_path.as_ref(), permission)
    }

    /// As [`Self::preopen`], with a file system whose kind is not known here.
    ///
    /// # Errors
    /// As [`Self::preopen`].
    pub fn preopen_boxed(
        mut self,
        mut fs: Box<dyn FileSystem>,
        guest_path: &[u8],
        permission: Permission,
    ) -> Result<Self, BuildError> {
        if guest_path.contains(&0) {
            return Err(BuildError::Nul);
        }
        if guest_path.is_empty() || guest_path.len() >= PATH_MAX || core::str::from_utf8(guest_path).is_err()
        {
            return Err(BuildError::BadPath);
        }
        if let Some(world) = &self.deterministic {
            fs = Box::new(Fixed::new(fs, Rc::clone(world.time())));
        }
        let node = fs.root();
        let handle = fs.open(node, Access::READ).map_err(BuildError::FileSystem)?;
        let directory = OpenDirectory {
            mount: self.mounts.add(fs, permission),
            node,
            handle,
            preopen: Some(guest_path.into()),
        };
        self.preopens.push(Descriptor::Directory(directory));
        Ok(self)
    }

    /// Gives the guest a listener that the embedder has opened on the machine's network, which is reached at `local`.
    /// Listeners get descriptors behind all preopens (preview1), in the order in which they are given.
    #[must_use]
    pub fn listener(mut self, id: SocketId, local: SocketAddr) -> Self {
        self.listeners.push((id, local));
        self
    }

    /// Sets how many descriptors the guest may have open, streams and preopens included. Without this, 65,536.
    #[must_use]
    pub fn max_descriptors(mut self, limit: usize) -> Self {
        self.max_descriptors = limit;
        self
    }

    /// Limits what the guest may use up: it ends where it wants more. Without this, nothing is limited so.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        let descriptors = limits.descriptors.filter(|limit| *limit < self.max_descriptors);
        self.max_descriptors = descriptors.unwrap_or(self.max_descriptors);
        // A limit above what anybody has is never reached.
        self.limits = Limits {
            descriptors,
            ..limits
        };
        self
    }

    /// The context on `system`, with the three standard streams and the preopens open.
    pub fn build<S: System>(self, mut system: S) -> WasiCtx<S> {
        let mut descriptors = Vec::from(standard_streams(self.terminals));
        descriptors.extend(self.preopens);
        let listeners = self.listeners.iter();
        descriptors.extend(listeners.map(|(id, local)| Descriptor::Socket(Socket::listener(*id, *local))));
        let mut shared = |(id, local)| {
            // With the port that the network has chosen, if it was to.
            let at = system
                .network()
                .and_then(|network| network.local_address(id).ok());
            Shared::new(id, at.unwrap_or(local))
        };
        let listeners = self.listeners.into_iter().map(&mut shared).collect();
        WasiCtx {
            system,
            mounts: self.mounts,
            args: self.args,
            env: self.env,
            descriptors,
            max_descriptors: self.max_descriptors,
            left: Left::of(self.limits),
            deterministic: self.deterministic,
            listeners,
        }
    }
}

/// Why something cannot be given to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// It contains a zero byte, which ends a string in the guest.
    Nul,
    /// A variable's name is empty or contains `=`.
    BadName,
    /// Together they do not fit a guest's memory.
    TooLarge,
    /// A preopen's name is empty, too long or no UTF-8.
    BadPath,
    /// The root of a preopen's file system cannot be opened.
    FileSystem(Errno),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileSystem(errno) => return write!(f, "the directory cannot be opened: {errno}"),
            Self::Nul => "contains a zero byte",
            Self::BadName => "the variable's name is empty or contains `=`",
            Self::TooLarge => "arguments or environment of more than 4 GiB",
            Self::BadPath => "the directory's name is empty, longer than 4095 bytes or no UTF-8",
        })
    }
}

impl core::error::Error for BuildError {}

/// Strings as a C guest is to find them: each ended by a zero byte, one after the other. Together they have less than
/// 4 GiB.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
}

impl Strings {
    fn push(&mut self, parts: &[&[u8]]) -> Result<(), BuildError> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(BuildError::Nul);
        }
        let offset = self.len()?;
        let rollback = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        if self.len().is_err() {
            self.bytes.truncate(rollback);
            return Err(BuildError::TooLarge);
        }
        self.offsets.push(offset);
        Ok(())
    }

    fn len(&self) -> Result<u32, BuildError> {
        u32::try_from(self.bytes.len()).map_err(|_| BuildError::TooLarge)
    }

    /// All strings with their ends.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each string starts in [`Self::bytes`].
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}
